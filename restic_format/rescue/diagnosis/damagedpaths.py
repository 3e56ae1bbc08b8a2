"""What damage costs: every path of every snapshot that is not whole, with the byte ranges, and how much of each snapshot is.

Run only when something is damaged. A tree below which everything is whole is gone through once, one that is not once at each
path, until more was found than is told one by one; then what was counted once counts for all paths.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from restic_format.check.affected import MAX_PATH
from restic_format.check.blobs import read_blob
from restic_format.check.state import Run, Stage
from restic_format.rescue.diagnosis.blobstates import LOST, BlobStates, State, worst
from restic_format.rescue.diagnosis.records import (
    MAX_PATHS,
    MAX_RANGES,
    ByteRange,
    Counts,
    DamagedPath,
    Hope,
    SnapshotState,
)
from restic_format.rescue.wanted import Key
from restic_format.snapshots import Level, TooDeep, Walk
from restic_spec.errors import ResticFormatError
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node

MAX_CLEAN = 1 << 21
"""Trees that are remembered to be whole."""
MAX_REFERENCES = 10_000_000
"""Paths of snapshots that are remembered, those of all snapshots together."""
MAX_AGAIN = 20_000_000
"""Entries of trees that are gone through once more, as they are at another path."""
MAX_WANTED = 1_000_000
"""Blobs that are remembered to be wanted."""

_READABLE = (Hope.WHOLE, Hope.FOUND)
"""What can be expected of trees that can be read, if only with what the headers of packs say."""


class _Below:
    """What was found in a directory and below it so far."""

    __slots__ = ("counts", "entries", "is_clean", "key", "numbers")

    def __init__(self, key: int) -> None:
        self.key = key
        """Tells the directory's path from others, without the path."""
        self.counts = Counts()
        self.entries = 0
        """Gone through here and below."""
        self.is_clean = True
        self.numbers = array("I")


class FoundPath:
    """A path that is not whole, and what is to blame."""

    __slots__ = ("blobs", "packs", "path", "snapshots", "unlisted")

    def __init__(self, path: DamagedPath, packs: frozenset[bytes], unlisted: frozenset[bytes], blobs: frozenset[Key]) -> None:
        self.path = path
        self.packs = packs
        """Packs in which something of it is damaged, or that are not there."""
        self.unlisted = unlisted
        """Packs in which the rest is intact, and that the index does not list so."""
        self.blobs = blobs
        """What no pack has."""
        self.snapshots = 0


