"""Access to what is backed up: without following symlinks, without waiting, without leaving a trace.

A path is resolved again whenever something is looked at or opened, and somebody may change the source meanwhile. Only what
leads to a target may be a symlink: below it every directory is opened as itself or not at all, so that a symlink that takes the
place of a directory does not lead the backup to files that are nobody's business.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

from restic_spec.tree import ExtendedAttribute

ASK_NOTHING, ASK_UNLESS_REGULAR, ASK_ALWAYS = 0, 1, 2
"""For which files to find out their extended attributes."""

LOOK_AT_ONCE = 256
"""Entries of a directory that are looked at together."""

OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Nothing that replaced a file since it was looked at may make us follow it or wait for it."""

_FOR_PATHS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_attributes = msgspec.json.Decoder(list[ExtendedAttribute])


class FileInfo(Protocol):
    """What is needed of ``os.stat_result``."""

    @property
    def st_mode(self) -> int:
        """See `os.stat_result`, as for all others."""

    @property
    def st_ino(self) -> int:
        """Inode."""

    @property
    def st_dev(self) -> int:
        """Device."""

    @property
    def st_rdev(self) -> int:
        """The device a device node stands for."""

    @property
    def st_nlink(self) -> int:
        """Hard links."""

    @property
    def st_uid(self) -> int:
        """Owner."""

    @property
    def st_gid(self) -> int:
        """Group."""

    @property
    def st_size(self) -> int:
        """Bytes."""

    @property
    def st_atime_ns(self) -> int:
        """Access time."""

    @property
    def st_mtime_ns(self) -> int:
        """Modification time."""

    @property
    def st_ctime_ns(self) -> int:
        """Status change time."""


class Folder(NamedTuple):
    """A directory of the source."""

    prefix: bytes
    """Its path with a slash behind it; empty for the current directory."""
    followed: int
    """So many bytes at the beginning lead to a target: symlinks are followed there, and nowhere behind."""


class Place(NamedTuple):
    """Where an item of the source is: a name in a directory."""

    folder: Folder
    name: bytes

    @classmethod
    def of_target(cls, path: bytes) -> Place:
        """The place of a target: everything in its path but its own name may be a symlink."""
        prefix = path[: path.rfind(b"/") + 1]
        return cls(Folder(prefix, len(prefix)), path[len(prefix) :])

    @property
    def path(self) -> bytes:
        """The whole path."""
        return self.folder.prefix + self.name

    def as_folder(self) -> Folder:
        """The same as a directory that has entries."""
        return Folder(self.path + b"/", self.folder.followed)


def look_closely(place: Place) -> os.stat_result:
    """What an item is, symlinks not followed.

    Raises:
        OSError: it cannot be looked at.
    """
    with _opened(place.folder) as directory:
        return os.stat(place.name, dir_fd=directory, follow_symlinks=False)


def known_attributes(info: FileInfo) -> list[ExtendedAttribute] | None:
    """The file's extended attributes where they were found out with the rest, which they are if they are nothing unusual."""
    text: bytes | None = getattr(info, "attributes", None)
    return None if text is None else _attributes.decode(text) if text else []


@contextlib.contextmanager
def attributes_path(place: Place) -> Iterator[bytes]:
    """A path to ask for the extended attributes of an item, which is not to be followed.

    Raises:
        OSError: the directory cannot be opened.
    """
    with _opened(place.folder) as directory:
        path = b"/proc/self/fd/%d/%s" % (directory, place.name)
        yield path if os.path.lexists(path) else place.path


def read_link(place: Place) -> bytes:
    """Where a symlink leads.

    Raises:
        OSError: it cannot be read.
    """
    with _opened(place.folder) as directory:
        return os.readlink(place.name, dir_fd=directory)


def open_source(place: Place, flags: int = OPEN_FLAGS) -> int:
    """Open for reading without touching the access time where the system allows that.

    Raises:
        OSError: it cannot be opened.
    """
    with _opened(place.folder) as directory:
        try:
            return os.open(place.name or b".", flags | os.O_NOATIME, dir_fd=directory)
        except PermissionError:
            # Only the owner and root may leave the access time alone.
            return os.open(place.name or b".", flags, dir_fd=directory)


def list_directory(place: Place, flags: int = OPEN_FLAGS) -> list[bytes]:
    """The names in a directory, sorted; its access time is left alone where the system allows that.

    Raises:
        OSError: it cannot be listed.
    """
    fd = open_source(place, flags | os.O_DIRECTORY)
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


@contextlib.contextmanager
def _opened(folder: Folder) -> Iterator[int]:
    """A descriptor of a directory, good for paths that begin there."""
    fd = os.open(folder.prefix[: folder.followed] or b".", _FOR_PATHS)
    try:
        for name in filter(None, folder.prefix[folder.followed :].split(b"/")):
            below = os.open(name, _FOR_PATHS | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)
