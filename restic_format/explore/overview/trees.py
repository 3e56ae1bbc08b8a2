"""Trees read once for everything an overview says of them: what costs need, types of files, and which paths need what.

Of ordinary files in trees of restic's form columns are made at once (`BlobIndex.plan_tree`); everything else is decoded.
Memory: that of `CostTrees`, and for each file in each different tree 20 bytes.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

from restic_format.explore.cost.trees import CostTrees, Damaged
from restic_format.explore.cost.types import MOST_TYPES, type_of_name
from restic_format.explore.treesizes import TreeFacts, TreeNeeds
from restic_format.repository import Repository
from restic_format.repository.index import TreeColumns
from restic_format.snapshots.nodes import RawNodeReader
from restic_format.snapshots.used import Needed, UsedInIndex
from restic_spec import gojson, wire
from restic_spec.crypto import OVERHEAD
from restic_spec.ids import ID_SIZE
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node

COLUMNS_BOUND = 16 << 20
"""Bytes of trees of which columns are made; larger ones are decoded a part at a time."""
MOST_MEMBERS = 100
"""Undeclared members of nodes that are told of."""

_NEVER, _SEVERAL = -1, -2
_U64 = (1 << 64) - 1
_MEMBERS = frozenset(Node.__struct_encode_fields__)


class _Entry(NamedTuple):
    """What is kept of a node."""

    name: bytes
    type: str
    size: int
    blobs: bytes
    """The ids of a file's content, joined."""


class _Files(NamedTuple):
    """The ordinary files of a tree."""

    columns: TreeColumns


class _Unknown(NamedTuple):
    """The undeclared members of a tree's nodes, and how many nodes have each."""

    members: dict[str, int]


class TypeCounts(NamedTuple):
    """The entries of one type: how many, and bytes."""

    entries: int
    size: int
    stored: int
    unique: int


