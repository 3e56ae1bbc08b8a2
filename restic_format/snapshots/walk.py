"""The walk over the trees of a snapshot.

`Walk` hands out one entry after the other; the caller says into which directories it goes. What cannot be used (a tree that is
damaged, a name that could lead elsewhere or stands twice) is told and gone past. Memory is bounded by one tree and the depth of
the walk, not by what is in the trees: they are decoded in batches, and of the directories above only so much is kept as fits a
bound; the rest is read again on the way back.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from restic_format.errors import DamagedFile
from restic_format.repository import Repository
from restic_format.snapshots.errors import NodeUnusable, TooDeep, UnsafeName
from restic_format.snapshots.nodes import NodeReader
from restic_spec import gojson
from restic_spec.errors import ResticFormatError, SpecError
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.tree import Damaged, Node, is_entry_name

MAX_DEPTH = 4096
"""Levels of directories. A path of so many could not be named to the system; only a forged tree has them."""
HELD = 64 << 20
"""Bytes of trees that are kept for the way back, the ones in use not counted."""
_NODE_SIZE = 1 << 10
"""Bytes of a decoded node, about."""
_SPECIAL = re.compile('[\\\\"\n/\0]')

T = TypeVar("T")


class Level(Generic[T]):
    """A directory that the walk is in."""

    def __init__(self, above: Level[T] | None, name: str, tree: bytes, data: T) -> None:
        self.above = above
        self.name = name
        self.tree = tree
        """Id of the directory's tree."""
        self.data = data
        """Whatever the caller gave to `Walk.enter`."""
        self.depth: int = 0 if above is None else above.depth + 1
        self._prefix: str | None = None
        # What follows is the walk's.
        self.reader: NodeReader | None = None
        self.nodes: Sequence[Node] = ()
        self.pending: Iterator[tuple[Node, str | None]] = iter(())
        """What is left of the nodes, with their names where those are checked already."""
        self.start = 0
        """Where in the tree the batch ``nodes`` begins."""
        self.again = False
        """Whether the batch was read before, and dropped."""
        self.taken = 0
        """Nodes of the batch that were handed out."""
        self.checked = False
        """Whether all names of the batch are sure to be usable."""
        self.last = ""
        """The greatest name so far."""
        self.names: set[str] | None = None
        """The names of the first batch so far, once one of them was out of order."""

    @property
    def location(self) -> str:
        """The directory's path in the snapshot, ``/`` for the top."""
        return self.prefix or "/"

    def place_of(self, node: Node | None) -> str:
        """Where a `Fault` is: the path of the entry *node* of the directory, or that of the directory itself."""
        return self.location if node is None else f"{self.prefix}/{node.quoted}"

    def path_of(self, name: str) -> str:
        """The path of an entry of the directory."""
        prefix = self._prefix
        return f"{self.prefix if prefix is None else prefix}/{name}"

    @property
    def prefix(self) -> str:
        """What the paths of the directory's entries begin with."""
        if self._prefix is None:
            names = []
            level: Level[T] = self
            while level.above is not None:
                names.append(level.name)
                level = level.above
            self._prefix = "".join([f"/{name}" for name in reversed(names)])
        return self._prefix

    def hand_over_prefix(self, below: Level[T]) -> None:
        """Give the path to the directory that is entered: kept at every level, the paths would grow with the depth squared."""
        if self._prefix is not None:
            below._prefix = self.path_of(below.name)
            self._prefix = None

    def set_batch(self, nodes: Sequence[Node]) -> None:
        """Go on with *nodes*, the next ones of the tree or ``again`` the ones that were dropped."""
        self.nodes = nodes
        names = [node.quoted for node in nodes]
        if not self.again:
            # The names of nearly every batch need no second look, which takes far less time for all of them than for each.
            self.checked = self._in_order(names) and _all_plain(names)
            if self.checked:
                self.last = names[-1]
        pending = zip(nodes, names if self.checked else itertools.repeat(None), strict=False)
        self.pending = itertools.islice(pending, self.taken, None) if self.taken else pending

    def _in_order(self, names: Sequence[str]) -> bool:
        return bool(names) and names[0] > self.last and all(map(operator.lt, names, names[1:]))

    def name_of(self, node: Node) -> str:
        """The name of the entry that came last, if it is one that can be used.

        Raises:
            UnsafeName: it is not, or stands twice in the directory or might do so.
        """
        name = node.name
        raw = gojson.to_bytes(name)
        if not is_entry_name(raw):
            raise UnsafeName(f"the name {node.quoted[:200]!r} could lead out of the directory; the item is left out")
        in_order = raw > gojson.to_bytes(self.last)
        if in_order:
            self.last = name
        if self.start:
            if not in_order:
                # Which names came before is not known any more. Nobody writes a directory of such a size unsorted.
                raise UnsafeName("the name is out of order in a large directory; the item is left out")
            return name
        if self.names is None:
            if in_order:
                return name
            self.names = {node.name for node in self.nodes[: self.taken - 1]}
        if name in self.names:
            raise UnsafeName("the name stands twice in its directory; only the first one counts")
        self.names.add(name)
        return name

    def drop(self) -> None:
        """Let go of what can be read again."""
        self.reader, self.nodes, self.pending = None, (), iter(())

    @property
    def held(self) -> int:
        """Bytes of memory that the directory takes, about."""
        return 0 if self.reader is None else self.reader.size + _NODE_SIZE * len(self.nodes)


