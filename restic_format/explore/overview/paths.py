"""Which files and directories need most that nothing else needs.

A path counts in whichever snapshots it is, with whatever was in it. It is known by its directory's row and a hash of its name,
so that no name is kept; those of the few that are told of are read again at the end. What a blob adds belongs to the lowest
directory that has all the places that need it, and to a file where these are one.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable
from typing import NamedTuple

from restic_format.errors import ResticFormatError
from restic_format.explore.overview.records import LargeItem
from restic_format.explore.overview.trees import OverviewTrees
from restic_format.repository import Repository
from restic_format.snapshots.nodes import NodeReader
from restic_format.work import Cancel
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node

MOST_ROWS = 1_000_000
"""Paths of directories that are told apart."""
MOST_FURTHER = 500_000
"""Trees that a path, or several, have besides the first one; beyond that, and `MOST_ROWS`, nothing more is looked at."""
MOSTLY = 0.9
"""A directory of which a single one in it has so great a part says less than that one, and is left out."""
_AT_ONCE = 500_000
"""Blobs for which sums of files are made at once."""

_NEVER = -1
_NONE, _SEVERAL = 0, 1
_MASK = (1 << 64) - 1


def _key_of(row: int, name: int) -> int:
    """What names a file, given its directory's row and the hash of its name."""
    key = hash((row, name))
    return key if key not in (_NONE, _SEVERAL) else 2


class Largest(NamedTuple):
    """The files and directories that need most that nothing else needs."""

    files: tuple[LargeItem, ...]
    folders: tuple[LargeItem, ...]
    complete: bool
    """Whether all paths were looked at."""


def find_largest(
    repository: Repository,
    trees: OverviewTrees,
    roots: Iterable[int],
    elsewhere: bytearray,
    top: int,
    *,
    cancel: Cancel | None = None,
) -> Largest:
    """The *top* largest in the trees *roots*, the latest first; *elsewhere* marks the blobs that others need.

    Names are read again: the trees that have them may be damaged by now, which is told as when they are read first.

    Raises:
        Interrupted: it was cancelled.
    """
    paths = _Paths(repository, trees, elsewhere)
    complete = all(paths.visit(root, cancel) for root in dict.fromkeys(roots))
    return Largest(paths.largest_files(top), paths.largest_folders(top), complete)


