"""The messages of ``find``: one array, of snapshots with what was found in them, or of places of blobs and trees."""

from __future__ import annotations

import msgspec


class MatchMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``find PATTERN``: a node that fits, in ``matches`` of its snapshot."""

    path: str
    permissions: str
    type: str
    mode: int = 0
    mtime: str
    atime: str
    ctime: str
    uid: int
    gid: int
    user: str = ""
    group: str = ""
    inode: int = 0
    device_id: int = 0
    size: int = 0
    links: int = 0
    linktarget: str = ""
    error: str = ""


class SnapshotMatches(msgspec.Struct):
    """``find PATTERN``: a snapshot in which something was found. It is printed as it comes, ``hits`` after the last match."""

    matches: list[MatchMessage]
    hits: int
    snapshot: str


class ObjectMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``find --blob``, ``--tree`` and ``--pack``: a place where a snapshot has a blob or a tree."""

    object_type: str
    """``blob`` or ``tree``."""
    id: str
    path: str
    """Of the file with the blob, or the directory with the tree."""
    parent_tree: str = ""
    """The tree that the file is in; only for a blob."""
    snapshot: str
    time: str
    """Of the snapshot."""
