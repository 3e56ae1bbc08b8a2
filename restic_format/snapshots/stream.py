"""The content of a file as a seekable stream.

Its blobs come from a `BlobCache`, which all open files may share. What is read one after the other is fetched ahead, the more
the longer that goes on.
"""

from __future__ import annotations

import io
import os
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from restic_format.errors import BlobMissing
from restic_format.repository import Repository
from restic_format.snapshots.blobcache import BlobCache
from restic_format.snapshots.errors import NodeUnusable
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.tree import FILE, Node

if TYPE_CHECKING:
    from typing_extensions import Buffer

AHEAD = 16 << 20
"""Bytes of a file that are fetched ahead of a reader, at most."""
FIRST_AHEAD = 2 << 20
"""Bytes that are fetched ahead at first; each further time it is four times as much."""
NEAR = 8
"""Blobs that a reader may lie back and still reads one after the other: of several threads that read in turn some are late."""
OWN_LIMIT = 2 * AHEAD
"""Bytes of blobs that a stream keeps which shares no cache."""


class FileStream(io.RawIOBase):
    """Reads a file of a snapshot. `open_file` makes it.

    `pread` may be called from several threads at once; what has a position (`read`, `seek`) is for one thread at a time. An
    error about a blob is raised by the read that needs it, and by no other.
    """

    def __init__(self, repository: Repository, blobs: Sequence[str], cache: BlobCache | None = None) -> None:
        """*blobs* are the ids of the file's content. Without a *cache* the stream has its own, which it closes.

        Raises:
            BlobMissing: no index knows one of them.
        """
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
        self._own = cache is None
        self._cache = BlobCache(repository, limit=OWN_LIMIT) if cache is None else cache
        self._lock = threading.Lock()
        """Held to look at or change what follows, and the ends."""
        self._position = 0
        self._next = 0
        """Number of the blob that comes next if all is read one after the other."""
        self._asked = 0
        """Number of the first blob that was not asked for ahead."""
        self._window = FIRST_AHEAD
        """Bytes to ask for ahead the next time."""

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
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if start is None:
            raise ValueError(f"there is no whence {whence}: 0, 1 and 2 are the start, the position and the end")
        position = start + offset
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
        piece = self._piece(self._position, len(target))
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """All that comes after the position. Raises as `readinto`."""
        content = self.pread(self._position, max(self.size - self._position, 0))
        self._position += len(content)
        # An index may have stated too short a length.
        while piece := self._piece(self._position, self.size):
            content += piece
            self._position += len(piece)
        return content

    def pread(self, offset: int, size: int) -> bytes:
        """*size* bytes from *offset* on, fewer only at the end of the file. The position stays where it is.

        Raises:
            ValueError: a number is negative.
            ResticFormatError: a blob of that range cannot be had.
        """
        if offset < 0 or size < 0:
            raise ValueError(f"there are no {size} bytes at {offset} in a file")
        piece = self._piece(offset, size)
        if len(piece) == size or not piece:
            return bytes(piece)
        pieces = [piece]
        got = len(piece)
        while got < size and (piece := self._piece(offset + got, size - got)):
            pieces.append(piece)
            got += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Let go of what was fetched for this stream alone."""
        if not self.closed:
            super().close()
            self._forget()
            if self._own:
                self._cache.close()

    def __del__(self) -> None:
        """Nothing: a lock that `close` takes may be held where the garbage collector comes by, and the threads end alone."""

    def _piece(self, offset: int, size: int) -> memoryview:
        """What comes at *offset*, at most *size* bytes and as far as one blob reaches; nothing at the end."""
        if self.closed:
            raise ValueError("the file is closed")
        while size:
            with self._lock:
                if offset >= self.size:
                    break
                number = bisect_right(self._ends, offset)
                self._read_ahead(number)
            plain = self._cache.get(parse_id(self._blobs[number]))
            with self._lock:
                start = self._correct(number, len(plain))
            piece = memoryview(plain)[max(offset - start, 0) :][:size]
            if piece and start <= offset:  # else a blob is shorter than an index said, and the offset is in another one
                return piece
        return memoryview(b"")

    def _correct(self, number: int, length: int) -> int:
        """Where the blob begins; what comes behind agrees about its *length* from now on."""
        start = self._ends[number - 1] if number else 0
        if start + length != self._ends[number]:
            shift = start + length - self._ends[number]
            self._ends[number:] = array("Q", [end + shift for end in self._ends[number:]])
        return start

    def _read_ahead(self, number: int) -> None:
        """The blob *number* is about to be read: fetch it with what comes behind where that is likely to be read, too."""
        if not self._next - NEAR <= number <= self._next + 1:
            self._forget()
            self._next, self._asked, self._window = number + 1, number + 1, FIRST_AHEAD
            return
        if number < self._next:
            return
        self._next = number + 1
        self._asked = max(self._asked, number)
        start = self._ends[number - 1] if number else 0
        asked = self._ends[self._asked - 1] if self._asked else 0
        # Little by little would be a request for each blob.
        if asked - start <= self._window // 2 and self._asked < len(self._blobs):
            self._asked += self._cache.ahead(self._upto(self._asked, start + self._window))
            self._window = min(4 * self._window, AHEAD)

    def _upto(self, first: int, end: int) -> Iterator[bytes]:
        """The blobs from *first* on that end before *end*, and the first one in any case."""
        for number in range(first, len(self._blobs)):
            if number > first and self._ends[number] > end:
                break
            yield parse_id(self._blobs[number])

    def _forget(self) -> None:
        """What was asked for ahead will not be read."""
        self._cache.unneeded([parse_id(self._blobs[number]) for number in range(self._next, self._asked)])


def open_file(repository: Repository, node: Node, cache: BlobCache | None = None) -> FileStream:
    """The content of the file *node*; the repository's index must be loaded. Open files may share a *cache*.

    Raises:
        NodeUnusable: it is not a regular file.
        BlobMissing: no index knows one of its blobs.
    """
    if node.type != FILE:
        raise NodeUnusable(f"{node.quoted[:200]!r} is not a regular file but {node.type[:40]!r}: it has no content")
    return FileStream(repository, node.blobs, cache)