class _Paths:
    def __init__(self, repository: Repository, trees: OverviewTrees, elsewhere: bytearray) -> None:
        self._repository = repository
        self._trees = trees
        self._elsewhere = elsewhere
        blobs = len(trees.sizes)
        self._row = array("i", [_NEVER]) * blobs
        """For each blob the lowest row that has all the places that need it."""
        self._file = array("q", [_NONE]) * blobs
        """For each blob what names the only file that needs it."""
        self._place = array("I", [0]) * blobs
        """For each blob the tree in which that file is."""
        self._above = array("i", [_NEVER])
        """The rows: directories, each after the one it is in."""
        self._name = array("q", [0])
        self._above_tree = array("I", [0])
        """The tree that has the entry of the directory."""
        self._rows: dict[int, int] = {}
        self._first_row = array("i", [_NEVER]) * len(trees.trees)
        """For each tree the first row that has it."""
        self._further: set[int] = set()
        """Rows and trees that they have besides."""
        self._names: dict[tuple[int, int, str], Node | None] = {}

    def visit(self, root: int, cancel: Cancel | None) -> bool:
        """Look at a root and everything below it; false where there is too much."""
        waiting = [(0, root)]
        while waiting:
            row, number = waiting.pop()
            first = self._first_row[number]
            if first == row:
                continue
            if first == _NEVER:
                self._first_row[number] = row
            else:
                pair = row << 32 | number
                if pair in self._further:
                    continue
                if len(self._further) >= MOST_FURTHER:
                    return False
                self._further.add(pair)
            if cancel is not None:
                cancel.check()
            self._claim(number, row)
            for name, child in self._trees.directories(number):
                below = self._row_of(row, name, number)
                if below is None:
                    return False
                waiting.append((below, child))
        return True

    def _row_of(self, above: int, name: int, tree: int) -> int | None:
        key = above << 64 | (name & _MASK)
        row = self._rows.get(key)
        if row is None:
            row = len(self._above)
            if row > MOST_ROWS:
                return None
            self._rows[key] = row
            self._above.append(above)
            self._name.append(name)
            self._above_tree.append(tree)
        return row

    def _claim(self, number: int, row: int) -> None:
        """Count what a tree and the files in it need."""
        rows, files, places = self._row, self._file, self._place
        blob = self._trees.tree_blob(number)
        rows[blob] = row if rows[blob] == _NEVER else self._common(rows[blob], row)
        for name, blobs in self._trees.files(number):
            key = _key_of(row, name)
            for blob in blobs:
                known = files[blob]
                if known == key:
                    continue
                if known == _NONE:
                    rows[blob], files[blob], places[blob] = row, key, number
                else:
                    files[blob] = _SEVERAL
                    if rows[blob] != row:
                        rows[blob] = self._common(rows[blob], row)

    def _common(self, first: int, second: int) -> int:
        """The lowest row that both rows are in."""
        above = self._above
        while first != second:
            # A row has a greater number than the one it is in.
            if first < second:
                first, second = second, first
            first = above[first]
        return first

    def largest_files(self, top: int) -> tuple[LargeItem, ...]:
        """The files that need most alone."""
        sizes, elsewhere = self._trees.sizes, self._elsewhere
        parts = len(sizes) // _AT_ONCE + 1
        best: list[tuple[int, int]] = []
        for part in range(parts):
            sums: dict[int, int] = {}
            for key, size, other in zip(self._file, sizes, elsewhere, strict=True):
                if not other and key not in (_NONE, _SEVERAL) and key % parts == part:
                    sums[key] = sums.get(key, 0) + size
            best = heapq.nlargest(top, [*best, *((size, key) for key, size in sums.items() if size)])
        wanted = {key: size for size, key in best}
        found = []
        for blob, key in enumerate(self._file):
            if key in wanted and not elsewhere[blob]:
                found.append(self._file_item(blob, key, wanted.pop(key)))
        return tuple(sorted(found, key=lambda item: (-item.unique, item.path)))

    def _file_item(self, blob: int, key: int, unique: int) -> LargeItem:
        row, tree = self._row[blob], self._place[blob]
        for name, _ in self._trees.files(tree):
            if _key_of(row, name) == key:
                node = self._find(tree, name, FILE)
                if node is not None:
                    return LargeItem(f"{self._path(row)}/{node.name}", unique, node.size)
        return LargeItem(f"{self._path(row)}/?", unique, 0)

    def largest_folders(self, top: int) -> tuple[LargeItem, ...]:
        """The directories that need most alone, but those of which one in it has most of that, and the top."""
        above, elsewhere = self._above, self._elsewhere
        unique = [0] * len(above)
        for size, row, other in zip(self._trees.sizes, self._row, elsewhere, strict=True):
            if row != _NEVER and not other:
                unique[row] += size
        largest_below = [0] * len(above)
        for row in range(len(above) - 1, 0, -1):
            unique[above[row]] += unique[row]
            largest_below[above[row]] = max(largest_below[above[row]], unique[row])
        rows = (row for row in range(1, len(above)) if unique[row] and largest_below[row] < MOSTLY * unique[row])
        found = [LargeItem(self._path(row), unique[row], 0) for row in heapq.nlargest(top, rows, key=unique.__getitem__)]
        return tuple(sorted(found, key=lambda item: (-item.unique, item.path)))

    def _path(self, row: int) -> str:
        """The path of a row, "" for the first one."""
        names: list[str] = []
        while row:
            node = self._find(self._above_tree[row], self._name[row], DIR)
            names.append("?" if node is None else node.name)
            row = self._above[row]
        return "".join(f"/{name}" for name in reversed(names))

    def _find(self, number: int, name: int, node_type: str) -> Node | None:
        """The entry of a tree by the hash of its name; None where the tree cannot be read any more."""
        place = number, name, node_type
        if place not in self._names:
            self._names[place] = self._read(self._trees.trees.at(number), name, node_type)
        return self._names[place]

    def _read(self, tree_id: bytes, name: int, node_type: str) -> Node | None:
        try:
            raw = self._repository.load_blob(BlobType.TREE, tree_id)
            reader = NodeReader(raw, f"tree {tree_id.hex()[:8]}")
            while nodes := reader.next():
                for node in nodes:
                    if node.type == node_type and hash(node.name_bytes) == name:
                        return node
        except ResticFormatError as error:
            self._trees.tell(f"tree {tree_id.hex()}", error)
        return None
