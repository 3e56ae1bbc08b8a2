"""Rewriting trees: a snapshot's trees once more with nodes left out or changed.

A tree in which nothing changes keeps its id and is not written. In one that changes, every node that stays as it is is moved
as the JSON it was read as, and one that changes keeps what is not known of it (TREE-23); so the result is, byte for byte, what
restic makes of a tree that restic can encode (TREE-25). Memory is bounded by one tree and the depth, as in a walk: a directory
is first gone through, and what was decided is noted in a few bytes for each node that does not stay; only then is it put
together.
"""

from __future__ import annotations

import hashlib
import operator
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from restic_format.errors import BlobMissing, DamagedFile, ResticFormatError, SpecError
from restic_format.repository import Repository
from restic_format.repository.writer import BlobWriter
from restic_format.snapshots.errors import NodeUnusable, TooDeep, TreeNotEncodable
from restic_format.snapshots.nodes import NodeReader, RawNodeReader
from restic_format.snapshots.walk import HELD, MAX_DEPTH, Level
from restic_format.work import Cancel
from restic_spec import gojson, wire
from restic_spec.errors import TreeInvalid
from restic_spec.ids import ID_SIZE, parse_id
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node, Tree, decode_node, encode_node, encode_tree, is_entry_name

REMEMBERED = 1 << 16
"""Directories whose outcome is remembered, so that another snapshot that has them needs no second look."""

_SPECIAL = re.compile('[\\\\"\n/\0]')
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD]")
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


@dataclass(frozen=True)
class TreeRules:
    """What is to become of the nodes and trees of a snapshot. Paths begin with ``/``, which alone is the root."""

    node: Callable[[str, Node], Node | None] | None = None
    """Gives the node itself where it stays, another one where it changes, None where it goes (with all that is below).

    A changed node is made from the given one by ``msgspec.structs.replace``; what is unknown of it is kept."""
    keep_empty: Callable[[str], bool] | None = None
    """Whether a directory stays that has nothing in it, or nothing any more; without this it does."""
    failed_tree: Callable[[str, bytes | None, ResticFormatError], Sequence[Node] | None] | None = None
    """Gives the nodes to have in place of a tree that is missing or damaged (id None: the directory names none), or None for
    the directory to go. Without this the error is raised. A storage that fails is raised in any case."""
    remains: Callable[[str, bytes], bytes | None] | None = None
    """Gives the plaintext of a tree with what is left of one that is damaged, or None; without this it has failed."""
    bad_node: Callable[[str, Node | None, ResticFormatError], None] | None = None
    """Told of a node that cannot be used and its directory; it goes. Without this its tree has failed."""
    disordered: Callable[[str], None] | None = None
    """Told of a directory whose nodes are not in order; they are put in order. Without this the node after a greater one cannot
    be used. A name that stands twice is an error then, as one of the two would be lost."""
    by_path: bool = True
    """Whether what is decided depends on the path. Where not, a tree is looked at once, wherever it is."""


class Rewritten(NamedTuple):
    """What became of a tree, and of everything below it."""

    tree: bytes | None
    """Its id now; None where nothing is left and that does not stay."""
    files: int
    """Files that stay."""
    size: int
    """Their bytes, as their nodes say."""


class _Edits:
    """What changes in the list of a directory's nodes: positions in ascending order."""

    __slots__ = ("dropped", "nodes", "subtrees", "targets")

    def __init__(self) -> None:
        self.dropped = array("Q")
        self.subtrees = array("Q")
        """Directories that have another tree now."""
        self.targets = bytearray()
        """Its id for each of them."""
        self.nodes: dict[int, bytes] = {}
        """The JSON of nodes that were changed."""

    def __bool__(self) -> bool:
        return bool(self.dropped or self.subtrees or self.nodes)

    @property
    def held(self) -> int:
        """Bytes of memory, about."""
        return 8 * len(self.dropped) + (8 + ID_SIZE) * len(self.subtrees) + sum(map(len, self.nodes.values()))


