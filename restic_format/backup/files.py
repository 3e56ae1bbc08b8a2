"""The workers: they read files, cut them, and save what the repository does not have."""

from __future__ import annotations

import itertools
import mmap
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence

from restic_format.backup.content import ChunkReader, build_cutter, descriptor_reader
from restic_format.backup.errors import SourceError
from restic_format.backup.jobs import FileGroup, FileJob
from restic_format.backup.nodes import NodeBuilder
from restic_format.backup.options import ItemStats, Progress
from restic_format.backup.pending import Bookkeeper
from restic_format.backup.pool import WorkQueue
from restic_format.backup.smallfiles import SmallFiles, changed_meanwhile
from restic_format.backup.source import open_source
from restic_format.backup.trees import encode_node
from restic_format.errors import ResticFormatError
from restic_format.native.blobs.hashes import ids_of
from restic_format.repository import Repository
from restic_format.repository.writer import SavedBlob
from restic_spec import gojson
from restic_spec.pack import BlobType
from restic_spec.tree import Node

SHARED_SIZE = 4 * 1024 * 1024
"""Files of at least so many bytes are shared among the workers."""

QUEUED_BATCHES = 16
"""Batches of files that may wait for a worker."""


class OpenFile:
    """A file that is being read, perhaps by several workers in turn."""

    __slots__ = (
        "blobs",
        "ended",
        "error",
        "item",
        "lock",
        "node",
        "on_end",
        "pending",
        "reader",
        "reading",
        "shared",
        "size",
        "started",
        "stats",
    )

    def __init__(self, item: str, reader: ChunkReader, node: Node, on_end: Callable[[OpenFile], None]) -> None:
        self.item = item
        self.reader = reader
        self.node = node
        self.on_end = on_end
        """Called once, when every chunk is saved, or reading has failed or was given up."""
        self.lock = threading.Lock()
        """The baton: held by who reads the next chunk or notes a result."""
        self.blobs: list[str] = []
        self.pending = 0
        """Turns whose chunks are read but not yet saved."""
        self.reading = True
        self.ended = False
        self.shared = False
        self.size = 0
        """Bytes read."""
        self.stats = ItemStats()
        self.error: Exception | None = None
        """Why reading failed."""
        self.started = time.monotonic()


