"""Scanning: blobs are found without index and header, whatever else is damaged."""

from __future__ import annotations

import os
import random
import time

import pytest
import zstandard

from restic_format.rescue.scanning import Scanner
from restic_spec.crypto import MasterKey, seal
from restic_spec.ids import id_of
from restic_spec.pack import BlobType, PackEntry, encode_header

KEY = MasterKey.generate()


def pack_of(plains: list[bytes], *, compress: bool, checksum: bool = False) -> tuple[bytes, list[PackEntry]]:
    """A pack and what is in it."""
    compressor = zstandard.ZstdCompressor(write_checksum=checksum)
    boxes, entries, offset = [], [], 0
    for plain in plains:
        sealed = seal(KEY, compressor.compress(plain) if compress else plain)
        kind = BlobType.TREE if plain.startswith(b'{"nodes":') else BlobType.DATA
        entries.append(PackEntry(kind, id_of(plain), offset, len(sealed), len(plain) if compress else None))
        boxes.append(sealed)
        offset += len(sealed)
    header = seal(KEY, encode_header(entries))
    return b"".join(boxes) + header + len(header).to_bytes(4, "little"), entries


def some(seed: int, count: int = 12) -> list[bytes]:
    chance = random.Random(seed)
    sizes = [1, 15, 16, 17, 31, 32, 33] + [chance.randrange(1, 3000) for _ in range(count)]
    made = [chance.randbytes(size) if chance.random() < 0.5 else bytes([size % 256]) * size for size in sizes]
    made.insert(3, b'{"nodes":[]}\n')
    chance.shuffle(made)
    return made


def found(pack: bytes, version: int) -> set[PackEntry]:
    return set(Scanner(KEY, version).scan(pack))


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_all_blobs_are_found_by_their_macs_and_the_header_is_none_of_them(compress: bool, checksum: bool) -> None:
    for seed in range(3):
        pack, entries = pack_of(some(seed), compress=compress, checksum=checksum)
        seen = found(pack, 2 if compress else 1)
        assert set(entries) <= seen
        extra = seen - set(entries)
        assert all(entry.type is BlobType.DATA and entry._replace(type=BlobType.TREE) in seen for entry in extra)
        # Damage of the end harms nothing, nor does a stored blob in a version that compresses.
        assert set(entries) <= found(pack[:-40] + os.urandom(40), 2)


def test_what_is_damaged_is_passed_over() -> None:
    pack, entries = pack_of(some(5), compress=True)
    chance = random.Random(1)
    for hurt in chance.sample(entries, 4):
        spoiled = bytearray(pack)
        spoiled[hurt.offset + chance.randrange(hurt.length)] ^= 4
        assert set(entries) - {hurt} <= found(bytes(spoiled), 2)
        assert hurt not in found(bytes(spoiled), 2)


def test_what_is_cut_off_or_missing_in_front_harms_no_other() -> None:
    pack, entries = pack_of(some(6), compress=True)
    for cut in (entries[4].offset + 20, entries[9].offset):
        assert {one for one in entries if one.offset + one.length <= cut} <= found(pack[:cut], 2)
        shifted = {one._replace(offset=one.offset - cut) for one in entries if one.offset >= cut}
        assert shifted <= found(pack[cut:], 2)


def test_the_offset_is_that_in_the_pack() -> None:
    pack, entries = pack_of(some(7), compress=True)
    start = entries[5].offset
    seen = set(Scanner(KEY, 2).scan(memoryview(pack)[start:], start))
    assert set(entries[5:]) <= seen and not set(entries[:5]) & seen


@pytest.mark.parametrize("version", [1, 2])
def test_what_holds_no_blob_takes_bounded_time(version: int) -> None:
    began = time.process_time()
    for garbage in (bytes(200_000), os.urandom(100_000), b"", b"x" * 33):
        assert not list(Scanner(KEY, version, steps=100_000).scan(garbage))
    assert time.process_time() - began < 20


def test_another_key_finds_nothing() -> None:
    pack, _ = pack_of(some(8, 2), compress=True)
    assert not list(Scanner(MasterKey.generate(), 2).scan(pack))