class PathFinder:
    """Walks the snapshots and gathers what is not whole."""

    def __init__(self, run: Run, states: BlobStates) -> None:
        self._run = run
        self._states = states
        self.found: list[FoundPath] = []
        self.total = 0
        """Different paths that are not whole."""
        self.wanted: dict[Key, Hope] = {}
        """Blobs that a snapshot needs and that are not whole."""
        self.full = False
        """Whether not everything found is remembered."""
        self._numbers: dict[tuple[int, int], int] = {}
        self._clean: dict[bytes, Counts] = {}
        self._dirty: dict[tuple[int, bytes], tuple[Counts, array[int]]] = {}
        self._counted: dict[bytes, tuple[Counts, int]] = {}
        """What is below each tree that is not whole, at any path, and how many entries are."""
        self._references = 0
        self._again = 0

    @property
    def lost(self) -> bool:
        """Whether a blob that a snapshot needs is in no pack that could be read."""
        return any(hope in (Hope.LOST, Hope.HIDDEN) for hope in self.wanted.values())

    def walk(self, snapshots: Sequence[SnapshotState]) -> None:
        """Fill in what is whole of each of *snapshots*."""
        self._run.advance(Stage.CONSEQUENCES, 0, len(snapshots))
        for done, state in enumerate(snapshots, 1):
            state.counts, state.damaged = self._snapshot(state.tree)
            for number in set(state.damaged):
                self.found[number].snapshots += 1
            self._run.advance(Stage.CONSEQUENCES, done, len(snapshots))

    def _snapshot(self, root: bytes) -> tuple[Counts, array[int]]:
        known = self._known(0, root)
        if known is not None:
            return known
        top = _Below(0)
        state = self._tree(root)
        if state[0] is not Hope.WHOLE:
            self._hurt_directory(top, 0, None, (), state, (BlobType.TREE, root))
        if state[0] not in _READABLE:
            return top.counts, top.numbers
        walk = Walk(self._run.repo, root, top, fault=self._fault, left=self._leave, load=self._load)
        for level, node, name in walk:
            self._run.cancel.check()
            level.data.entries += 1
            if node.type == DIR:
                self._directory(walk, level, node, name)
            elif node.type == FILE:
                self._file(level, node, name)
        return top.counts, top.numbers

    def _directory(self, walk: Walk[_Below], level: Level[_Below], node: Node, name: str) -> None:
        above = level.data
        key = hash((above.key, name))
        if node.subtree is None:
            self._hurt_directory(above, key, level, (name,), LOST, None)
            return
        tree = bytes.fromhex(node.subtree)
        known = self._known(key, tree)
        if known is not None:
            self._add(above, *known)
            return
        state = self._tree(tree)
        if state[0] not in _READABLE:
            self._hurt_directory(above, key, level, (name,), state, (BlobType.TREE, tree))
            return
        below = _Below(key)
        try:
            walk.enter(node, name, below)
        except TooDeep:
            self._hurt_directory(above, key, level, (name,), LOST, None)
            return
        if state[0] is not Hope.WHOLE:
            self._hurt_directory(below, key, level, (name,), state, (BlobType.TREE, tree))

    def _tree(self, tree: bytes) -> State:
        """What can be expected of a tree."""
        state = self._states.of(BlobType.TREE, tree)
        if state[0] is not Hope.WHOLE:
            self._want((BlobType.TREE, tree), state[0])
        return state

    def _want(self, key: Key, hope: Hope) -> None:
        if len(self.wanted) < MAX_WANTED:
            self.wanted[key] = hope
        else:
            self.full = True

    def _known(self, key: int, tree: bytes) -> tuple[Counts, array[int]] | None:
        counts = self._clean.get(tree)
        if counts is not None:
            return counts, array("I")
        counted = self._counted.get(tree)
        if counted is None:
            return None
        known = self._dirty.get((key, tree))
        if known is None:
            self._again += counted[1]
            self.full = self.full or self._again > MAX_AGAIN
        return (counted[0], array("I")) if known is None and self.full else known

    def _load(self, level: Level[_Below]) -> bytes:
        return read_blob(self._run, BlobType.TREE, level.tree)[0]

    def _fault(self, level: Level[_Below], node: Node | None, error: ResticFormatError) -> None:
        """Something of a tree cannot be used although its blob is intact: a program wrote it so."""
        del error
        if node is None:
            self._hurt_directory(level.data, level.data.key, level, (), LOST, (BlobType.TREE, level.tree))
        else:
            key = hash((level.data.key, node.quoted))
            self._hurt_directory(level.data, key, level, (node.quoted,), LOST, (BlobType.TREE, level.tree))

    def _leave(self, level: Level[_Below]) -> None:
        below = level.data
        if below.is_clean:
            if len(self._clean) >= MAX_CLEAN:
                self._clean.clear()
            self._clean[level.tree] = below.counts
        else:
            self._dirty[below.key, level.tree] = below.counts, below.numbers
            self._counted[level.tree] = below.counts, below.entries
        if level.above is not None:
            level.above.data.entries += below.entries
            self._add(level.above.data, below.counts, below.numbers, clean=below.is_clean)

    def _add(self, above: _Below, counts: Counts, numbers: array[int], *, clean: bool | None = None) -> None:
        above.counts += counts
        is_clean = counts.whole if clean is None else clean
        if is_clean:
            return
        above.is_clean = False
        self._references += len(numbers)
        if self._references > MAX_REFERENCES:
            self.full = True
            return
        above.numbers.extend(numbers)

    def _hurt_directory(
        self, into: _Below, key: int, above: Level[_Below] | None, names: tuple[str, ...], state: State, blob: Key | None
    ) -> None:
        """Note that a directory's tree is not whole."""
        hope, packs = state
        path = _join(above, names)
        blobs = frozenset((blob,)) if blob is not None and not packs else frozenset()
        into.is_clean = False
        into.counts += Counts(dirs_found=1) if hope is Hope.FOUND else Counts(dirs=1)
        hurt, unlisted = ((), packs) if hope is Hope.FOUND else (packs, ())
        number = self._number((key, hash(blob)), DamagedPath(path, True, 0, (), hope, ()), hurt, unlisted, blobs)
        if number is not None:
            into.numbers.append(number)

    def _number(
        self,
        key: tuple[int, int],
        path: DamagedPath,
        packs: Iterable[bytes],
        unlisted: Iterable[bytes],
        blobs: frozenset[Key],
    ) -> int | None:
        number = self._numbers.get(key)
        if number is not None:
            return number
        self.total += 1
        if len(self.found) >= MAX_PATHS:
            self.full = True
            return None
        number = self._numbers[key] = len(self.found)
        self.found.append(FoundPath(path, frozenset(packs), frozenset(unlisted), blobs))
        return number

    def _file(self, level: Level[_Below], node: Node, name: str) -> None:
        into = level.data
        states = []
        ok = True
        for text in node.blobs:
            state = self._states.of(BlobType.DATA, bytes.fromhex(text))
            states.append(state)
            ok = ok and state[0] is Hope.WHOLE
        if ok:
            into.counts += Counts(1, node.size)
            return
        ranges = self._ranges(node, states)
        hope = worst(found for found, _ in states)
        packs: set[bytes] = set()
        unlisted: set[bytes] = set()
        blobs: set[Key] = set()
        for text, (found, to_blame) in zip(node.blobs, states, strict=True):
            if found is Hope.WHOLE:
                continue
            key = (BlobType.DATA, bytes.fromhex(text))
            self._want(key, found)
            (unlisted if found is Hope.FOUND else packs).update(to_blame)
            if not to_blame:
                blobs.add(key)
        path = DamagedPath(_join(level, (name,)), False, node.size, ranges, hope, ())
        into.is_clean = False
        into.counts += Counts(
            1,
            node.size,
            found=hope is Hope.FOUND,
            hidden=hope is Hope.HIDDEN,
            damaged=hope is Hope.DAMAGED,
            lost=hope is Hope.LOST,
            missing_bytes=path.lost_bytes,
        )
        identity = hash(tuple(node.blobs))
        number = self._number((hash((into.key, name)), identity), path, packs, unlisted, frozenset(blobs))
        if number is not None:
            into.numbers.append(number)

    def _ranges(self, node: Node, states: Sequence[State]) -> tuple[ByteRange, ...]:
        """Which parts of a file are not whole; a blob whose length nobody knows makes what follows it inexact."""
        lengths = [self._states.length(bytes.fromhex(text)) for text in node.blobs]
        unknown = lengths.count(None)
        if unknown == 1:
            rest = node.size - sum(length for length in lengths if length is not None)
            lengths = [max(rest, 0) if length is None else length for length in lengths]
        ranges: list[ByteRange] = []
        if unknown <= 1:
            at = 0
            for length, (hope, _) in zip(lengths, states, strict=True):
                assert length is not None
                if hope is not Hope.WHOLE:
                    _join_range(ranges, ByteRange(at, at + length, hope))
                at += length
            return tuple(ranges)
        first = next(number for number, length in enumerate(lengths) if length is None)
        last = len(lengths) - 1 - next(number for number, length in enumerate(reversed(lengths)) if length is None)
        known = [length or 0 for length in lengths]
        start, end = sum(known[:first]), max(node.size - sum(known[last + 1 :]), 0)
        at = 0
        for number, (hope, _) in enumerate(states):
            if number == first:
                middle = worst(states[inner][0] for inner in range(first, last + 1))
                exact = all(length is None for length in lengths[first : last + 1])
                ranges.append(ByteRange(start, max(end, start), middle, exact))
                at = max(end, start)
            if first <= number <= last:
                continue
            if hope is not Hope.WHOLE:
                _join_range(ranges, ByteRange(at, at + known[number], hope))
            at += known[number]
        return tuple(ranges)


def _join_range(ranges: list[ByteRange], part: ByteRange) -> None:
    """Add a part to those before it, with which it may be one."""
    if ranges and ranges[-1].end == part.start and ranges[-1].hope is part.hope and ranges[-1].exact == part.exact:
        ranges[-1] = ranges[-1]._replace(end=part.end)
    elif len(ranges) < MAX_RANGES:
        ranges.append(part)
    else:
        ranges[-1] = ranges[-1]._replace(end=part.end, hope=worst((ranges[-1].hope, part.hope)), exact=False)


def _join(above: Level[_Below] | None, names: tuple[str, ...]) -> str:
    """The path of *names* in a directory; the end of it where it is very long."""
    base = "" if above is None else above.prefix
    path = f"{base}/{'/'.join(names)}" if names else base or "/"
    return path if len(path) <= MAX_PATH else f"…{path[-MAX_PATH:]}"
