"""What each snapshot costs.

The snapshots pass one after the other: for each blob it is known how many trees of the present one need it. From one to the
next only trees count that come or go, so that many snapshots of much the same take little more time than one.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from restic_format.explore.cost.records import Cost, Stored, count_stored
from restic_format.explore.cost.trees import CostTrees, Damaged
from restic_format.explore.treesizes import Sizes
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot
from restic_format.work import Advance, Cancel, Progress, silent

_NEVER, _SEVERAL = -1, -2
"""Instead of a snapshot: none yet, more than one."""


class SnapshotCost(NamedTuple):
    """What one snapshot costs, compared with the others that were asked for."""

    found: FoundSnapshot
    cost: Cost


class SnapshotCosts(NamedTuple):
    """What snapshots cost."""

    rows: list[SnapshotCost]
    total: Cost
    """All of them: ``unique`` is what only one of them needs each, ``freed`` what is freed when all are forgotten."""
    repository: Stored


def snapshot_costs(
    repository: Repository,
    shown: Sequence[FoundSnapshot],
    others: Sequence[FoundSnapshot] = (),
    *,
    damaged: Damaged | None = None,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> SnapshotCosts:
    """What each of *shown* costs; *others* are the rest of the repository's snapshots. The index must be loaded.

    It is quickest when those that are much the same follow each other.

    Raises:
        BlobMissing, DamagedFile, StorageError, NodeUnusable: something cannot be counted, and there is no *damaged*.
        Interrupted: it was cancelled.
    """
    trees = CostTrees(repository, damaged)
    passing = Passing(trees, len(shown))
    roots = iter(trees.read_snapshots([*shown, *others], progress, len(shown) + len(others), cancel))
    stored = []
    for root in itertools.islice(roots, len(shown)):
        passing.next(root)
        stored.append(passing.present)
    passing.next(None)
    unique, total_stored = passing.unique[:], passing.ever
    for root in roots:
        passing.next(root)
    passing.next(None)
    rows = []
    for found, *numbers in zip(shown, stored, unique, passing.unique, strict=True):
        sizes = trees.of(bytes.fromhex(found.snapshot.tree)) if found.snapshot.tree else Sizes(0, 0, 0)
        rows.append(SnapshotCost(found, Cost(sizes.entries, sizes.size, *numbers)))
    total = Cost(
        sum(row.cost.entries for row in rows),
        sum(row.cost.size for row in rows),
        total_stored,
        sum(unique),
        total_stored - passing.needed_later,
    )
    return SnapshotCosts(rows, total, Stored(count_stored(repository), passing.ever))


class Passing:
    """The snapshots pass: what the present one needs, and what only one of those needed that have passed."""

    def __init__(self, trees: CostTrees, shown: int) -> None:
        self.present = 0
        """Bytes that the present snapshot needs."""
        self.ever = 0
        """Bytes that any has needed so far."""
        self.needed_later = 0
        """Bytes that one of the first ones needed, those shown, and a later one does, too."""
        self.unique = [0] * shown
        """For each of the first ones the bytes that no other of those that have passed needs."""
        self._trees = trees
        self._row = -1
        self._root: int | None = None
        self._uses = array("I")
        """For each blob how many trees of the present snapshot need it; of a top tree, whether it is one counts."""
        self._since = array("i")
        """The snapshot with which each blob came last."""
        self._owner = array("i")
        """The snapshot that needs it, of those that have passed."""

    def next(self, root: int | None) -> None:
        """The next snapshot comes, after that the present one goes; without a tree there is nothing in it."""
        new = len(self._trees.sizes) - len(self._uses)
        self._uses.extend(array("I", [0]) * new)
        self._since.extend(array("i", [_NEVER]) * new)
        self._owner.extend(array("i", [_NEVER]) * new)
        if root is not None:
            self._come(self._count(root, 1), self._row + 1)
        if self._root is not None:
            self._go(self._count(self._root, -1), self._row)
        self._root, self._row = root, self._row + 1

    def _count(self, root: int, step: int) -> list[int]:
        """Count uses of *root*, and of what is below each tree that comes (*step* is 1) or goes (-1); these blobs."""
        uses, trees = self._uses, self._trees
        last = 1 if step > 0 else 0
        changed = []
        waiting = [root]
        while waiting:
            number = waiting.pop()
            blob = trees.tree_blob(number)
            uses[blob] += step
            if uses[blob] != last:
                continue
            changed.append(blob)
            for needed in trees.needed(number):
                uses[needed] += step
                if uses[needed] == last:
                    changed.append(needed)
            waiting.extend(trees.children(number))
        return changed

    def _come(self, blobs: Sequence[int], row: int) -> None:
        sizes, sinces, owners, shown = self._trees.sizes, self._since, self._owner, len(self.unique)
        for blob in blobs:
            size, since = sizes[blob], sinces[blob]
            self.present += size
            sinces[blob] = row
            if since == _NEVER:
                self.ever += size
                continue
            if since < shown <= row:
                self.needed_later += size
            owner = owners[blob]
            if 0 <= owner < shown:
                self.unique[owner] -= size
            owners[blob] = _SEVERAL

    def _go(self, blobs: Sequence[int], row: int) -> None:
        sizes, sinces, owners = self._trees.sizes, self._since, self._owner
        alone = 0
        for blob in blobs:
            size = sizes[blob]
            self.present -= size
            if owners[blob] != _NEVER:
                continue
            if sinces[blob] != row:
                owners[blob] = _SEVERAL
                continue
            owners[blob] = row
            alone += size
        if 0 <= row < len(self.unique):
            self.unique[row] += alone
