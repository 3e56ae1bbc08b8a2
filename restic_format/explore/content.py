"""Whether a file of the source has the content that a node says: it is read, cut where the node's blobs end, and hashed.

Nothing is fetched from the repository: the id of a blob is the hash of its plaintext (LAYOUT-6), and the index has its length.
Memory: what is read at once, however large a blob is.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import NamedTuple

from restic_format.backup.source import Place, open_source
from restic_format.errors import BlobMissing
from restic_format.repository.index import BlobIndex
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.tree import Node

READ = 1 << 20
"""Bytes read at once."""


class Compared(NamedTuple):
    """What comparing a file with a node has shown."""

    same: bool
    """Whether it is a regular file with that content."""
    info: os.stat_result
    """What the file was before it was read."""
    moved: bool
    """Whether it changed while it was read: nothing is known about it then."""
    blob: str
    """The id of the first blob that it does not have, "" where it is no regular file or longer than the node says."""
    bytes: int
    """Bytes read."""


def compare_content(place: Place, node: Node, index: BlobIndex) -> Compared:
    """Read the file at *place*, never through a symlink, and compare it with the content of *node*.

    Raises:
        OSError: it cannot be opened or read.
        BlobMissing: *index* does not know one of the blobs, so that nothing says where it ends.
    """
    lengths = [(blob, _length(index, blob)) for blob in node.blobs]
    fd = open_source(place)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return Compared(False, before, False, "", 0)
        blob, size = _first_difference(fd, lengths)
        after = os.fstat(fd)
    finally:
        os.close(fd)
    moved = _state(before) != _state(after)
    return Compared(blob is None, before, moved, blob or "", size)


def _length(index: BlobIndex, blob: str) -> int:
    blob_id = parse_id(blob)
    where = index.lookup(BlobType.DATA, blob_id)
    if where is None:
        raise BlobMissing.of(BlobType.DATA, blob)
    return where.entry(BlobType.DATA, blob_id).plain_length


def _first_difference(fd: int, lengths: list[tuple[str, int]]) -> tuple[str | None, int]:
    """The first blob that an open file does not have, None where it has all of them and nothing else; and the bytes read."""
    buffer = memoryview(bytearray(min(READ, max((length for _, length in lengths), default=0) + 1)))
    done = 0
    for blob, length in lengths:
        found, left = hashlib.sha256(), length
        while left:
            count = os.readv(fd, [buffer[: min(left, len(buffer))]])
            if not count:
                return blob, done
            found.update(buffer[:count])
            left -= count
            done += count
        if found.hexdigest() != blob:
            return blob, done
    return ("" if os.readv(fd, [buffer[:1]]) else None), done


def _state(info: os.stat_result) -> tuple[int, int, int]:
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns
