"""Trees and nodes: a directory as a JSON list of its entries, sorted by name, content-addressed.

`Node` is the wire form, field by field in restic's order, so that encoding a decoded tree gives the same bytes and thus the
same id. ``name`` is quoted like a Go string and then JSON-encoded; `Node.name` gives the plain one.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from restic_spec import gojson, gomode, gotime, wire
from restic_spec.errors import NameInvalid, SpecError, TreeInvalid
from restic_spec.ids import HEX_SIZE, is_hex_id

FILE = "file"
DIR = "dir"
SYMLINK = "symlink"
DEV = "dev"
CHARDEV = "chardev"
FIFO = "fifo"
SOCKET = "socket"
IRREGULAR = "irregular"


class NodeType(NamedTuple):
    """What all nodes of a type have in common (TREE-9)."""

    st_format: int
    """The file type of ``st_mode``, 0 where the system has none for it."""
    members: frozenset[str]
    """Those members that only some types have: ``content`` and ``size`` (TREE-8, TREE-16), ``subtree`` (TREE-7), ``linktarget``
    (TREE-18), ``device`` (TREE-21), ``links`` (TREE-17)."""

    @property
    def mode(self) -> int:
        """The type bits of Go's mode (TREE-10)."""
        return gomode.type_bits(self.st_format)


NODE_TYPES: Final = {
    FILE: NodeType(stat.S_IFREG, frozenset({"content", "size", "links"})),
    DIR: NodeType(stat.S_IFDIR, frozenset({"subtree"})),
    SYMLINK: NodeType(stat.S_IFLNK, frozenset({"linktarget", "links"})),
    DEV: NodeType(stat.S_IFBLK, frozenset({"device", "links"})),
    CHARDEV: NodeType(stat.S_IFCHR, frozenset({"device", "links"})),
    FIFO: NodeType(stat.S_IFIFO, frozenset()),
    SOCKET: NodeType(stat.S_IFSOCK, frozenset()),
    IRREGULAR: NodeType(0, frozenset()),
}
"""Every type there is; a reader keeps nodes of others."""

_TYPE_OF_FORMAT: Final = {node_type.st_format: name for name, node_type in NODE_TYPES.items()}


def type_of(st_mode: int) -> str:
    """The type of the node for an item with this ``st_mode``."""
    return _TYPE_OF_FORMAT.get(stat.S_IFMT(st_mode), IRREGULAR)


class ExtendedAttribute(msgspec.Struct, gc=False):
    """One extended attribute (TREE-19)."""

    name: str
    """Its name with the namespace (TREE-19): ``user.comment``, ``system.posix_acl_access``."""
    value: bytes | None
    """Its bytes, base64 in JSON; null and empty both occur for an empty one (TREE-19)."""


