"""The workers: they read files, cut them, and save what the repository does not have.

A file, a group of small ones and a stream end in the same place: `Bookkeeper.settle`.
"""

from __future__ import annotations

import itertools
import mmap
import os
import stat
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from restic_format.backup.content import ChunkReader, build_cutter, descriptor_reader
from restic_format.backup.directories import LEFT_OUT, NOTHING, Bookkeeper, Files, SavedFile
from restic_format.backup.errors import BackupFailed, SourceError
from restic_format.backup.job import BackupEvent, BytesDone, FileEnded, FileStarted, ItemStats
from restic_format.backup.nodes import NodeBuilder, encode_file
from restic_format.backup.queue import WorkQueue
from restic_format.backup.source import open_source
from restic_format.errors import ResticFormatError
from restic_format.native import nodes
from restic_format.repository.writer import BlobWriter, SavedBlob
from restic_format.work import Cancel, Progress, WorkerPool
from restic_spec import gojson
from restic_spec.config import Config
from restic_spec.ids import ID_SIZE, id_of
from restic_spec.pack import BlobType
from restic_spec.tree import Node

SHARED_SIZE = 4 * 1024 * 1024
"""Files of at least so many bytes are shared among the workers."""

QUEUED_BATCHES = 16
"""Batches of files that may wait for a worker."""


class Content(Protocol):
    """What a file's bytes come from, opened."""

    def read(self, buffer: memoryview) -> int:
        """Fill the beginning of *buffer*; 0 at the end.

        Raises:
            OSError, SourceError: reading failed, the file is left out.
            BackupFailed: no snapshot may be made.
        """

    def problem(self) -> SourceError | None:
        """What to tell of a file that was read to its end."""

    def close(self) -> None:
        """Nothing more is wanted."""


class OpenedFile:
    """The content of a file of the source."""

    def __init__(self, fd: int, info: os.stat_result, path: bytes) -> None:
        self.read = descriptor_reader(fd)
        self._fd = fd
        self._info = info
        self._path = path

    def problem(self) -> SourceError | None:
        """See `Content`."""
        before, after = self._info, os.fstat(self._fd)
        same = after.st_mtime_ns == before.st_mtime_ns and after.st_size == before.st_size
        return None if same else changed_meanwhile(self._path)

    def close(self) -> None:
        """See `Content`."""
        os.close(self._fd)


class Reading:
    """A file that is being read, perhaps by several workers in turn."""

    __slots__ = (
        "content",
        "ended",
        "error",
        "file",
        "ids",
        "lock",
        "node",
        "pending",
        "reader",
        "reading",
        "shared",
        "size",
        "started",
        "stats",
    )

    def __init__(self, file: Files, content: Content, reader: ChunkReader, node: Node) -> None:
        self.file = file
        """A single one."""
        self.content = content
        self.reader = reader
        self.node = node
        """Its node, whose content and size are not yet known."""
        self.lock = threading.Lock()
        """The baton: held by who reads the next chunk or notes a result."""
        self.ids = bytearray()
        """The ids of its blobs, joined; zeros where a blob is not saved yet."""
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


