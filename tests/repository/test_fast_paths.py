"""The engine's fast forms give what the specification's declarations give."""

from __future__ import annotations

import contextlib
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.errors import DamagedFile
from restic_format.native import blobs
from restic_format.repository.cipher import BlobCipher
from restic_format.repository.coder import BlobCoder
from restic_format.repository.compression import MODES, Compressor
from restic_format.repository.header import decode_entries, encode_entries
from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.errors import SpecError
from restic_spec.pack import BlobType, PackEntry, decode_header, encode_header
from restic_spec.unpacked import decompress

KEY = MasterKey(bytes(range(32)), b"k" * 16, b"r" * 16)
entry = st.builds(
    PackEntry,
    st.sampled_from(BlobType),
    st.binary(min_size=32, max_size=32),
    st.just(0),
    st.integers(32, 2**32 - 1),
    st.none() | st.integers(1, 2**32 - 1),
)


@given(st.binary(max_size=300))
def test_sealing_in_bulk_is_sealing(plaintext: bytes) -> None:
    cipher = BlobCipher(KEY)
    assert open_sealed(KEY, cipher.seal(plaintext)) == plaintext
    assert cipher.open(seal(KEY, plaintext)) == plaintext


@given(st.binary(max_size=100))
def test_garbage_fails_alike(garbage: bytes) -> None:
    with pytest.raises(SpecError) as plain:
        open_sealed(KEY, garbage)
    with pytest.raises(SpecError) as fast:
        BlobCipher(KEY).open(garbage)
    assert type(plain.value) is type(fast.value)


@given(st.lists(entry, min_size=1, max_size=20))
def test_headers_are_encoded_and_decoded_alike(entries: list[PackEntry]) -> None:
    header = encode_entries(entries)
    assert header == encode_header(entries)
    assert decode_entries(header) == decode_header(header)


@given(st.binary(max_size=200))
def test_garbage_headers_fail_alike(header: bytes) -> None:
    expected: object = None
    with contextlib.suppress(SpecError):
        expected = decode_header(header)
    if expected is None:
        with pytest.raises(SpecError):
            decode_entries(header)
    else:
        assert decode_entries(header) == expected


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "off"])
@pytest.mark.parametrize("size", [0, 1, 1000, 600_000])
def test_every_mode_gives_one_frame_with_its_size(mode: str, size: int) -> None:
    data = (b"abcdefgh" * (size // 8 + 1))[:size]
    assert decompress(Compressor(mode).compress(data), size, "PACK-12") == data


TEXT = b"".join(b"line %d of some text\n" % number for number in range(40_000))
MEGABYTE = 1 << 20


@pytest.fixture(params=["as configured", "bindings"])
def coder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BlobCoder:
    if request.param == "bindings":
        monkeypatch.setattr(blobs, "UNAVAILABLE", "to use the bindings")
    return BlobCoder(BlobCipher(KEY), 2, "auto", extra_verify=True)


@pytest.mark.parametrize("kind", BlobType)
def test_large_blobs_are_compressed_where_a_sample_of_any_block_shrinks(coder: BlobCoder, kind: BlobType) -> None:
    random = os.urandom(MEGABYTE)
    late = random[: 3 * MEGABYTE // 4] + TEXT[: MEGABYTE // 4]
    data = [random, TEXT[: 600 << 10], late, random[: 512 << 10], os.urandom((512 << 10) - 1)]
    pack_hash = coder.pack_hash()
    pieces, lengths = coder.seal_many(kind, [(sha256(plain), plain) for plain in data], pack_hash)
    sealed = b"".join(pieces)
    assert pack_hash.digest() == sha256(sealed)
    shrink = [False, True, True, False, False]
    start = 0
    for plain, (length, uncompressed), shrinks in zip(data, lengths, shrink, strict=True):
        assert (uncompressed is not None) == (shrinks or kind is BlobType.TREE)
        assert (length < len(plain)) == shrinks
        entry = PackEntry(kind, sha256(plain), start, length, uncompressed)
        assert coder.open(entry, sealed[start : start + length]) == plain
        start += length
    assert start == len(sealed)


@pytest.mark.parametrize("data", [TEXT, os.urandom(MEGABYTE), b"few"])
def test_what_does_not_open_to_its_id_is_not_given_out(coder: BlobCoder, data: bytes) -> None:
    blobs_wanted = [(sha256(TEXT), TEXT), (sha256(b"other"), data)]
    with pytest.raises(DamagedFile, match=f"data blob {sha256(b'other').hex()[:8]} differs after sealing"):
        coder.seal_many(BlobType.DATA, blobs_wanted, coder.pack_hash())


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
