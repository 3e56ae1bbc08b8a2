"""A run of a pack written to where it belongs in a few calls of the kernel, without the interpreter lock.

The kernel opens blobs into memory it uses again and again, fills files that are open, and creates new files of one blob with
all that belongs to them. Whatever is not entirely ordinary it leaves, and so does a step that fails: that is done once more,
step by step, by those who know how to report what is wrong.
"""

from __future__ import annotations

import os

from restic_format.native import blobs
from restic_format.restore.session import Session
from restic_format.storage import Buffer, FillsMemory
from restic_spec.layout import FileKind


class PackReader:
    """Reads ranges of packs, into the same memory each time where the storage can do that. For one thread."""

    def __init__(self, session: Session) -> None:
        self._storage = session.repository.storage
        self._buffer = bytearray()

    def read(self, pack: bytes, offset: int, length: int) -> Buffer:
        """The range; good until the next one is read.

        Raises:
            FileMissing, StorageError: it cannot be read.
        """
        if not isinstance(self._storage, FillsMemory):
            return self._storage.load(FileKind.PACK, pack.hex(), offset, length)
        if length > len(self._buffer):
            self._buffer = bytearray(length)
        target = memoryview(self._buffer)[:length]
        self._storage.load_into(FileKind.PACK, pack.hex(), offset, target)
        return target


def place_writer(session: Session) -> blobs.PlaceWriter | None:
    """The kernel's writer for this thread and the session's tables, None where there is no kernel.

    It keeps the tables from growing as long as it lives.
    """
    context = session.repository.kernel_context()
    if context is None:
        return None
    files, dirs = session.files, session.dirs
    return blobs.PlaceWriter(
        context,
        session.plan.columns(),
        (files.directory, files.state, files.size, files.blobs, files.remaining),
        files.names.columns(),
        files.meta.columns(),
        (dirs.state, dirs.traits),
        (os.geteuid(), os.getegid()),
        not session.options.sparse,
    )
