"""Which blobs each tree needs, and their stored sizes; blobs, those of trees among them, are numbered as they are found."""

from __future__ import annotations

import posixpath
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from restic_format.errors import BlobMissing, ResticFormatError
from restic_format.explore.treesizes import TreeFacts, TreeSizes, read_sizes
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, list_directory, subtree_of
from restic_format.snapshots.idset import IdSet
from restic_format.work import Advance, Cancel, Progress
from restic_spec.ids import ID_SIZE
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node

Damaged = Callable[[str, ResticFormatError], None]
"""Told what cannot be counted, and why; it counts as empty."""

_U64 = (1 << 64) - 1


class CostTrees(TreeSizes):
    """The trees that were read so far, and the blobs they need."""

    def __init__(self, repository: Repository, damaged: Damaged | None = None) -> None:
        super().__init__()
        self._repository = repository
        self._damaged = damaged
        self._data = IdSet(len(repository.index))
        self._data_blob = array("I")
        """For each data blob, in the order they were found, its number."""
        self._tree_blob = array("I")
        """The same for trees."""
        self.sizes = array("I")
        """For each blob the bytes of one copy as stored."""
        self._needed = array("I")
        self._first_needed = array("Q")
        """For each tree where the numbers of its data blobs begin in ``_needed``."""
        self._count_needed = array("I")

    def add_tree(self, tree_id: bytes) -> bool:
        """Put a tree in; false if it is there already."""
        if not super().add_tree(tree_id):
            return False
        self._tree_blob.append(self.new_blob(BlobType.TREE, tree_id))
        self._first_needed.append(0)
        self._count_needed.append(0)
        return True

    def look(self, nodes: Sequence[Node], directories: int) -> object:
        """The ids of the data blobs that files need, joined."""
        del directories
        return bytes.fromhex("".join(["".join(node.content) for node in nodes if node.type == FILE and node.content]))

    def keep(self, number: int, facts: TreeFacts) -> None:
        """Keep which blobs a tree needs, each once."""
        ids = b"".join(cast(list[bytes], facts.looked))
        self.set_needed(number, {self.data_blob(ids[start : start + ID_SIZE]): None for start in range(0, len(ids), ID_SIZE)})

    def set_needed(self, number: int, blobs: Iterable[int]) -> None:
        """Set the data blobs that a tree needs, once for each tree."""
        self._first_needed[number] = len(self._needed)
        self._needed.extend(blobs)
        self._count_needed[number] = len(self._needed) - self._first_needed[number]

    def data_blob(self, blob_id: bytes) -> int:
        """The number of a data blob."""
        number = self._data.number_of(blob_id)
        if number == len(self._data_blob):
            self._data_blob.append(self.new_blob(BlobType.DATA, blob_id))
        return self._data_blob[number]

    def new_blob(self, blob_type: BlobType, blob_id: bytes) -> int:
        """Take note of a blob that came up first; its number."""
        location = self._repository.index.lookup(blob_type, blob_id)
        if location is None and blob_type is BlobType.DATA:
            self.tell(f"data blob {blob_id.hex()}", BlobMissing("it is in no index: run check"))
        self.sizes.append(0 if location is None else location.length)
        return len(self.sizes) - 1

    def tree_blob(self, number: int) -> int:
        """The number that a tree has as a blob."""
        return self._tree_blob[number]

    def needed(self, number: int) -> Sequence[int]:
        """The numbers of the data blobs that a tree's files need."""
        first = self._first_needed[number]
        return self._needed[first : first + self._count_needed[number]]

    def times(self, tops: Sequence[int]) -> dict[int, int]:
        """How often each tree occurs in *tops* and below, every tree before those that are in it."""
        order: list[int] = []
        seen: set[int] = set()
        waiting = [(top, False) for top in tops]
        while waiting:
            number, done = waiting.pop()
            if done:
                order.append(number)
            elif number not in seen:
                seen.add(number)
                waiting.append((number, True))
                waiting += [(child, False) for child in self.children(number)]
        times = dict.fromkeys(reversed(order), 0)
        for top in tops:
            times[top] += 1
        for number in times:
            for child in self.children(number):
                times[child] = (times[child] + times[number]) & _U64
        return times

    def tell(self, what: str, error: ResticFormatError) -> None:
        """Tell of what cannot be counted, or raise it."""
        if self._damaged is None:
            raise error
        self._damaged(what, error)

    def read_root(self, tree_id: bytes, cancel: Cancel | None = None) -> int:
        """Read a tree and everything below it; its number. Raises as `read_sizes`, unless there is somebody to tell."""
        damaged = None if self._damaged is None else lambda tree, error: self.tell(f"tree {tree.hex()}", error)
        read_sizes(self._repository, tree_id, self, damaged=damaged, cancel=cancel)
        return self.number(tree_id)

    def read_snapshots(
        self, snapshots: Iterable[FoundSnapshot], progress: Progress[Advance], total: int, cancel: Cancel | None = None
    ) -> Iterable[int | None]:
        """The number of the top tree of each of *snapshots*, which is read then; None where there is none."""
        for done, found in enumerate(snapshots, 1):
            if found.snapshot.tree:
                yield self.read_root(bytes.fromhex(found.snapshot.tree), cancel)
            else:
                self.tell(f"snapshot {found.short_id}", ResticFormatError("it has no tree"))
                yield None
            progress(Advance("snapshots", done, total))


def mark_needed(trees: CostTrees, roots: Iterable[int], marks: bytearray) -> None:
    """Mark, by number, all blobs that *roots* and everything below them need."""
    waiting = list(roots)
    while waiting:
        number = waiting.pop()
        blob = trees.tree_blob(number)
        if marks[blob]:
            continue
        marks[blob] = 1
        for needed in trees.needed(number):
            marks[needed] = 1
        waiting.extend(trees.children(number))


def clean_path(path: str) -> str:
    """A path in a snapshot, from its top on."""
    return posixpath.normpath("/" + path.lstrip("/"))


def mark_beside(repository: Repository, trees: CostTrees, root: bytes, path: str, marks: bytearray) -> None:
    """Mark the blobs that the snapshot needs without the directory at *path*."""
    tree = root
    for name in clean_path(path).split("/"):
        if not name:
            continue
        number = trees.number(tree)
        for blob in (trees.tree_blob(number), *trees.needed(number)):
            marks[blob] = 1
        for entry, subtree in directories_in(repository, tree):
            if entry == name:
                tree = subtree
            else:
                mark_needed(trees, [trees.number(subtree)], marks)


def directories_in(repository: Repository, tree: bytes) -> Iterator[tuple[str, bytes]]:
    """The directories in a tree, with their trees."""
    for node in list_directory(repository, tree):
        if node.type == DIR:
            yield node.name, subtree_of(node)
