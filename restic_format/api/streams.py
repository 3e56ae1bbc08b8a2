"""A file object of the caller's as the source of a backup."""

from __future__ import annotations

import io
from typing import BinaryIO

from restic_format.backup import BackupFailed

_AT_ONCE = 1 << 20


class ObjectSource:
    """What a binary file object, or bytes, give. It is not closed: it belongs to the caller."""

    def __init__(self, stream: BinaryIO | bytes) -> None:
        if isinstance(stream, bytes | bytearray | memoryview):
            stream = io.BytesIO(stream)
        if not hasattr(stream, "read"):
            raise TypeError(f"a stream is a binary file object or bytes, not {type(stream).__name__}")
        self._stream = stream

    def ready(self, seconds: float) -> bool:
        """True: nobody can tell, and to wait is the file object's business."""
        del seconds
        return True

    def read(self, buffer: memoryview) -> int:
        """Fill the beginning of *buffer*; 0 at the end.

        Raises:
            BackupFailed: the file object fails, or is not a binary one.
        """
        try:
            piece: object = self._stream.read(min(len(buffer), _AT_ONCE))
        except OSError:
            raise
        except Exception as error:
            raise BackupFailed(f"reading the stream failed: {error}", cause=error) from error
        if piece is not None and not isinstance(piece, bytes | bytearray | memoryview):
            raise BackupFailed(f"the stream gives {type(piece).__name__}: open it in binary mode")
        if not piece:
            return 0
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Nothing."""
