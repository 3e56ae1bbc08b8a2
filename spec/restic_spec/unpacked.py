"""Unpacked files: snapshots, indexes and locks, each one sealed JSON document in a file of its own.

In version 2 the plaintext may be compressed: a first byte of 2 announces a zstd frame. Plain JSON starts with ``{`` or ``[``
and needs no mark (FILE-2). The config is never compressed (CONFIG-1); key files are not sealed at all (KEY-1).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import zstandard

from restic_spec.constants import (
    COMPRESSED_MARK as COMPRESSED_MARK,
)
from restic_spec.errors import CompressionInvalid, LengthInvalid, VersionUnsupported
from restic_spec.formats import FORMATS

LEVEL = 3
"""How hard zstd tries unless told otherwise."""

MAX_WINDOW = 1 << 27
"""Bytes of history a zstd frame may ask for."""

_PIECE = 1024
"""Input fed at a time to a frame that does not announce its size: bounds what one step can expand to."""

MAX_UNPACKED = 256 << 20
"""Bytes an unpacked file's plaintext may have (FILE-6); far above what programs write (an index is kept near 8 MiB)."""


class _Kept(threading.local):
    """Each thread's decompressor: making one takes longer than expanding a small file."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)


_kept = _Kept()


def encode_unpacked(version: int, plaintext: bytes, level: int = LEVEL) -> bytes:
    """What is sealed for *plaintext* in a repository of *version*: itself in 1 (FILE-1), marked and compressed in 2 (FILE-3).

    The frame has no checksum, like restic's (FILE-7).
    """
    if not FORMATS[version].marks:
        return plaintext
    return bytes((COMPRESSED_MARK,)) + zstandard.ZstdCompressor(level=level).compress(plaintext)


def decode_unpacked(version: int, plaintext: bytes) -> bytes:
    """Undo `encode_unpacked` on an opened file. What is empty stays so, and fails as JSON (FILE-4).

    Raises:
        VersionUnsupported: the first byte announces an encoding that is unknown.
        CompressionInvalid: the zstd frame is broken.
        LengthInvalid: it expands beyond `MAX_UNPACKED`.
    """
    if not FORMATS[version].marks or not plaintext or plaintext[:1] in (b"{", b"["):
        return plaintext
    if plaintext[0] != COMPRESSED_MARK:
        raise VersionUnsupported(f"unpacked file starts with byte {plaintext[0]}, not 2, '{{' or '['", clause="FILE-2")
    return decompress(memoryview(plaintext)[1:], MAX_UNPACKED, "FILE-5")


def decompress(frame: bytes | memoryview, limit: int, clause: str) -> bytes:
    """Expand one zstd frame to at most *limit* bytes; memory taken never exceeds that by much.

    Raises:
        CompressionInvalid: no frame, a broken one, or bytes after it.
        LengthInvalid: more than *limit* bytes come out, or are announced.
    """
    try:
        announced = zstandard.frame_content_size(frame)
        if announced > limit:
            raise LengthInvalid(f"compressed data expand to {announced} bytes, bound is {limit}", clause=clause)
        if announced < 0:
            return _expand(frame, limit, clause)
        return _kept.decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CompressionInvalid(f"zstd: {error}", clause=clause) from None


def _expand(frame: bytes | memoryview, limit: int, clause: str) -> bytes:
    """Expand a frame that does not announce its size, watching the bound."""
    return b"".join(expand_pieces(frame, limit, clause))


def expand_pieces(frame: bytes | memoryview, limit: int, clause: str) -> Iterator[bytes]:
    """The content of one zstd frame piece by piece, at most *limit* bytes in all, whatever it announces.

    Raises:
        CompressionInvalid, LengthInvalid: see `decompress`.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
    size = 0
    try:
        for start in range(0, len(frame), _PIECE):
            piece = decompressor.decompress(frame[start : start + _PIECE])
            size += len(piece)
            if size > limit:
                raise LengthInvalid(f"compressed data expand beyond their bound of {limit} bytes", clause=clause)
            yield piece
            if decompressor.eof:
                break
    except zstandard.ZstdError as error:
        raise CompressionInvalid(f"zstd: {error}", clause=clause) from None
    if not decompressor.eof:
        raise CompressionInvalid("zstd frame is cut short", clause=clause)
    if decompressor.unused_data or start + _PIECE < len(frame):
        raise CompressionInvalid("bytes after the zstd frame", clause=clause)
