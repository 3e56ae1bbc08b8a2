"""The index in memory: where every blob is, in columns.

Blobs live in segments of parallel arrays sorted by the first eight bytes of their ids (about 57 bytes a blob, none of them a
Python object). What a running backup adds goes to a small dictionary first, which becomes a segment when it is full.
A blob may be in several packs; every copy is kept.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from restic_spec.crypto import OVERHEAD
from restic_spec.errors import JsonInvalid
from restic_spec.ids import ID_SIZE
from restic_spec.index import IndexFile, IndexPack, entries_of
from restic_spec.pack import BlobType, PackEntry

_TAIL_LIMIT = 1 << 15
_TYPE_CODE = {BlobType.DATA: 0, BlobType.TREE: 1}
_TYPES = (BlobType.DATA, BlobType.TREE)


class Location(NamedTuple):
    """Where a copy of a blob is: pack id, offset and sealed length in it, plaintext length if it is compressed."""

    pack: bytes
    offset: int
    length: int
    uncompressed_length: int | None

    def entry(self, blob_type: BlobType, blob_id: bytes) -> PackEntry:
        """The same as an entry of the pack."""
        return PackEntry(blob_type, blob_id, self.offset, self.length, self.uncompressed_length)


class _Columns:
    """Unsorted growing columns."""

    def __init__(self) -> None:
        self.ids = bytearray()
        self.types = bytearray()
        self.packs = array("I")
        self.offsets = array("I")
        self.lengths = array("I")
        self.plain = array("I")

    def append(self, pack: int, entry: PackEntry) -> None:
        self.ids += entry.id
        self.types.append(_TYPE_CODE[entry.type])
        self.packs.append(pack)
        self.offsets.append(entry.offset)
        self.lengths.append(entry.length)
        self.plain.append(entry.uncompressed_length or 0)

    def extend(self, pack: int, record: IndexPack, what: str) -> None:
        """Add a pack's blobs in one go where all is as it should be; else entry by entry, which names the fault."""
        blobs = record.blobs
        types = [blob.type for blob in blobs]
        if not set(types) <= {"data", "tree"} or not all(
            len(blob.id) == 64
            and 0 <= blob.offset < 1 << 32
            and OVERHEAD <= blob.length < 1 << 32
            and 0 <= blob.uncompressed_length < 1 << 32
            for blob in blobs
        ):
            entries_of(record, what)
        try:
            ids = bytes.fromhex("".join([blob.id for blob in blobs]))
        except ValueError:
            ids = b""
        if len(ids) != ID_SIZE * len(blobs):
            raise JsonInvalid(f"{what}: pack {record.id[:16]} lists a blob id that is not hexadecimal", clause="INDEX-3")
        self.ids += ids
        self.types += bytes([kind == "tree" for kind in types])
        self.packs.extend([pack] * len(blobs))
        self.offsets.extend([blob.offset for blob in blobs])
        self.lengths.extend([blob.length for blob in blobs])
        self.plain.extend([blob.uncompressed_length for blob in blobs])


class _Segment:
    """Columns sorted by key, read through memory views, which index faster than numpy scalars."""

    def __init__(self, columns: _Columns) -> None:
        ids = np.frombuffer(columns.ids, dtype=np.uint8).reshape(-1, ID_SIZE)
        keys = np.ascontiguousarray(ids[:, :8]).view(">u8").ravel().astype(np.uint64)
        order = np.argsort(keys, kind="stable")
        self.keys: Any = _view(keys[order])
        self.ids = _view(np.ascontiguousarray(ids[order])).cast("B")
        self.types: Any = _view(np.frombuffer(columns.types, dtype=np.uint8)[order])
        self.packs: Any = _sorted_view(columns.packs, order)
        self.offsets: Any = _sorted_view(columns.offsets, order)
        self.lengths: Any = _sorted_view(columns.lengths, order)
        self.plain: Any = _sorted_view(columns.plain, order)

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, type_code: int, blob_id: bytes) -> Iterator[int]:
        key = int.from_bytes(blob_id[:8], "big")
        keys = self.keys
        row = bisect_left(keys, key)
        while row < len(keys) and keys[row] == key:
            if self.ids[row * ID_SIZE : row * ID_SIZE + ID_SIZE] == blob_id and self.types[row] == type_code:
                yield row
            row += 1

    def entry(self, row: int) -> PackEntry:
        return PackEntry(
            _TYPES[self.types[row]],
            bytes(self.ids[row * ID_SIZE : row * ID_SIZE + ID_SIZE]),
            self.offsets[row],
            self.lengths[row],
            self.plain[row] or None,
        )


