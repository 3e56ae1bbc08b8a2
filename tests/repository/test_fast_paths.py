"""The engine's fast forms give what the specification's declarations give."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.repository.cipher import Cipher
from restic_format.repository.compression import MODES, Compression
from restic_format.repository.header import PackRecord, decode_entries, encode_entries, record_of
from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.errors import LengthInvalid, SpecError
from restic_spec.index import encode_pack, index_pack
from restic_spec.pack import LENGTH_SIZE, BlobType, PackEntry, check_layout, decode_header, encode_header
from restic_spec.unpacked import decompress
from tests.repository.forms import FORMS

KEY = MasterKey(bytes(range(32)), b"k" * 16, b"r" * 16)
CIPHERS: list[Cipher] = [form(KEY) for form in FORMS]
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
    for cipher in CIPHERS:
        assert open_sealed(KEY, cipher.seal(plaintext)) == plaintext
        assert cipher.open(seal(KEY, plaintext)) == plaintext
        target = bytearray(len(plaintext))
        cipher.open_into(seal(KEY, plaintext), memoryview(target))
        assert target == plaintext
        with pytest.raises(LengthInvalid):
            cipher.open_into(seal(KEY, plaintext), memoryview(bytearray(len(plaintext) + 1)))


@given(st.binary(max_size=100))
def test_garbage_fails_alike(garbage: bytes) -> None:
    with pytest.raises(SpecError) as plain:
        open_sealed(KEY, garbage)
    for cipher in CIPHERS:
        with pytest.raises(SpecError) as fast:
            cipher.open(garbage)
        assert type(plain.value) is type(fast.value)


versions = st.sampled_from([1, 2])


def _outcome(decode: Callable[[bytes, int], list[PackEntry]], header: bytes, version: int) -> object:
    try:
        return decode(header, version)
    except SpecError as error:
        return error.layer, error.clause


@pytest.mark.clause("PACK-9")
@given(st.lists(entry, min_size=1, max_size=20), versions)
def test_headers_are_encoded_and_decoded_alike(entries: list[PackEntry], version: int) -> None:
    header = encode_entries(entries)
    assert header == encode_header(entries)
    outcome = _outcome(decode_entries, header, version)
    assert outcome == _outcome(decode_header, header, version)
    if version == 1 and any(entry.uncompressed_length is not None for entry in entries):
        assert outcome == ("header-invalid", "PACK-9")


@given(st.binary(max_size=200), versions)
def test_garbage_headers_fail_alike(header: bytes, version: int) -> None:
    assert _outcome(decode_entries, header, version) == _outcome(decode_header, header, version)


def _record(header: bytes, version: int, sealed: int, size: int) -> object:
    """A pack's record by way of the specification's forms."""
    try:
        entries = decode_header(header, version)
        check_layout(entries, sealed, size)
    except SpecError as error:
        return error.layer, error.clause
    return PackRecord(KEY.encrypt, encode_pack(index_pack(KEY.encrypt, entries)), len(entries))


def _record_in_one_go(header: bytes, version: int, sealed: int, size: int) -> object:
    try:
        return record_of(KEY.encrypt, header, version, sealed, size)
    except SpecError as error:
        return error.layer, error.clause


@given(st.lists(entry, max_size=20) | st.binary(max_size=200), versions, st.integers(-1, 1))
def test_records_of_packs_are_written_alike(content: list[PackEntry] | bytes, version: int, off: int) -> None:
    header, blobs = (content, 100) if isinstance(content, bytes) else (encode_entries(content), sum(e.length for e in content))
    sizes = len(header) + 32, blobs + len(header) + 32 + LENGTH_SIZE + off * (off < 1 or len(header) % 2)
    assert _record_in_one_go(header, version, *sizes) == _record(header, version, *sizes)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "off"])
@pytest.mark.parametrize("size", [0, 1, 1000, 600_000])
def test_every_mode_gives_one_frame_with_its_size(mode: str, size: int) -> None:
    data = (b"abcdefgh" * (size // 8 + 1))[:size]
    assert decompress(Compression(mode, 2).compress(data), size, "PACK-12") == data


@pytest.mark.parametrize("distance", [300 << 10, 700 << 10])
def test_what_repeats_only_at_a_distance_is_stored_once(distance: int) -> None:
    # As two copies of a picture in one archive: no short stretch of it shrinks.
    picture = random.Random(7).randbytes(distance)
    assert len(Compression("auto", 2).compress(picture * 2)) < 1.01 * distance
