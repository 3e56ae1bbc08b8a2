"""The messages between Linux and a FUSE file system, as far as one that is only read needs them.

Names and numbers are those of ``linux/fuse.h``; every message is in the machine's byte order.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

MAJOR: Final = 7
MINOR: Final = 31
"""The version of the protocol that is spoken; newer kernels speak it, too."""
OLDEST_MINOR: Final = 28
"""The oldest that has what is used here (Linux 4.20)."""
ROOT_ID: Final = 1

LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
READLINK: Final = 5
OPEN: Final = 14
READ: Final = 15
STATFS: Final = 17
RELEASE: Final = 18
GETXATTR: Final = 22
LISTXATTR: Final = 23
INIT: Final = 26
OPENDIR: Final = 27
READDIR: Final = 28
RELEASEDIR: Final = 29
INTERRUPT: Final = 36
DESTROY: Final = 38
BATCH_FORGET: Final = 42
READDIRPLUS: Final = 44

CHANGES: Final = frozenset((4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51))
"""What would change something: SETATTR, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, WRITE, SETXATTR, REMOVEXATTR,
CREATE, FALLOCATE, RENAME2, COPY_FILE_RANGE, TMPFILE."""

ASYNC_READ: Final = 1 << 0
DO_READDIRPLUS: Final = 1 << 13
READDIRPLUS_AUTO: Final = 1 << 14
ASYNC_DIO: Final = 1 << 15
NO_OPEN_SUPPORT: Final = 1 << 17
PARALLEL_DIROPS: Final = 1 << 18
MAX_PAGES: Final = 1 << 22
POSIX_ACL: Final = 1 << 20
"""The kernel asks for access control lists and keeps to them as to owners and modes."""
CACHE_SYMLINKS: Final = 1 << 23
WANTED: Final = ASYNC_READ | DO_READDIRPLUS | ASYNC_DIO | NO_OPEN_SUPPORT | PARALLEL_DIROPS | MAX_PAGES | CACHE_SYMLINKS

KEEP_CACHE: Final = 1 << 1
CACHE_DIR: Final = 1 << 3
"""Flags of a directory that was opened."""

HEADER_IN: Final = struct.Struct("=IIQQIIIHH")
"""Length, operation, number of the request, node, user, group and process that ask, extensions."""
HEADER_OUT: Final = struct.Struct("=IiQ")
"""Length, negative error number, number of the request."""
INIT_IN: Final = struct.Struct("=IIII")
"""Major and minor version, read-ahead, flags."""
INIT_OUT: Final = struct.Struct("=IIIIHHIIHH32x")
"""Versions, read-ahead, flags, requests in the background and from which on it is busy, bytes of a write, granularity of times
in nanoseconds, pages of a request, alignment."""
READ_IN: Final = struct.Struct("=QQI")
"""Handle, offset, size."""
XATTR_IN: Final = struct.Struct("=II")
"""Bytes there is room for, 0 to be told how many it takes."""
FORGET_IN: Final = struct.Struct("=Q")
BATCH_FORGET_IN: Final = struct.Struct("=II")
FORGET_ONE: Final = struct.Struct("=QQ")
OPEN_OUT: Final = struct.Struct("=QIi")
"""Handle, flags."""
ATTR: Final = struct.Struct("=QQQqqqIIIIIIIIII")
"""Inode, size, blocks, seconds of atime, mtime, ctime, their nanoseconds, mode, links, owner, group, device, block size,
flags."""
ATTR_OUT: Final = struct.Struct("=QII")
"""Seconds and nanoseconds that attributes hold; they follow."""
ENTRY_OUT: Final = struct.Struct("=QQQQII")
"""Node, generation, seconds that the entry and its attributes hold, the nanoseconds; the attributes follow."""
DIRENT: Final = struct.Struct("=QQII")
"""Inode, offset of the next entry, bytes of the name, type; the name follows."""
STATFS_OUT: Final = struct.Struct("=QQQQQIII28x")
"""Blocks: all, free, available; files: all, free; block size, bytes of a name, fragment size."""
XATTR_OUT: Final = struct.Struct("=II")

FOREVER: Final = 1 << 31
"""Seconds that what never changes holds."""
MIN_BUFFER: Final = 1 << 16
"""Bytes of a request there must be room for, and more than enough for one that changes nothing."""
MAX_WRITE: Final = 4096
NO_ENTRY: Final = bytes(ENTRY_OUT.size + ATTR.size)
"""Says in a list of entries with attributes that for this one they are to be asked for."""


class Request(NamedTuple):
    """A request of the kernel."""

    operation: int
    node: int
    body: bytes


def entry_size(name: bytes) -> int:
    """Bytes that an entry of a directory takes in a list, without attributes."""
    return (DIRENT.size + len(name) + 7) & ~7


def entry(inode: int, offset: int, kind: int, name: bytes) -> bytes:
    """An entry of a directory; *kind* is the file type of ``st_mode``."""
    padding = -(DIRENT.size + len(name)) & 7
    return DIRENT.pack(inode, offset, len(name), kind >> 12) + name + bytes(padding)


def init_reply(body: bytes, *, readahead: int, pages: int, background: int, restricted: bool = False) -> tuple[bytes, int]:
    """The answer to INIT and the minor version of the kernel; 0 and only our version where it speaks another major one.

    *restricted* is whether the kernel keeps to owners and modes, and then to access control lists.
    """
    major, minor, possible, flags = INIT_IN.unpack_from(body)
    if major > MAJOR:
        return INIT_OUT.pack(MAJOR, MINOR, 0, 0, 0, 0, 0, 0, 0, 0), 0
    return (
        INIT_OUT.pack(
            MAJOR,
            MINOR,
            min(possible, readahead),
            flags & (WANTED | POSIX_ACL * restricted),
            background,
            background * 3 // 4,
            MAX_WRITE,
            1,
            pages,
            0,
        ),
        minor if major == MAJOR else 0,
    )
