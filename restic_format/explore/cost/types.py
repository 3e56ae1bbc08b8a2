"""What the files of each type cost, a type being what a name ends with: ``.jpg``; and trees, which belong to none."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple, cast

from restic_format.explore.cost.records import Cost, Stored, count_stored
from restic_format.explore.cost.trees import CostTrees, Damaged, mark_beside, mark_needed
from restic_format.explore.treesizes import TreeFacts
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, resolve_subfolder
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.ids import ID_SIZE
from restic_spec.tree import DIR, FILE, Node

TREES = "/"
"""The type of directories and what else has no content: what trees cost. No name ends with it."""
LONGEST = 16
"""Characters of an ending that makes a type; what is longer is part of the name."""
MOST_TYPES = 10_000
"""Types that are told apart; further ones count as having none."""
_U64 = (1 << 64) - 1


class TypeCost(NamedTuple):
    """What the files of one type cost, compared with other types: see `Cost`. Entries and sizes are those of all snapshots,
    and a file counts with each of its links.
    """

    type: str
    """``txt``, in small letters; "" for names without an ending, `TREES` for what trees cost."""
    cost: Cost


class TypeCosts(NamedTuple):
    """What files cost by their types."""

    rows: list[TypeCost]
    total: Cost
    repository: Stored


def type_of_name(name: str) -> str:
    """What a name ends with: ``gz`` of ``a.tar.GZ``, "" of ``.profile``."""
    stem, dot, ending = name.rpartition(".")
    return ending.lower() if dot and stem.strip(".") and len(ending) <= LONGEST and ending.strip() else ""


def type_costs(
    repository: Repository,
    shown: Sequence[FoundSnapshot],
    path: str,
    others: Sequence[FoundSnapshot],
    *,
    damaged: Damaged | None = None,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> TypeCosts:
    """What the files of each type in the directory *path* of the snapshots *shown* cost; the index must be loaded.

    *others* are the rest of the repository's snapshots. Where *path* is not the top, the rest of *shown* is one more thing that
    may need the same.

    Raises:
        SnapshotNotFound: a snapshot has no such directory.
        BlobMissing, DamagedFile, StorageError, NodeUnusable: something cannot be counted, and there is no *damaged*.
        Interrupted: it was cancelled.
    """
    trees = _TypeTrees(repository, damaged)
    roots = list(trees.read_snapshots([*shown, *others], progress, len(shown) + len(others), cancel))
    tops, elsewhere = [], bytearray(len(trees.sizes))
    for found, root in zip(shown, roots, strict=False):
        if root is not None and found.snapshot.tree:
            tree = bytes.fromhex(found.snapshot.tree)
            tops.append(trees.number(resolve_subfolder(repository, tree, path)))
            mark_beside(repository, trees, tree, path, elsewhere)
    mark_needed(trees, [root for root in roots[len(shown) :] if root is not None], elsewhere)
    everything = bytearray(elsewhere)
    mark_needed(trees, [root for root in roots if root is not None], everything)
    needed = sum(size for size, mark in zip(trees.sizes, everything, strict=True) if mark)
    rows, total = trees.costs(tops, elsewhere)
    return TypeCosts(rows, total, Stored(count_stored(repository), needed))


class _OfType(NamedTuple):
    type: str
    size: int
    blobs: bytes
    """The ids of what it needs, joined."""


class _TypeTrees(CostTrees):
    """Keeps for each tree what its files are and need by their types, which are numbered."""

    def __init__(self, repository: Repository, damaged: Damaged | None) -> None:
        super().__init__(repository, damaged)
        self._types: dict[str, int] = {TREES: 0, "": 1}
        self._needed_type = array("I")
        """For each blob in what `needed` gives its type."""
        self._sums: dict[int, array[int]] = {}
        """For each tree type, entries and bytes, of each type in it."""

    def look(self, nodes: Sequence[Node], directories: int) -> list[_OfType]:
        """The entries by their types."""
        del directories
        return [
            _OfType(type_of_name(node.name), node.size, bytes.fromhex("".join(node.content or ())))
            if node.type == FILE
            else _OfType(TREES, 0 if node.type == DIR else node.size, b"")
            for node in nodes
        ]

    def keep(self, number: int, facts: TreeFacts) -> None:
        """Keep sums of entries and bytes, and which blobs each type needs."""
        sums: dict[int, tuple[int, int]] = {}
        needed: dict[tuple[int, int], None] = {}
        for found in cast(list[list[_OfType]], facts.looked):
            for name, size, blobs in found:
                kind = self._number_of(name)
                entries, bytes_ = sums.get(kind, (0, 0))
                sums[kind] = entries + 1, bytes_ + size
                for start in range(0, len(blobs), ID_SIZE):
                    needed[self.data_blob(blobs[start : start + ID_SIZE]), kind] = None
        self._sums[number] = array("Q", [value & _U64 for kind, both in sums.items() for value in (kind, *both)])
        self.set_needed(number, [blob for blob, _ in needed])
        self._needed_type.extend([kind for _, kind in needed])

    def _number_of(self, name: str) -> int:
        if name not in self._types and len(self._types) >= MOST_TYPES:
            name = ""
        return self._types.setdefault(name, len(self._types))

    def costs(self, tops: Sequence[int], elsewhere: bytearray) -> tuple[list[TypeCost], Cost]:
        """What each type costs in the trees *tops* and below, and all together; *elsewhere* has the blobs others need."""
        times = self.times(tops)
        count = len(self._types)
        entries, size, stored, unique, freed = ([0] * count for _ in range(5))
        owner, several = array("i", [-1]) * len(self.sizes), bytearray(len(self.sizes))
        further: set[tuple[int, int]] = set()
        """Blobs with types that need them besides the first one."""
        for number, factor in times.items():
            values = iter(self._sums.get(number, ()))
            for kind, of_kind, bytes_ in zip(values, values, values, strict=True):
                entries[kind] = (entries[kind] + factor * of_kind) & _U64
                size[kind] = (size[kind] + factor * bytes_) & _U64
            first = self._first_needed[number]
            kinds = self._needed_type[first : first + self._count_needed[number]]
            for blob, kind in zip((self.tree_blob(number), *self.needed(number)), (0, *kinds), strict=True):
                if owner[blob] == kind or (blob, kind) in further:
                    continue
                stored[kind] += self.sizes[blob]
                if owner[blob] < 0:
                    owner[blob] = kind
                else:
                    several[blob] = 1
                    further.add((blob, kind))
        total_stored = total_freed = 0
        for blob, kind in enumerate(owner):
            if kind < 0:
                continue
            alone = 0 if elsewhere[blob] else self.sizes[blob]
            total_stored += self.sizes[blob]
            total_freed += alone
            if not several[blob]:
                unique[kind] += self.sizes[blob]
                freed[kind] += alone
        columns = zip(self._types, entries, size, stored, unique, freed, strict=True)
        rows = [TypeCost(name, Cost(*numbers)) for name, *numbers in columns if any(numbers)]
        total = Cost(sum(entries) & _U64, sum(size) & _U64, total_stored, sum(unique), total_freed)
        return rows, total
