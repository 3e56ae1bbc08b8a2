"""What differs between two snapshots, or two directories of snapshots.

Both trees are walked side by side, in the order of their names; directories with the same tree are gone past. The statistics
need every blob that either side uses: of these, a byte for each row of the index is kept. Otherwise memory is bounded as that
of `restic_format.snapshots.walk.Walk`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from restic_format.errors import BlobMissing, ResticFormatError, SpecError
from restic_format.repository import Repository
from restic_format.snapshots.idset import IdSet
from restic_format.snapshots.same import same_content, same_metadata
from restic_format.snapshots.used import Needed, UsedInIndex, add_used
from restic_format.snapshots.walk import Level, Walk, subtree_of
from restic_format.work import Cancel
from restic_spec import gojson
from restic_spec.ids import ID_SIZE
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node

ADDED, REMOVED, MODIFIED, UPDATED, TYPE_CHANGED, BITROT = "+", "-", "M", "U", "T", "?"
"""What has happened to an item: see `Difference`."""

_AT_ONCE = 1 << 12
"""Equal directories that are looked through together, at most;"""
_PATHS_AT_ONCE = 8 << 20
"""and characters of their paths."""
_CHECK_EVERY = 1 << 10
"""Entries between two looks at whether to stop."""

Damaged = Callable[[str, ResticFormatError], None]
"""Told of a directory or an entry, by its path, that cannot be read, and is left out."""


class Difference(NamedTuple):
    """An item that differs."""

    path: str
    """Its path below the two directories, beginning with ``/``; that of a directory ends with one."""
    mark: str
    """``+`` added, ``-`` removed; or one or more of ``T`` another type, ``M`` another content, ``?`` and yet the same metadata,
    ``U`` other metadata (only where they are asked for)."""
    before: Node | None
    """What it was, None where it is new."""
    after: Node | None
    """What it is, None where it was removed."""


class ItemCounts(msgspec.Struct):
    """What is on one side only: items by type, and blobs with the bytes of their plaintexts."""

    files: int = 0
    dirs: int = 0
    others: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    bytes: int = 0

    def count(self, node: Node) -> None:
        """One more item."""
        if node.type == FILE:
            self.files += 1
        elif node.type == DIR:
            self.dirs += 1
        else:
            self.others += 1


class DiffStatistics(msgspec.Struct):
    """What the differences come to."""

    changed_files: int = 0
    added: ItemCounts = msgspec.field(default_factory=ItemCounts)
    removed: ItemCounts = msgspec.field(default_factory=ItemCounts)
    missing: list[tuple[BlobType, bytes]] = msgspec.field(default_factory=list)
    """Blobs of one side only that no index knows; they are counted, their bytes are not."""


class TreeDiff:
    """The differences from the tree *before* to the tree *after*, each the id of a directory's tree.

    Iterating once gives them, directories before what is in them. After that `statistics` are complete. With *metadata* items
    that differ in nothing but metadata are given as well. What cannot be read is given to *damaged*; of a directory that one
    side lacks for that reason, nothing is compared. The index must be loaded, and nothing may be added to it meanwhile.

    Raises (from iterating):
        Interrupted: *cancel* was set.
        BlobMissing, DamagedFile, StorageError: one of the two trees themselves cannot be read.
    """

    def __init__(
        self,
        repository: Repository,
        before: bytes,
        after: bytes,
        *,
        metadata: bool = False,
        damaged: Damaged,
        cancel: Cancel | None = None,
    ) -> None:
        self.statistics = DiffStatistics()
        self._repository = repository
        self._metadata = metadata
        self._damaged = damaged
        self._cancel = cancel
        self._roots = before, after
        self._marks = _Marks(repository), _Marks(repository)
        self._equal: list[tuple[str, bytes]] = []
        """Directories that have the same tree on both sides, still to be looked through: paths and ids."""
        self._equal_length = 0
        """Characters of these paths."""

    def __iter__(self) -> Iterator[Difference]:
        before, after = self._roots
        if before == after:
            self._equal.append(("", before))
        else:
            yield from self._compare(before, after)
        self._take_equal()
        self._finish()

    def _compare(self, before: bytes, after: bytes) -> Iterator[Difference]:
        raws = self._load(before), self._load(after)
        root = _Pair()
        one, two = (
            _Side(self, tree, root, raw, marks) for tree, raw, marks in zip(self._roots, raws, self._marks, strict=True)
        )
        statistics = self.statistics
        steps = 0
        while True:
            if self._cancel is not None and steps % _CHECK_EVERY == 0:
                self._cancel.check()
            steps += 1
            order = _order(one.head, two.head)
            if order is None:
                return
            if order:
                side, counts, mark = (one, statistics.removed, REMOVED) if order < 0 else (two, statistics.added, ADDED)
                assert side.head is not None
                level, node, name = side.head
                # Of a directory whose other side is damaged nobody knows what is new in it.
                if level.data is None or not level.data.broken:
                    counts.count(node)
                    path = level.path_of(name)
                    if node.type == DIR:
                        path += "/"
                    yield Difference(path, mark, *((node, None) if order < 0 else (None, node)))
                    if node.type == DIR:
                        side.enter(node, name, None)
                side.advance()
                continue
            assert one.head is not None and two.head is not None
            level, old, name = one.head
            new = two.head[1]
            difference = self._difference(level, name, old, new)
            if difference is not None:
                yield difference
            if old.type == DIR and new.type == DIR:
                self._enter(one, two, level, name, old, new)
            one.advance()
            two.advance()

    def _difference(self, level: Level[_Pair | None], name: str, old: Node, new: Node) -> Difference | None:
        """How two items of the same name differ."""
        mark = TYPE_CHANGED if old.type != new.type else ""
        if not mark and old.type == FILE and not same_content(old, new):
            self.statistics.changed_files += 1
            mark = MODIFIED + (BITROT if old.size == new.size and same_metadata(old, new) else "")
        elif self._metadata and not (same_metadata(old, new) and same_content(old, new)):
            mark += UPDATED
        if not mark:
            return None
        path = level.path_of(name)
        return Difference(path + "/" if new.type == DIR else path, mark, old, new)

    def _enter(self, one: _Side, two: _Side, level: Level[_Pair | None], name: str, old: Node, new: Node) -> None:
        """Go into a directory that both sides have, or remember it where nothing in it differs."""
        try:
            trees = subtree_of(old), subtree_of(new)
            if trees[0] == trees[1]:
                path = level.path_of(name)
                self._equal.append((path, trees[0]))
                self._equal_length += len(path)
                if len(self._equal) >= _AT_ONCE or self._equal_length >= _PATHS_AT_ONCE:
                    self._take_equal()
                return
            raws = []
            for tree, marks in zip(trees, self._marks, strict=True):
                try:
                    raws.append(self._load(tree))
                except BlobMissing:
                    marks.missing(BlobType.TREE, tree)
                    raise
        except ResticFormatError as error:
            self._damaged(level.path_of(name), error)
            return
        pair = _Pair()
        for side, node, raw in ((one, old, raws[0]), (two, new, raws[1])):
            side.enter(node, name, pair, raw)

    def _load(self, tree: bytes) -> bytes:
        return self._repository.load_blob(BlobType.TREE, tree)

    def _take_equal(self) -> None:
        """Look through the equal directories: what is in them, both sides use."""
        equal, self._equal, self._equal_length = self._equal, [], 0
        unreadable: dict[bytes, ResticFormatError] = {}

        def damaged(tree: bytes, error: ResticFormatError) -> None:
            unreadable[tree] = error
            if isinstance(error, BlobMissing):
                for marks in self._marks:
                    marks.missing(BlobType.TREE, tree)

        add_used(self._repository, (tree for _, tree in equal), _Both(*self._marks), damaged=damaged, cancel=self._cancel)
        if unreadable:
            for path, tree in equal:
                self._name(path, tree, unreadable)

    def _name(self, path: str, tree: bytes, unreadable: Mapping[bytes, ResticFormatError]) -> None:
        """Tell where below an equal directory those trees are that cannot be read."""

        def fault(level: Level[None], node: Node | None, error: ResticFormatError) -> None:
            if node is None:
                self._damaged(path + level.prefix or "/", unreadable.get(level.tree, error))

        walk = Walk(self._repository, tree, None, fault=fault)
        for _, node, name in walk:
            if node.type == DIR:
                if self._cancel is not None:
                    self._cancel.check()
                with contextlib.suppress(ResticFormatError):
                    walk.enter(node, name, None)

    def _finish(self) -> None:
        """Count the blobs."""
        before, after = self._marks
        for root, marks in zip(self._roots, self._marks, strict=True):
            marks.use.add_tree(root)
        for marks, other, counts in (
            (before, after, self.statistics.removed),
            (after, before, self.statistics.added),
        ):
            counts.data_blobs, counts.tree_blobs, counts.bytes = marks.use.marks.beyond(other.use.marks)
            missing = marks.missing_beyond(other)
            counts.data_blobs += sum(kind is BlobType.DATA for kind, _ in missing)
            counts.tree_blobs += sum(kind is BlobType.TREE for kind, _ in missing)
            self.statistics.missing += missing

    def _fault(self, level: Level[_Pair | None], node: Node | None, error: ResticFormatError) -> None:
        """Tell of what a walk cannot use."""
        if node is None and level.data is not None:
            level.data.broken = True
        self._damaged(level.place_of(node), error)


class _Pair:
    """A directory that both sides have, being compared."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = False
        """Whether the rest of it cannot be read on one side."""