class FileSaver:
    """What one worker thread does; each has a buffer of its own."""

    def __init__(self, team: Team) -> None:
        self._team = team
        # Memory that is taken page by page as it is used: of small files only the first mebibyte is.
        self._buffer = memoryview(mmap.mmap(-1, team.cutter.max_size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._small = SmallFiles(team, self._buffer)

    def run(self) -> None:
        """Work until the queue has nothing more to give; errors of the repository end the whole backup."""
        team = self._team
        try:
            while (work := team.queue.get()) is not None:
                if isinstance(work, OpenFile):
                    self.take_turns(work)
                    continue
                for job in self._small.save(work):
                    if team.stopping():
                        return
                    self._save_file(job)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it must not vanish with the thread
            team.fail(error)

    def _save_file(self, job: FileJob) -> None:
        """Save one file of the file system."""
        team = self._team
        team.progress.start_file(job.item)
        fd = -1
        try:
            fd = open_source(job.place)
            info = os.fstat(fd)
        except OSError as error:
            team.end_file(job, fd, SourceError.from_os("open", job.path, error))
            return
        if not stat.S_ISREG(info.st_mode):
            shown = gojson.quote(gojson.to_text(job.path))
            team.end_file(job, fd, SourceError(f'file "{shown}" changed type, refusing to archive'))
            return
        node = team.builder.build(job.name, info, job.place, team.warn, fd)
        reader = ChunkReader(descriptor_reader(fd), team.cutter, info.st_size)
        file = OpenFile(job.item, reader, node, lambda file: team.file_read(job, fd, info, file))
        if info.st_size >= SHARED_SIZE and team.helpers:
            file.shared = True
            team.queue.call_for_help(file, team.helpers)
        self.take_turns(file)

    def take_turns(self, file: OpenFile) -> None:
        """Read, cut and save chunks of *file* until it has no more; other workers may do the same at the same time.

        Raises:
            ResticFormatError: the repository cannot store a chunk.
        """
        team = self._team
        while True:
            with file.lock:
                lengths = self._read_chunks(file)
                if not lengths:
                    break
                index = len(file.blobs)
                file.blobs += [""] * len(lengths)
                file.pending += 1
                file.size += sum(lengths)
            try:
                saved = self._save_chunks(lengths)
            except BaseException:
                with file.lock:
                    file.pending -= 1
                    file.reading = False
                team.stop()
                self._end_turns(file)
                raise
            with file.lock:
                file.blobs[index : index + len(saved)] = [blob.id.hex() for blob in saved]
                file.pending -= 1
                for blob in saved:
                    if not blob.known:
                        file.stats.data_blobs += 1
                        file.stats.data_size += blob.length
                        file.stats.data_size_in_repo += blob.stored
            team.progress.bytes_done(sum(lengths))
        self._end_turns(file)

    def _read_chunks(self, file: OpenFile) -> Sequence[int]:
        """The next chunks' lengths; called with the baton held."""
        if not file.reading:
            return ()
        lengths: Sequence[int] = ()
        if not self._team.stopping():
            try:
                lengths = file.reader.next_chunks(self._buffer)
            except (OSError, ResticFormatError) as error:
                file.error = error
        if not lengths:
            file.reading = False
        return lengths

    def _save_chunks(self, lengths: Sequence[int]) -> Sequence[SavedBlob]:
        """Save the chunks at the beginning of the buffer."""
        ends = list(itertools.accumulate(lengths))
        chunks = [self._buffer[end - length : end] for length, end in zip(lengths, ends, strict=True)]
        blobs = list(zip(ids_of(chunks), chunks, strict=True))
        return self._team.repository.save_blobs(BlobType.DATA, blobs)

    @staticmethod
    def _is_over(file: OpenFile) -> bool:
        with file.lock:
            if file.reading or file.pending or file.ended:
                return False
            file.ended = True
            return True

    def _end_turns(self, file: OpenFile) -> None:
        """Finish *file* where this was the last chunk on its way."""
        if self._is_over(file):
            if file.shared:
                self._team.queue.end_shared(file)
            file.on_end(file)


class Team:
    """What the workers of one backup share, and the end of every file."""

    def __init__(
        self,
        repository: Repository,
        builder: NodeBuilder,
        books: Bookkeeper,
        progress: Progress,
        *,
        workers: int,
        open_files: int,
        cancel: threading.Event,
    ) -> None:
        self.repository = repository
        self.cutter = build_cutter(repository.config)
        self.builder = builder
        self.books = books
        self.progress = progress
        self.queue: WorkQueue[FileJob | FileGroup, OpenFile] = WorkQueue(QUEUED_BATCHES, open_files)
        self.helpers = workers - 1
        """Workers that can join in with a large file."""
        self.failure: BaseException | None = None
        """Why the backup cannot go on."""
        self._cancel = cancel
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=FileSaver(self).run, name=f"backup-{n}") for n in range(workers)]

    def start(self) -> None:
        """Set the workers to work."""
        for thread in self._threads:
            thread.start()

    def stopping(self) -> bool:
        """Whether to leave everything as it is: the backup has failed or was cancelled."""
        if self._stop.is_set():
            return True
        if self._cancel.is_set():
            self.stop()
            return True
        return False

    def stop(self) -> None:
        """Let everybody leave everything as it is."""
        self._stop.set()
        self.queue.abort()

    def fail(self, error: BaseException) -> None:
        """The backup cannot go on because of *error*; the first one counts."""
        if self.failure is None:
            self.failure = error
        self.stop()

    def finish(self) -> None:
        """Wait until the workers have done what is queued, or have stopped."""
        self.queue.close()
        for thread in self._threads:
            thread.join()

    def warn(self, path: bytes, error: Exception) -> None:
        """Report metadata that cannot be read."""
        self.books.error(gojson.to_text(path), error)

    def end_file(self, job: FileJob, fd: int, error: Exception | None, node: Node | None = None, item: str = "") -> None:
        """Close the file and put its *node* in its place; without one, *error* says why it is left out.

        *item* names the file in the report; by default that is its absolute path.
        """
        if fd >= 0:
            os.close(fd)
        self.progress.end_file(job.item)
        if error is not None:
            self.books.error(item or gojson.to_text(os.path.abspath(job.path)), error)
        job.nodes[job.slot] = None if node is None else encode_node(node)
        self.books.closed(job.directory)

    def file_read(self, job: FileJob, fd: int, before: os.stat_result, file: OpenFile) -> None:
        """A file's chunks are all saved, or reading it has failed."""
        error = file.error
        if isinstance(error, OSError):
            shown = gojson.to_text(job.path)
            error = SourceError.from_os("read", job.path, error, f"failed to save {shown}: ")
        if error is not None or self._stop.is_set():
            self.end_file(job, fd, error, item=gojson.to_text(job.path))
            return
        after = os.fstat(fd)
        if after.st_mtime_ns != before.st_mtime_ns or after.st_size != before.st_size:
            error = changed_meanwhile(job.path)
        node = file.node
        node.content = file.blobs
        node.size = file.size
        self.books.item_done(job.item, job.previous, node, file.stats, file.started)
        self.end_file(job, fd, error, node)