class OverviewTrees(CostTrees):
    """The trees that were read so far. While `counting` is set they are those of the snapshots that are shown."""

    def __init__(self, repository: Repository, damaged: Damaged) -> None:
        super().__init__(repository, damaged)
        self.used = UsedInIndex(repository.index)
        """The same as marks in the index, for what a prune would do."""
        self.plain = dict.fromkeys(BlobType, 0)
        """Plain bytes of all blobs so far, by type."""
        self.members: dict[str, int] = {}
        """How many nodes have an undeclared member."""
        self.counting = True
        self._types: dict[str, int] = {"": 0}
        self._type_of: dict[bytes, int] = {}
        """Numbers of types by the last bytes of names, as a shortcut."""
        self._sums = array("Q")
        """For each tree type, entries and bytes of each type in it."""
        self._first_sum = array("Q")
        self._sum_count = array("I")
        self._first_file = array("Q")
        """For each tree where its files that are not empty begin in the next two."""
        self._file_count = array("I")
        self._file_names = array("q")
        """Hashes of names."""
        self._file_blobs = array("I")
        """How many of what `needed` gives are the file's."""
        self._child_names = array("q")
        """Hashes of the names of the directories in a tree, as `children` gives them."""
        self._owner = array("i")
        """For each blob the type of the files that need it."""
        self._further: set[tuple[int, int]] = set()
        """Blobs with types that need them besides the first one."""
        self._stored: list[int] = [0]
        self._alone: list[int] = [0]
        """Bytes by type: of blobs they need, and of those that no other type does."""

    def add_tree(self, tree_id: bytes) -> bool:
        """Put a tree in; false if it is there already."""
        if not super().add_tree(tree_id):
            return False
        self.used.add_tree(tree_id)
        for column in (self._first_sum, self._sum_count, self._first_file, self._file_count):
            column.append(0)
        return True

    def new_blob(self, blob_type: BlobType, blob_id: bytes) -> int:
        """Take note of a blob that came up first; its number."""
        number = super().new_blob(blob_type, blob_id)
        location = self._repository.index.lookup(blob_type, blob_id)
        if location is not None:
            length = location.uncompressed_length
            self.plain[blob_type] += location.length - OVERHEAD if length is None else length
        self._owner.append(_NEVER)
        return number

    def read(self, tree_id: bytes, raw: bytes) -> Needed:
        """What a tree needs and adds. Raises as `TreeSizes.read`."""
        self.used.read(tree_id, raw)  # what is missing is told of by `new_blob`
        columns = self._repository.index.plan_tree(raw, 0, 0) if len(raw) <= COLUMNS_BOUND else None
        if columns is None:
            needs = cast(TreeNeeds, super().read(tree_id, raw))
            needs.facts.looked.append(_Unknown(_unknown_members(raw, tree_id)))
            return needs
        if columns.others:
            ends = array("Q", columns.others)
            rest = b",".join([raw[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)])
            needs = cast(TreeNeeds, super().read(tree_id, b'{"nodes":[' + rest + b"]}"))
        else:
            needs = TreeNeeds(b"", b"")
            needs.tree, needs.facts = tree_id, TreeFacts(0, 0, 0, array("Q"), [])
        facts = needs.facts
        sizes = array("Q", columns.size)
        size = sum(sizes)
        facts.entries += len(sizes)
        facts.single = (facts.single + size) & _U64
        facts.every = (facts.every + size) & _U64
        facts.looked.append(_Files(columns))
        return needs

    def look(self, nodes: Sequence[Node], directories: int) -> list[_Entry]:
        """The nodes, as far as they are kept."""
        del directories
        return [
            _Entry(
                node.name_bytes,
                node.type,
                node.size,
                bytes.fromhex("".join(node.content)) if node.type == FILE and node.content else b"",
            )
            for node in nodes
        ]

    def keep(self, number: int, facts: TreeFacts) -> None:
        """Keep sums by type, and which blobs each file needs."""
        sums: dict[int, tuple[int, int]] = {}
        first_file, first_blob = len(self._file_names), len(self._needed)
        self._first_file[number], self._first_needed[number] = first_file, first_blob
        for found in facts.looked:
            if isinstance(found, _Files):
                self._keep_files(found.columns, sums)
            elif isinstance(found, _Unknown):
                for name, count in found.members.items():
                    if name in self.members or len(self.members) < MOST_MEMBERS:
                        self.members[name] = self.members.get(name, 0) + count
            else:
                self._keep_entries(cast(list[_Entry], found), sums)
        self._file_count[number] = len(self._file_names) - first_file
        self._count_needed[number] = len(self._needed) - first_blob
        self._first_sum[number], self._sum_count[number] = len(self._sums), len(sums)
        for kind, (entries, size) in sums.items():
            self._sums.extend((kind, entries, size & _U64))

    def _keep_files(self, columns: TreeColumns, sums: dict[int, tuple[int, int]]) -> None:
        names, ids = columns.names, columns.ids
        lengths, plains = array("I", columns.length), array("I", columns.uncompressed)
        number_of, data_blob, sizes = self._data.number_of, self._data_blob, self.sizes
        plain = 0
        numbers = []
        for place, length in enumerate(lengths):
            number = number_of(ids[place * ID_SIZE : (place + 1) * ID_SIZE])
            if number == len(data_blob):  # as `data_blob`, for a copy whose lengths are known
                data_blob.append(len(sizes))
                sizes.append(length)
                plain += plains[place] or length - OVERHEAD
            numbers.append(data_blob[number])
        self.plain[BlobType.DATA] += plain
        self._owner.extend([_NEVER] * (len(sizes) - len(self._owner)))
        file_sizes, counts, ends = array("Q", columns.size), array("I", columns.blobs), array("Q", columns.name_ends)
        files = [names[start:end] for start, end in zip(itertools.chain((0,), ends), ends, strict=False)]
        kinds = list(map(self._type_number, files))
        for kind, size in zip(kinds, file_sizes, strict=True):
            entries, bytes_ = sums.get(kind, (0, 0))
            sums[kind] = entries + 1, bytes_ + size
        if counts.count(1) == len(counts):
            self._file_names.extend(map(hash, files))
            self._file_blobs.extend(counts)
            self._needed.extend(numbers)
            self._own(numbers, kinds)
            return
        blob = 0
        for name, kind, count in zip(files, kinds, counts, strict=True):
            if count:
                self._keep_file(name, kind, dict.fromkeys(numbers[blob : blob + count]))
            blob += count

    def _keep_entries(self, found: Iterable[_Entry], sums: dict[int, tuple[int, int]]) -> None:
        for name, node_type, size, blobs in found:
            if node_type == DIR:
                self._child_names.append(hash(name))
            kind = self._type_number(name) if node_type == FILE else self._number_of("/" + node_type[:LONGEST_TYPE])
            entries, bytes_ = sums.get(kind, (0, 0))
            sums[kind] = entries + 1, bytes_ + (0 if node_type == DIR else size)
            if blobs:
                ids = (blobs[place : place + ID_SIZE] for place in range(0, len(blobs), ID_SIZE))
                self._keep_file(name, kind, dict.fromkeys(map(self.data_blob, ids)))

    def _keep_file(self, name: bytes, kind: int, blobs: Iterable[int]) -> None:
        """Keep a file that is not empty, given by the numbers of its different blobs."""
        self._file_names.append(hash(name))
        before = len(self._needed)
        self._needed.extend(blobs)
        self._file_blobs.append(len(self._needed) - before)
        self._own(blobs, itertools.repeat(kind))

    def _own(self, blobs: Iterable[int], kinds: Iterable[int]) -> None:
        """Count that files of *kinds* need *blobs*."""
        if not self.counting:
            return
        owner, sizes, stored, alone = self._owner, self.sizes, self._stored, self._alone
        for blob, kind in zip(blobs, kinds, strict=False):
            known = owner[blob]
            if known == kind:
                continue
            size = sizes[blob]
            if known == _NEVER:
                owner[blob] = kind
                alone[kind] += size
            elif (blob, kind) in self._further:
                continue
            else:
                self._further.add((blob, kind))
                if known != _SEVERAL:
                    self._further.add((blob, known))
                    owner[blob] = _SEVERAL
                    alone[known] -= size
            stored[kind] += size

    def _type_number(self, name: bytes) -> int:
        """The number of the type of files that are called so."""
        dot = name.rfind(b".")
        if dot <= 0:
            return 0
        # What is before the dot counts only where it is nothing but dots.
        ending = name[dot:] if name[dot - 1] != 0x2E else name
        number = self._type_of.get(ending)
        if number is None:
            number = self._number_of(type_of_name(gojson.to_text(name)))
            if len(self._type_of) < MOST_TYPES:
                self._type_of[ending] = number
        return number

    def _number_of(self, name: str) -> int:
        if name not in self._types:
            if len(self._types) >= MOST_TYPES:
                return 0
            self._types[name] = len(self._types)
            self._stored.append(0)
            self._alone.append(0)
        return self._types[name]

    def files(self, number: int) -> Iterator[tuple[int, Sequence[int]]]:
        """The files in a tree that are not empty: the hash of its name, and the numbers of its blobs, each once."""
        first, blob = self._first_file[number], self._first_needed[number]
        for place in range(first, first + self._file_count[number]):
            end = blob + self._file_blobs[place]
            yield self._file_names[place], self._needed[blob:end]
            blob = end

    def directories(self, number: int) -> Iterator[tuple[int, int]]:
        """The directories in a tree: the hash of its name, and the number of its tree."""
        first = self._first[number]
        end = first + self._count[number]
        return zip(self._child_names[first:end], self._children[first:end], strict=True)

    def count_types(self, tops: Sequence[int]) -> dict[str, TypeCounts]:
        """By type what is in the trees *tops* and below: files by what their names end with, other entries by ``/`` and their
        type; each as often as it occurs.
        """
        entries, size = [0] * len(self._types), [0] * len(self._types)
        for number, factor in self.times(tops).items():
            first = self._first_sum[number]
            for place in range(first, first + 3 * self._sum_count[number], 3):
                kind = self._sums[place]
                entries[kind] = (entries[kind] + factor * self._sums[place + 1]) & _U64
                size[kind] = (size[kind] + factor * self._sums[place + 2]) & _U64
        numbers = zip(self._types, entries, size, self._stored, self._alone, strict=True)
        return {name: TypeCounts(*of_type) for name, *of_type in numbers if of_type[0]}


LONGEST_TYPE = 20
"""Characters of a node's type that tell it apart."""


def _unknown_members(raw: bytes, tree_id: bytes) -> dict[str, int]:
    found: dict[str, int] = {}
    what = f"tree {tree_id.hex()[:8]}"
    reader = RawNodeReader(raw, what)
    while nodes := reader.next():
        for node in nodes:
            for name in wire.raw_members(bytes(node), what, "TREE-1").keys() - _MEMBERS:
                if name in found or len(found) < MOST_MEMBERS:
                    found[name] = found.get(name, 0) + 1
    return found
