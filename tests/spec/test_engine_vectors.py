"""The engine's fast ways and native parts, run on the same vectors as the specification's readable ones."""

import json

import pytest
from traceability import VECTORS
from vectors.generators.base import join

from restic_format.native.chunker import Chunker, methods
from restic_format.native.scrypt import derive
from restic_format.native.solving import _pure, _solving
from restic_format.repository.cipher import LibraryCipher, NativeCipher, make_cipher
from restic_format.repository.coder import make_coder
from restic_format.repository.compression import Compression
from restic_format.repository.header import decode_entries
from restic_spec import solving
from restic_spec.crypto import MasterKey, clamp
from restic_spec.errors import SpecError
from restic_spec.ids import id_of
from restic_spec.pack import BlobType, PackEntry, check_layout, header_length


def _vectors(chapter, operation):
    listed = json.loads((VECTORS / f"{chapter}.json").read_text(encoding="utf-8"))["vectors"]
    return [pytest.param(vector, id=vector["id"]) for vector in listed if vector["operation"] == operation]


def _layer(function, *arguments):
    try:
        return "valid", function(*arguments)
    except SpecError as error:
        return error.layer, None


def _key(given):
    return MasterKey(*(bytes.fromhex(given[part]) for part in ("encrypt", "k", "r")))


@pytest.mark.parametrize("form", [NativeCipher, LibraryCipher])
@pytest.mark.parametrize("vector", _vectors("crypto", "open"))
def test_cipher(vector, form):
    given = vector["input"]
    layer, plaintext = _layer(lambda: form(_key(given["key"])).open(bytes.fromhex(given["sealed"])))
    assert layer == vector["expect"]
    if plaintext is not None:
        assert bytes(plaintext).hex() == vector["output"]["plaintext"]


@pytest.mark.parametrize("vector", _vectors("packs", "read-pack"))
def test_header(vector):
    given = vector["input"]
    raw = bytes.fromhex(given["pack"])

    def read() -> list[PackEntry]:
        length = header_length(raw[-4:], len(raw))
        entries = decode_entries(make_cipher(_key(given["key"])).open(raw[-4 - length : -4]), given["version"])
        check_layout(entries, length, len(raw))
        return entries

    layer, entries = _layer(read)
    assert layer == vector["expect"]
    if entries is not None:
        found = [{**entry._asdict(), "type": entry.type.value, "id": entry.id.hex()} for entry in entries]
        assert found == vector["output"]["entries"]


@pytest.mark.parametrize("form", [NativeCipher, LibraryCipher])
@pytest.mark.parametrize("vector", _vectors("blobs", "open-blob"))
def test_blobs(vector, form):
    given = vector["input"]
    key = _key(given["key"])
    coder = make_coder(form(key), Compression("auto", 2), extra_verify=False)
    fields = given["entry"]
    sealed = bytes.fromhex(given["sealed"])
    entry = PackEntry(**{**fields, "type": BlobType(fields["type"]), "id": bytes.fromhex(fields["id"])})
    if entry.length != len(sealed):
        # That the storage gave as many bytes as were asked for is the reader's business before this.
        return
    layer, plaintext = _layer(coder.open, entry, sealed)
    ((_, many),) = coder.open_many(sealed, 0, [entry])
    damaged = coder.verify_many(sealed, 0, [entry], coder.pack_hash())
    if vector["expect"] == "valid":
        assert bytes(plaintext).hex() == bytes(many).hex() == vector["output"]["plaintext"]
        assert list(damaged) == []
    else:
        assert many.layer == vector["expect"]
        # A wrong length alone does not keep the engine from giving the blob's content (PACK-22).
        judged = plaintext is not None and layer == "valid" and many.layer == "length-invalid" and id_of(plaintext) == entry.id
        assert judged or layer == many.layer
        assert [(found, error.layer) for found, error in damaged] == [(entry, many.layer)]


@pytest.mark.parametrize("vector", _vectors("keys", "derive"))
def test_scrypt(vector):
    given, expected = vector["input"], vector["output"]["key"]
    derived = derive(given["password"].encode(), bytes.fromhex(given["salt"]), given["N"], given["r"], given["p"])
    assert bytes(derived).hex() == expected["encrypt"] + expected["k"] + expected["r"]


@pytest.mark.parametrize("vector", _vectors("chunking", "cuts"))
def test_cuts(vector):
    polynomial = int(vector["input"]["polynomial"], 16)
    data = join(vector["input"]["data"])
    for method in methods(polynomial):
        chunker = Chunker(polynomial, method=method)
        lengths, start = [], 0
        while start < len(data):
            length = chunker.next_cut(data, start, len(data), True)
            lengths.append(length)
            start += length
        assert lengths == vector["output"]["lengths"], method


@pytest.mark.parametrize("form", [_solving, _pure])
@pytest.mark.parametrize("vector", _vectors("solving", "polynomial"))
def test_polynomial(vector, form):
    given = vector["input"]
    r = int.from_bytes(clamp(bytes.fromhex(given["r"])), "little")
    assert f"{form.polynomial(r, bytes.fromhex(given['ciphertext'])):x}" == vector["output"]["value"]


@pytest.mark.parametrize("form", [_solving, _pure])
@pytest.mark.parametrize(
    "vector", [*_vectors("solving", "solve-block"), *_vectors("solving", "solve-border"), *_vectors("solving", "solve-bits")]
)
def test_candidates(vector, form):
    given, key = vector["input"], _key(vector["input"]["key"])
    sealed, r = bytes.fromhex(given["sealed"]), solving.multiplier(key)
    ciphertext, pad = sealed[16:-16], solving.pad(key, sealed[:16])
    wanted = solving.differences(solving.polynomial(r, ciphertext), sealed[-16:], pad)
    if vector["operation"] == "solve-bits":
        found = form.BitPairs(r, ciphertext, 0, 99).search(wanted, 0, 99)
        assert [list(pair) for pair in sorted(found)] == vector["output"]["pairs"]
        return
    if vector["operation"] == "solve-block":
        found = form.block_candidates(r, ciphertext, wanted, spans=tuple(given["spans"]))
    else:
        found = form.border_candidates(r, ciphertext, wanted, given["before"], spans=tuple(given["spans"]))
    assert [{"start": start, "content": content.hex()} for start, content in sorted(found)] == vector["output"]["candidates"]
