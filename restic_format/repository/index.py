"""The index in memory: where every blob is.

The blobs themselves are rows of a `BlobTable`, none of them a Python object; this adds the packs, and what it means to load
an index file. A blob may be in several packs; every copy is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from restic_format.native.table import PACK_USE, BlobTable, DecodedIndex, PackOrder, PackUse, decode_index
from restic_spec import index as index_format
from restic_spec.constants import KIND_COMPRESSED_TREE, KIND_TREE
from restic_spec.crypto import OVERHEAD
from restic_spec.pack import LENGTH_SIZE, MAX_BLOB_SIZE, BlobType, PackEntry

if TYPE_CHECKING:
    from restic_format.native.table import BlobUse

Buffer = bytes | bytearray | memoryview

_TYPE_CODE = {BlobType.DATA: 0, BlobType.TREE: 1}
_TYPES = (BlobType.DATA, BlobType.TREE)


class Location(NamedTuple):
    """Where a copy of a blob is: pack id, offset and sealed length in it, plaintext length if it is compressed."""

    pack: bytes
    offset: int
    length: int
    uncompressed_length: int | None

    def entry(self, blob_type: BlobType, blob_id: bytes) -> PackEntry:
        """The copy as an entry of its pack."""
        return PackEntry(blob_type, blob_id, self.offset, self.length, self.uncompressed_length)


class PackLayout(NamedTuple):
    """What the blobs of a pack, as an index lists them, say of its file."""

    size: int
    """Bytes of the file, if it has these blobs and their header."""
    mixed: bool
    """Whether there are both trees and data."""
    gaps: bool
    """Whether blobs do not follow each other from 0 on (PACK-10)."""


class MarkedPack(NamedTuple):
    """A pack that rustic has marked for deletion: since when, and the bytes of its file, where the index says so (RUSTIC-2)."""

    time: str | None
    size: int | None


class IndexState(NamedTuple):
    """The state of a dumped index besides its columns."""

    rows: int
    slots: int
    packs: int
    copies: bool
    """Whether some blob has several."""
    seed: bytes
    """What decides about the places in the hash table."""
    marked: dict[bytes, MarkedPack]


class PreparedIndex(NamedTuple):
    """An index file, decoded but not taken in yet."""

    decoded: DecodedIndex
    marked: dict[bytes, MarkedPack]


class TreeColumns(NamedTuple):
    """The ordinary files of a tree, their blobs, and where everything else stands in it; see plans.h for what is in each."""

    size: bytes
    blobs: bytes
    permissions: bytes
    uid: bytes
    gid: bytes
    atime: bytes
    mtime: bytes
    names: bytes
    name_ends: bytes
    ids: bytes
    pack: bytes
    offset: bytes
    length: bytes
    uncompressed: bytes
    file: bytes
    file_offset: bytes
    others: bytes


class BlobIndex:
    """All blobs of all loaded indexes, and those of packs stored since.

    Reading needs no lock; adding is serialised. ``marked`` holds packs that are marked for deletion: they exist, but none of
    their blobs may be relied on.
    """

    def __init__(self) -> None:
        self._table = BlobTable()
        self._lock = threading.Lock()
        self.marked: dict[bytes, MarkedPack] = {}

    @staticmethod
    def prepare(raw: bytes, what: str = "index") -> PreparedIndex:
        """Decode the plaintext of an index file, in any thread, for `add_prepared`.

        Raises:
            JsonInvalid: it is not an index.
        """
        decoded = decode_index(raw)
        if decoded is None:
            packs, marked = index_format.decode_outline(raw, what)
            decoded = _decode_records(packs, what)
        else:
            marked = [msgspec.Raw(raw[start:end]) for start, end in decoded.marked()]
        return PreparedIndex(decoded, dict(_marked_pack(record, what) for record in marked))

    def add_prepared(self, prepared: PreparedIndex) -> None:
        """Take in an index file; call `finish_loading` after the last one."""
        with self._lock:
            self._table.merge(prepared.decoded)
            self.marked.update(prepared.marked)

    def add_raw(self, raw: bytes, what: str = "index") -> None:
        """`add_prepared` for an index file's plaintext. Raises as `prepare`; then nothing of it is taken in."""
        self.add_prepared(self.prepare(raw, what))

    def expect(self, rows: int) -> None:
        """Get ready for about so many rows in all; loading is faster then."""
        self._table.expect(rows)

    def finish_loading(self) -> None:
        """Make the blobs of all index files taken in findable."""
        with self._lock:
            self._table.finish_loading()

    def add_pack(self, pack_id: bytes, entries: Iterable[PackEntry]) -> None:
        """Add a pack that has just been stored."""
        with self._lock:
            number = self._table.add_pack(pack_id)
            for kind, blob_id, offset, length, plain in entries:
                self._table.add(_TYPE_CODE[kind], blob_id, number, offset, length, plain or 0)

    @property
    def can_dump(self) -> bool:
        """Whether the table is the compiled one, which has memory for `dump` to write out."""
        return hasattr(self._table, "parts")

    def dump(self) -> tuple[IndexState, list[memoryview]]:
        """The index as a few stretches of memory, for `restore` to fill again. Nothing may be added meanwhile."""
        table = self._table
        state = IndexState(
            len(table), table.slot_count(), table.pack_count(), table.has_copies(), table.seed(), dict(self.marked)
        )
        return state, table.parts(state.rows, state.packs)

    @classmethod
    def restore(cls, state: IndexState, fill: Callable[[list[memoryview]], None]) -> BlobIndex:
        """The index that was dumped; *fill* is given the memory its stretches are to be put into again.

        Raises:
            ValueError: they do not make up an index.
        """
        index = cls()
        table = BlobTable.allocate(state.rows, state.slots, state.copies, state.packs, state.seed)
        fill(table.parts(state.rows, state.packs))
        table.adopt(state.rows, state.packs)
        index._table = table
        index.marked = state.marked
        return index

    def lookup_all(self, blob_type: BlobType, blob_id: bytes) -> list[Location]:
        """Every known copy of a blob."""
        found = [Location(self.pack_id(place[0]), *place[1:]) for place in self._table.copies(_TYPE_CODE[blob_type], blob_id)]
        return found if len(found) < 2 else list(dict.fromkeys(found))

    def lookup(self, blob_type: BlobType, blob_id: bytes) -> Location | None:
        """Some known copy of a blob."""
        place = self._table.first(_TYPE_CODE[blob_type], blob_id)
        return None if place is None else Location(self.pack_id(place[0]), *place[1:])

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether any copy of the blob is known."""
        return self._table.first(_TYPE_CODE[blob_type], blob_id) is not None

    def has_all(self, blob_type: BlobType, ids: bytes) -> bool:
        """Whether each of several blobs is known, whose *ids* are joined."""
        return self._table.has_all(_TYPE_CODE[blob_type], ids)

    def __len__(self) -> int:
        """Copies of blobs, not distinct ones."""
        return len(self._table)

    def has_pack(self, pack_id: bytes) -> bool:
        """Whether an index lists this pack."""
        return self._table.pack_number(pack_id) is not None

    def repeated_packs(self) -> set[bytes]:
        """Packs that more than one index record lists."""
        table = self._table
        return {table.pack_id(number) for number in range(table.pack_count()) if table.is_repeated(number)}

    def packs(self, wanted: Container[bytes] | None = None) -> Iterator[ListedPack]:
        """Every pack, or those *wanted*, in the order they became known."""
        with self._lock:
            order, count = self._table.in_packs(), self._table.pack_count()
        for number in range(count):
            pack_id = self._table.pack_id(number)
            if wanted is None or pack_id in wanted:
                yield ListedPack(pack_id, order, number, repeated=self._table.is_repeated(number))

    def by_pack(self, wanted: Container[bytes] | None = None) -> Iterator[tuple[bytes, list[PackEntry]]]:
        """The same with the packs' entries."""
        return ((pack.id, pack.entries()) for pack in self.packs(wanted))

    def entries(self) -> Iterator[tuple[bytes, PackEntry]]:
        """Every copy of every blob with its pack, each once."""
        for pack_id, entries in self.by_pack():
            for entry in entries:
                yield pack_id, entry

    def use(self) -> IndexUse:
        """Which blobs are used: none so far. Until it has been looked at, nothing may be added."""
        with self._lock:
            return IndexUse(self._table.use())

    def pack_ids(self) -> list[bytes]:
        """Every pack, in the order of the numbers they have."""
        return [self._table.pack_id(number) for number in range(self._table.pack_count())]

    def check_tree(self, raw: Buffer) -> list[bytes] | None:
        """The ids of the directories in a tree in which nothing is wrong; None where anything might be, see `native.table`.

        Nothing may be added meanwhile.
        """
        return self._table.check_tree(raw)

    def plan_tree(self, raw: Buffer, file: int, names: int) -> TreeColumns | None:
        """A tree as columns, see `native.table`; None where it has to be decoded. Nothing may be added meanwhile."""
        columns = self._table.plan_tree(raw, file, names, MAX_BLOB_SIZE)
        return None if columns is None else TreeColumns(*columns)

    def pack_id(self, number: int) -> bytes:
        """The pack that has this number in the columns of `plan_tree`."""
        return self._table.pack_id(number)


