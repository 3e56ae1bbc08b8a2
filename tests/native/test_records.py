"""The record of a pack made of its header in C: what is wrong, or only unusual, is left to the caller."""

from __future__ import annotations

import msgspec
import pytest

from restic_format.native.table._table import pack_record
from restic_format.repository.header import encode_entries
from restic_spec.index import decode_pack, entries_of
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
