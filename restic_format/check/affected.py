"""What a fault costs: which snapshots and which of their paths it touches.

Only run when something is damaged. The trees are walked once more; of a tree below which nothing is damaged only its id is
kept, of the others the set of findings below, as bits of a number. So a snapshot that shares its trees with another costs
nothing extra, and a path is only put together where it is listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from restic_format.check.blobs import read_blob
from restic_format.check.findings import REPAIR_INDEX, REPAIR_PACK, AffectedPath, Code, Consequence
from restic_format.check.state import Run, Stage
from restic_format.snapshots import Level, TooDeep, Walk
from restic_format.snapshots.idset import IdSet
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import DIR, FILE, Node

MAX_LISTED = 10
"""Snapshots and paths named for each finding."""

MAX_TRACKED = 1000
"""Findings whose consequences are worked out."""

MAX_COPIES = 200_000
"""Damaged copies of blobs that are remembered one by one."""

MAX_PATH = 4096
"""Characters of a path that are shown."""


class Damage:
    """Which finding each damaged thing belongs to; findings are numbers in the report."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tracked: list[int] = []
        self._slots: dict[int, int] = {}
        self._trees: dict[bytes, list[int]] = {}
        self._nodes: dict[bytes, list[tuple[str, int]]] = {}
        self._packs: dict[bytes, int] = {}
        self._copies: dict[tuple[BlobType, bytes], dict[tuple[bytes, int], int]] = {}
        self._copy_count = 0
        self._known: dict[tuple[BlobType, bytes], tuple[int, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._slots)

    @property
    def tracked(self) -> Sequence[int]:
        """The findings whose consequences will be worked out."""
        return self._tracked

    def _track(self, number: int) -> bool:
        if number < 0 or (number not in self._slots and len(self._slots) >= MAX_TRACKED):
            return False
        if number not in self._slots:
            self._slots[number] = len(self._tracked)
            self._tracked.append(number)
        return True

    def tree(self, ident: bytes, number: int) -> None:
        """Note that the tree *ident* cannot be read."""
        if self._track(number):
            self._trees.setdefault(ident, []).append(number)

    def node(self, tree: bytes, quoted: str, number: int) -> None:
        """Note that the entry *quoted* of a tree is at fault."""
        if self._track(number):
            self._nodes.setdefault(tree, []).append((quoted, number))

    def pack(self, pack: bytes, number: int) -> None:
        """Note that nothing in *pack* can be read."""
        self._track(number)
        self._packs[pack] = number
        self._known.clear()

    def copy(self, pack: bytes, entry: PackEntry, number: int) -> None:
        """Note that the copy of a blob that *pack* holds cannot be read."""
        self._track(number)
        if self._copy_count < MAX_COPIES:
            self._copy_count += 1
            self._known.clear()
            self._copies.setdefault((entry.type, entry.id), {})[pack, entry.offset] = number

    @property
    def lost_packs(self) -> Mapping[bytes, int]:
        """The packs of which nothing can be read, with their findings."""
        return self._packs

    def bad_copies(self) -> Iterator[tuple[tuple[BlobType, bytes], bytes, int, int]]:
        """The copies of blobs that cannot be read: the blob, the pack, the offset in it, and the finding."""
        for key, here in self._copies.items():
            for (pack, offset), number in here.items():
                yield key, pack, offset, number

    def harmless(self) -> set[int]:
        """The findings about packs that take no blob away: each has a good copy elsewhere."""
        if self._copy_count >= MAX_COPIES:
            return set()  # Nobody remembers which.
        numbers = set(self._packs.values())
        losing: set[int] = set()
        for (kind, ident), here in self._copies.items():
            numbers.update(here.values())
            if self._bad(kind, ident):
                losing.update(here.values())
        for pack, entries in self._run.repo.index.by_pack(self._packs) if self._packs else ():
            if any(self._bad(entry.type, entry.id) for entry in entries):
                losing.add(self._packs[pack])
        return {number for number in numbers - losing if number >= 0}

    def _bad(self, kind: BlobType, ident: bytes) -> tuple[int, ...]:
        """The findings about the copies of a blob where none of them is good."""
        key = kind, ident
        here = self._copies.get(key, {})
        if not here and not self._packs:
            return ()
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MAX_COPIES:
                self._known.clear()
            known = self._known[key] = tuple(self._find_bad(kind, ident, here))
        return known

    def _find_bad(self, kind: BlobType, ident: bytes, here: dict[tuple[bytes, int], int]) -> set[int]:
        found = set()
        for copy in self._run.repo.index.lookup_all(kind, ident):
            number = self._packs.get(copy.pack)
            if number is None:
                number = here.get((copy.pack, copy.offset))
            if number is None:
                return set()
            found.add(number)
        return found

    def mask(self, numbers: Iterable[int]) -> int:
        """Findings as bits; those that are not tracked have none."""
        bits = 0
        for number in numbers:
            slot = self._slots.get(number)
            if slot is not None:
                bits |= 1 << slot
        return bits

    def numbers(self, mask: int) -> Iterator[int]:
        """Reverse `mask`."""
        while mask:
            lowest = mask & -mask
            yield self._tracked[lowest.bit_length() - 1]
            mask ^= lowest

    def of_tree(self, ident: bytes) -> list[int]:
        """The findings about a tree as a whole."""
        return [*self._trees.get(ident, ()), *self._bad(BlobType.TREE, ident)]

    def of_nodes(self, ident: bytes) -> Sequence[tuple[str, int]]:
        """The entries of a tree that are at fault, with their findings."""
        return self._nodes.get(ident, ())

    def of_content(self, node: Node) -> int:
        """The findings about the content of a file, as bits."""
        if not self._copies and not self._packs:
            return 0
        bits = 0
        for text in dict.fromkeys(node.blobs):
            bits |= self.mask(self._bad(BlobType.DATA, bytes.fromhex(text)))
        return bits


@dataclass(slots=True)
class _Tally:
    snapshots: list[str] = field(default_factory=list)
    snapshots_total: int = 0
    paths: dict[int, AffectedPath] = field(default_factory=dict)
    paths_total: int = 0

    def result(self) -> Consequence:
        return Consequence(tuple(self.snapshots), self.snapshots_total, tuple(self.paths.values()), self.paths_total)


class _Below:
    """What was found in a directory and below it so far."""

    __slots__ = ("key", "mask")

    def __init__(self, key: int, mask: int) -> None:
        self.key = key
        """Tells the directory's path from others, without the path."""
        self.mask = mask


class ConsequenceFinder:
    """Walks the snapshots and adds up, finding by finding, what is touched."""

    def __init__(self, run: Run, damage: Damage) -> None:
        self.run = run
        self.damage = damage
        self.clean = IdSet()
        self.dirty: dict[bytes, int] = {}
        self.tallies: dict[int, _Tally] = {number: _Tally() for number in damage.tracked}
        self._snapshot = ""

    def work_out(self, snapshots: Iterable[tuple[bytes, bytes]]) -> None:
        """Walk *snapshots* (id, root tree) and put the consequences into the report."""
        self.run.advance(Stage.CONSEQUENCES, 0)
        for snapshot, root in snapshots:
            self._snapshot = snapshot.hex()
            for number in self.damage.numbers(self._walk(root)):
                tally = self.tallies[number]
                tally.snapshots_total += 1
                if len(tally.snapshots) < MAX_LISTED:
                    tally.snapshots.append(self._snapshot)
        for number, tally in self.tallies.items():
            if tally.snapshots_total:
                self.run.set_consequence(number, tally.result())

    def _walk(self, root: bytes) -> int:
        known = self._known(root)
        if known is not None:
            return known
        top = _Below(0, self._own(root, 0, None, ()))
        # A tree that cannot be read was reported when the trees were checked; what is below it cannot be named.
        walk = Walk(self.run.repo, root, top, fault=lambda *_: None, left=self._leave, load=self._load)
        for level, node, name in walk:
            self.run.cancel.check()
            if node.type == DIR:
                level.data.mask |= self._directory(walk, level, node, name)
            elif node.type == FILE:
                hit = self.damage.of_content(node)
                if hit:
                    level.data.mask |= hit
                    self._path(hit, hash((level.data.key, name)), level, (name,))
        return top.mask

    def _directory(self, walk: Walk[_Below], level: Level[_Below], node: Node, name: str) -> int:
        """What is known to be below a directory; where nothing is known yet, the walk goes into it."""
        if node.subtree is None:
            return 0
        tree = bytes.fromhex(node.subtree)
        known = self._known(tree)
        if known is not None:
            return known
        key = hash((level.data.key, name))
        below = _Below(key, 0)
        try:
            walk.enter(node, name, below)
        except TooDeep:
            return 0
        below.mask = self._own(tree, key, level, (name,))
        return 0

    def _own(self, tree: bytes, key: int, above: Level[_Below] | None, names: tuple[str, ...]) -> int:
        """The findings about a tree itself and its entries."""
        mask = self.damage.mask(self.damage.of_tree(tree))
        if mask:
            self._path(mask, key, above, names)
        for quoted, number in self.damage.of_nodes(tree):
            hit = self.damage.mask([number])
            mask |= hit
            self._path(hit, hash((key, quoted)), above, (*names, quoted))
        return mask

    def _known(self, tree: bytes) -> int | None:
        return 0 if tree in self.clean else self.dirty.get(tree)

    def _load(self, level: Level[_Below]) -> bytes:
        return read_blob(self.run, BlobType.TREE, level.tree)[0]

    def _leave(self, level: Level[_Below]) -> None:
        mask = level.data.mask
        if mask:
            self.dirty[level.tree] = mask
        else:
            self.clean.add(level.tree)
        if level.above is not None:
            level.above.data.mask |= mask

    def _path(self, hit: int, key: int, above: Level[_Below] | None, names: tuple[str, ...]) -> None:
        for number in self.damage.numbers(hit):
            tally = self.tallies[number]
            if key in tally.paths:
                continue  # The same path in another snapshot.
            tally.paths_total += 1
            if len(tally.paths) < MAX_LISTED:
                tally.paths[key] = AffectedPath(self._snapshot, _join(above, names))


def _join(above: Level[_Below] | None, names: tuple[str, ...]) -> str:
    """The path of *names* in a directory; the end of it where it is very long."""
    parts = list(reversed(names))
    length = sum(len(part) + 1 for part in parts)
    while above is not None and above.above is not None and length <= MAX_PATH:
        parts.append(above.name)
        length += len(above.name) + 1
        above = above.above
    path = "/" + "/".join(reversed(parts))
    return path if length <= MAX_PATH else f"…{path[-MAX_PATH:]}"


_ELSEWHERE = {
    Code.PACK_MISSING: ("all blobs in it are intact in other packs: nothing is lost", (REPAIR_INDEX,)),
    Code.PACK_SIZE: ("what cannot be read of it is intact in other packs: nothing is lost", (REPAIR_PACK,)),
    Code.PACK_DAMAGED: ("what is damaged in it is intact in other packs: nothing is lost", (REPAIR_PACK,)),
}


def name_harmless(run: Run, damage: Damage) -> None:
    """Say of packs whose damage takes no blob away that nothing is lost."""
    for number in damage.harmless():
        remedy = _ELSEWHERE.get(run.report.findings[number].code)
        if remedy is not None:
            run.set_remedy(number, *remedy)
