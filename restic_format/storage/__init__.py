"""Where a repository's files live. Storage knows kinds and names of files, nothing of what is in them."""

from __future__ import annotations

from restic_format.storage.base import Buffer, Content, Storage, WrappedStorage, Writer, hash_file
from restic_format.storage.faulty import FaultyStorage
from restic_format.storage.local import LocalStorage
from restic_format.storage.locations import open_storage
from restic_format.storage.memory import MemoryStorage
from restic_format.storage.side import SideFiles

__all__ = [
    "Buffer",
    "Content",
    "FaultyStorage",
    "LocalStorage",
    "MemoryStorage",
    "SideFiles",
    "Storage",
    "WrappedStorage",
    "Writer",
    "hash_file",
    "open_storage",
]
