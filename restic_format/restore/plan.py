"""The plan of a restore: which blob of which pack goes where, in columns of 60 bytes a blob."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from restic_format.repository.packs import coalesce
from restic_spec.constants import ID_SIZE, OVERHEAD
from restic_spec.pack import BlobType, PackEntry

if TYPE_CHECKING:
    from restic_format.repository.index import TreeColumns


class Write(NamedTuple):
    """One place a blob goes to."""

    file: int
    offset: int


class Blob(NamedTuple):
    """One blob of a pack and every place it goes to."""

    entry: PackEntry
    rows: Sequence[int]
    """The plan's rows of the places."""


class PackRun(NamedTuple):
    """Neighbouring blobs of one pack: one read."""

    pack: bytes
    offset: int
    length: int
    rows: Sequence[int]
    """The plan's rows, by offset."""


class Plan:
    """Collects blobs file by file, a row for each place one goes to; `runs` hands the rows out pack by pack."""

    def __init__(self) -> None:
        self._packs: dict[bytes, array[int]] = {}
        """Needed rows of each pack. Packs are read in the order of first use, which comes near to writing files one after
        the other."""
        self._noted: dict[bytes, None] = {}
        self._ids = bytearray()
        self._offset = array("Q")
        self._length = array("I")
        self._uncompressed = array("I")
        self._file = array("I")
        self._file_offset = array("Q")

    def __len__(self) -> int:
        return len(self._file)

    def add(self, file: int, file_offset: int, entry: PackEntry, pack: bytes, *, needed: bool) -> None:
        """A blob of a file. Those not *needed* are in place already and only count for `by_file`."""
        if needed:
            self._rows(pack).append(len(self._file))
        self._ids += entry.id
        self._offset.append(entry.offset)
        self._length.append(entry.length)
        self._uncompressed.append(entry.uncompressed_length or 0)
        self._file.append(file)
        self._file_offset.append(file_offset)

    def extend(self, columns: TreeColumns, pack_id: Callable[[int], bytes]) -> None:
        """All blobs of a tree's ordinary files; *pack_id* gives the pack of a number."""
        packs = array("I")
        packs.frombytes(columns.pack)
        rows = {number: self._rows(pack_id(number)) for number in set(packs)}
        for row, number in enumerate(packs, len(self._file)):
            rows[number].append(row)
        self._ids += columns.ids
        self._offset.frombytes(columns.offset)
        self._length.frombytes(columns.length)
        self._uncompressed.frombytes(columns.uncompressed)
        self._file.frombytes(columns.file)
        self._file_offset.frombytes(columns.file_offset)

    def _rows(self, pack: bytes) -> array[int]:
        rows = self._packs.get(pack)
        if rows is None:
            rows = self._packs[pack] = array("I")
        return rows

    def columns(self) -> tuple[bytearray, array[int], array[int], array[int], array[int], array[int]]:
        """Ids (32 bytes), offset in the pack (64 bits), length, uncompressed length or 0, file (32 bits), offset in the file
        (64 bits) of every row."""
        return self._ids, self._offset, self._length, self._uncompressed, self._file, self._file_offset

    def note(self, pack: bytes) -> None:
        """A pack from which something would be needed, of which nothing is planned."""
        self._noted[pack] = None

    def packs(self) -> list[bytes]:
        """The packs from which something is needed, in the order in which they are read, and those that are only noted."""
        return [*(pack for pack, needed in self._packs.items() if needed), *self._noted]

    def runs(self) -> Iterator[PackRun]:
        """Everything needed, each pack's ranges in ascending order."""
        offset = self._offset.__getitem__
        for pack, needed in self._packs.items():
            for run in coalesce(sorted(needed, key=offset), offset, self._length.__getitem__):
                yield PackRun(pack, run.offset, run.length, run.items)

    def blobs(self, rows: Sequence[int]) -> list[Blob]:
        """The blobs of *rows*, which stand in the order of their offsets in one pack."""
        blobs: list[Blob] = []
        places: list[int] = []
        for row in rows:
            entry = self.entry(row)
            if not blobs or blobs[-1].entry != entry:
                places = []
                blobs.append(Blob(entry, places))
            places.append(row)
        return blobs

    def write(self, row: int) -> Write:
        """The file that a row's blob goes to, and the offset in it."""
        return Write(self._file[row], self._file_offset[row])

    def entry(self, row: int) -> PackEntry:
        """The blob of a row, as an entry of its pack."""
        blob = bytes(self._ids[ID_SIZE * row : ID_SIZE * (row + 1)])
        uncompressed = self._uncompressed[row] or None
        return PackEntry(BlobType.DATA, blob, self._offset[row], self._length[row], uncompressed)

    def file(self, row: int) -> int:
        """The file that a row's blob belongs to."""
        return self._file[row]

    def size(self, row: int) -> int:
        """Bytes of a row's blob."""
        return self._uncompressed[row] or self._length[row] - OVERHEAD

    def correct(self, row: int, offset: int, size: int) -> None:
        """Note that a row's blob has *size* bytes, not what an index says, and goes to *offset* of its file."""
        self._uncompressed[row] = size
        self._file_offset[row] = offset

    def by_file(self, first: int, count: int) -> Iterator[tuple[bytes, int, int]]:
        """``(id, offset in the file, size)`` of the *count* blobs from number *first* on, as they were added."""
        for row in range(first, first + count):
            entry = self.entry(row)
            yield entry.id, self._file_offset[row], entry.plain_length
