"""Looking a pack through in one go: an intact one passes, and nothing else does."""

from __future__ import annotations

import hashlib
import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from restic_format.native import blobs
from restic_format.repository.cipher import LibraryCipher
from restic_format.repository.coder import PackCheck, make_coder
from restic_format.repository.compression import Compression
from restic_format.repository.header import decode_entries, encode_entries
from restic_spec.crypto import MasterKey, seal
from restic_spec.errors import SpecError
from restic_spec.ids import id_of
from restic_spec.pack import LENGTH_SIZE, BlobType, PackEntry

MOST = 1 << 20
KEY = MasterKey(bytes(range(32)), b"k" * 16, b"r" * 16)
PLAIN = [os.urandom(5000), b"text " * 2000, b"", b"x" * 70, os.urandom(100_000)]


def make_pack() -> tuple[bytes, bytes]:
    """A pack and its header's plaintext."""
    sealed, entries = [], []
    for number, plain in enumerate(PLAIN):
        packed = zstandard.compress(plain) if number % 2 else plain
        sealed.append(seal(KEY, packed))
        kind = BlobType.TREE if number > 2 else BlobType.DATA
        entries.append(PackEntry(kind, id_of(plain), 0, len(sealed[-1]), len(plain) if number % 2 else None))
    header = encode_entries(entries)
    closed = seal(KEY, header)
    return b"".join(sealed) + closed + len(closed).to_bytes(LENGTH_SIZE, "little"), header


PACK, HEADER = make_pack()


def look_through(pack: bytes, header: bytes, most: int = 6000, largest: int = MOST) -> tuple[list[bool], bytes]:
    """What `take` says of each piece, and the hash."""
    context = blobs.Context(KEY.encrypt, KEY.mac_k, KEY.mac_r)
    found = _look_through(blobs.PackCheck(context, header, largest), pack, most)
    library = make_coder(LibraryCipher(KEY), Compression("auto", 2), extra_verify=False).check_pack(header)
    if largest == MOST and is_header(header):
        assert _look_through(library, pack, most) == found
    else:
        _look_through(library, pack, most)
    return found


def _look_through(check: PackCheck, pack: bytes, most: int) -> tuple[list[bool], bytes]:
    done, said = 0, []
    while length := check.ahead(most):
        said.append(check.take(pack[done : done + length]))
        done += length
    return said, check.digest()


def is_header(raw: bytes) -> bool:
    """Whether these are entries; what a check says of anything else is only that not all is well."""
    try:
        decode_entries(raw, 2)
    except SpecError:
        return False
    return True


@pytest.mark.clause("PACK-5", "PACK-13")
@pytest.mark.parametrize("most", [1, 5032, 6000, 1 << 20])
def test_an_intact_pack_passes_in_pieces_of_any_size(most: int) -> None:
    said, digest = look_through(PACK, HEADER, most)
    assert all(said)
    assert digest == hashlib.sha256(PACK).digest()
    assert len(said) == {1: 5, 5032: 3, 6000: 2, 1 << 20: 1}[most]


@given(st.integers(0, len(PACK) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_noticed_and_in_the_hash(at: int, bit: int) -> None:
    damaged = bytearray(PACK)
    damaged[at] ^= 1 << bit
    said, digest = look_through(bytes(damaged), HEADER)
    assert said.count(False) == 1
    assert digest == hashlib.sha256(damaged).digest()


@given(st.integers(0, len(HEADER) - 1), st.integers(0, 7))
def test_another_header_is_noticed(at: int, bit: int) -> None:
    other = bytearray(HEADER)
    other[at] ^= 1 << bit
    assert not all(look_through(PACK, bytes(other))[0])


@given(st.binary(max_size=200))
def test_no_header_does_harm(header: bytes) -> None:
    said, _digest = look_through(PACK, header)
    assert not all(said)


def test_a_blob_over_the_bound_is_left_to_others() -> None:
    assert not all(look_through(PACK, HEADER, largest=99_999)[0])
    assert all(look_through(PACK, HEADER, largest=100_000)[0])


def test_a_pack_that_is_cut_short_or_longer_does_not_pass() -> None:
    assert not all(look_through(PACK[:-1], HEADER)[0])
    context = blobs.Context(KEY.encrypt, KEY.mac_k, KEY.mac_r)
    assert not blobs.PackCheck(context, HEADER, 1 << 20).take(PACK + b"\0")
