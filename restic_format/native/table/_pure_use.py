"""Which blobs are used, and which copies are kept, without a compiler; see `restic_format.native.table`."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING

from restic_format.native.table._pure import Buffer, PackOrder
from restic_spec.crypto import OVERHEAD

if TYPE_CHECKING:
    from restic_format.native.table._pure import BlobTable

_USED, _OPEN, _KEPT, _AGAIN, _SEEN = 1, 2, 4, 8, 16
_STAYS, _REPACKED = 0, 2
_HAS_DATA, _HAS_TREES = 1, 2
_RECORD = Struct("=QQQIIIIII")
_USED_SIZE, _UNUSED_SIZE, _COPIES_SIZE, _USED_COUNT, _UNUSED_COUNT, _COPIES_COUNT, _PLAIN, _TYPES, _UNSET = range(9)


class BlobUse:
    """See `restic_format.native.table`."""

    def __init__(self, table: BlobTable) -> None:
        table.finish_loading()
        self._table = table
        self._columns = table.columns
        self._bits = bytearray(len(table))
        self._packs = table.pack_count()
        repeated = [pack for pack in range(self._packs) if table.is_repeated(pack)]
        if repeated:
            self._find_repeated(set(repeated))

    def _find_repeated(self, packs: set[int]) -> None:
        seen = set()
        for row in range(len(self._bits)):
            if (pack := self._columns.packs[row]) in packs:
                listed = (pack, self._columns.types[row], self._columns.id(row), *self._columns.place(row))
                if listed in seen:
                    self._bits[row] |= _AGAIN
                seen.add(listed)

    def _unchanged(self, values: bytes | None = None) -> None:
        if len(self._table) != len(self._bits) or self._table.pack_count() != self._packs:
            raise ValueError("the table has grown")
        if values is not None and len(values) != self._packs:
            raise ValueError("there must be a byte for each pack")

    def mark(self, type_code: int, blob_id: bytes) -> bool | None:
        """Mark a blob as used; whether it was not so before, None where it is not in the table."""
        self._unchanged()
        first = next(self._table.rows_of(type_code, blob_id), None)
        if first is None:
            return None
        if self._bits[first] & _USED:
            return False
        for row in self._table.rows_of(type_code, blob_id):
            self._bits[row] |= _USED
        return True

    def mark_tree(self, raw: Buffer) -> None:
        """None: every tree is one that somebody else must look at."""

    def beyond(self, other: BlobUse) -> tuple[int, int, int]:
        """What is marked here and not there: data blobs, trees, bytes of plaintext. To be asked before `choose`."""
        self._unchanged()
        other._unchanged()
        if other._table is not self._table:
            raise ValueError("they are marks of different tables")
        columns = self._columns
        counts, size = [0, 0], 0
        for row, bits in enumerate(self._bits):
            # All rows of a blob are marked; its last one stands for it, as in the compiled form.
            if bits & _USED and not other._bits[row] & _USED and row == self._copies(row)[-1]:
                counts[columns.types[row]] += 1
                size += columns.plain[row] or max(columns.lengths[row] - OVERHEAD, 0)
        return counts[0], counts[1], size

    def choose(self, trust: bytes) -> bytes:
        """Choose a copy of each used blob, and count."""
        self._unchanged(trust)
        self._bits = bytearray(bits & (_USED | _AGAIN) for bits in self._bits)
        for rows in self._blobs():
            best = min(trust[self._columns.packs[row]] for row in rows)
            open_rows = [row for row in rows if trust[self._columns.packs[row]] == best]
            for row in open_rows:
                self._bits[row] |= _KEPT if len(open_rows) == 1 else _OPEN
        packs = self._count()
        for number in range(3):
            for row, bits in enumerate(self._bits):
                if bits & _OPEN and self._bits[row] & _OPEN:
                    pack = packs[self._columns.packs[row]]
                    clean = number == 1 and pack[_COPIES_COUNT] == pack[_UNUSED_COUNT]
                    if pack[_USED_COUNT] or clean or number == 2:
                        self._keep(row, pack)
        return b"".join(_RECORD.pack(*pack) for pack in packs)

    def _blobs(self) -> Iterator[list[int]]:
        """The rows of each used blob."""
        for first in range(len(self._bits)):
            if self._bits[first] & _USED and not self._bits[first] & _SEEN:
                rows = self._copies(first)
                for row in rows:
                    self._bits[row] |= _SEEN
                yield [row for row in rows if not self._bits[row] & _AGAIN]

    def _copies(self, row: int) -> list[int]:
        return sorted(self._table.rows_of(self._columns.types[row], self._columns.id(row)))

    def _count(self) -> list[list[int]]:
        columns = self._columns
        packs = [[0] * 9 for _ in range(self._packs)]
        for row, bits in enumerate(self._bits):
            if bits & _AGAIN:
                continue
            pack, length = packs[columns.packs[row]], columns.lengths[row]
            pack[_TYPES] |= _HAS_TREES if columns.types[row] else _HAS_DATA
            pack[_PLAIN] += not columns.plain[row]
            if bits & _KEPT:
                pack[_USED_COUNT] += 1
                pack[_USED_SIZE] += length
            else:
                pack[_UNUSED_COUNT] += 1
                pack[_UNUSED_SIZE] += length
                if bits & _USED:
                    pack[_COPIES_COUNT] += 1
                    pack[_COPIES_SIZE] += length
        return packs

    def _keep(self, chosen: int, pack: list[int]) -> None:
        for row in self._copies(chosen):
            self._bits[row] &= ~_OPEN
        self._bits[chosen] |= _KEPT
        length = self._columns.lengths[chosen]
        pack[_USED_COUNT] += 1
        pack[_USED_SIZE] += length
        pack[_UNUSED_COUNT] -= 1
        pack[_UNUSED_SIZE] -= length
        pack[_COPIES_COUNT] -= 1
        pack[_COPIES_SIZE] -= length

    def kept(self, fate: bytes) -> PackOrder:
        """The rows that are kept of packs that are repacked."""
        self._unchanged(fate)
        packs = self._columns.packs
        rows = [row for row, bits in enumerate(self._bits) if bits & _KEPT and fate[packs[row]] == _REPACKED]
        for row in rows:
            if any(fate[packs[copy]] == _STAYS and not self._bits[copy] & _AGAIN for copy in self._copies(row)):
                self._bits[row] &= ~_KEPT
        return PackOrder(self._columns, self._packs, [row for row in rows if self._bits[row] & _KEPT])