class Node(wire.Document):
    """An entry of a tree: the fields in restic's order, left out where they are empty (TREE-3)."""

    quoted: str = msgspec.field(name="name")
    """The entry's name as Go's ``strconv.Quote`` writes it, without the outer quotes (TREE-5).

    Kept as it was read, for programs differ in what they quote (DIFF-5)."""
    type: str
    """``file``, ``dir``, ``symlink``, ``dev``, ``chardev``, ``fifo``, ``socket`` or ``irregular`` (TREE-9).

    It tells what the entry is; the type bits of ``mode`` may be missing (RUSTIC-5)."""
    mode: wire.U32 = 0
    """Type and permissions as the bits of Go's FileMode (TREE-10)."""
    mtime: wire.Time | None = None
    """Modification time, RFC 3339 with nanoseconds (TREE-11); restic always writes it, rustic may not (RUSTIC-4)."""
    atime: wire.Time | None = None
    """Access time; equal to mtime unless backed up with access times (TREE-12)."""
    ctime: wire.Time | None = None
    """Time of the last status change (TREE-11)."""
    uid: wire.U32 | None = None
    """Owner (TREE-13); restic always writes it, rustic may not."""
    gid: wire.U32 | None = None
    """Group (TREE-13)."""
    user: str = ""
    """Name of the owner where it resolves (TREE-13)."""
    group: str = ""
    """Name of the group where it resolves (TREE-13)."""
    inode: wire.Natural = 0
    """Inode number on the source (TREE-14)."""
    device_id: wire.Natural = 0
    """``st_dev`` of the source; with ``inode`` it tells which entries with several links are one file (TREE-14, TREE-15)."""
    size: wire.Size = 0
    """Bytes of a file's content (TREE-16)."""
    links: wire.Size = 0
    """Hard link count, of files, symlinks and devices (TREE-17)."""
    linktarget: str = ""
    """Target of a symlink; bytes that are not UTF-8 replaced, see ``linktarget_raw`` (TREE-18)."""
    linktarget_raw: bytes | None = None
    """The target's exact bytes, only where they are not UTF-8; overrides ``linktarget`` (TREE-18). Since 0.16 (DIFF-2)."""
    extended_attributes: list[ExtendedAttribute] | None = None
    """Extended attributes, ACLs among them (TREE-19)."""
    generic_attributes: dict[str, msgspec.Raw] | None = None
    """Attributes of other systems, keyed ``windows.…``, kept as they are (TREE-20)."""
    device: wire.Natural = 0
    """``st_rdev`` of a device node (TREE-21)."""
    content: list[wire.Id] | msgspec.UnsetType | None = msgspec.UNSET
    """Ids of a file's data blobs in order; ``null`` for anything but files, ``[]`` for an empty file (TREE-8)."""
    subtree: wire.Id | None = None
    """Id of a directory's tree (TREE-7)."""
    error: str = ""
    """What went wrong while the entry's metadata were read (TREE-22)."""

    @property
    def name(self) -> str:
        """The entry's name, ``surrogateescape`` for bytes that are not UTF-8.

        Raises:
            NameInvalid: the stored form is not a quoted string.
        """
        return gojson.unquote(self.quoted)

    @property
    def name_bytes(self) -> bytes:
        """The name's bytes, by which nodes are sorted."""
        return gojson.to_bytes(self.name)

    @property
    def target(self) -> str:
        """A symlink's target, ``surrogateescape`` for bytes that are not UTF-8."""
        if self.linktarget_raw is not None:
            return gojson.to_text(self.linktarget_raw)
        return self.linktarget

    @property
    def blobs(self) -> Sequence[str]:
        """Hexadecimal ids of the file's content, () where there is none."""
        return self.content or ()

    @property
    def mtime_ns(self) -> int:
        """Modification time in nanoseconds since the epoch; Go's zero time where it is absent."""
        return gotime.parse_ns(self.mtime or gotime.ZERO)

    @property
    def atime_ns(self) -> int:
        """Access time, like `mtime_ns`."""
        return gotime.parse_ns(self.atime or gotime.ZERO)

    @property
    def ctime_ns(self) -> int:
        """Status change time, like `mtime_ns`."""
        return gotime.parse_ns(self.ctime or gotime.ZERO)

    def set_target(self, raw: bytes) -> None:
        """Set a symlink's target from its bytes."""
        self.linktarget = gojson.to_text(raw)
        try:
            raw.decode()
        except UnicodeDecodeError:
            self.linktarget_raw = raw


class Tree(wire.Document):
    """A directory's entries."""

    nodes: list[Node] | None
    """Sorted by name bytes, without duplicates (TREE-4)."""

    def __iter__(self) -> Any:
        return iter(self.nodes or ())


class _RawTree(msgspec.Struct):
    nodes: list[dict[str, msgspec.Raw]] | None


_decoder = msgspec.json.Decoder(Tree)
_raw_decoder = msgspec.json.Decoder(_RawTree)
_node_decoder = msgspec.json.Decoder(Node)
_HEX_DIGITS = b"0123456789abcdef"
_is_time = gotime.CANONICAL.fullmatch
_TIMES = re.compile(f"(?:{gotime.CANONICAL.pattern} )*+", re.ASCII)


Damaged = Callable[["Node", SpecError], None]
"""Told of an invalid node, and what is wrong with it."""


def decode_tree(raw: bytes, what: str = "tree", *, keep_unknown: bool = False, damaged: Damaged | None = None) -> Tree:
    """Parse a tree blob; with *keep_unknown* the nodes' undeclared fields too (TREE-23), which costs time.

    Every node is as `check_node` wants it: one that is not is given to *damaged* and left out, or refuses the tree, as with
    restic. Whether a node's name can be that of an entry, and the order, says `check_order`.

    Raises:
        JsonInvalid: not of this schema, an invalid number or time.
        TreeInvalid: an invalid id.
        NameInvalid: a name that is not a quoted string.
    """
    tree: Tree = wire.decode_known(_decoder, raw, what, "TREE-1")
    bad: set[int] = set()
    for number, node in enumerate(() if _are_ordinary(tree.nodes or []) else tree):
        try:
            check_node(node, what)
        except SpecError as error:
            if damaged is None:
                raise
            bad.add(number)
            damaged(node, error)
    if keep_unknown:
        tree.keep_extra(wire.raw_members(raw, what, "TREE-1"), what)
        raw_tree: _RawTree = wire.decode_known(_raw_decoder, raw, what, "TREE-1")
        for node, fields in zip(tree, raw_tree.nodes or (), strict=True):
            node.keep_extra(fields, what)
    if bad:
        tree.nodes = [node for number, node in enumerate(tree) if number not in bad]
    return tree


def decode_node(raw: bytes, what: str = "node") -> Node:
    """Parse one node. Raises as `decode_tree`."""
    node: Node = wire.decode_known(_node_decoder, raw, what, "TREE-1")
    check_node(node, what)
    return node


