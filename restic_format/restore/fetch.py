"""Content: packs are read run by run, opened, and written to wherever their blobs belong, by a few threads.

What is ordinary is written many blobs at a time (`restic_format.native.places`). What that leaves, because something is unusual
or wrong, is done blob by blob, step by step, by those who know how to report it.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from restic_format.native.places import PlaceWriter
from restic_format.repository.coder import check_size
from restic_format.repository.packs import SPAN
from restic_format.restore.dirs import DirCache
from restic_format.restore.errors import Doing, RestoreError
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.plan import Blob, PackRun
from restic_format.restore.session import Session
from restic_format.restore.table import FileState
from restic_format.storage import Buffer
from restic_format.work import WorkerPool
from restic_spec.crypto import OVERHEAD
from restic_spec.errors import ResticFormatError
from restic_spec.pack import BlobType, PackEntry

_Opener = Callable[[Sequence[PackEntry]], Iterable[tuple[PackEntry, bytes | memoryview | ResticFormatError]]]
"""Gives the plaintexts of a run's blobs, or what is wrong with each."""

_OPEN_FILES = 128
"""Files in progress that are kept open."""


class _Handle:
    """An open file that several blobs go to."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 1


class _OpenFiles:
    """Files in progress, shared by the threads; the ones not in use are kept open up to a bound."""

    def __init__(self) -> None:
        self._handles: dict[int, _Handle] = {}
        self._lock = threading.Lock()

    def acquire(self, number: int, cache: DirCache, reopen: Callable[[int, DirCache], int]) -> int:
        """A descriptor of the file, opened by the first that asks for it."""
        with self._lock:
            handle = self._handles.pop(number, None)
            if handle is None:
                handle = _Handle(reopen(number, cache))
            else:
                handle.users += 1
            self._handles[number] = handle
            return handle.descriptor

    def release(self, number: int) -> None:
        """Say that the caller does not use the descriptor any more."""
        with self._lock:
            self._handles[number].users -= 1
            if len(self._handles) > _OPEN_FILES:
                idle = next((other for other, handle in self._handles.items() if not handle.users), None)
                if idle is not None:
                    os.close(self._handles.pop(idle).descriptor)

    def take(self, number: int) -> int | None:
        """Hand the descriptor over to the caller, None if the file is not open."""
        with self._lock:
            handle = self._handles.pop(number, None)
            return None if handle is None else handle.descriptor

    def close(self) -> None:
        """Close what is left."""
        with self._lock:
            while self._handles:
                os.close(self._handles.popitem()[1].descriptor)


def place_writer(session: Session) -> PlaceWriter:
    """A `PlaceWriter` for one thread on the session's tables, which cannot grow while it lives."""
    files, dirs = session.files, session.dirs
    return PlaceWriter(
        OVERHEAD,
        session.plan.columns(),
        (files.directory, files.state, files.size, files.blobs, files.remaining),
        files.names.columns(),
        files.meta.columns(),
        (dirs.state, dirs.traits),
        (os.geteuid(), os.getegid()),
        not session.options.sparse,
    )


