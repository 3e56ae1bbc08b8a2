"""The plan of a restore: which blob of which pack goes where, in columns of 60 bytes a blob."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from restic_spec.pack import BlobType, PackEntry

SPAN = 8 << 20
"""Bytes of a pack that are read at once, unless a single blob is longer."""
GAP = 256 << 10
"""Unneeded bytes between two blobs that are rather read along than skipped with a second read."""


class Write(NamedTuple):
    """One place a blob goes to."""

    file: int
    offset: int


class Blob(NamedTuple):
    """One blob of a pack and every place it goes to."""

    entry: PackEntry
    writes: Sequence[Write]


class Run(NamedTuple):
    """Neighbouring blobs of one pack: one read."""

    pack: bytes
    offset: int
    length: int
    blobs: Sequence[Blob]


class Plan:
    """Collects blobs file by file; `freeze` sorts them by pack, `runs` hands them out."""

    def __init__(self) -> None:
        self._packs: dict[bytes, int] = {}
        self._pack_ids: list[bytes] = []
        self._ids = bytearray()
        self._pack = array("I")
        self._offset = array("Q")
        self._length = array("I")
        self._uncompressed = array("I")
        self._file = array("I")
        self._file_offset = array("Q")
        self._needed = bytearray()
        self._order: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._pack)

    def add(self, file: int, file_offset: int, entry: PackEntry, pack: bytes, *, needed: bool) -> None:
        """A blob of a file. Those not *needed* are in place already and only count for `by_file`."""
        number = self._packs.get(pack)
        if number is None:
            # Packs are read in the order of first use, which comes near to writing files one after the other.
            number = self._packs[pack] = len(self._pack_ids)
            self._pack_ids.append(pack)
        self._ids += entry.id
        self._pack.append(number)
        self._offset.append(entry.offset)
        self._length.append(entry.length)
        self._uncompressed.append(entry.uncompressed_length or 0)
        self._file.append(file)
        self._file_offset.append(file_offset)
        self._needed.append(needed)

    def truncate(self, length: int) -> None:
        """Forget all but the first *length* blobs."""
        del self._ids[32 * length :], self._needed[length:]
        for column in (self._pack, self._offset, self._length, self._uncompressed, self._file, self._file_offset):
            del column[length:]

    def freeze(self) -> None:
        """Sort by pack and offset. Nothing may be added afterwards."""
        needed = np.flatnonzero(np.frombuffer(self._needed, dtype=np.uint8))
        pack = np.frombuffer(self._pack, dtype=np.uint32)[needed]
        offset = np.frombuffer(self._offset, dtype=np.uint64)[needed]
        self._order = needed[np.lexsort((offset, pack))]

    def runs(self) -> Iterator[Run]:
        """Everything needed, each pack's ranges in ascending order."""
        blobs: list[Blob] = []
        writes: list[Write] = []
        pack = first = end = last = -1
        for row in self._rows():
            offset, length = self._offset[row], self._length[row]
            write = Write(self._file[row], self._file_offset[row])
            same_pack = self._pack[row] == pack
            if same_pack and offset == last:
                writes.append(write)
                continue
            if blobs and not (same_pack and offset <= end + GAP and offset + length <= first + SPAN):
                yield Run(self._pack_ids[pack], first, end - first, blobs)
                blobs = []
            if not blobs:
                pack, first, end = self._pack[row], offset, offset
            writes = [write]
            blobs.append(Blob(self._entry(row), writes))
            end, last = max(end, offset + length), offset
        if blobs:
            yield Run(self._pack_ids[pack], first, end - first, blobs)

    def _rows(self) -> Iterator[int]:
        assert self._order is not None, "freeze() comes first"
        for start in range(0, len(self._order), 4096):
            yield from self._order[start : start + 4096].tolist()

    def _entry(self, row: int) -> PackEntry:
        blob = bytes(self._ids[32 * row : 32 * row + 32])
        uncompressed = self._uncompressed[row] or None
        return PackEntry(BlobType.DATA, blob, self._offset[row], self._length[row], uncompressed)

    def by_file(self, first: int, count: int) -> Iterator[tuple[bytes, int, int]]:
        """``(id, offset in the file, size)`` of the *count* blobs from number *first* on, as they were added."""
        for row in range(first, first + count):
            entry = self._entry(row)
            yield entry.id, self._file_offset[row], entry.plain_length
