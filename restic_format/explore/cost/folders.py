"""What the directories in a snapshot cost.

They are rows of a tree, and blobs are counted on the way through it. What a blob adds depends on where it was counted last: it
adds nothing to the directories that both places are in.
"""

from __future__ import annotations

import posixpath
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from restic_format.errors import ResticFormatError, SnapshotNotFound, UsageError
from restic_format.explore.cost.records import Cost, Stored, count_stored
from restic_format.explore.cost.trees import CostTrees, Damaged, clean_path, directories_in, mark_beside, mark_needed
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, resolve_subfolder
from restic_format.work import Advance, Cancel, Progress, silent

MOST_ROWS = 1_000_000
"""Directories that are told of at most; so many no one reads, and a forged snapshot could have any number."""

_NEVER = -1


class FolderCost(NamedTuple):
    """What a directory costs, compared with what else is in the same one: see `Cost`."""

    path: str
    """Its path in the snapshot."""
    above: int
    """The row of the directory it is in; -1 for the first row."""
    depth: int
    """Directories between it and the first row: 1 for those directly in that."""
    cost: Cost


class FolderCosts(NamedTuple):
    """What directories cost; the first row is the one that was asked for, and each comes after the one it is in."""

    rows: list[FolderCost]
    repository: Stored


def folder_costs(
    repository: Repository,
    found: FoundSnapshot,
    path: str,
    others: Sequence[FoundSnapshot],
    *,
    depth: int = 1,
    damaged: Damaged | None = None,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> FolderCosts:
    """What the directory *path* of a snapshot costs, and those in it, down to *depth* below it; the index must be loaded.

    *others* are the rest of the repository's snapshots. A row's ``unique`` is what nothing else in the snapshot needs,
    ``freed`` what nothing else in the repository does.

    Raises:
        SnapshotNotFound: there is no such directory, or the snapshot has no tree.
        UsageError: there are more than `MOST_ROWS` directories.
        BlobMissing, DamagedFile, StorageError, NodeUnusable: something cannot be counted, and there is no *damaged*.
        Interrupted: it was cancelled.
    """
    if not found.snapshot.tree:
        raise SnapshotNotFound(f"snapshot {found.short_id} has no tree")
    trees = CostTrees(repository, damaged)
    roots = [root for root in trees.read_snapshots([found, *others], progress, 1 + len(others), cancel) if root is not None]
    root = bytes.fromhex(found.snapshot.tree)
    top = resolve_subfolder(repository, root, path)
    elsewhere = bytearray(len(trees.sizes))
    beside = bytearray(len(trees.sizes))
    mark_needed(trees, [number for number in roots if number != trees.number(root)], elsewhere)
    if any(item.snapshot.tree == found.snapshot.tree for item in others):
        mark_needed(trees, [trees.number(root)], elsewhere)
    mark_beside(repository, trees, root, path, beside)
    rows = _Rows(trees, repository)
    rows.expand(clean_path(path), top, depth)
    everything = bytearray(elsewhere)
    mark_needed(trees, [trees.number(root)], everything)
    needed = sum(size for size, mark in zip(trees.sizes, everything, strict=True) if mark)
    return FolderCosts(rows.costs(elsewhere, beside), Stored(count_stored(repository), needed))


class _Row(NamedTuple):
    path: str
    above: int
    depth: int
    tree: bytes


class _Rows:
    def __init__(self, trees: CostTrees, repository: Repository) -> None:
        self._trees = trees
        self._repository = repository
        self._rows: list[_Row] = []
        self._stored: list[int] = []
        """For each row what it adds to itself and all rows above it."""
        self._last = array("i", [_NEVER]) * len(trees.sizes)
        """The row in which each blob was counted last."""
        self._owner = array("i", [_NEVER]) * len(trees.sizes)
        """The lowest row that has all the places that need it."""

    def expand(self, path: str, tree: bytes, depth: int) -> None:
        """Make rows of a directory and those in it, and count."""
        waiting = [_Row(path, _NEVER, 0, tree)]
        while waiting:
            row = waiting.pop()
            if len(self._rows) == MOST_ROWS:
                raise UsageError(f"more than {MOST_ROWS:,} directories: ask for a smaller depth or a directory in it")
            number = len(self._rows)
            self._rows.append(row)
            self._stored.append(0)
            place = self._trees.number(row.tree)
            if row.depth == depth:
                self._count_below(place, number)
                continue
            self._count([self._trees.tree_blob(place), *self._trees.needed(place)], number)
            below = []
            try:
                for name, subtree in directories_in(self._repository, row.tree):
                    below.append(_Row(posixpath.join(row.path, name), number, row.depth + 1, subtree))
            except ResticFormatError as error:
                self._trees.tell(f"directory {row.path}", error)
            waiting += reversed(below)

    def _count_below(self, top: int, row: int) -> None:
        trees = self._trees
        waiting = [top]
        while waiting:
            number = waiting.pop()
            blob = trees.tree_blob(number)
            if self._last[blob] != row:
                self._count([blob, *trees.needed(number)], row)
                waiting.extend(trees.children(number))

    def _count(self, blobs: Iterable[int], row: int) -> None:
        last, stored, sizes = self._last, self._stored, self._trees.sizes
        for blob in blobs:
            before = last[blob]
            if before == row:
                continue
            last[blob] = row
            stored[row] += sizes[blob]
            if before == _NEVER:
                self._owner[blob] = row
            else:
                stored[self._common(before, row)] -= sizes[blob]
                self._owner[blob] = self._common(self._owner[blob], row)

    def _common(self, first: int, second: int) -> int:
        """The lowest row that both rows are in."""
        rows = self._rows
        while first != second:
            # A row has a greater number than the one it is in.
            if first < second:
                first, second = second, first
            first = rows[first].above
        return first

    def costs(self, elsewhere: bytearray, beside: bytearray) -> list[FolderCost]:
        """What the rows cost, given which blobs other snapshots need, and the rest of this one."""
        unique, freed = [0] * len(self._rows), [0] * len(self._rows)
        for blob, owner in enumerate(self._owner):
            if owner != _NEVER and not beside[blob]:
                unique[owner] += self._trees.sizes[blob]
                if not elsewhere[blob]:
                    freed[owner] += self._trees.sizes[blob]
        stored = self._stored[:]
        for number in range(len(self._rows) - 1, 0, -1):
            for column in (stored, unique, freed):
                column[self._rows[number].above] += column[number]
        found = []
        for row, *numbers in zip(self._rows, stored, unique, freed, strict=True):
            sizes = self._trees.of(row.tree)
            found.append(FolderCost(row.path, row.above, row.depth, Cost(sizes.entries, sizes.size, *numbers)))
        return found