class _Directory(Level[None]):
    """A directory that is being rewritten."""

    def __init__(self, above: _Directory | None, name: str, tree: bytes, position: int) -> None:
        super().__init__(above, name, tree, None)
        self.position = position
        """Which node of the directory above it is."""
        self.first = 0
        """Position of the batch's first node."""
        self.items: list[Node | ResticFormatError] = []
        """The batch; in place of an invalid node, what is wrong with it."""
        self.raw: list[msgspec.Raw] | None = None
        """The JSON of the batch, where it was needed."""
        self.greatest = b""
        """The greatest name so far."""
        self.disordered = False
        """Whether a node came after one with a greater name, or the same one."""
        self.edits = _Edits()
        self.remains: bytes | None = None
        """The plaintext that is read in place of the tree."""
        self.kept = 0
        """Nodes that stay so far."""
        self.files = 0
        self.size = 0

    def drop(self) -> None:
        """Let go of what can be read again."""
        super().drop()
        self.items, self.raw = [], None


class TreeRewriter:
    """Rewrites trees of one repository by the same rules, one snapshot after the other."""

    def __init__(
        self,
        repository: Repository,
        writer: BlobWriter,
        rules: TreeRules,
        *,
        remembered: int = REMEMBERED,
        progress: Callable[[int], None] | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """New trees go to *writer*, which is to be flushed before anything names them.

        With *remembered* 0 the rules are asked about every node of every snapshot; otherwise a directory that was met
        before, as often as its path and tree are the same, counts as it did then. *progress* gets the trees read so far.
        """
        self._repository = repository
        self._writer = writer
        self._rules = rules
        self._remembered: dict[bytes, Rewritten] = {}
        self._most = remembered
        self._progress = progress
        self._cancel = cancel
        self._done = 0
        self._held = 0
        self._levels: list[_Directory] = []

    def rewrite(self, tree: bytes) -> Rewritten:
        """Rewrite *tree* and everything below it; the index must be loaded.

        Raises:
            BlobMissing, DamagedFile, SpecError: a tree cannot be read, and the rules do not say what to do then.
            TreeNotEncodable: a node that changes cannot be written without losing something that is known of it.
            TreeInvalid: a name stands twice in a directory that is to be put in order.
            TooDeep: directories are nested too deeply.
            StorageError: the storage fails.
            Interrupted: it was cancelled.
        """
        self._levels = [_Directory(None, "", tree, 0)]
        self._held = 0
        try:
            while True:
                level = self._levels[-1]
                key = self._key(level)
                found = self._remembered.get(key) if level.reader is None and not level.taken else None
                if found is None:
                    below, found = self._go_on(level)
                    if below is not None:
                        self._levels.append(below)
                        continue
                assert found is not None
                self._levels.pop()
                self._held -= level.held + level.edits.held
                if not self._levels:
                    return found
                _settle(self._levels[-1], level, found)
        finally:
            self._levels = []

    def _go_on(self, level: _Directory) -> tuple[_Directory | None, Rewritten | None]:
        """The next directory below that is to be rewritten first, or what became of this one."""
        try:
            below = self._next_below(level)
        except _Unreadable as unreadable:
            remains = self._remains_of(level, unreadable.error)
            if remains is None:
                return None, Rewritten(self._failed(level, unreadable.error), 0, 0)
            return self._go_on(self._begin_again(level, remains))
        if below is not None:
            if below.depth >= MAX_DEPTH:
                raise TooDeep(f"more than {MAX_DEPTH} directories inside each other, from {below.location[:200]!r} on")
            return below, None
        if self._progress is not None:
            self._done += 1
            self._progress(self._done)
        tree: bytes | None
        if not level.kept and self._rules.keep_empty is not None and not self._rules.keep_empty(level.location):
            tree = None
        else:
            if level.disordered and self._rules.disordered is not None:
                self._rules.disordered(level.location)
            changes = level.edits or level.disordered or level.remains is not None
            tree = self._save(self._assembled(level)) if changes else level.tree
        result = Rewritten(tree, level.files, level.size)
        if self._most:
            if len(self._remembered) >= self._most:
                self._remembered.clear()
            self._remembered[self._key(level)] = result
        return None, result

    def _key(self, level: _Directory) -> bytes:
        if not self._rules.by_path:
            return level.tree
        return hashlib.blake2b(gojson.to_bytes(level.location), digest_size=16).digest() + level.tree

    def _next_below(self, level: _Directory) -> _Directory | None:
        """Deal with the nodes of a directory up to the next one that is a directory; None after the last node.

        Raises:
            _Unreadable: the tree cannot be read.
            TreeNotEncodable: see `rewrite`.
        """
        if not level.tree:
            raise _Unreadable(NodeUnusable(f"directory {level.location!r} names no tree: run check"))
        rule = self._rules.node
        while True:
            for index in range(level.taken, len(level.items)):
                item = level.items[index]
                level.taken = index + 1
                position = level.first + index
                name = self._name_of(level, item)
                if isinstance(item, ResticFormatError) or name is None:
                    level.edits.dropped.append(position)
                    continue
                node = item if rule is None else rule(level.path_of(name), item)
                if node is None:
                    level.edits.dropped.append(position)
                    continue
                if node is not item:
                    level.edits.nodes[position] = self._changed(level, index, node)
                level.kept += 1
                if node.type == DIR:
                    below = _Directory(level, name, b"" if node.subtree is None else parse_id(node.subtree), position)
                    level.hand_over_prefix(below)
                    return below
                if node.type == FILE:
                    level.files += 1
                    level.size += node.size
            if self._cancel is not None:
                self._cancel.check()
            if not self._read_on(level):
                return None

    def _name_of(self, level: _Directory, item: Node | ResticFormatError) -> str | None:
        """A node's name; None where the node cannot be used and goes."""
        error = item if isinstance(item, ResticFormatError) else None
        if not isinstance(item, ResticFormatError):
            if level.checked:
                return item.quoted
            raw = item.name_bytes
            if is_entry_name(raw) and (raw > level.greatest or self._rules.disordered is not None):
                level.disordered = level.disordered or raw <= level.greatest
                level.greatest = max(level.greatest, raw)
                return item.name
            what = "is out of order or stands twice" if is_entry_name(raw) else "cannot be an entry of a directory"
            clause = "TREE-4" if is_entry_name(raw) else "TREE-6"
            error = TreeInvalid(f"{item.quoted[:200]!r} {what}", object=_name_of_tree(level), clause=clause)
        assert error is not None
        if self._rules.bad_node is None:
            raise _Unreadable(error)
        self._rules.bad_node(level.location, None if isinstance(item, ResticFormatError) else item, error)
        return None

    def _read_on(self, level: _Directory) -> bool:
        """Read the next batch of a directory, or once more the one that was dropped; false after the last one."""
        self._held -= level.held + level.edits.held
        try:
            if level.reader is None:
                again = level.taken
                level.reader = NodeReader(self._load(level), _name_of_tree(level), level.start)
            else:
                again, level.start = 0, level.reader.offset
                level.first += len(level.items)
            level.taken = again
            level.raw = None
            level.items = self._items(level)
        except ResticFormatError as error:
            raise _Unreadable(error) from None
        else:
            left = [node.quoted for node in level.items[again:] if not isinstance(node, ResticFormatError)]
            level.checked = (
                bool(left)
                and len(left) == len(level.items) - again
                and gojson.to_bytes(left[0]) > level.greatest
                and all(map(operator.lt, left, left[1:]))
                and _SPECIAL.search("".join(left)) is None
                and not ("" in left or "." in left or ".." in left)
            )
            if level.checked and not again:
                level.greatest = gojson.to_bytes(left[-1])
        finally:
            self._held += level.held + level.edits.held
        self._make_room()
        return bool(level.items)

    def _items(self, level: _Directory) -> list[Node | ResticFormatError]:
        reader = level.reader
        assert reader is not None
        try:
            level.nodes = reader.next()
            return list(level.nodes)
        except SpecError:
            if self._rules.bad_node is None:
                raise
        # One by one: which of them is invalid?
        raw = RawNodeReader(reader.plaintext, _name_of_tree(level), level.start)
        items: list[Node | ResticFormatError] = []
        for text in raw.next():
            try:
                items.append(decode_node(bytes(text), _name_of_tree(level)))
            except SpecError as error:
                items.append(error.with_traceback(None))
        reader.offset = raw.offset
        return items

    def _load(self, level: _Directory) -> bytes:
        if level.remains is not None:
            return level.remains
        return self._repository.load_blob(BlobType.TREE, level.tree)

    def _make_room(self) -> None:
        """Drop the outermost directories as long as too much is held; the innermost is in use."""
        for level in self._levels[:-1]:
            if self._held <= HELD:
                return
            self._held -= level.held
            level.drop()

    def _remains_of(self, level: _Directory, error: ResticFormatError) -> bytes | None:
        """What is left of a tree that cannot be read, to be read in its place."""
        is_damage = isinstance(error, SpecError | DamagedFile | BlobMissing)
        if self._rules.remains is None or level.remains is not None or not level.tree or not is_damage:
            return None
        return self._rules.remains(level.location, level.tree)

    def _begin_again(self, level: _Directory, remains: bytes) -> _Directory:
        """The innermost directory once more, from what is left of its tree."""
        self._held -= level.held + level.edits.held
        above = self._levels[-2] if len(self._levels) > 1 else None
        fresh = self._levels[-1] = _Directory(above, level.name, level.tree, level.position)
        fresh.remains = remains
        return fresh

    def _failed(self, level: _Directory, error: ResticFormatError) -> bytes | None:
        """What takes the place of a tree that cannot be read."""
        if isinstance(error, SpecError):
            error = DamagedFile(f"tree {level.tree.hex()}", error)
        if self._rules.failed_tree is None or not isinstance(error, DamagedFile | BlobMissing | NodeUnusable):
            raise error
        nodes = self._rules.failed_tree(level.location, level.tree or None, error)
        return None if nodes is None else self._save(encode_tree(nodes))

    def _save(self, raw: bytes) -> bytes:
        return self._writer.save_blob(BlobType.TREE, raw).id

    def _changed(self, level: _Directory, index: int, node: Node) -> bytes:
        """The JSON of a node of the batch that becomes *node*."""
        assert level.reader is not None
        if level.raw is None:
            level.raw = RawNodeReader(level.reader.plaintext, _name_of_tree(level), level.start).next()
        whole = _decode_whole(bytes(level.raw[index]), level.location, _name_of_tree(level))
        for name in Node.__struct_fields__:
            value = getattr(node, name)
            if name == "content" and value and not isinstance(value, list):
                value = list(value)
            setattr(whole, name, value)
        return encode_node(whole)

    def _assembled(self, level: _Directory) -> bytes:
        """The plaintext of the directory's new tree."""
        raw = self._load(level) if level.reader is None else level.reader.plaintext
        what = _name_of_tree(level)
        tree = Tree(nodes=None)
        tree.keep_extra(wire.raw_members(raw, what, "TREE-1"), what)
        nodes = _kept(level, raw)
        return assemble(_in_order(nodes, what) if level.disordered else nodes, tree.extra, what)


class _Unreadable(Exception):
    """A tree cannot be read: the rules say what to do then, unlike after other errors."""

    def __init__(self, error: ResticFormatError) -> None:
        super().__init__(error)
        self.error = error


def _settle(level: _Directory, below: _Directory, result: Rewritten) -> None:
    """Note in a directory what became of one of its directories."""
    if result.tree is None:
        level.kept -= 1
        level.edits.nodes.pop(below.position, None)
        level.edits.dropped.append(below.position)
    elif result.tree != below.tree:
        level.edits.subtrees.append(below.position)
        level.edits.targets += result.tree
    level.files += result.files
    level.size += result.size


def _kept(level: _Directory, raw: bytes) -> Iterator[bytes | msgspec.Raw]:
    """The JSON of the nodes that a directory has now, from what its tree was."""
    edits = level.edits
    dropped = iter(edits.dropped)
    changed = zip(edits.subtrees, range(0, len(edits.targets), ID_SIZE), strict=True)
    next_dropped = next(dropped, -1)
    next_changed, start = next(changed, (-1, 0))
    what = _name_of_tree(level)
    reader = RawNodeReader(raw, what)
    first = 0
    while batch := reader.next():
        for position, node in enumerate(batch, first):
            if position == next_dropped:
                next_dropped = next(dropped, -1)
                continue
            text = edits.nodes.get(position, node) if edits.nodes else node
            if position == next_changed:
                text = with_subtree(bytes(text), bytes(edits.targets[start : start + ID_SIZE]), level.location, what)
                next_changed, start = next(changed, (-1, 0))
            yield text
        first += len(batch)


def _in_order(nodes: Iterable[bytes | msgspec.Raw], what: str) -> Iterator[bytes | msgspec.Raw]:
    """Nodes of one directory, given as JSON, by name.

    Raises:
        TreeInvalid: a name stands twice: one of the two would be lost (TREE-4).
    """
    named = [(decode_node(bytes(node), what), node) for node in nodes]
    named.sort(key=lambda pair: pair[0].name_bytes)
    for (first, _), (second, _) in pairwise(named):
        if first.name_bytes == second.name_bytes:
            raise TreeInvalid(f"{first.quoted[:200]!r} stands twice", object=what, clause="TREE-4")
    return (node for _, node in named)


def assemble(nodes: Iterable[bytes | msgspec.Raw], extra: dict[str, msgspec.Raw], what: str = "tree") -> bytes:
    """The plaintext of a tree that has these nodes, given as JSON, and what else was found in it (TREE-25).

    Raises:
        JsonInvalid: something in it that was only skimmed so far is not sound (GOJSON-11).
    """
    new = wire.splice(b"".join((b'{"nodes":[', b",".join(nodes), b"]}")), extra)
    if not new.isascii() or _ESCAPED_SURROGATE.search(new) is not None:
        wire.decode_known(_anything, new, what, "GOJSON-11")
    return new + b"\n"


def with_subtree(text: bytes, subtree: bytes, location: str, what: str = "tree") -> bytes:
    """The JSON of a directory's node, given as JSON, with another tree; *location* is the directory it is in.

    Raises:
        TreeNotEncodable: something would be lost (TREE-25).
    """
    node = _decode_whole(text, location, what)
    node.subtree = subtree.hex()
    return encode_node(node)


def _decode_whole(text: bytes, location: str, what: str) -> Node:
    """A node with everything that is in its JSON, to be changed and encoded again. Raises as `with_subtree`."""
    node = decode_node(text, what)
    node.keep_extra(wire.raw_members(text, what, "TREE-1"), what)
    encoded = encode_node(node)
    if encoded != text and _stated(encoded) != _stated(text):
        raise TreeNotEncodable(f"cannot encode tree at {location!r} without losing information")
    return node


def _stated(text: bytes) -> dict[str, object]:
    """What the JSON of a node says, leaving out known members that say nothing."""
    members: dict[str, object] = _anything.decode(text)
    known = Node.__struct_encode_fields__
    return {
        name: value
        for name, value in members.items()
        if name not in known or name == "content" or not (value is None or value == 0 or value == "")
    }


def _name_of_tree(level: _Directory) -> str:
    return f"tree {level.tree.hex()[:8]}"