_Head = tuple[Level["_Pair | None"], Node, str]


class _Side:
    """The walk over one of the two trees."""

    def __init__(self, diff: TreeDiff, tree: bytes, root: _Pair, raw: bytes, marks: _Marks) -> None:
        self._diff = diff
        self._marks = marks
        self._raw: bytes | None = raw
        """The plaintext of the tree that is read next, where it is there already."""
        self._walk: Walk[_Pair | None] = Walk(diff._repository, tree, root, fault=diff._fault, load=self._load)
        self._entries = iter(self._walk)
        self.head: _Head | None = None
        """The entry that the comparison has come to, None at the end."""
        self.advance()

    def advance(self) -> None:
        """Go on to the next entry."""
        self.head = next(self._entries, None)

    def enter(self, node: Node, name: str, pair: _Pair | None, raw: bytes | None = None) -> None:
        """Go into the directory *node*, the entry that came last."""
        assert self.head is not None
        try:
            self._walk.enter(node, name, pair)
        except ResticFormatError as error:
            self._diff._fault(self.head[0], node, error)
            if pair is not None:
                pair.broken = True
            return
        self._raw = raw

    def _load(self, level: Level[_Pair | None]) -> bytes:
        raw, self._raw = self._raw, None
        if raw is None:
            try:
                raw = self._diff._load(level.tree)
            except BlobMissing:
                self._marks.missing(BlobType.TREE, level.tree)
                raise
        self._marks.add(level.tree, raw)
        return raw