class Worker:
    """What one thread does; each has a buffer of its own."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        # Memory that is taken page by page as it is used: of small files only the first mebibyte is.
        self._buffer = memoryview(mmap.mmap(-1, workers.cutter.max_size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._limit = workers.cutter.min_size

    def run(self) -> None:
        """Work until the queue has nothing more to give; errors of the repository end the whole backup."""
        workers = self._workers
        while not workers.stopping() and (work := workers.queue.get()) is not None:
            if isinstance(work, Reading):
                self._take_turns(work)
                continue
            for file in self._save_together(work):
                if workers.stopping():
                    break
                self._save_alone(file)
        if workers.stopping():
            workers.stop()  # nobody may wait for the queue any more

    # Small files, many at a time

    def _save_together(self, batch: Sequence[Files]) -> Iterable[Files]:
        """Save what is small; gives the files that are left, one by one."""
        small = [files for files in batch if files.size <= self._limit]
        if sum(len(files.names) for files in small) < 2:
            return [file for files in batch for file in map(files.one, range(len(files.names)))]
        left = self._save_small(small)
        return left + [files for files in batch if files.size > self._limit]

    def _save_small(self, small: Sequence[Files]) -> list[Files]:
        """Files of one chunk: read in one call, hashed and sealed in others, their nodes written in another."""
        workers, started = self._workers, time.monotonic()
        shown = small[0].item_of()
        workers.progress(FileStarted(shown))
        groups = [(files.folder, files.names) for files in small]
        infos, pieces, changed = nodes.read_files(groups, self._buffer, self._limit)
        ids = [id_of(piece) if piece else b"" for piece in pieces]
        blobs = workers.writer.save(BlobType.DATA, [blob for blob in zip(ids, pieces, strict=True) if blob[0]])
        newly = iter(blobs)
        sizes = list(map(len, pieces))
        names = [name for files in small for name in files.saved_names]
        written = workers.builder.writer.write(names, infos, sizes, ids)
        saved: list[SavedFile | None] = []
        places = [(files, number) for files in small for number in range(len(files.names))]
        for place, info, size, blob_id, encoded in zip(places, infos, sizes, ids, written, strict=True):
            if info is None:
                saved.append(None)
                continue
            stats = NOTHING
            if size and not (blob := next(newly)).known:
                stats = ItemStats(1, size, blob.stored)
            node = None
            if encoded is None:
                files, number = place
                node = workers.builder.build(files.saved_names[number], info, files.place(number), workers.warn)
                node.size = size
                encoded = encode_file(node, blob_id)
            saved.append(SavedFile(encoded, node, size, stats))
        for files, number in map(places.__getitem__, changed):
            path = files.place(number).path
            workers.books.error(gojson.to_text(os.path.abspath(path)), changed_meanwhile(path))
        workers.progress(BytesDone(sum(sizes)))
        left: list[Files] = []
        first = 0
        for files in small:
            end = first + len(files.names)
            left += workers.books.settle(files, saved[first:end], started)
            first = end
        workers.progress(FileEnded(shown))
        return left

    # Any file, by itself

    def _save_alone(self, file: Files) -> None:
        """Save one file, with the help of others where it is large."""
        workers = self._workers
        place = file.place()
        workers.progress(FileStarted(file.item_of()))
        try:
            fd = open_source(place)
        except OSError as error:
            self._leave_out(file, SourceError.from_os("open", place.path, error))
            return
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            shown = gojson.quote(gojson.to_text(place.path))
            self._leave_out(file, SourceError(f'file "{shown}" changed type, refusing to archive'))
            return
        node = workers.builder.build(file.saved_names[0], info, place, workers.warn, fd)
        content = OpenedFile(fd, info, place.path)
        reading = Reading(file, content, ChunkReader(content.read, workers.cutter, info.st_size), node)
        if info.st_size >= SHARED_SIZE and workers.count > 1:
            workers.share(reading, workers.count - 1)
        self._take_turns(reading)

    def _leave_out(self, file: Files, error: SourceError) -> None:
        workers = self._workers
        workers.progress(FileEnded(file.item_of()))
        workers.books.error(gojson.to_text(os.path.abspath(file.place().path)), error)
        workers.books.settle(file, [LEFT_OUT], 0)

    def _take_turns(self, file: Reading) -> None:
        """Read, cut and save chunks of *file* until it has no more; other workers may do the same at the same time.

        Raises:
            ResticFormatError: the repository cannot store a chunk.
        """
        workers = self._workers
        while True:
            with file.lock:
                lengths = self._read_chunks(file)
                if not lengths:
                    break
                start = len(file.ids)
                file.ids += bytes(ID_SIZE * len(lengths))
                file.pending += 1
                file.size += sum(lengths)
            try:
                saved = self._save_chunks(lengths)
            except BaseException:
                with file.lock:
                    file.pending -= 1
                    file.reading = False
                workers.stop()
                self._end_turns(file)
                raise
            with file.lock:
                file.ids[start : start + ID_SIZE * len(saved)] = b"".join([blob.id for blob in saved])
                file.pending -= 1
                for blob in saved:
                    if not blob.known:
                        file.stats.data_blobs += 1
                        file.stats.data_size += blob.length
                        file.stats.data_size_in_repo += blob.stored
            workers.progress(BytesDone(sum(lengths)))
        self._end_turns(file)

    def _read_chunks(self, file: Reading) -> Sequence[int]:
        """The next chunks' lengths; called with the baton held."""
        if not file.reading:
            return ()
        lengths: Sequence[int] = ()
        if not self._workers.stopping():
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
        return self._workers.writer.save(BlobType.DATA, [(id_of(chunk), chunk) for chunk in chunks])

    def _end_turns(self, file: Reading) -> None:
        """Finish *file* where this was the last chunk on its way."""
        with file.lock:
            if file.reading or file.pending or file.ended:
                return
            file.ended = True
        if file.shared:
            self._workers.queue.end_shared(file)
        self._finish(file)

    def _finish(self, file: Reading) -> None:
        """A file's chunks are all saved, or reading it has failed or was given up."""
        workers = self._workers
        path = file.file.place().path
        shown = gojson.to_text(path)
        error = file.error
        if isinstance(error, OSError):
            error = SourceError.from_os("read", path, error, f"failed to save {shown}: ")
        if error is None and not workers.stopping() and (problem := file.content.problem()) is not None:
            workers.books.error(gojson.to_text(os.path.abspath(path)), problem)
        file.content.close()
        workers.progress(FileEnded(file.file.item_of()))
        saved = LEFT_OUT
        if isinstance(error, BackupFailed):
            workers.fail(type(error)(f"failed to save {shown}: {error}"))
        elif error is not None:
            workers.books.error(shown, error)
        elif not workers.stopping():
            file.node.size = file.size
            saved = SavedFile(encode_file(file.node, file.ids), file.node, file.size, file.stats)
        workers.books.settle(file.file, [saved], file.started)


