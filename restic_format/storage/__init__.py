"""Where a repository's files live. Storage knows kinds and names of files, nothing of what is in them."""

from __future__ import annotations

import re

from restic_format.errors import UsageError
from restic_format.storage.base import Buffer, Content, FillsMemory, LeavesUnfinished, Storage, Writer
from restic_format.storage.faulty import FaultyStorage
from restic_format.storage.local import LocalStorage
from restic_format.storage.memory import MemoryStorage
from restic_format.storage.ranges import RangeReader

__all__ = [
    "Buffer",
    "Content",
    "FaultyStorage",
    "FillsMemory",
    "LeavesUnfinished",
    "LocalStorage",
    "MemoryStorage",
    "RangeReader",
    "Storage",
    "Writer",
    "open_storage",
]

_REMOTE = re.compile(r"(sftp|rest|s3|b2|azure|gs|swift|rclone|s3legacy)$")


def open_storage(location: str) -> Storage:
    """The storage a repository location names: ``/path``, ``local:/path``.

    Raises:
        UsageError: a location of a kind that is not supported.
    """
    scheme, colon, rest = location.partition(":")
    if colon and scheme == "local":
        return LocalStorage(rest)
    if colon and _REMOTE.match(scheme):
        raise UsageError(f"invalid backend: {scheme}: is not supported yet, only folders are; mount it or use a local path")
    return LocalStorage(location)