class BlobCount(NamedTuple):
    """How many blobs, and the bytes of their plaintexts."""

    data: int
    trees: int
    bytes: int


class IndexUse:
    """Which blobs of an index are used, and which copy of each is kept; see `native.table` for what the bytes say."""

    def __init__(self, use: BlobUse) -> None:
        self._use = use

    def mark(self, blob_type: BlobType, blob_id: bytes) -> bool | None:
        """Mark a blob as used: whether it was not so before, None where it is not in the index."""
        return self._use.mark(_TYPE_CODE[blob_type], blob_id)

    def mark_tree(self, raw: Buffer) -> tuple[bytes, bytes] | None:
        """Mark what a tree needs: its new or missing trees, and its missing data blobs; None where it has to be decoded."""
        return self._use.mark_tree(raw)

    def beyond(self, other: IndexUse) -> BlobCount:
        """The blobs that are marked as used here and not in *other*, which belongs to the same index."""
        return BlobCount(*self._use.beyond(other._use))

    def choose(self, trust: bytes) -> list[PackUse]:
        """Choose which copies are kept, given how far each pack can be relied on: what every pack has, by number."""
        return [PackUse(*record) for record in PACK_USE.iter_unpack(self._use.choose(trust))]

    def kept(self, fate: bytes) -> KeptBlobs:
        """The blobs to be moved out of packs that are repacked, given what becomes of each pack."""
        return KeptBlobs(self._use.kept(fate))