class Workers:
    """The workers of one backup, and what they share."""

    def __init__(
        self,
        writer: BlobWriter,
        config: Config,
        builder: NodeBuilder,
        books: Bookkeeper,
        progress: Progress[BackupEvent],
        cancel: Cancel,
        *,
        count: int,
        open_files: int,
    ) -> None:
        self.writer = writer
        self.cutter = build_cutter(config)
        self.builder = builder
        self.books = books
        self.progress = progress
        self.queue: WorkQueue[Files, Reading] = WorkQueue(QUEUED_BATCHES, open_files)
        self._pool = WorkerPool("backup", count, lambda: Worker(self).run(), cancel=cancel, on_stop=self.queue.abort)
        self.count = self._pool.count

    def stopping(self) -> bool:
        """Whether the workers are to stop at once: the backup has failed or was cancelled."""
        return self._pool.stopped

    def start(self) -> None:
        """Set the workers to work."""
        self._pool.start()

    def stop(self) -> None:
        """Have every worker stop at once."""
        self._pool.stop()

    def fail(self, error: BaseException) -> None:
        """The backup cannot go on because of *error*; the first one counts."""
        self._pool.fail(error)

    def finish(self) -> None:
        """Wait until the workers have done what is queued.

        Raises:
            BaseException: the first failure, or what `Cancel.check` raises; no worker is at work any more.
        """
        self.queue.close()
        self._pool.wait()

    def give_up(self, error: BaseException) -> None:
        """End the workers, because of *error*."""
        self._pool.fail(error)
        self._pool.join()

    def share(self, reading: Reading, helpers: int) -> None:
        """Let *helpers* workers take turns with a file."""
        reading.shared = True
        self.queue.call_for_help(reading, helpers)

    def warn(self, path: bytes, error: Exception) -> None:
        """Report metadata that cannot be read."""
        self.books.error(gojson.to_text(path), error)


def changed_meanwhile(path: bytes) -> SourceError:
    """What to tell of a file that was not the same before and after it was read."""
    return SourceError(f"{gojson.to_text(path)}: the file changed while it was read")
