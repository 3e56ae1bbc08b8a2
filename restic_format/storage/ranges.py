"""Reading ranges of packs into memory that is used again."""

from __future__ import annotations

from restic_format.storage.base import Buffer, Storage
from restic_spec.layout import FileKind


class RangeReader:
    """Reads ranges of packs into the same memory each time. For one thread."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._buffer = bytearray()

    def read(self, pack: bytes, offset: int, length: int) -> Buffer:
        """The range; good until the next one is read.

        Raises:
            FileMissing, StorageError: it cannot be read.
        """
        if length > len(self._buffer):
            self._buffer = bytearray(length)
        target = memoryview(self._buffer)[:length]
        self._storage.load_into(FileKind.PACK, pack.hex(), offset, target)
        return target
