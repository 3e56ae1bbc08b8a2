"""Opening many blobs, with either coder, gives what the specification gives for each by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from restic_format.errors import DamagedFile
from restic_format.repository.cipher import Cipher
from restic_format.repository.coder import Coder, make_coder
from restic_format.repository.compression import Compression
from restic_spec.blob import open_blob
from restic_spec.crypto import OVERHEAD, MasterKey, open_sealed, seal
from restic_spec.errors import SpecError
from restic_spec.ids import id_of
from restic_spec.pack import BlobType, PackEntry
from tests.repository.forms import FORMS

KEY = MasterKey(bytes(range(32)), b"k" * 16, b"r" * 16)
CODERS: list[Coder] = [make_coder(form(KEY), Compression("auto", 2), extra_verify=True) for form in FORMS]
WAYS = ["plain", "compressed", "no size", "trailing", "wrong id", "wrong size", "flipped", "no iv", "cut", "not zstd"]


def stored(plain: bytes, way: str) -> tuple[bytes, int, bool, bytes]:
    """A sealed blob of *plain*, well or not: sealed bytes, plaintext length, whether it is compressed, id."""
    compressed = way in ("compressed", "no size", "trailing", "wrong size", "not zstd")
    inner = plain
    if compressed and way != "not zstd":
        inner = zstandard.ZstdCompressor(write_content_size=way != "no size").compress(plain)
    inner += b"more" * (way == "trailing")
    sealed = bytearray(seal(KEY, inner))
    if way == "flipped":
        sealed[len(sealed) // 2] ^= 1
    elif way == "no iv":
        sealed[:16] = bytes(16)
    elif way == "cut":
        del sealed[OVERHEAD - 1 :]
    return bytes(sealed), len(plain) + (way == "wrong size"), compressed, id_of(plain + b"!" * (way == "wrong id"))


@pytest.mark.clause("PACK-13")
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=3000), st.sampled_from(WAYS), st.integers(0, 40)), max_size=12))
@example([(b"ab" * 1000, way, 3) for way in WAYS])
def test_a_batch_opens_as_each_of_its_blobs(blobs: list[tuple[bytes, str, int]]) -> None:
    data = bytearray()
    ranges = []
    for plain, way, gap in blobs:
        data += bytes(gap)
        sealed, size, compressed, blob_id = stored(plain, way)
        ranges.append((len(data), len(sealed), size, compressed, blob_id))
        data += sealed
    ranges.append((max(len(data) - 10, 0), 200, 168, False, bytes(32)))
    expected: list[bytes | None] = []
    for start, length, size, compressed, blob_id in ranges:
        entry = PackEntry(BlobType.DATA, blob_id, start, length, size if compressed else None)
        try:
            plain_alone = open_blob(KEY, entry, bytes(data[start : start + length]))
            expected.append(plain_alone if len(plain_alone) == size else None)
        except SpecError:
            expected.append(None)
    assert [found is not None for found in expected] == [way in ("plain", "compressed", "no size") for _, way, _ in blobs] + [
        False
    ]
    entries = [PackEntry(BlobType.DATA, *one[4:], one[0], one[1], one[2] if one[3] else None) for one in ranges]
    for coder in CODERS:
        opened = [plain for _, plain in coder.open_many(bytes(data), 0, entries)]
        assert [None if isinstance(found, SpecError) else bytes(found) for found in opened] == expected
        opened_again = coder.open_ranges(bytes(data), ranges)
        assert [None if found is None else bytes(found) for found in opened_again] == expected
        pack = coder.pack_hash()
        damaged = dict(coder.verify_many(bytes(data), 0, entries, pack))
        assert [None if entry in damaged else True for entry in entries] == [found and True for found in expected]
        assert pack.digest() == hashlib.sha256(data).digest()


def test_many_megabytes_are_opened_piece_by_piece() -> None:
    data, ranges = bytearray(), []
    for number in range(9):
        plain = bytes([number]) * (700_000 + number)
        sealed, size, compressed, blob_id = stored(plain, ("plain", "compressed")[number % 2])
        ranges.append((len(data), len(sealed), size, compressed, blob_id))
        data += sealed
    entries = [PackEntry(BlobType.DATA, *one[4:], one[0], one[1], one[2] if one[3] else None) for one in ranges]
    for coder in CODERS:
        pack = coder.pack_hash()
        assert coder.verify_many(bytes(data), 0, entries, pack) == []
        assert pack.digest() == hashlib.sha256(data).digest()
        kept = [
            (entry, id_of(plain))
            for entry, plain in coder.open_many(bytes(data), 0, entries)
            if not isinstance(plain, SpecError)
        ]
        assert kept == [(entry, entry.id) for entry in entries]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plain", [b"x", b"text " * 1000])
def test_what_does_not_open_to_its_id_is_not_stored(form: Callable[[MasterKey], Cipher], plain: bytes) -> None:
    for extra_verify in (True, False):
        coder = make_coder(form(KEY), Compression("auto", 2), extra_verify=extra_verify)
        pack = coder.pack_hash()
        coder.seal_many(BlobType.DATA, [(id_of(plain), plain)], pack)
        if extra_verify:
            with pytest.raises(DamagedFile, match="differs after sealing"):
                coder.seal_many(BlobType.DATA, [(bytes(32), plain)], pack)
        else:
            coder.seal_many(BlobType.DATA, [(bytes(32), plain)], pack)


@pytest.mark.parametrize("forms", [(one, two) for one in FORMS for two in FORMS])
def test_what_another_has_sealed_is_sealed_again(forms: tuple[Callable[[MasterKey], Cipher], ...]) -> None:
    other = MasterKey(bytes(range(1, 33)), b"K" * 16, b"R" * 16)
    coder, source = (
        make_coder(form(key), Compression("auto", 2), extra_verify=True) for form, key in zip(forms, (KEY, other), strict=True)
    )
    messages = [b"", b"one", b"two" * 1000]
    sealed = [seal(other, message) for message in messages]
    data = b"-" + b"".join(sealed)
    places = [(1 + sum(map(len, sealed[:number])), len(one)) for number, one in enumerate(sealed)]
    again = bytes(coder.seal_again(source, data, places))
    assert [open_sealed(KEY, again[start - 1 : start - 1 + length]) for start, length in places] == messages
    with pytest.raises(SpecError):
        coder.seal_again(source, data[:-1] + bytes([data[-1] ^ 1]), places)


@pytest.mark.parametrize("extra_verify", [True, False])
def test_what_is_sealed_again_is_opened_again(extra_verify: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = make_coder(FORMS[0](KEY), Compression("auto", 2), extra_verify=extra_verify)
    sealed = seal(KEY, b"inside")
    monkeypatch.setattr(coder.cipher, "seal", lambda inside: seal(KEY, inside[::-1]))
    if extra_verify:
        with pytest.raises(DamagedFile, match="differs after sealing"):
            Coder.seal_again(coder, coder, sealed, [(0, len(sealed))])
    else:
        Coder.seal_again(coder, coder, sealed, [(0, len(sealed))])
