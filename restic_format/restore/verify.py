"""Reading restored files back and comparing them with the snapshot."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from restic_format.restore.dirs import DirCache
from restic_format.restore.errors import VerifyFailed
from restic_format.restore.existing import blob_matches, open_regular
from restic_format.restore.session import Session
from restic_format.restore.table import FileState


class Verifier:
    """Checks every file whose content the session wrote."""

    def __init__(self, session: Session, on_file: Callable[[], None]) -> None:
        self._session = session
        self._on_file = on_file
        self._turn = threading.Lock()
        self._next = 0
        self._first_blob = 0
        self._failure: BaseException | None = None
        self.files = 0
        """Files read so far."""

    def run(self) -> int:
        """How many files were read. Those that differ are reported.

        Raises:
            Interrupted: the caller wants to stop.
        """
        threads = [
            threading.Thread(target=self._work, name=f"verify-{number}", daemon=True)
            for number in range(max(1, self._session.options.workers))
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException as error:
            self._failure = error
            for thread in threads:
                thread.join()
            raise
        if self._failure is not None:
            raise self._failure
        return self.files

    def _work(self) -> None:
        try:
            with DirCache(self._session.root, self._session.dirs) as cache:
                while self._failure is None:
                    self._session.check_cancelled()
                    job = self._claim()
                    if job is None:
                        return
                    self._check(*job, cache)
        except BaseException as error:  # noqa: BLE001  # handed over to the thread that waits
            self._failure = error

    def _claim(self) -> tuple[int, int] | None:
        """The next file that was written, and the number of its first blob in the plan."""
        files = self._session.files
        with self._turn:
            while self._next < len(files):
                number, first = self._next, self._first_blob
                self._next += 1
                self._first_blob += files.blobs[number]
                if files.state[number] & FileState.CONTENT:
                    return number, first
        return None

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
            raise VerifyFailed("is no regular file that can be read: restore it again")
        try:
            size = os.fstat(descriptor).st_size
            if size != files.size[number]:
                raise VerifyFailed(f"has {size} bytes instead of {files.size[number]}: restore it again")
            for blob, offset, length in self._session.plan.by_file(first, files.blobs[number]):
                if not blob_matches(descriptor, offset, length, blob):
                    raise VerifyFailed(f"has other content from byte {offset} on: restore it again")
        finally:
            os.close(descriptor)