Fault = Callable[[Level[T], Node | None, ResticFormatError], None]
"""Told of what cannot be used: the node of that directory, or where that is None the tree itself, or the rest of it."""


class Walk(Generic[T]):
    """The entries of a directory, and of those below it that the caller enters.

    Iterating gives ``(level, node, name)``: the directory, its entry, and the bytes of the name, which is sure to be one that
    an entry of a directory can have. Calling `enter` with a directory makes its entries come next.

    *data* is `Level.data` of the top. *left* is called when all of a directory has come. *load* gives the plaintext of a
    level's tree instead of the repository, possibly more than once.
    """

    def __init__(
        self,
        repository: Repository,
        tree: bytes,
        data: T,
        *,
        fault: Fault[T],
        left: Callable[[Level[T]], None] | None = None,
        load: Callable[[Level[T]], bytes] | None = None,
    ) -> None:
        self._repository = repository
        self._fault = fault
        self._left = left
        self._load = load or self._load_tree
        self._levels = [Level(None, "", tree, data)]
        self._kept = 0
        """Number of the outermost level that is in memory."""
        self._held = 0
        """Bytes of all levels in memory."""

    def enter(self, node: Node, name: str, data: T) -> None:
        """Go into the directory that *node* is, the entry that came last.

        Raises:
            NodeUnusable: it has no subtree.
            TooDeep: it is nested too deeply.
        """
        above = self._levels[-1]
        if above.depth >= MAX_DEPTH - 1:
            raise TooDeep(f"more than {MAX_DEPTH} directories inside each other; what is below is left out")
        level = Level(above, name, subtree_of(node), data)
        above.hand_over_prefix(level)
        self._levels.append(level)

    def __iter__(self) -> Iterator[tuple[Level[T], Node, str]]:
        levels = self._levels
        while levels:
            level = levels[-1]
            for node, name in level.pending:
                level.taken += 1
                if name is None:
                    try:
                        name = level.name_of(node)
                    except ResticFormatError as error:
                        self._fault(level, node, error)
                        continue
                yield level, node, name
                if levels[-1] is not level:
                    break
            else:
                if (level.reader is not None and level.reader.ended) or not self._read_on(level):
                    self._leave(level)

    def _read_on(self, level: Level[T]) -> bool:
        """Read the next batch of a directory, or once more the one that was dropped; false after the last one."""
        self._held -= level.held
        try:
            if level.reader is None:
                level.again = level.taken > 0
                raw = self._load(level)
                level.reader = NodeReader(raw, f"tree {level.tree.hex()[:8]}", level.start, damaged=self._damaged(level))
            else:
                level.again, level.start, level.taken = False, level.reader.offset, 0
            level.set_batch(level.reader.next())
        except ResticFormatError as error:
            level.drop()
            told = DamagedFile(f"tree {level.tree.hex()}", error) if isinstance(error, SpecError) else error
            self._fault(level, None, told)
            return False
        finally:
            self._held += level.held
        self._make_room()
        return bool(level.nodes)

    def _damaged(self, level: Level[T]) -> Damaged:
        def tell(node: Node, error: SpecError) -> None:
            if not level.again:
                self._fault(level, node, error)

        return tell

    def _make_room(self) -> None:
        """Drop the outermost directories as long as too much is held; the innermost is in use."""
        innermost = len(self._levels) - 1
        self._kept = min(self._kept, innermost)
        while self._held > HELD and self._kept < innermost:
            self._held -= self._levels[self._kept].held
            self._levels[self._kept].drop()
            self._kept += 1

    def _load_tree(self, level: Level[T]) -> bytes:
        return self._repository.load_blob(BlobType.TREE, level.tree)

    def _leave(self, level: Level[T]) -> None:
        self._levels.pop()
        self._held -= level.held
        # Its reader refers to the level, so that all of it would wait for the garbage collector.
        level.drop()
        if self._left is not None:
            self._left(level)


def subtree_of(node: Node) -> bytes:
    """The id of a directory's tree.

    Raises:
        NodeUnusable: it has none.
    """
    if node.subtree is None:
        raise NodeUnusable("the directory has no subtree: run check")
    return parse_id(node.subtree)


def _all_plain(names: Sequence[str]) -> bool:
    """Whether *names* are the same quoted and not, and can be those of entries."""
    return _SPECIAL.search("".join(names)) is None and not ("" in names or "." in names or ".." in names)
