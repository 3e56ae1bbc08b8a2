"""The record of a pack made of its header in C: what is wrong, or only unusual, is left to the caller."""

from __future__ import annotations

import msgspec
import pytest

from restic_format.native.table._table import decode_index, pack_record
from restic_format.repository.header import encode_entries
from restic_spec.index import decode_pack, encode_packs, entries_of, index_pack
from restic_spec.pack import BlobType, PackEntry

SMALL = PackEntry(BlobType.TREE, bytes(32), 0, 32, None)
LARGE = PackEntry(BlobType.DATA, b"\xff" * 32, 0, 2**32 - 1, 2**32 - 1)


def test_the_largest_numbers_have_room() -> None:
    large = [LARGE._replace(offset=0), SMALL._replace(offset=LARGE.length)]
    json, blobs, sealed = pack_record(b"\xab" * 32, encode_entries(large), True) or (b"", 0, 0)
    assert entries_of(decode_pack(msgspec.Raw(json))) == large
    assert (blobs, sealed) == (2, 2**32 + 31)
    many = [LARGE._replace(length=32, offset=32 * number) for number in range(10_000)]
    json, blobs, _ = pack_record(bytes(32), memoryview(encode_entries(many)), True) or (b"", 0, 0)
    assert (blobs, entries_of(decode_pack(msgspec.Raw(json)))) == (len(many), many)


def test_what_is_wrong_or_unusual_is_left_alone() -> None:
    header = encode_entries([SMALL, SMALL])
    assert pack_record(bytes(32), header, True) is not None
    above = encode_entries([SMALL, LARGE, SMALL])
    too_much = encode_entries([SMALL]) * (2**24 // 37 + 1)
    for wrong in (b"", above, too_much, header[:-1], b"\4" + header[1:], b"\0\x1f" + header[2:]):
        assert pack_record(bytes(32), wrong, True) is None
    assert pack_record(bytes(32), encode_entries([LARGE]), False) is None
    assert pack_record(bytes(32), encode_entries([LARGE._replace(uncompressed_length=0)]), True) is None
    with pytest.raises(ValueError, match="32 bytes"):
        pack_record(bytes(31), header, True)


def test_how_many_blobs_each_record_has() -> None:
    names = [bytes([number]) * 32 for number in (3, 0, 0, 2, 5)]
    packs = [index_pack(name, [SMALL] * name[0]) for name in names]
    decoded = decode_index(encode_packs(packs))
    assert decoded is not None
    assert decoded.records() == [(name, name[0]) for name in names]
    empty = decode_index(b'{"packs":[]}')
    assert empty is not None and empty.records() == []
