"""New files of one blob, created by the batch: content, owner, times and mode in one call without the interpreter lock.

Only what is entirely ordinary is done so. Whatever the kernel cannot do is done again, step by step, by the `FileWriter`,
which also knows how to report what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from restic_format.native import blobs
from restic_format.restore.dirs import DirCache
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.session import Session
from restic_format.restore.table import DirState, FileState

BATCH_FILES = 32
"""Files created in one go; a `DirCache` keeps more directories open than that."""

_BOUND = 1 << 62


class _Pending(NamedTuple):
    number: int
    directory: int
    data: bytes | memoryview
    arguments: Sequence[int]


class WholeFiles:
    """Collects files for one thread; `flush` when there are no more."""

    def __init__(self, session: Session, writer: FileWriter, cache: DirCache) -> None:
        self._session = session
        self._writer = writer
        self._cache = cache
        self._pending: list[_Pending] = []
        self._strict = os.geteuid() == 0
        self._create: Callable[..., list[bool]] | None = None
        if blobs.UNAVAILABLE is None and not session.options.sparse:
            self._create = blobs.create_files

    def take(self, number: int, data: bytes | memoryview) -> bool:
        """Take a file whose whole content is *data*; False where it is not as simple as that."""
        files = self._session.files
        if self._create is None or files.remaining[number] != 1 or files.blobs[number] != 1:
            return False
        if files.state[number] != FileState.CONTENT or files.size[number] != len(data):
            return False
        directory = files.directory[number]
        if not self._session.dirs.state[directory] & DirState.NEW:
            return False
        meta = files.meta[number]
        if meta.xattrs or meta.atime is None or meta.mtime is None:
            return False
        if not (-_BOUND < meta.atime < _BOUND and -_BOUND < meta.mtime < _BOUND):
            return False
        self._session.mark(number, FileState.BEGUN)
        arguments = (meta.uid, meta.gid, meta.permissions, meta.atime, meta.mtime)
        self._pending.append(_Pending(number, directory, data, arguments))
        if len(self._pending) >= BATCH_FILES:
            self.flush()
        return True

    def flush(self) -> None:
        """Create what was taken."""
        pending, self._pending = self._pending, []
        if not pending or self._create is None:
            return
        names = self._session.files.names
        try:
            created = self._create(
                [(self._cache.fd(file.directory), names[file.number], file.data, *file.arguments) for file in pending],
                self._strict,
            )
        except OSError:
            created = [False] * len(pending)
        for file, done in zip(pending, created, strict=True):
            self._session.files.remaining[file.number] = 0
            if done:
                self._session.report.written(len(file.data))
                self._writer.finished(file.number)
            else:
                self._writer.write_whole(file.number, self._cache, file.data)
