"""Trees as backups meet them: the parent's to compare with, the new ones to encode."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from restic_format.backup.source import FileInfo
from restic_spec import gojson, gotime, tree
from restic_spec.errors import JsonInvalid
from restic_spec.ids import is_hex_id
from restic_spec.tree import FILE, Node

_encoder = msgspec.json.Encoder()


def encode_node(node: Node) -> bytes:
    """What `restic_spec.tree.encode_node` gives for a new node, which has no undeclared fields and no attributes of other
    systems.
    """
    if node.linktarget_raw is not None:
        return tree.encode_node(node)
    try:
        return gojson.escape_html(_encoder.encode(node))
    except UnicodeEncodeError:
        return tree.encode_node(node)


def join_nodes(nodes: Iterable[bytes]) -> bytes:
    """A tree of encoded nodes; each piece may be several of them with commas between."""
    return b'{"nodes":[' + b",".join(nodes) + b"]}\n"


EMPTY_TREE = join_nodes(())
"""The tree of an empty directory."""


def stored_blobs(node: Node) -> list[bytes] | None:
    """The ids of a file's content; None where one of them is no id."""
    return [bytes.fromhex(blob) for blob in node.blobs] if all(map(is_hex_id, node.blobs)) else None


def same_time(stored: str | None, new: str | None) -> bool:
    """Whether two stored times mean the same instant, in whatever zones they are written; text that is no time never does."""
    if stored == new:
        return True
    try:
        return gotime.parse_ns(stored or gotime.ZERO) == gotime.parse_ns(new or gotime.ZERO)
    except JsonInvalid:
        return False


def file_changed(
    info: FileInfo, mtime: str, ctime: str, previous: Node, *, check_ctime: bool = True, check_inode: bool = True
) -> bool:
    """Whether a regular file has to be read again: it is another one, or not the same as *previous*, by its metadata."""
    return (
        previous.type != FILE
        or info.st_size != previous.size
        or not same_time(previous.mtime, mtime)
        or (check_ctime and not same_time(previous.ctime, ctime))
        or (check_inode and info.st_ino != previous.inode)
    )


def same_node(previous: Node, current: Node) -> bool:
    """Whether two nodes say the same, times compared as instants and attributes in any order."""
    if previous == current:
        return True
    return (
        previous.quoted == current.quoted
        and previous.target == current.target
        and all(getattr(previous, name) == getattr(current, name) for name in _PLAIN)
        and same_time(previous.mtime, current.mtime)
        and same_time(previous.atime, current.atime)
        and same_time(previous.ctime, current.ctime)
        and _attributes(previous) == _attributes(current)
        and (previous.uid or 0, previous.gid or 0) == (current.uid or 0, current.gid or 0)
        and _content(previous) == _content(current)
        and (previous.generic_attributes or {}) == (current.generic_attributes or {})
    )


_PLAIN = (
    "type",
    "mode",
    "user",
    "group",
    "inode",
    "device_id",
    "size",
    "links",
    "device",
    "subtree",
    "error",
)


def _attributes(node: Node) -> dict[str, bytes]:
    return {attribute.name: attribute.value or b"" for attribute in node.extended_attributes or ()}


def _content(node: Node) -> list[str] | None:
    return None if node.content is msgspec.UNSET else node.content
