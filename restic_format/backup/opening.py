"""Opening what is backed up: without following, without waiting, without leaving a trace."""

from __future__ import annotations

import os

OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Nothing that replaced a file since it was looked at may make us follow it or wait for it."""


def open_source(path: bytes, flags: int = OPEN_FLAGS) -> int:
    """Open for reading without touching the access time where the system allows that.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        # Only the owner and root may leave the access time alone.
        return os.open(path, flags)


def list_directory(path: bytes, flags: int = OPEN_FLAGS) -> list[bytes]:
    """The names in a directory, sorted; its access time is left alone where the system allows that.

    Raises:
        OSError: it cannot be listed.
    """
    fd = open_source(path, flags | os.O_DIRECTORY)
    try:
        return list_open_directory(fd)
    finally:
        os.close(fd)


def list_open_directory(fd: int) -> list[bytes]:
    """The names in an open directory, sorted.

    Raises:
        OSError: it cannot be listed.
    """
    return sorted(map(os.fsencode, os.listdir(fd)))
