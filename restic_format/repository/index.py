"""The index in memory: where every blob is.

The blobs themselves are rows of a `BlobTable`, none of them a Python object; this adds the packs, and what it means to load
an index file. A blob may be in several packs; every copy is kept.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from restic_format.native.table import BlobTable, decode_index
from restic_spec import index as index_format
from restic_spec.errors import JsonInvalid
from restic_spec.ids import ID_SIZE, is_hex_id
from restic_spec.index import IndexFile
from restic_spec.pack import BlobType, PackEntry

_TYPE_CODE = {BlobType.DATA: 0, BlobType.TREE: 1}
_TYPES = (BlobType.DATA, BlobType.TREE)
_BATCH = 4096


class Location(NamedTuple):
    """Where a copy of a blob is: pack id, offset and sealed length in it, plaintext length if it is compressed."""

    pack: bytes
    offset: int
    length: int
    uncompressed_length: int | None

    def entry(self, blob_type: BlobType, blob_id: bytes) -> PackEntry:
        """The same as an entry of the pack."""
        return PackEntry(blob_type, blob_id, self.offset, self.length, self.uncompressed_length)


class IndexState(NamedTuple):
    """What a dumped index is beside its columns."""

    rows: int
    slots: int
    packs: int
    repeated: set[int]
    marked: set[bytes]


class BlobIndex:
    """All blobs of all loaded indexes, and those of packs stored since.

    Reading needs no lock; adding is serialised. ``marked`` holds packs that rustic has marked for deletion: they exist, but
    none of their blobs may be relied on.
    """

    def __init__(self) -> None:
        self._table = BlobTable()
        self._pack_ids: list[bytes] = []
        self._pack_numbers: dict[bytes, int] = {}
        self._repeated: set[int] = set()
        self._lock = threading.Lock()
        self.marked: set[bytes] = set()

    def add_raw(self, raw: bytes, what: str = "index") -> None:
        """Take in the plaintext of an index file; call `finish_loading` after the last one.

        Raises:
            JsonInvalid: it is no index; nothing of it is taken in.
        """
        decoded = decode_index(raw) if decode_index is not None else None
        if decoded is None:
            self.add_file(index_format.decode_index(raw, what), what)
            return
        with self._lock:
            self._table.merge(decoded, array("I", [self._number(pack) for pack in decoded.packs()]))

    def add_file(self, index: IndexFile, what: str = "index") -> None:
        """`add_raw` for an index that is decoded already."""
        checked = [(record, index_format.entries_of(record, what)) for record in index.all_packs()]
        for record in index.packs_to_delete:
            if not is_hex_id(record.id):
                raise JsonInvalid(f"{what}: {record.id[:80]!r} is not a pack id", clause="INDEX-3")
            self.marked.add(bytes.fromhex(record.id))
        with self._lock:
            load = getattr(self._table, "load", self._table.add)
            for record, entries in checked:
                number = self._number(bytes.fromhex(record.id))
                for kind, blob_id, offset, length, plain in entries:
                    load(_TYPE_CODE[kind], blob_id, number, offset, length, plain or 0)

    def _number(self, pack: bytes) -> int:
        number = self._pack_numbers.get(pack)
        if number is None:
            number = self._pack_numbers[pack] = len(self._pack_ids)
            self._pack_ids.append(pack)
        else:
            self._repeated.add(number)
        return number

    def finish_loading(self) -> None:
        """Make what was taken in findable."""
        with self._lock:
            self._table.finish_loading()

    def add_pack(self, pack_id: bytes, entries: Iterable[PackEntry]) -> None:
        """Add a pack that has just been stored."""
        with self._lock:
            number = self._number(pack_id)
            for kind, blob_id, offset, length, plain in entries:
                self._table.add(_TYPE_CODE[kind], blob_id, number, offset, length, plain or 0)

    @property
    def can_dump(self) -> bool:
        """Whether `dump` and `restore` work: the compiled table has memory that can be written out."""
        return hasattr(self._table, "parts")

    def dump(self) -> tuple[IndexState, list[memoryview]]:
        """The index as a few stretches of memory, to be given to `restore` in pieces. Nothing may be added meanwhile."""
        table = self._table
        state = IndexState(len(table), table.slot_count(), len(self._pack_ids), set(self._repeated), set(self.marked))
        return state, [memoryview(b"".join(self._pack_ids)), *table.parts(len(table))]

    @classmethod
    def restore(cls, state: IndexState, pieces: Iterator[memoryview]) -> BlobIndex:
        """The index that was dumped; *pieces* are its stretches of memory, each cut anyhow but none across two.

        Raises:
            ValueError: they do not make up an index.
        """
        index = cls()
        packs = bytearray(ID_SIZE * state.packs)
        table = BlobTable.allocate(state.rows, state.slots)
        for part in (memoryview(packs), *table.parts(state.rows)):
            filled = 0
            while filled < len(part):
                piece = next(pieces, None)
                if piece is None or len(piece) > len(part) - filled:
                    raise ValueError("the pieces do not fit the columns")
                part[filled : filled + len(piece)] = piece
                filled += len(piece)
        table.adopt(state.rows, state.packs)
        index._table = table
        index._pack_ids = [bytes(packs[start : start + ID_SIZE]) for start in range(0, len(packs), ID_SIZE)]
        index._pack_numbers = {pack: number for number, pack in enumerate(index._pack_ids)}
        index._repeated, index.marked = state.repeated, state.marked
        return index

    def lookup_all(self, blob_type: BlobType, blob_id: bytes) -> list[Location]:
        """Every known copy of a blob."""
        found = [Location(self._pack_ids[place[0]], *place[1:]) for place in self._table.copies(_TYPE_CODE[blob_type], blob_id)]
        return found if len(found) < 2 else list(dict.fromkeys(found))

    def lookup(self, blob_type: BlobType, blob_id: bytes) -> Location | None:
        """Some known copy of a blob."""
        place = self._table.first(_TYPE_CODE[blob_type], blob_id)
        return None if place is None else Location(self._pack_ids[place[0]], *place[1:])

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether any copy of the blob is known."""
        return self._table.first(_TYPE_CODE[blob_type], blob_id) is not None

    def __len__(self) -> int:
        """Copies of blobs, not distinct ones."""
        return len(self._table)

    def packs(self) -> Iterator[bytes]:
        """Ids of all packs, in the order they became known."""
        return iter(list(self._pack_ids))

    def has_pack(self, pack_id: bytes) -> bool:
        """Whether an index lists this pack."""
        return pack_id in self._pack_numbers

    def repeated_packs(self) -> set[bytes]:
        """Packs that more than one index record lists."""
        return {self._pack_ids[number] for number in self._repeated}

    def by_pack(self) -> Iterator[tuple[bytes, list[PackEntry]]]:
        """Every pack with its blobs in order of their offsets; an entry that several indexes repeat comes once."""
        import numpy as np  # here: it takes a tenth of a second that most commands need not wait for

        with self._lock:
            packs, offsets = (np.frombuffer(self._table.column(name), dtype=np.uint32) for name in ("packs", "offsets"))
            pack_ids = list(self._pack_ids)
        order = np.lexsort((offsets, packs))
        bounds = np.searchsorted(packs, np.arange(len(pack_ids) + 1), sorter=order)
        del packs, offsets
        for number, pack_id in enumerate(pack_ids):
            found = self._entries(order[bounds[number] : bounds[number + 1]])
            yield pack_id, list(dict.fromkeys(found)) if number in self._repeated else found

    def entries(self) -> Iterator[tuple[bytes, PackEntry]]:
        """Every copy of every blob with its pack, in no particular order."""
        import numpy as np

        with self._lock:
            packs = np.frombuffer(self._table.column("packs"), dtype=np.uint32)
        for start in range(0, len(packs), _BATCH):
            numbers = np.arange(start, min(start + _BATCH, len(packs)))
            for pack, entry in zip(packs[numbers].tolist(), self._entries(numbers), strict=True):
                yield self._pack_ids[pack], entry

    def pack_entries(self, pack_id: bytes) -> list[PackEntry]:
        """The blobs of one pack in order of their offsets; [] for an unknown one. Scans the columns."""
        import numpy as np

        number = self._pack_numbers.get(pack_id)
        if number is None:
            return []
        with self._lock:
            packs = np.frombuffer(self._table.column("packs"), dtype=np.uint32)
        return sorted(set(self._entries(np.flatnonzero(packs == number))), key=lambda entry: entry.offset)

    def _entries(self, numbers: Any) -> list[PackEntry]:
        return [PackEntry(_TYPES[row[0]], *row[1:]) for row in self._table.rows(numbers.tolist())]
