"""The table of blobs without a compiler: columns in the order they came, and beside them rows sorted by their ids.

What a running backup adds goes to a small dictionary first, which becomes a sorted segment when it is full; segments are
joined when there are many. About 65 bytes a blob. Nothing is hashed here but by Python's own keyed hash.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from heapq import merge
from typing import TYPE_CHECKING

from restic_spec.constants import COMPRESSED_ENTRY_SIZE, ID_SIZE, LENGTH_SIZE, OVERHEAD, PLAIN_ENTRY_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restic_format.native.table._pure_use import BlobUse

Buffer = bytes | bytearray | memoryview

_END = OVERHEAD + LENGTH_SIZE
"""Bytes of IV, MAC and length that belong to a header."""
_TAIL_LIMIT = 1 << 15
_MOST_SEGMENTS = 8

Place = tuple[int, int, int, int | None]
"""Number of the pack, offset, sealed length, plaintext length of a compressed blob."""

Row = tuple[int, bytes, int, int, int | None]
"""Type, id, offset, sealed length, plaintext length of a compressed blob."""


class _Columns:
    """Growing columns of rows."""

    def __init__(self) -> None:
        self.ids = bytearray()
        self.types = bytearray()
        self.packs = array("I")
        self.offsets = array("I")
        self.lengths = array("I")
        self.plain = array("I")

    def __len__(self) -> int:
        return len(self.types)

    def append(self, type_code: int, blob_id: bytes, pack: int, offset: int, length: int, plain: int) -> None:
        self.ids += blob_id
        self.types.append(type_code)
        self.packs.append(pack)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.plain.append(plain)

    def id(self, row: int) -> bytes:
        return bytes(self.ids[row * ID_SIZE : row * ID_SIZE + ID_SIZE])

    def place(self, row: int) -> Place:
        return self.packs[row], self.offsets[row], self.lengths[row], self.plain[row] or None


class DecodedIndex:
    """See `restic_format.native.table`."""

    def __init__(self) -> None:
        self.packs: list[bytes] = []
        self.rows = _Columns()

    def add_pack(self, pack_id: bytes) -> None:
        """A pack that the index lists."""
        self.packs.append(pack_id)

    def add(self, type_code: int, blob_id: bytes, offset: int, length: int, plain: int) -> None:
        """A blob of the pack that was added last."""
        self.rows.append(type_code, blob_id, len(self.packs) - 1, offset, length, plain)

    def records(self) -> list[tuple[bytes, int]]:
        """The packs, and how many blobs each has."""
        counts = [0] * len(self.packs)
        for pack in self.rows.packs:
            counts[pack] += 1
        return list(zip(self.packs, counts, strict=True))

    def marked(self) -> list[tuple[int, int]]:
        """Nothing: only who decodes an index here knows where its records begin and end."""
        return []


def decode_index(raw: bytes) -> DecodedIndex | None:  # noqa: ARG001 - the interface of the compiled one
    """Decode an index file natively: never here, the caller does it."""
    return None


def pack_record(pack_id: bytes, header: Buffer, compressed: bool) -> tuple[bytes, int, int] | None:  # noqa: ARG001
    """The record of a pack natively: never here, the caller makes it."""
    return None


class BlobTable:
    """See `restic_format.native.table`."""

    def __init__(self) -> None:
        self.columns = _Columns()
        self._segments: tuple[array[int], ...] = ()
        """Numbers of rows, each segment in the order of their ids and, for the same blob, of their numbers."""
        self._placed = 0
        """Rows that are in a segment."""
        self._tail: dict[tuple[int, bytes], list[int]] = {}
        """Rows that have been added since, by blob."""
        self._merged = False
        """Whether rows have been merged since."""
        self._packs: dict[bytes, int] = {}
        self._pack_ids: list[bytes] = []
        self._repeated: set[int] = set()

    def __len__(self) -> int:
        return len(self.columns)

    def add_pack(self, pack_id: bytes) -> int:
        """The number of a pack that one more record lists."""
        number = self._packs.get(pack_id)
        if number is None:
            number = self._packs[pack_id] = len(self._pack_ids)
            self._pack_ids.append(pack_id)
        else:
            self._repeated.add(number)
        return number

    def pack_number(self, pack_id: bytes) -> int | None:
        """The number of a pack, None where no record lists it."""
        return self._packs.get(pack_id)

    def pack_count(self) -> int:
        """How many packs there are."""
        return len(self._pack_ids)

    def pack_id(self, number: int) -> bytes:
        """The id of the pack with a number."""
        return self._pack_ids[number]

    def is_repeated(self, number: int) -> bool:
        """Whether more than one record lists the pack."""
        return number in self._repeated

    def merge(self, decoded: DecodedIndex) -> None:
        """Add what an index file lists; blobs are found after `finish_loading` only."""
        self._settle()
        self._merged = True
        numbers = [self.add_pack(pack_id) for pack_id in decoded.packs]
        columns, rows = self.columns, decoded.rows
        columns.ids += rows.ids
        columns.types += rows.types
        columns.packs.extend(numbers[pack] for pack in rows.packs)
        columns.offsets += rows.offsets
        columns.lengths += rows.lengths
        columns.plain += rows.plain

    def expect(self, rows: int) -> None:
        """Nothing: there is no room to be made."""

    def finish_loading(self) -> None:
        """Make merged rows findable."""
        self._settle()

    def _settle(self) -> None:
        """Put the rows that are not in a segment yet into one."""
        rows = range(self._placed, len(self.columns))
        if rows:
            segments = (*self._segments, array("I", sorted(rows, key=self.columns.id)))
            if len(segments) > _MOST_SEGMENTS:
                segments = (array("I", merge(*segments, key=lambda row: (self.columns.id(row), row))),)
            self._segments, self._placed = segments, len(self.columns)
        self._tail, self._merged = {}, False

    def add(self, type_code: int, blob_id: bytes, pack: int, offset: int, length: int, plain: int) -> None:
        """Add a row that is found at once."""
        if self._merged:
            self._settle()
        self.columns.append(type_code, blob_id, pack, offset, length, plain)
        self._tail.setdefault((type_code, blob_id), []).append(len(self.columns) - 1)
        if len(self.columns) - self._placed >= _TAIL_LIMIT:
            self._settle()

    def rows_of(self, type_code: int, blob_id: bytes) -> Iterator[int]:
        """The rows of a blob, as they came."""
        # The tail first: a blob that moves from it to a segment meanwhile is then seen at least once.
        tail, columns = self._tail.get((type_code, blob_id), ()), self.columns
        for segment in self._segments:
            at = bisect_left(segment, blob_id, key=columns.id)
            while at < len(segment) and columns.id(segment[at]) == blob_id:
                if columns.types[segment[at]] == type_code:
                    yield segment[at]
                at += 1
        yield from tail

    def copies(self, type_code: int, blob_id: bytes) -> list[Place]:
        """Where all copies of a blob are."""
        return [self.columns.place(row) for row in self.rows_of(type_code, blob_id)]

    def first(self, type_code: int, blob_id: bytes) -> Place | None:
        """Where some copy of a blob is."""
        for row in self.rows_of(type_code, blob_id):
            return self.columns.place(row)
        return None

    def has_all(self, type_code: int, ids: bytes) -> bool:
        """Whether all blobs are there, 32 bytes of *ids* each."""
        return all(self.first(type_code, ids[start : start + ID_SIZE]) is not None for start in range(0, len(ids), ID_SIZE))

    def check_tree(self, raw: Buffer) -> None:
        """Check a tree natively: never here, the caller does it."""

    def plan_tree(self, raw: Buffer, file: int, names: int, largest: int) -> None:
        """Plan a tree natively: never here, the caller does it."""

    def in_packs(self) -> PackOrder:
        """All rows in the order of their packs, and within a pack of their offsets."""
        return PackOrder(self.columns, len(self._pack_ids), range(len(self.columns)))

    def use(self) -> BlobUse:
        """Which blobs are used: none so far."""
        from restic_format.native.table._pure_use import BlobUse

        return BlobUse(self)


class PackOrder:
    """See `restic_format.native.table`."""

    def __init__(self, columns: _Columns, packs: int, rows: Sequence[int]) -> None:
        self._columns = columns
        self._order = array("I", sorted(rows, key=lambda row: (columns.packs[row], columns.offsets[row])))
        self._starts = array("I", [0]) * (packs + 1)
        for row in rows:
            self._starts[columns.packs[row] + 1] += 1
        for pack in range(packs):
            self._starts[pack + 1] += self._starts[pack]

    def rows(self, pack: int) -> list[Row]:
        """The rows of one pack."""
        columns = self._columns
        return [
            (columns.types[row], columns.id(row), *columns.place(row)[1:])
            for row in self._order[self._starts[pack] : self._starts[pack + 1]]
        ]

    def layout(self, pack: int) -> tuple[int, bool, bool]:
        """Size of the file that has these blobs, whether they are trees and data, and whether they do not follow each other."""
        size, end = _END, 0
        types, gaps = set(), False
        for kind, _, offset, length, plain in self.rows(pack):
            types.add(kind)
            gaps = gaps or offset != end
            end = offset + length
            size += length + (COMPRESSED_ENTRY_SIZE if plain else PLAIN_ENTRY_SIZE)
        return size, len(types) > 1, gaps

    def header(self, pack: int) -> None:
        """None: it cannot be told at once."""