class Fetcher:
    """Carries out a session's plan."""

    def __init__(self, session: Session, writer: FileWriter) -> None:
        self._session = session
        self._writer = writer
        self._files = _OpenFiles()
        self._misplaced: set[int] = set()
        """Files with a blob of another length than an index says: where its other blobs go was worked out wrong."""
        self._pool = WorkerPool("restore", session.workers, self._work, cancel=session.cancel)
        self._runs = self._pool.share(session.plan.runs())

    def run(self) -> None:
        """Fetch and write everything planned.

        Raises:
            Interrupted: the caller wants to stop. Files that are incomplete are reported.
        """
        try:
            with self._pool:
                pass
            self._write_misplaced()
        except BaseException:
            self._report_incomplete()
            raise
        finally:
            self._files.close()

    def _report_incomplete(self) -> None:
        for number, state in enumerate(self._session.files.state):
            if state & FileState.BEGUN and not state & (FileState.DONE | FileState.FAILED):
                self._session.fail(number, RestoreError("the restore was stopped while this file was being written"))

    def _work(self) -> None:
        places = place_writer(self._session)
        with DirCache(self._session.root, self._session.dirs) as cache:
            for run in self._runs:
                self._process(run, places, cache)

    def _stopped(self) -> bool:
        return self._pool.stopped

    def _process(self, run: PackRun, places: PlaceWriter, cache: DirCache) -> None:
        try:
            if run.length > SPAN:  # which only a single blob is
                check_size(self._session.plan.entry(run.rows[0]))
            data = self._session.repository.packs.read(run.pack, run.offset, run.length)
        except ResticFormatError as error:
            problem = error
            self._one_by_one(run.rows, lambda entries: ((entry, problem) for entry in entries), cache)
            return
        if left := self._all_at_once(run, data, places, cache):
            coder = self._session.repository.coder
            self._one_by_one(left, lambda entries: coder.open_many(data, run.offset, entries), cache)

    def _all_at_once(self, run: PackRun, data: Buffer, places: PlaceWriter, cache: DirCache) -> list[int]:
        """Write what can be written many blobs at a time; the rows that are left."""
        session, files = self._session, self._session.files
        done, left = 0, []
        held: list[int] = []

        def descriptor(number: int) -> int:
            """To write a part of a file with, -1 where that is not for many at a time."""
            state = files.state[number]
            if state & FileState.UNWRITABLE or (session.options.sparse and not state & FileState.EXISTED):
                return -1
            try:
                opened = self._files.acquire(number, cache, self._reopen)
            except (OSError, RestoreError) as error:
                session.fail(number, error, FileState.UNWRITABLE)
                return -1
            held.append(number)
            return opened

        while done < len(run.rows) and not self._stopped():
            done, wanted = places.take(run.rows, done, run.offset)
            opened = session.repository.coder.open_ranges(data, wanted)
            try:
                with cache.holding():
                    created, written, failed = places.put(opened, cache.fd, descriptor)
            finally:
                while held:
                    self._files.release(held.pop())
            session.report.created(created, files.size, session.file_location)
            session.report.written(sum(map(session.plan.size, written)))
            for number, count in Counter(map(session.plan.file, written)).items():
                self._count(number, cache, count)
            left += failed
        return left

    def _one_by_one(self, rows: Sequence[int], open_blobs: _Opener, cache: DirCache) -> None:
        plan = self._session.plan
        blobs = plan.blobs(rows)
        for blob, (_, plain) in zip(blobs, open_blobs([blob.entry for blob in blobs]), strict=True):
            if self._stopped():
                break
            if isinstance(plain, ResticFormatError):
                try:
                    plain = self._session.repository.load_blob(BlobType.DATA, blob.entry.id)
                except ResticFormatError as error:
                    self._give_up(blob, error, cache)
                    continue
                if len(plain) != blob.entry.plain_length:
                    self._misplaced.update(plan.write(row).file for row in blob.rows)
            for row in blob.rows:
                if self._stopped():
                    break
                write = plan.write(row)
                self._put(write.file, write.offset, plain, cache)

    def _give_up(self, blob: Blob, error: ResticFormatError, cache: DirCache) -> None:
        for row in blob.rows:
            number = self._session.plan.write(row).file
            self._session.fail(number, error)
            self._count(number, cache)

    def _put(self, number: int, offset: int, data: bytes | memoryview, cache: DirCache) -> None:
        files = self._session.files
        if number in self._misplaced:
            self._count(number, cache)
            return
        if files.remaining[number] == 1 and not files.state[number] & (FileState.BEGUN | FileState.FAILED):
            files.remaining[number] = 0
            self._writer.write_whole(number, cache, data, offset)
            return
        if not files.state[number] & FileState.UNWRITABLE:
            try:
                descriptor = self._files.acquire(number, cache, self._reopen)
                try:
                    self._writer.write(number, descriptor, data, offset)
                finally:
                    self._files.release(number)
            except (OSError, RestoreError) as error:
                self._session.fail(number, error, FileState.UNWRITABLE)
        self._count(number, cache)

    def _reopen(self, number: int, cache: DirCache) -> int:
        """Open a file for its first blob, or again after it had to make room."""
        if not self._session.files.state[number] & FileState.BEGUN:
            return self._writer.open(number, cache)
        parent = cache.fd(self._session.files.directory[number])
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._session.files.names[number], flags, dir_fd=parent)

    def _count(self, number: int, cache: DirCache, blobs: int = 1) -> None:
        """One blob of the file is dealt with, or several; the last one finishes it."""
        if self._session.count_down(number, blobs):
            return
        descriptor = self._files.take(number)
        if number in self._misplaced:
            if descriptor is not None:
                os.close(descriptor)
            return
        state = self._session.files.state[number]
        if descriptor is None and state & FileState.BEGUN and not state & FileState.UNWRITABLE:
            try:
                descriptor = self._reopen(number, cache)
            except OSError as error:
                self._session.fail(number, error)
        if descriptor is not None:
            self._writer.finish(number, descriptor)

    def _write_misplaced(self) -> None:
        """Write the files of which a blob has another length than an index says, blob after blob."""
        files, first = self._session.files, 0
        if not self._misplaced:
            return
        with DirCache(self._session.root, self._session.dirs) as cache:
            for number in range(len(files)):
                if number in self._misplaced and not files.state[number] & FileState.FAILED:
                    self._session.cancel.check()
                    try:
                        self._write_in_sequence(number, first, cache)
                    except (OSError, ResticFormatError) as error:
                        self._session.fail(number, error)
                first += files.blobs[number]

    def _write_in_sequence(self, number: int, first: int, cache: DirCache) -> None:
        session, files = self._session, self._session.files
        descriptor = self._reopen(number, cache)
        try:
            offset = 0
            for row in range(first, first + files.blobs[number]):
                plain = session.repository.load_blob(BlobType.DATA, session.plan.entry(row).id)
                self._writer.write(number, descriptor, plain, offset)
                session.plan.correct(row, offset, len(plain))
                offset += len(plain)
            with Doing("truncate"):
                os.ftruncate(descriptor, offset)
            files.size[number] = offset
        except BaseException:
            os.close(descriptor)
            raise
        self._writer.finish(number, descriptor)
