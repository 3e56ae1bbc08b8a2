"""What ``stat`` says of an entry, as the kernel wants it."""

from __future__ import annotations

import functools
from hashlib import blake2b
from typing import NamedTuple

from restic_format.mount import protocol
from restic_format.snapshots import FoundSnapshot
from restic_spec import gojson, gomode, gotime
from restic_spec.tree import DIR, FILE, NODE_TYPES, SYMLINK, Node

BLOCK = 512
_DIRECTORY = 0o040000
_LINK = 0o120000
_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
"""What the inodes of a directory's entries differ by: an odd number, so that no two are equal."""
_ROUND = 1 << 63


class Owner(NamedTuple):
    """Who owns what no backup tells the owner of, and whether everything else is root's."""

    uid: int
    gid: int
    root: bool


def folder_inode(above: int, name: bytes) -> int:
    """The inode of a directory called *name* in the one with the inode *above*: the same in every mount of the repository."""
    return _usable(int.from_bytes(blake2b(above.to_bytes(8, "big") + name, digest_size=8).digest(), "big"))


def entry_inode(folder: int, number: int, node: Node, snapshot: int) -> int:
    """The inode of the entry *number* of the directory *folder*, which is no directory.

    The names of one file share one within a *snapshot* (its inode), and not beyond: there it may have another content.
    """
    if node.links > 1:
        told = b"%d %d %d" % (snapshot, node.device_id, node.inode)
        return _usable(int.from_bytes(blake2b(told, digest_size=8).digest(), "big"))
    return _usable((folder + (number + 1) * _STEP) & _MASK)


def _usable(inode: int) -> int:
    return inode if inode > protocol.ROOT_ID else inode + 2


def node_attributes(node: Node, inode: int, owner: Owner, *, folders: int = 0) -> bytes:
    """The attributes of an entry of a snapshot; of a directory with so many *folders* in it."""
    kind = NODE_TYPES[node.type].st_format
    seconds, fraction = moment(node.mtime)
    access = (seconds, fraction) if node.atime is None or node.atime == node.mtime else moment(node.atime)
    change = (seconds, fraction) if node.ctime is None or node.ctime == node.mtime else moment(node.ctime)
    size, links = 0, node.links or 1
    if kind == _DIRECTORY:
        links = 2 + folders
    elif node.type == FILE:
        size = min(node.size, _ROUND - 1)
    elif node.type == SYMLINK:
        size = len(gojson.to_bytes(node.target))
    return protocol.ATTR.pack(
        inode,
        size,
        -(-size // BLOCK),
        access[0],
        seconds,
        change[0],
        access[1],
        fraction,
        change[1],
        kind | gomode.to_permissions(node.mode),
        min(links, 0xFFFFFFFF),
        0 if owner.root else node.uid or 0,
        0 if owner.root else node.gid or 0,
        node.device & 0xFFFFFFFF,
        BLOCK,
        0,
    )


def place_attributes(inode: int, owner: Owner, ns: int, *, folders: int = 0, target: bytes | None = None) -> bytes:
    """The attributes of a folder above the snapshots, of a snapshot, or with *target* of a link to one."""
    seconds, fraction = split(ns)
    is_link = target is not None
    size = len(target or b"")
    times = (seconds, seconds, seconds, fraction, fraction, fraction)
    mode = _LINK | 0o777 if is_link else _DIRECTORY | 0o555
    links = 1 if is_link else 2 + folders
    uid, gid = (0, 0) if owner.root else (owner.uid, owner.gid)
    return protocol.ATTR.pack(inode, size, -(-size // BLOCK), *times, mode, links, uid, gid, 0, BLOCK, 0)


def snapshot_attributes(found: FoundSnapshot, inode: int, owner: Owner, folders: int) -> bytes:
    """The attributes of the directory in which a snapshot begins."""
    return place_attributes(inode, owner, found.time_ns, folders=folders)


@functools.lru_cache(maxsize=4096)
def moment(text: str | None) -> tuple[int, int]:
    """A node's time in seconds and nanoseconds; 1970 where it has none."""
    return (0, 0) if text is None else split(gotime.parse_ns(text))


def split(ns: int) -> tuple[int, int]:
    """Seconds and nanoseconds, which are never negative."""
    return divmod(ns, gotime.NS)


def kind_of(node: Node) -> int:
    """The file type of an entry, as in ``st_mode``."""
    return NODE_TYPES[node.type].st_format


def is_directory(node: Node) -> bool:
    """Whether an entry is a directory."""
    return node.type == DIR
