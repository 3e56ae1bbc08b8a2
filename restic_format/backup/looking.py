"""Looking at many files in one call: with the kernel where it works, file by file elsewhere.

Both give what ``lstat`` says; the kernel also extended attributes, which saves asking again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from restic_format.native import nodes
from restic_spec.tree import ExtendedAttribute

ASK_NOTHING, ASK_UNLESS_REGULAR, ASK_ALWAYS = 0, 1, 2
"""For which files to find out their extended attributes."""


LOOK_AT_ONCE = 256
"""Entries of a directory that are looked at together."""


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


def kernel_works() -> bool:
    """Whether whole directories can be looked at in one call."""
    return nodes.UNAVAILABLE is None


def look_at_many(prefix: bytes, names: list[bytes], ask: int) -> Sequence[FileInfo | None]:
    """What each of the entries *names* of a directory is, symlinks not followed; None where that cannot be told (look again to
    learn why). *prefix* is the directory's path with a slash behind it.
    """
    if kernel_works():
        return nodes.look_at(prefix, names, ask)
    return [None] * len(names)


def known_attributes(info: FileInfo) -> list[ExtendedAttribute] | None:
    """The file's extended attributes where the kernel has found them out, which it does if they are nothing unusual."""
    text: bytes | None = getattr(info, "attributes", None)
    return None if text is None else _attributes.decode(text) if text else []