def _view(column: Any) -> Any:
    return memoryview(column)


def _sorted_view(column: array[int], order: Any) -> Any:
    return _view(np.frombuffer(column, dtype=np.uint32)[order])


class BlobIndex:
    """All blobs of all loaded indexes, and those of packs stored since.

    Reading needs no lock; adding is serialised. ``marked`` holds packs that rustic has marked for deletion: they exist, but
    none of their blobs may be relied on.
    """

    def __init__(self) -> None:
        self._segments: tuple[_Segment, ...] = ()
        self._loading = _Columns()
        self._tail: dict[tuple[int, bytes], list[tuple[int, PackEntry]]] = {}
        self._tail_size = 0
        self._pack_ids: list[bytes] = []
        self._pack_numbers: dict[bytes, int] = {}
        self._repeated: set[int] = set()
        self._lock = threading.Lock()
        self.marked: set[bytes] = set()

    def add_file(self, index: IndexFile, what: str = "index") -> None:
        """Take in an index file; call `finish_loading` after the last one.

        Raises:
            JsonInvalid: it lists something impossible; nothing of the pack concerned is taken in.
        """
        for record in index.all_packs():
            self._loading.extend(self._number(record, what), record, what)
        for record in index.packs_to_delete:
            if _is_id(record.id):
                self.marked.add(bytes.fromhex(record.id))

    def _number(self, record: IndexPack, what: str) -> int:
        if not _is_id(record.id):
            raise JsonInvalid(f"{what}: {record.id[:80]!r} is not a pack id", clause="INDEX-3")
        pack = bytes.fromhex(record.id)
        known = self._pack_numbers.get(pack)
        if known is None:
            return self._new_number(pack)
        self._repeated.add(known)
        return known

    def _new_number(self, pack: bytes) -> int:
        number = self._pack_numbers[pack] = len(self._pack_ids)
        self._pack_ids.append(pack)
        return number

    def finish_loading(self) -> None:
        """Make what `add_file` took in visible."""
        with self._lock:
            columns, self._loading = self._loading, _Columns()
            if columns.types:
                self._segments = (*self._segments, _Segment(columns))

    def add_pack(self, pack_id: bytes, entries: Iterable[PackEntry]) -> None:
        """Add a pack that has just been stored."""
        with self._lock:
            number = self._pack_numbers.get(pack_id)
            if number is None:
                number = self._new_number(pack_id)
            for entry in entries:
                self._tail.setdefault((_TYPE_CODE[entry.type], entry.id), []).append((number, entry))
                self._tail_size += 1
            if self._tail_size >= _TAIL_LIMIT:
                self._seal_tail()

    def _seal_tail(self) -> None:
        columns = _Columns()
        for copies in self._tail.values():
            for number, entry in copies:
                columns.append(number, entry)
        self._segments = (*self._segments, _Segment(columns))
        self._tail = {}
        self._tail_size = 0

    def lookup_all(self, blob_type: BlobType, blob_id: bytes) -> list[Location]:
        """Every known copy of a blob."""
        code = _TYPE_CODE[blob_type]
        found: list[Location] = []
        # The tail first: a blob that moves from it to a segment meanwhile is then seen at least once.
        for number, entry in self._tail.get((code, blob_id), ()):
            found.append(Location(self._pack_ids[number], entry.offset, entry.length, entry.uncompressed_length))
        for segment in self._segments:
            for row in segment.rows(code, blob_id):
                location = Location(
                    self._pack_ids[segment.packs[row]], segment.offsets[row], segment.lengths[row], segment.plain[row] or None
                )
                if location not in found:
                    found.append(location)
        return found

    def lookup(self, blob_type: BlobType, blob_id: bytes) -> Location | None:
        """The first known copy of a blob."""
        code = _TYPE_CODE[blob_type]
        for number, entry in self._tail.get((code, blob_id), ()):
            return Location(self._pack_ids[number], entry.offset, entry.length, entry.uncompressed_length)
        for segment in self._segments:
            for row in segment.rows(code, blob_id):
                return Location(
                    self._pack_ids[segment.packs[row]], segment.offsets[row], segment.lengths[row], segment.plain[row] or None
                )
        return None

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether any copy of the blob is known."""
        return self.lookup(blob_type, blob_id) is not None

    def __len__(self) -> int:
        """Copies of blobs, not distinct ones."""
        return sum(map(len, self._segments)) + self._tail_size

    def packs(self) -> Iterator[bytes]:
        """Ids of all packs, in the order they became known."""
        return iter(list(self._pack_ids))

    def has_pack(self, pack_id: bytes) -> bool:
        """Whether an index lists this pack."""
        return pack_id in self._pack_numbers

    def repeated_packs(self) -> set[bytes]:
        """Packs that more than one index record lists."""
        return {self._pack_ids[number] for number in self._repeated}

    def entries(self) -> Iterator[tuple[bytes, PackEntry]]:
        """Every copy of every blob with its pack, in no particular order."""
        for copies in list(self._tail.values()):
            for number, entry in copies:
                yield self._pack_ids[number], entry
        for segment in self._segments:
            for row in range(len(segment)):
                yield self._pack_ids[segment.packs[row]], segment.entry(row)

    def by_pack(self) -> Iterator[tuple[bytes, list[PackEntry]]]:
        """Every pack with its blobs in order of their offsets; an entry that several indexes repeat comes once."""
        self._freeze()
        segments = self._segments
        if not segments:
            return
        packs = np.concatenate([np.asarray(segment.packs) for segment in segments])
        offsets = np.concatenate([np.asarray(segment.offsets) for segment in segments])
        starts = np.cumsum([0, *map(len, segments)])
        order = np.lexsort((offsets, packs))
        bounds = np.searchsorted(packs, np.arange(len(self._pack_ids) + 1), sorter=order)
        del packs, offsets
        for number, pack_id in enumerate(self._pack_ids):
            rows = order[bounds[number] : bounds[number + 1]]
            where = np.searchsorted(starts, rows, side="right") - 1
            found = [
                segments[segment].entry(row)
                for segment, row in zip(where.tolist(), (rows - starts[where]).tolist(), strict=True)
            ]
            yield pack_id, list(dict.fromkeys(found)) if number in self._repeated else found

    def pack_entries(self, pack_id: bytes) -> list[PackEntry]:
        """The blobs of one pack in order of their offsets; [] for an unknown one. Scans the columns."""
        self._freeze()
        number = self._pack_numbers.get(pack_id)
        found = {
            segment.entry(row)
            for segment in self._segments
            for row in np.flatnonzero(np.asarray(segment.packs) == (-1 if number is None else number)).tolist()
        }
        return sorted(found, key=lambda entry: entry.offset)

    def _freeze(self) -> None:
        with self._lock:
            if self._tail:
                self._seal_tail()


def _is_id(text: str) -> bool:
    if len(text) != 64:
        return False
    try:
        return len(bytes.fromhex(text)) == ID_SIZE
    except ValueError:
        return False
