"""The table of blobs without a compiler: numpy columns sorted by the first eight bytes of the ids.

What a running backup adds goes to a small dictionary first, which becomes a sorted segment when it is full; segments are
joined when there are many. About 57 bytes a blob.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import numpy as np

_ID = 32
_TAIL_LIMIT = 1 << 15
_MOST_SEGMENTS = 8

Place = tuple[int, int, int, int | None]
"""Number of the pack, offset, sealed length, plaintext length of a compressed blob."""

Row = tuple[int, bytes, int, int, int | None]
"""Type, id, offset, sealed length, plaintext length of a compressed blob."""


class _Columns:
    """Unsorted growing columns."""

    def __init__(self) -> None:
        self.ids = bytearray()
        self.types = bytearray()
        self.packs = array("I")
        self.offsets = array("I")
        self.lengths = array("I")
        self.plain = array("I")

    def append(self, type_code: int, blob_id: bytes, pack: int, offset: int, length: int, plain: int) -> None:
        self.ids += blob_id
        self.types.append(type_code)
        self.packs.append(pack)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.plain.append(plain)


def _view(column: Any) -> Any:
    return memoryview(column)


class _Segment:
    """Columns sorted by key, read through memory views, which index faster than numpy scalars."""

    def __init__(self, ids: Any, types: Any, *columns: Any) -> None:
        keys = np.ascontiguousarray(ids[:, :8]).view(">u8").ravel().astype(np.uint64)
        order = np.argsort(keys, kind="stable")
        self.sorted = [np.ascontiguousarray(ids[order]), types[order], *(column[order] for column in columns)]
        self.keys: Any = _view(keys[order])
        self.ids: Any = _view(self.sorted[0]).cast("B")
        self.types, self.packs, self.offsets, self.lengths, self.plain = (_view(column) for column in self.sorted[1:])

    @classmethod
    def sort(cls, columns: _Columns) -> _Segment:
        """A segment of unsorted *columns*."""
        ids = np.frombuffer(columns.ids, dtype=np.uint8).reshape(-1, _ID)
        numbers = (columns.packs, columns.offsets, columns.lengths, columns.plain)
        types = np.frombuffer(columns.types, dtype=np.uint8)
        return cls(ids, types, *(np.frombuffer(column, dtype=np.uint32) for column in numbers))

    @classmethod
    def join(cls, segments: tuple[_Segment, ...]) -> _Segment:
        """One segment of several."""
        return cls(*(np.concatenate(parts) for parts in zip(*(segment.sorted for segment in segments), strict=True)))

    def __len__(self) -> int:
        return len(self.keys)

    def places(self, type_code: int, blob_id: bytes) -> Iterator[Place]:
        key = int.from_bytes(blob_id[:8], "big")
        keys = self.keys
        row = bisect_left(keys, key)
        while row < len(keys) and keys[row] == key:
            if self.ids[row * _ID : row * _ID + _ID] == blob_id and self.types[row] == type_code:
                yield self.packs[row], self.offsets[row], self.lengths[row], self.plain[row] or None
            row += 1


class BlobTable:
    """See `restic_format.native.table`."""

    def __init__(self) -> None:
        self._segments: tuple[_Segment, ...] = ()
        self._loading = _Columns()
        self._tail: dict[tuple[int, bytes], list[Place]] = {}
        self._tail_size = 0

    def __len__(self) -> int:
        return sum(map(len, self._segments)) + self._tail_size + len(self._loading.types)

    def load(self, type_code: int, blob_id: bytes, pack: int, offset: int, length: int, plain: int) -> None:
        """Add a row that is found after `finish_loading` only."""
        self._loading.append(type_code, blob_id, pack, offset, length, plain)

    def finish_loading(self) -> None:
        """Make loaded rows findable."""
        columns, self._loading = self._loading, _Columns()
        if columns.types:
            self._take(_Segment.sort(columns))

    def _take(self, segment: _Segment) -> None:
        segments = (*self._segments, segment)
        self._segments = segments if len(segments) <= _MOST_SEGMENTS else (_Segment.join(segments),)

    def add(self, type_code: int, blob_id: bytes, pack: int, offset: int, length: int, plain: int) -> None:
        """Add a row."""
        self._tail.setdefault((type_code, blob_id), []).append((pack, offset, length, plain or None))
        self._tail_size += 1
        if self._tail_size >= _TAIL_LIMIT:
            self._freeze()

    def _freeze(self) -> None:
        columns = _Columns()
        for (type_code, blob_id), places in self._tail.items():
            for pack, offset, length, plain in places:
                columns.append(type_code, blob_id, pack, offset, length, plain or 0)
        if columns.types:
            self._take(_Segment.sort(columns))
        self._tail = {}
        self._tail_size = 0

    def copies(self, type_code: int, blob_id: bytes) -> list[Place]:
        """Where all copies of a blob are."""
        # The tail first: a blob that moves from it to a segment meanwhile is then seen at least once.
        found = list(self._tail.get((type_code, blob_id), ()))
        for segment in self._segments:
            found.extend(segment.places(type_code, blob_id))
        return found

    def first(self, type_code: int, blob_id: bytes) -> Place | None:
        """Where some copy of a blob is."""
        for place in self._tail.get((type_code, blob_id), ()):
            return place
        for segment in self._segments:
            for place in segment.places(type_code, blob_id):
                return place
        return None

    def has_all(self, type_code: int, ids: bytes) -> bool:
        """Whether all blobs are there, 32 bytes of *ids* each."""
        return all(self.first(type_code, ids[start : start + _ID]) is not None for start in range(0, len(ids), _ID))

    def in_packs(self, packs: int) -> PackOrder:
        """All rows in the order of their packs, and within a pack of their offsets."""
        self._freeze()
        return PackOrder(self._segments, packs)


class PackOrder:
    """See `restic_format.native.table`."""

    def __init__(self, segments: tuple[_Segment, ...], packs: int) -> None:
        self._starts = np.zeros(packs + 1, dtype=np.int64)
        self._order = np.zeros(0, dtype=np.int64)
        if segments:
            self._segment = segments[0] if len(segments) == 1 else _Segment.join(segments)
            of_packs, offsets = (np.asarray(column) for column in (self._segment.packs, self._segment.offsets))
            self._order = np.lexsort((offsets, of_packs))
            self._starts = np.searchsorted(of_packs, np.arange(packs + 1), sorter=self._order)

    def rows(self, pack: int) -> list[Row]:
        """The rows of one pack."""
        found = []
        for row in self._order[self._starts[pack] : self._starts[pack + 1]].tolist():
            segment = self._segment
            blob_id = bytes(segment.ids[row * _ID : row * _ID + _ID])
            place = segment.offsets[row], segment.lengths[row], segment.plain[row] or None
            found.append((segment.types[row], blob_id, *place))
        return found