def _are_ordinary(nodes: list[Node]) -> bool:
    """Whether `check_node` surely finds nothing wrong with any of *nodes*, told in a few steps over all of them."""
    names: list[str] = []
    times: set[str | None] = set()
    ids: list[str] = []
    for node in nodes:
        names.append(node.quoted)
        times.add(node.mtime)
        times.add(node.ctime)
        if node.content:
            ids += node.content
        if node.subtree is not None:
            ids.append(node.subtree)
        if node.atime != node.mtime or (node.inode | node.device_id | node.device) >> 64 or node.generic_attributes:
            return False
    joined = "".join(names)
    return not (
        "\\" in joined
        or '"' in joined
        or "\n" in joined
        or None in times
        or not _are_ids(ids)
        or _TIMES.fullmatch(" ".join([*times, ""])) is None  # type: ignore[list-item]
    )


def _are_ids(texts: Sequence[str]) -> bool:
    """Whether all *texts* are ids in their textual form; for many it is quicker than `is_hex_id` for each."""
    joined = "".join(texts)
    return set(map(len, texts)) <= {HEX_SIZE} and joined.isascii() and not joined.encode().translate(None, _HEX_DIGITS)


def check_node(node: Node, what: str) -> None:
    """Check what the types of the fields leave open: that ids, times, numbers and the name's quoting are what they must be.

    Raises:
        JsonInvalid: a number beyond 64 bits (TREE-14, TREE-21), an invalid time (TREE-11).
        TreeInvalid: an invalid id (TREE-7, TREE-8).
        NameInvalid: a name that is not a quoted string (TREE-5).
    """
    quoted = node.quoted
    if "\\" in quoted or '"' in quoted or "\n" in quoted:
        try:
            gojson.unquote(quoted)
        except NameInvalid as error:
            raise NameInvalid(error.what, object=what, clause=error.clause) from None
    if node.content and not _are_ids(node.content):
        raise TreeInvalid(f"{quoted[:200]!r} has content that is not an id", object=what, clause="TREE-8")
    if node.subtree is not None and not is_hex_id(node.subtree):
        raise TreeInvalid(f"{quoted[:200]!r} has a subtree that is not an id", object=what, clause="TREE-7")
    if (node.inode | node.device_id | node.device) >> 64:
        wire.check_naturals(what, "TREE-14", node.inode, node.device_id)
        wire.check_naturals(what, "TREE-21", node.device)
    mtime = node.mtime
    # Most nodes have the same text twice or three times.
    for time in (mtime, node.atime if node.atime != mtime else None, node.ctime if node.ctime != mtime else None):
        if time is not None and _is_time(time) is None:
            gotime.check(time, what, "TREE-11")
    if node.generic_attributes:
        wire.check_raw(node.generic_attributes, what)


def encode_node(node: Node) -> bytes:
    """The JSON of one node."""
    if node.generic_attributes:
        # Go sorts the keys of a map and removes white space from the values (TREE-20).
        attributes = sorted(node.generic_attributes.items())
        node.generic_attributes = {name: msgspec.Raw(msgspec.json.format(raw, indent=-1)) for name, raw in attributes}
    if node.linktarget_raw is not None:
        # Go derives the readable form from the raw one; a decoded replacement character has lost where it came from.
        node.linktarget = gojson.to_text(node.linktarget_raw)
    return wire.encode(node)


def encode_tree(tree: Tree | Iterable[Node]) -> bytes:
    """A tree blob's plaintext: the JSON restic writes and a newline after it (TREE-1); ``{"nodes":[]}`` for none (TREE-2)."""
    body = b'{"nodes":[' + b",".join(map(encode_node, tree)) + b"]}"
    if isinstance(tree, Tree):
        body = wire.splice(body, tree.extra)
    return body + b"\n"


def is_entry_name(name: bytes) -> bool:
    """Whether an entry of a directory can be called *name* (TREE-6)."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


def check_order(nodes: Iterable[Node], what: str = "tree") -> Iterator[Node]:
    """The *nodes* of one tree, checked as they pass: names that can be entries of a directory, strictly ascending by their
    bytes; directories with a subtree.

    Raises:
        TreeInvalid: one of them does not hold (TREE-4, TREE-6, TREE-7); the nodes before it have been given.
    """
    previous: bytes | None = None
    for node in nodes:
        name = node.name_bytes
        if not is_entry_name(name):
            raise TreeInvalid(f"{node.quoted[:200]!r} cannot be an entry of a directory", object=what, clause="TREE-6")
        if previous is not None and name <= previous:
            raise TreeInvalid(f"{node.quoted[:200]!r} is out of order or stands twice", object=what, clause="TREE-4")
        if node.type == DIR and node.subtree is None:
            raise TreeInvalid(f"directory {node.quoted[:200]!r} has no subtree", object=what, clause="TREE-7")
        previous = name
        yield node


def validate_tree(tree: Tree, what: str = "tree") -> None:
    """`check_order` for a whole tree."""
    for _ in check_order(tree, what):
        pass
