"""Whether two nodes say the same: by their text, or by what it means."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, eq

from restic_spec import gotime
from restic_spec.errors import JsonInvalid
from restic_spec.tree import Node


def same_time(stored: str | None, new: str | None) -> bool:
    """Whether two stored times mean the same instant, in whatever zones they are written; what is not a time never does."""
    if stored == new:
        return True
    try:
        return gotime.parse_ns(stored or gotime.ZERO) == gotime.parse_ns(new or gotime.ZERO)
    except JsonInvalid:
        return False


def same_node(previous: Node, current: Node) -> bool:
    """Whether two nodes say the same, times compared as instants and attributes in any order."""
    return previous == current or (
        previous.quoted == current.quoted and same_metadata(previous, current) and same_content(previous, current)
    )


def same_metadata(previous: Node, current: Node) -> bool:
    """Whether two nodes say the same, like `same_node`, but for their names and the content of files."""
    return (
        _plain(previous) == _plain(current)
        and previous.target == current.target
        and same_time(previous.mtime, current.mtime)
        and same_time(previous.atime, current.atime)
        and same_time(previous.ctime, current.ctime)
        and _attributes(previous) == _attributes(current)
        and (previous.uid or 0, previous.gid or 0) == (current.uid or 0, current.gid or 0)
        and (previous.generic_attributes or {}) == (current.generic_attributes or {})
    )


_plain = attrgetter("type", "mode", "user", "group", "inode", "device_id", "size", "links", "device", "subtree", "error")


def _attributes(node: Node) -> dict[str, bytes]:
    return {attribute.name: attribute.value or b"" for attribute in node.extended_attributes or ()}


def same_content(previous: Node, current: Node) -> bool:
    """Whether two nodes have the same content; none at all and an empty one are not the same."""
    before, now = previous.content, current.content
    if type(before) is list and type(now) is list:
        return before == now
    if not isinstance(before, Sequence) or not isinstance(now, Sequence):
        return not isinstance(before, Sequence) and not isinstance(now, Sequence)
    return len(before) == len(now) and all(map(eq, before, now))