class _Marks:
    """The blobs that one side uses."""

    def __init__(self, repository: Repository) -> None:
        self.use = UsedInIndex(repository.index)
        self._missing = {kind: IdSet() for kind in BlobType}

    def add(self, tree: bytes, raw: bytes) -> None:
        """Put in what a tree needs, from its plaintext; of one that cannot be read the walk tells."""
        try:
            needed = self.use.read(tree, raw)
        except SpecError:
            return
        self.add_missing(needed.data)

    def add_missing(self, data: bytes) -> None:
        """Put in data blobs that are not in the index, ids joined."""
        for start in range(0, len(data), ID_SIZE):
            self.missing(BlobType.DATA, data[start : start + ID_SIZE])

    def missing(self, kind: BlobType, blob: bytes) -> None:
        """Put in a blob that is not in the index."""
        self._missing[kind].add(blob)

    def missing_beyond(self, other: _Marks) -> list[tuple[BlobType, bytes]]:
        """The missing blobs that *other* does not have, sorted."""
        return [
            (kind, blob) for kind, blobs in self._missing.items() for blob in sorted(blobs) if blob not in other._missing[kind]
        ]


class _Both:
    """What both sides use, as `add_used` finds it: see `restic_format.snapshots.used.Used`."""

    def __init__(self, before: _Marks, after: _Marks) -> None:
        self._sides = before, after
        self._roots = IdSet()

    def add_tree(self, tree_id: bytes) -> bool:
        """Whether the tree did not come before. That something else has marked it says nothing: it may not have been read."""
        return self._roots.add(tree_id)

    def read(self, tree_id: bytes, raw: bytes) -> Needed:
        """Mark it on both sides."""
        first, second = (side.use.read(tree_id, raw) for side in self._sides)
        return first if first == second else Needed(_union(first.trees, second.trees), _union(first.data, second.data))

    def take(self, needed: Needed) -> bytes:
        """Put in what is missing."""
        for side in self._sides:
            side.add_missing(needed.data)
        return needed.trees


def _union(first: bytes, second: bytes) -> bytes:
    return b"".join(
        dict.fromkeys(ids[start : start + ID_SIZE] for ids in (first, second) for start in range(0, len(ids), ID_SIZE))
    )


def _order(one: _Head | None, two: _Head | None) -> int | None:
    """Which of two entries comes first: below 0 the first, above 0 the second, 0 where both are at one place; None at the end.

    Where the walks are in different directories, one of them is still below the directory that the other has come back to.
    """
    if one is None or two is None:
        return None if one is two else 1 if one is None else -1
    depth = two[0].depth - one[0].depth
    if depth or one[2] == two[2]:
        return depth
    return -1 if gojson.to_bytes(one[2]) < gojson.to_bytes(two[2]) else 1
