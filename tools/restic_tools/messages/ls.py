"""The messages of ``ls``: nodes."""

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
