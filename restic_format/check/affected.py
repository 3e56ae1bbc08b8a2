"""What a fault costs: which snapshots and which of their paths it touches.

Only run when something is damaged. The trees are walked once more; of a tree below which nothing is damaged only its id is
kept, of the others the set of findings below. So a snapshot that shares its trees with another costs nothing extra.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from restic_format.check.blobs import BlobFault, read_blob
from restic_format.check.findings import AffectedPath, Consequence
from restic_format.check.idset import IdSet
from restic_format.check.state import Run, Stage
from restic_spec.errors import SpecError
from restic_spec.ids import is_hex_id
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node, decode_tree

MAX_LISTED = 10
"""Snapshots and paths named for each finding."""

MAX_TRACKED = 1000
"""Findings whose consequences are worked out."""

_NONE: frozenset[int] = frozenset()


class Damage:
    """Which finding each damaged thing belongs to; findings are numbers in the report."""

    def __init__(self) -> None:
        self._tracked: set[int] = set()
        self.trees: dict[bytes, set[int]] = {}
        self.nodes: dict[bytes, list[tuple[str, int]]] = {}
        self.blobs: dict[bytes, set[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._tracked)

    @property
    def tracked(self) -> set[int]:
        """The findings whose consequences will be worked out."""
        return self._tracked

    def _track(self, number: int) -> bool:
        if number < 0 or (number not in self._tracked and len(self._tracked) >= MAX_TRACKED):
            return False
        self._tracked.add(number)
        return True

    def tree(self, ident: bytes, number: int) -> None:
        """The tree *ident* cannot be read."""
        if self._track(number):
            self.trees.setdefault(ident, set()).add(number)

    def node(self, tree: bytes, quoted: str, number: int) -> None:
        """The entry *quoted* of a tree is at fault."""
        if self._track(number):
            self.nodes.setdefault(tree, []).append((quoted, number))

    def data(self, ident: bytes, number: int) -> None:
        """The data blob *ident* cannot be read."""
        if self._track(number):
            self.blobs.setdefault(ident, set()).add(number)


@dataclass(slots=True)
class _Tally:
    snapshots: list[str] = field(default_factory=list)
    snapshots_total: int = 0
    paths: list[AffectedPath] = field(default_factory=list)
    paths_total: int = 0

    def result(self) -> Consequence:
        return Consequence(tuple(self.snapshots), self.snapshots_total, tuple(self.paths), self.paths_total)


class _Frame:
    """A tree on the way down: its path, what is left of it, and what was found below so far."""

    __slots__ = ("below", "children", "ident", "path")

    def __init__(self, ident: bytes, path: str, children: Iterator[Node], below: set[int]) -> None:
        self.ident = ident
        self.path = path
        self.children = children
        self.below = below


class ConsequenceFinder:
    """Walks the snapshots and adds up, finding by finding, what is touched."""

    def __init__(self, run: Run, damage: Damage) -> None:
        self.run = run
        self.damage = damage
        self.clean = IdSet()
        self.dirty: dict[bytes, frozenset[int]] = {}
        self.tallies: dict[int, _Tally] = {number: _Tally() for number in damage.tracked}

    def work_out(self, snapshots: Iterable[tuple[bytes, bytes]]) -> None:
        """Walk *snapshots* (id, root tree) and put the consequences into the report."""
        self.run.progress.stage(Stage.CONSEQUENCES, 0)
        for snapshot, root in snapshots:
            name = snapshot.hex()
            for number in self._walk(name, root):
                tally = self.tallies[number]
                tally.snapshots_total += 1
                if len(tally.snapshots) < MAX_LISTED:
                    tally.snapshots.append(name)
        for number, tally in self.tallies.items():
            if tally.snapshots_total:
                self.run.set_consequence(number, tally.result())

    def _walk(self, snapshot: str, root: bytes) -> frozenset[int]:
        known = self._known(root)
        if known is not None:
            return known
        stack = [self._enter(snapshot, root, "/")]
        while True:
            self.run.check_interrupt()
            frame = stack[-1]
            for node in frame.children:
                path = _join(frame.path, node)
                if node.type == DIR:
                    if node.subtree is None or not is_hex_id(node.subtree):
                        continue
                    child = bytes.fromhex(node.subtree)
                    below = self._known(child)
                    if below is None:
                        stack.append(self._enter(snapshot, child, path))
                        break
                    frame.below |= below
                elif node.type == FILE and self.damage.blobs:
                    hit = self._content(node)
                    for number in hit:
                        self._path(number, snapshot, path)
                    frame.below |= hit
            else:
                stack.pop()
                self._leave(frame)
                if not stack:
                    return frozenset(frame.below)
                stack[-1].below |= frame.below

    def _known(self, ident: bytes) -> frozenset[int] | None:
        if ident in self.clean:
            return _NONE
        return self.dirty.get(ident)

    def _enter(self, snapshot: str, ident: bytes, path: str) -> _Frame:
        below: set[int] = set()
        for number in self.damage.trees.get(ident, ()):
            below.add(number)
            self._path(number, snapshot, path)
        for quoted, number in self.damage.nodes.get(ident, ()):
            below.add(number)
            self._path(number, snapshot, _join(path, quoted))
        children: Iterator[Node] = iter(())
        # A tree that cannot be read was reported when the trees were checked; what is below it cannot be named.
        with contextlib.suppress(BlobFault, SpecError):
            children = iter(decode_tree(read_blob(self.run.repo, BlobType.TREE, ident)[0]))
        return _Frame(ident, path, children, below)

    def _leave(self, frame: _Frame) -> None:
        if frame.below:
            self.dirty[frame.ident] = frozenset(frame.below)
        else:
            self.clean.add(frame.ident)

    def _content(self, node: Node) -> set[int]:
        hit: set[int] = set()
        damaged = self.damage.blobs
        for text in node.blobs:
            if is_hex_id(text):
                hit |= damaged.get(bytes.fromhex(text), _NONE)
        return hit

    def _path(self, number: int, snapshot: str, path: str) -> None:
        tally = self.tallies[number]
        if any(path == listed.path for listed in tally.paths):
            return  # The same path in another snapshot.
        tally.paths_total += 1
        if len(tally.paths) < MAX_LISTED:
            tally.paths.append(AffectedPath(snapshot, path))


def _join(folder: str, entry: Node | str) -> str:
    if isinstance(entry, str):
        name = entry
    else:
        try:
            name = entry.name
        except SpecError:
            name = entry.quoted
    return f"{folder}{name}" if folder == "/" else f"{folder}/{name}"
