"""Reading a file and cutting it into chunks, a few at a time.

A `Cutter` knows where chunks end, a `ChunkReader` applies it to one stream. Workers that share a large file take turns: each
reads and cuts the next chunks into its own buffer while it holds the file's lock, and does everything else without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from restic_format.errors import ResticFormatError
from restic_format.native.chunker import Chunker
from restic_spec.chunker import MAX_SIZE, MIN_SIZE, WINDOW
from restic_spec.config import Config
from restic_spec.rustic import config_members

READ_STEP = 256 * 1024
"""Bytes read at once while looking for a chunk's end: what lies behind the cut is copied to the next chunk."""

CHUNKS_AT_ONCE = 4
"""Chunks a worker takes in one turn at most: what is sealed is verified two blobs at a time, and only a rest alone."""

MAX_CHUNK_SIZE = 256 * 1024 * 1024
"""Larger chunks than this are refused: each worker holds one in memory."""

Read = Callable[[memoryview], int]
"""Fills the beginning of a buffer, gives the number of bytes, 0 at the end."""


class Cutter(Protocol):
    """Where chunks end; see `restic_format.native.chunker.Chunker`."""

    min_size: int
    max_size: int

    def next_cut(self, buffer: memoryview, start: int, end: int, final: bool, known: int = 0) -> int:
        """The length of the chunk at *start*, 0 if more bytes are needed."""


class FixedCutter:
    """Chunks of one size, as rustic's ``FixedSize`` chunker makes them."""

    def __init__(self, size: int) -> None:
        self.min_size = self.max_size = size

    def next_cut(self, buffer: memoryview, start: int, end: int, final: bool, known: int = 0) -> int:
        """See `Cutter`."""
        del buffer, known
        length = min(end - start, self.max_size)
        return length if final or length == self.max_size else 0


class ChunkerUnsupported(ResticFormatError):
    """The repository's config asks for a way of chunking this program does not know."""


def build_cutter(config: Config) -> Cutter:
    """The cutter a repository's config asks for; rustic's ``chunker`` and chunk sizes are honoured.

    Raises:
        ChunkerUnsupported: another chunker than Rabin and FixedSize, or sizes that make no sense.
        JsonInvalid: they are not even numbers.
    """
    wanted = config_members(config)
    kind = wanted.chunker or "Rabin"
    average = wanted.chunk_size or 1 << 20
    smallest = wanted.chunk_min_size or MIN_SIZE
    largest = wanted.chunk_max_size or MAX_SIZE
    if kind == "FixedSize" and 0 < average <= MAX_CHUNK_SIZE:
        return FixedCutter(average)
    if kind == "Rabin" and WINDOW <= smallest <= average <= largest <= MAX_CHUNK_SIZE:
        return Chunker(config.polynomial, smallest, largest, average.bit_length() - 1)
    raise ChunkerUnsupported(
        f"config: chunker {kind[:40]!r} with chunks of {smallest}, {average}, {largest} bytes cannot be used (known: Rabin and "
        f"FixedSize, up to {MAX_CHUNK_SIZE} bytes); set it with `rustic config`"
    )


class ChunkReader:
    """One stream, cut into chunks."""

    def __init__(self, read: Read, cutter: Cutter, size: int = -1) -> None:
        """*size* is how many bytes the stream should have: a short read that ends there is taken as its end."""
        self._read = read
        self._cutter = cutter
        self._left = size
        self._rest = b""
        self._ended = False

    def next_chunks(self, buffer: memoryview) -> list[int]:
        """Put the next chunks at the beginning of *buffer* (at least the cutter's ``max_size``): a few, about half of it.

        Gives their lengths; none at the end.

        Raises:
            OSError: reading failed.
        """
        filled = len(self._rest)
        buffer[:filled] = self._rest
        start = 0
        lengths: list[int] = []
        while len(lengths) < CHUNKS_AT_ONCE and start <= len(buffer) // 2:
            length, filled = self._next_chunk(buffer, start, filled)
            if not length:
                break
            lengths.append(length)
            start += length
        self._rest = bytes(buffer[start:filled])
        return lengths

    def _next_chunk(self, buffer: memoryview, start: int, filled: int) -> tuple[int, int]:
        """The length of the chunk at *start*, 0 where it does not end within *buffer*; and how much there is in *buffer*."""
        cutter = self._cutter
        end = min(len(buffer), start + cutter.max_size)
        known = 0
        while True:
            have = filled - start
            if have >= cutter.min_size or self._ended:
                length = cutter.next_cut(buffer, start, filled, self._ended, known)
                if length or self._ended or filled == end:
                    return length, filled
                known = have
                wanted = min(READ_STEP, end - filled)
            else:
                wanted = min(cutter.min_size - have, end - filled)
                if not wanted:
                    return 0, filled
            count = self._read(buffer[filled : filled + wanted])
            self._left -= count
            if count == 0 or (self._left == 0 and count < wanted):
                self._ended = True
            filled += count


def descriptor_reader(fd: int) -> Read:
    """Read from an open file descriptor."""

    def read(buffer: memoryview) -> int:
        return os.readv(fd, [buffer])

    return read
