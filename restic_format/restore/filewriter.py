"""Regular files: creating, changing in place, filling, finishing."""

from __future__ import annotations

import os
import stat

from restic_format.restore.dirs import DirCache, chmod_nofollow, remove_entry
from restic_format.restore.errors import Doing, RestoreError
from restic_format.restore.session import Session
from restic_format.restore.table import DirState, FileState

_COMMON = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: what is a FIFO all of a sudden must not hold the restore up."""
_CREATE = _COMMON | os.O_CREAT | os.O_EXCL
_PAGE = 4096
_ZEROS = bytes(_PAGE)


class FileWriter:
    """Opens, fills and finishes the files of a session. Safe to use from several threads, each with its own `DirCache`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(self, number: int, cache: DirCache) -> int:
        """A descriptor to write the file with; it is created, or changed in place if it existed, and has its final size.

        Raises:
            OSError: it cannot be opened or resized.
            RestoreError: it was compared before, and is another one now.
        """
        session, files = self._session, self._session.files
        session.mark(number, FileState.BEGUN)
        directory = files.directory[number]
        parent, name = cache.fd(directory), files.names[number]
        with Doing("open"):
            if files.state[number] & FileState.EXISTED:
                descriptor = _open_in_place(name, parent)
                size = os.fstat(descriptor).st_size
            else:
                descriptor = self._create(name, parent, new=bool(session.dirs.state[directory] & DirState.NEW))
                size = 0
        final = files.size[number]
        # A single blob gives a new file its size; more of them may come in any order.
        if size > final or (size < final and (session.options.sparse or files.blobs[number] > 1)):
            try:
                with Doing("truncate"):
                    os.ftruncate(descriptor, final)
            except OSError:
                os.close(descriptor)
                raise
        return descriptor

    def _create(self, name: bytes, parent: int, *, new: bool) -> int:
        if new:
            try:
                return os.open(name, _CREATE, 0o600, dir_fd=parent)
            except FileExistsError:
                pass  # a file system that takes two names for one, or somebody else at work
        remove_entry(name, parent, recursive=self._session.may_delete)
        return os.open(name, _CREATE, 0o600, dir_fd=parent)

    def write(self, number: int, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        """Write one blob.

        Raises:
            OSError: disk full, input/output error.
        """
        with Doing("write"):
            if self._session.options.sparse and not self._session.files.state[number] & FileState.EXISTED:
                _write_sparse(descriptor, data, offset)
            else:
                _write_all(descriptor, data, offset)
        self._session.report.written(len(data))

    def finish(self, number: int, descriptor: int) -> None:
        """Apply the metadata, close, and report the file as restored. Errors are reported, not raised."""
        session, files = self._session, self._session.files
        failed = bool(files.state[number] & FileState.FAILED)
        try:
            # A damaged file keeps its new time: with the snapshot's, "if-changed" would take it for the whole one.
            session.metadata.apply_fd(descriptor, files.meta[number], times=not failed)
        except OSError as error:
            session.report.error(session.file_location(number), error)
        try:
            with Doing("close"):
                os.close(descriptor)
        except OSError as error:  # network file systems tell here what did not reach the disk
            session.fail(number, error)
            failed = True
        if not failed:
            self.finished(number)

    def finished(self, number: int) -> None:
        """Report a file as restored: content and metadata are in place."""
        session, files = self._session, self._session.files
        session.mark(number, FileState.DONE)
        session.report.done(files.action(number), lambda: session.file_location(number), files.size[number])

    def write_whole(self, number: int, cache: DirCache, data: bytes | memoryview | None, offset: int = 0) -> None:
        """Open, write one blob (or none) and finish. Errors are reported, not raised."""
        try:
            descriptor = self.open(number, cache)
        except (OSError, RestoreError) as error:
            self._session.fail(number, error, FileState.UNWRITABLE)
            return
        if data is not None:
            try:
                self.write(number, descriptor, data, offset)
            except OSError as error:
                self._session.fail(number, error, FileState.UNWRITABLE)
        self.finish(number, descriptor)


def _open_in_place(name: bytes, parent: int) -> int:
    try:
        descriptor = os.open(name, _COMMON, dir_fd=parent)
    except PermissionError:
        # Read-only for its owner; the snapshot's mode is set when it is finished.
        chmod_nofollow(name, parent, 0o600)
        descriptor = os.open(name, _COMMON, dir_fd=parent)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise RestoreError("something changed the file while it was being restored: restore it once more")
    return descriptor


def _write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    written = os.pwrite(descriptor, data, offset)
    if written != len(data):
        rest = memoryview(data)
        while written < len(data):
            written += os.pwrite(descriptor, rest[written:], offset + written)


def _write_sparse(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all but pages of zeros, in as few calls as there are stretches between them."""
    view, start = memoryview(data), 0
    # The first cut falls on a page of the file, not of the blob: holes are made of the file system's pages.
    position = -offset % _PAGE
    while position < len(data):
        page = data[position : position + _PAGE]
        if page == _ZEROS[: len(page)]:
            if start < position:
                _write_all(descriptor, view[start:position], offset + start)
            start = position + len(page)
        position += len(page)
    if start < len(data):
        _write_all(descriptor, view[start:], offset + start)
