"""The content of a file as a seekable stream.

What is read one after the other is fetched some blobs ahead, neighbours in a pack in one go; a few blobs are kept, for those
who read here and there. Memory: 16 MiB of blobs that are kept, or the last one, and 8 MiB that are fetched ahead.
"""

from __future__ import annotations

import io
import os
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.errors import BlobMissing
from restic_format.repository import Repository
from restic_format.snapshots.errors import NodeUnusable
from restic_spec.errors import ResticFormatError
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import FILE, Node

if TYPE_CHECKING:
    from typing_extensions import Buffer

KEPT = 16 << 20
"""Bytes of blobs that are kept."""
AHEAD = 8 << 20
"""Bytes of blobs that are fetched at once when they are read one after the other."""


class FileStream(io.RawIOBase):
    """Reads a file of a snapshot; for one thread at a time. `open_file` makes it.

    An error about a blob is raised by the read that needs it, and by no other.
    """

    def __init__(self, repository: Repository, blobs: Sequence[str]) -> None:
        """*blobs* are the ids of the file's content.

        Raises:
            BlobMissing: no index knows one of them.
        """
        self._repository = repository
        self._blobs = blobs
        self._ends = array("Q")
        """Where in the file each blob ends."""
        end = 0
        for text in blobs:
            where = repository.index.lookup(BlobType.DATA, parse_id(text))
            if where is None:
                raise BlobMissing(f"blob {text} is not in any index: run check, then repair index")
            end += where.entry(BlobType.DATA, b"").plain_length
            self._ends.append(end)
        self._position = 0
        self._kept: dict[bytes, bytes] = {}
        """Plaintexts, those used last at the end."""
        self._kept_size = 0
        self._next = 0
        """Number of the blob that comes next if all is read one after the other."""

    @property
    def size(self) -> int:
        """Bytes of the content; an index that states a wrong length is corrected when that blob is read."""
        return self._ends[-1] if self._ends else 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in the file."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Change the position; it may be behind the end, where there is nothing to read."""
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if position < 0:
            raise ValueError(f"there is no position {position} in a file")
        self._position = position
        return position

    def readinto(self, buffer: Buffer) -> int:
        """Fill *buffer* with what comes next, as far as one blob reaches; how many bytes that are, 0 at the end.

        Raises:
            ResticFormatError: the blob cannot be had.
        """
        target = memoryview(buffer).cast("B")
        while target and self._position < self.size:
            number = bisect_right(self._ends, self._position)
            plain = self._blob(number)
            start = self._position - (self._ends[number - 1] if number else 0)
            piece = memoryview(plain)[start : start + len(target)]
            if piece:  # else the blob is shorter than an index said, and the position is in the next one
                target[: len(piece)] = piece
                self._position += len(piece)
                return len(piece)
        return 0

    def _blob(self, number: int) -> bytes:
        """The plaintext of the blob *number*, with which what comes next agrees about its length."""
        blob = parse_id(self._blobs[number])
        plain = self._kept.pop(blob, None)
        if plain is None:
            plain = self._fetch(number, blob)
        else:
            self._kept_size -= len(plain)
        self._keep(blob, plain)
        self._next = number + 1
        start = self._ends[number - 1] if number else 0
        if start + len(plain) != self._ends[number]:
            shift = start + len(plain) - self._ends[number]
            self._ends[number:] = array("Q", [end + shift for end in self._ends[number:]])
        return plain

    def _keep(self, blob: bytes, plain: bytes) -> None:
        self._kept[blob] = plain
        self._kept_size += len(plain)
        while self._kept_size > KEPT and len(self._kept) > 1:
            self._kept_size -= len(self._kept.pop(next(iter(self._kept))))

    def _fetch(self, number: int, blob: bytes) -> bytes:
        """The plaintext of a blob; those after it are fetched and kept as well if they are likely to be wanted."""
        wanted: bytes | None = None
        for pack, entries in self._ahead(number).items():
            for entry, opened in self._repository.packs.blobs(pack, entries):
                if isinstance(opened, ResticFormatError):
                    continue
                if entry.id == blob:
                    wanted = bytes(opened)
                elif entry.id not in self._kept:
                    self._keep(entry.id, bytes(opened))
        # Another copy, or the same at a second try, or the error.
        return self._repository.load_blob(BlobType.DATA, blob) if wanted is None else wanted

    def _ahead(self, number: int) -> dict[bytes, list[PackEntry]]:
        """The blobs to fetch with the blob *number*, by pack."""
        packs: dict[bytes, list[PackEntry]] = {}
        seen: set[bytes] = set()
        size = 0
        for following in range(number, len(self._blobs)):
            blob = parse_id(self._blobs[following])
            if blob in seen or blob in self._kept:
                continue
            where = self._repository.index.lookup(BlobType.DATA, blob)
            if where is None:
                break
            entry = where.entry(BlobType.DATA, blob)
            size += entry.plain_length
            if seen and (size > AHEAD or number != self._next):
                break
            seen.add(blob)
            packs.setdefault(where.pack, []).append(entry)
        return packs


def open_file(repository: Repository, node: Node) -> FileStream:
    """The content of the file *node*; the repository's index must be loaded.

    Raises:
        NodeUnusable: it is not a regular file.
        BlobMissing: no index knows one of its blobs.
    """
    if node.type != FILE:
        raise NodeUnusable(f"{node.quoted[:200]!r} is not a regular file but {node.type[:40]!r}: it has no content")
    return FileStream(repository, node.blobs)
