"""Go's ``os.FileMode``, which a node's ``mode`` holds: permission bits low, type and special bits high.

It is not ``st_mode``: a directory with permissions 0755 is ``0x800001ed`` (2147484141). Clause TREE-10.
"""

from __future__ import annotations

import functools
import stat
from typing import Final

DIR: Final = 1 << 31
SYMLINK: Final = 1 << 27
DEVICE: Final = 1 << 26
NAMED_PIPE: Final = 1 << 25
SOCKET: Final = 1 << 24
SETUID: Final = 1 << 23
SETGID: Final = 1 << 22
CHAR_DEVICE: Final = 1 << 21
STICKY: Final = 1 << 20
IRREGULAR: Final = 1 << 19
PERM: Final = 0o777
TYPE: Final = DIR | SYMLINK | DEVICE | NAMED_PIPE | SOCKET | CHAR_DEVICE | IRREGULAR

_TYPE_BITS: Final = {
    stat.S_IFREG: 0,
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFBLK: DEVICE,
    stat.S_IFCHR: DEVICE | CHAR_DEVICE,
    stat.S_IFIFO: NAMED_PIPE,
    stat.S_IFSOCK: SOCKET,
}
_LETTERS: Final = "dalTLDpSugct?"


def type_bits(st_mode: int) -> int:
    """The type bits for a ``st_mode``; an unknown file type is IRREGULAR."""
    return _TYPE_BITS.get(stat.S_IFMT(st_mode), IRREGULAR)


def from_st_mode(st_mode: int) -> int:
    """Go's mode for a ``st_mode``; an unknown file type becomes IRREGULAR."""
    mode = (st_mode & PERM) | type_bits(st_mode)
    if st_mode & stat.S_ISUID:
        mode |= SETUID
    if st_mode & stat.S_ISGID:
        mode |= SETGID
    if st_mode & stat.S_ISVTX:
        mode |= STICKY
    return mode


def to_permissions(mode: int) -> int:
    """The bits ``chmod`` takes: permissions, setuid, setgid and sticky."""
    result = mode & PERM
    if mode & SETUID:
        result |= stat.S_ISUID
    if mode & SETGID:
        result |= stat.S_ISGID
    if mode & STICKY:
        result |= stat.S_ISVTX
    return result


@functools.lru_cache(maxsize=256)
def mode_string(mode: int) -> str:
    """The mode as Go prints it (``drwxr-xr-x``, ``-rw-r--r--``, ``ug`` before it for setuid and setgid)."""
    prefix = "".join(letter for bit, letter in zip(range(31, 18, -1), _LETTERS, strict=True) if mode >> bit & 1)
    permissions = "".join(letter if mode >> bit & 1 else "-" for bit, letter in zip(range(8, -1, -1), "rwxrwxrwx", strict=True))
    return (prefix or "-") + permissions
