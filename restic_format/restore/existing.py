"""Files that are in the target already: may they be replaced, and what of them can stay?"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable

from restic_format.restore.request import Overwrite
from restic_spec.pack import PackEntry

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def may_replace(overwrite: Overwrite, existing: os.stat_result | None, mtime: int | None) -> bool:
    """Whether an item may be restored where *existing* is; *mtime* is the item's, in nanoseconds."""
    if existing is None or overwrite in (Overwrite.ALWAYS, Overwrite.IF_CHANGED):
        return True
    return overwrite is Overwrite.IF_NEWER and mtime is not None and mtime > existing.st_mtime_ns


def open_regular(name: bytes, parent: int) -> int | None:
    """A descriptor to read the regular file *name* in the directory *parent* with, None if there is none to be had."""
    try:
        descriptor = os.open(name, _READ, dir_fd=parent)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def matching_blobs(descriptor: int, entries: Iterable[PackEntry]) -> bytearray:
    """For each of a file's blobs 1 if it is where it belongs in the open file, else 0; what cannot be read does not match."""
    offset, matches = 0, bytearray()
    for entry in entries:
        matches.append(blob_matches(descriptor, offset, entry.plain_length, entry.id))
        offset += entry.plain_length
    return matches


def blob_matches(descriptor: int, offset: int, size: int, blob: bytes) -> bool:
    """Whether the open file holds a blob at *offset*."""
    try:
        data = os.pread(descriptor, size, offset)
    except (OSError, OverflowError, MemoryError):
        return False
    return len(data) == size and hashlib.sha256(data).digest() == blob


def same_content(name: bytes, parent: int, entries: Iterable[PackEntry]) -> bool:
    """Whether a regular file has exactly this content."""
    descriptor = open_regular(name, parent)
    if descriptor is None:
        return False
    try:
        offset = 0
        for entry in entries:
            if not blob_matches(descriptor, offset, entry.plain_length, entry.id):
                return False
            offset += entry.plain_length
        return os.fstat(descriptor).st_size == offset
    finally:
        os.close(descriptor)
