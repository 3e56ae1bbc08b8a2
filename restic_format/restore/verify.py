"""Reading restored files back and comparing them with the snapshot."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

from restic_format.restore.dirs import DirCache
from restic_format.restore.errors import VerifyFailed
from restic_format.restore.existing import blob_matches, open_regular
from restic_format.restore.session import Session
from restic_format.restore.table import FileState
from restic_format.work import WorkerPool


class Verifier:
    """Checks every file whose content the session wrote."""

    def __init__(self, session: Session, on_file: Callable[[], None]) -> None:
        self._session = session
        self._on_file = on_file
        self._turn = threading.Lock()
        self._pool = WorkerPool("verify", session.workers, self._work, cancel=session.cancel)
        self._jobs = self._pool.share(self._written())
        self.files = 0
        """Files read so far."""

    def run(self) -> int:
        """How many files were read. Those that differ are reported.

        Raises:
            Interrupted: the caller wants to stop.
        """
        with self._pool:
            pass
        return self.files

    def _work(self) -> None:
        with DirCache(self._session.root, self._session.dirs) as cache:
            for number, first in self._jobs:
                self._check(number, first, cache)

    def _written(self) -> Iterator[tuple[int, int]]:
        """The files that were written, and the number of the first blob of each in the plan."""
        files, first = self._session.files, 0
        for number in range(len(files)):
            if files.state[number] & FileState.CONTENT:
                yield number, first
            first += files.blobs[number]

    def _check(self, number: int, first: int, cache: DirCache) -> None:
        try:
            self._compare(number, first, cache)
        except (OSError, VerifyFailed) as error:
            self._session.report.error(self._session.file_location(number), error)
        with self._turn:
            self.files += 1
            self._on_file()

    def _compare(self, number: int, first: int, cache: DirCache) -> None:
        files = self._session.files
        descriptor = open_regular(files.names[number], cache.fd(files.directory[number]))
        if descriptor is None:
            raise VerifyFailed("is not a regular file that can be read: restore it again")
        try:
            size = os.fstat(descriptor).st_size
            if size != files.size[number]:
                raise VerifyFailed(f"has {size} bytes instead of {files.size[number]}: restore it again")
            for blob, offset, length in self._session.plan.by_file(first, files.blobs[number]):
                if not blob_matches(descriptor, offset, length, blob):
                    raise VerifyFailed(f"has other content from byte {offset} on: restore it again")
        finally:
            os.close(descriptor)
