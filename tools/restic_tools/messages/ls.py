"""The messages of ``ls``: nodes, and a summary."""

from __future__ import annotations

import msgspec


class NodeMessage(msgspec.Struct):
    """``ls``: one file, directory or other node. ``size`` is there for files only."""

    name: str
    type: str
    path: str
    uid: int
    gid: int
    size: int | msgspec.UnsetType
    mode: int | msgspec.UnsetType
    permissions: str | msgspec.UnsetType
    mtime: str
    atime: str
    ctime: str
    inode: int | msgspec.UnsetType
    message_type: str = "node"
    struct_type: str = "node"


class LsSummary(msgspec.Struct):
    """``ls --summary``: how much was listed; the last message."""

    message_type: str
    """``summary``."""
    dirs: int
    files: int
    """Everything but directories."""
    bytes: int


class NcduNode(msgspec.Struct):
    """``ls --ncdu``: one node in the export format of ncdu (sizes in bytes, time in seconds)."""

    name: str
    asize: int
    dsize: int
    dev: int
    ino: int
    nlink: int
    notreg: bool
    uid: int
    gid: int
    mode: int
    mtime: int