class KeptBlobs:
    """The blobs to be moved out of packs."""

    def __init__(self, order: PackOrder) -> None:
        self._order = order

    def entries(self, number: int) -> list[PackEntry]:
        """Those of the pack with that number, in order of their offsets."""
        return [PackEntry(_TYPES[row[0]], *row[1:]) for row in self._order.rows(number)]


class ListedPack:
    """A pack as the index lists it; its blobs are looked up when they are asked for."""

    __slots__ = ("_number", "_order", "_repeated", "id")

    def __init__(self, pack_id: bytes, order: PackOrder, number: int, *, repeated: bool) -> None:
        self.id = pack_id
        self._order = order
        self._number = number
        self._repeated = repeated

    def entries(self) -> list[PackEntry]:
        """The pack's blobs in order of their offsets; those that several indexes list come once."""
        found = [PackEntry(_TYPES[row[0]], *row[1:]) for row in self._order.rows(self._number)]
        return list(dict.fromkeys(found)) if self._repeated else found

    def lengths(self) -> list[tuple[BlobType, int, int | None]]:
        """Of the same blobs type, sealed length, and the plaintext's length of a compressed one; quicker."""
        if self._repeated:
            return [(entry.type, entry.length, entry.uncompressed_length) for entry in self.entries()]
        return [(_TYPES[row[0]], row[3], row[4]) for row in self._order.rows(self._number)]

    def layout(self) -> PackLayout:
        """The layout of the pack's file, as its blobs imply it."""
        return layout_of(self.entries()) if self._repeated else PackLayout(*self._order.layout(self._number))

    def holds_trees(self) -> bool:
        """Whether there are trees in it and nothing else, where that can be told at once."""
        header = self.header()
        return header is not None and header[0] in (KIND_TREE, KIND_COMPRESSED_TREE) and not self.layout().mixed

    def header(self) -> bytes | None:
        """The plaintext of the header it must have, where that can be told at once."""
        return None if self._repeated or self.layout().gaps else self._order.header(self._number)


def layout_of(entries: Sequence[PackEntry]) -> PackLayout:
    """What *entries*, in order of their offsets, say of their pack's file."""
    end = 0
    gaps = False
    for entry in entries:
        gaps = gaps or entry.offset != end
        end = entry.offset + entry.length
    size = OVERHEAD + LENGTH_SIZE + sum(entry.length + entry.header_size for entry in entries)
    return PackLayout(size, len({entry.type for entry in entries}) > 1, gaps)


def _decode_records(records: Iterable[msgspec.Raw], what: str) -> DecodedIndex:
    """What the packs of an index file list; one record is taken apart at a time."""
    decoded = DecodedIndex()
    for record in records:
        pack = index_format.decode_pack(record, what)
        entries = index_format.entries_of(pack)
        decoded.add_pack(bytes.fromhex(pack.id))
        for kind, blob_id, offset, length, plain in entries:
            decoded.add(_TYPE_CODE[kind], blob_id, offset, length, plain or 0)
    return decoded


def _marked_pack(record: msgspec.Raw, what: str) -> tuple[bytes, MarkedPack]:
    pack = index_format.decode_pack(record, what)
    return bytes.fromhex(pack.id), MarkedPack(pack.time, pack.size)
