"""Opened data blobs that everyone who reads files of a repository shares.

Each blob is fetched once however many ask for it at the same time. What is going to be wanted is fetched ahead by a few
threads, neighbours in a pack in one range. Threads live only while there is something to fetch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from restic_format.errors import ResticFormatError
from restic_format.repository.coder import groups
from restic_format.repository.packs import coalesce
from restic_spec.pack import BlobType, PackEntry

if TYPE_CHECKING:
    from restic_format.repository import Repository

LIMIT = 64 << 20
"""Bytes of opened blobs that are kept, unless the caller says otherwise."""
MOST_WORKERS = 8
"""Threads that fetch ahead, however many requests a storage answers at once."""

_LINGER = 0.5
"""Seconds that a thread waits for more to fetch before it ends."""


class _Fetch:
    """A blob that is being fetched, or waits for it."""

    __slots__ = ("done", "error", "job", "plain", "wanted")

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted
        """Whether somebody waits for it."""
        self.job: _Job | None = None
        """The blobs it is fetched ahead with."""
        self.done = False
        self.plain: bytes | None = None
        self.error: Exception | None = None


class _Job:
    """Neighbouring blobs of a pack that are fetched ahead together."""

    __slots__ = ("entries", "pack")

    def __init__(self, pack: bytes) -> None:
        self.pack = pack
        self.entries: list[PackEntry] = []


class BlobCache:
    """Data blobs of a repository, opened and verified; every method may be called from any thread.

    The index must be loaded. Blobs that are kept take at most *limit* bytes, or are one; those used last stay. Up to half of
    that is for blobs that were fetched ahead and not asked for yet. On top comes what threads are opening, 12 MiB for each:
    those that ask, and *workers* that fetch ahead (as many as the storage answers at once, up to 8). A ``with`` block closes
    it.
    """

    def __init__(self, repository: Repository, *, limit: int = LIMIT, workers: int | None = None) -> None:
        self._repository = repository
        self._limit = limit
        self._count = max(0, min(repository.storage.connections if workers is None else workers, MOST_WORKERS))
        self._lock = threading.Lock()
        self._fetched = threading.Condition(self._lock)
        """A blob has come, or cannot be had."""
        self._queued = threading.Condition(self._lock)
        """There is something to fetch ahead, or nothing will come any more."""
        self._kept: dict[bytes, bytes] = {}
        """Plaintexts, those used last at the end."""
        self._size = 0
        """Bytes of those."""
        self._unread: set[bytes] = set()
        """Those that were fetched ahead and not asked for yet."""
        self._ahead = 0
        """Bytes of those, and of blobs that are being fetched ahead."""
        self._fetches: dict[bytes, _Fetch] = {}
        self._queue: dict[_Job, None] = {}
        """What nobody has begun with, in order."""
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._closed = False

    def __enter__(self) -> BlobCache:
        """The cache."""
        return self

    def __exit__(self, *_: object) -> None:
        """`close`."""
        self.close()

    @property
    def size(self) -> int:
        """Bytes of the blobs that are kept."""
        return self._size

    def get(self, blob_id: bytes) -> bytes:
        """The plaintext of a blob.

        Raises:
            BlobMissing, DamagedFile, StorageError: it cannot be had, see `Repository.load_blob`. The next call tries again.
        """
        while True:
            with self._lock:
                plain = self._take(blob_id)
                if plain is not None:
                    return plain
                fetch = self._fetches.get(blob_id)
                if fetch is None:
                    fetch = self._fetches[blob_id] = _Fetch(wanted=True)
                    break
                fetch.wanted = True
                job = fetch.job
                if job is not None and job in self._queue:
                    del self._queue[job]  # rather at once than when a worker has time for it
                else:
                    while not fetch.done:
                        self._fetched.wait()
                    if fetch.error is not None:
                        raise fetch.error
                    if fetch.plain is not None:
                        return fetch.plain
                    continue
            self._run(job)
            if fetch.plain is not None:
                return fetch.plain
        return self._fetch(blob_id, fetch)

    def ahead(self, blob_ids: Iterable[bytes]) -> int:
        """Fetch blobs in the background that are going to be asked for, in this order; how many of them, from the first one on,
        are there or on their way. It ends where there is no room for more. What cannot be had is left to `get`.
        """
        taken = 0
        wanted: dict[bytes, list[PackEntry]] = {}
        number: dict[bytes, int] = {}
        lookup = self._repository.index.lookup
        with self._lock:
            for blob_id in blob_ids:
                kept = self._kept.pop(blob_id, None)
                if kept is not None:
                    self._kept[blob_id] = kept
                elif blob_id not in self._fetches and (where := lookup(BlobType.DATA, blob_id)) is not None:
                    entry = where.entry(BlobType.DATA, blob_id)
                    if self._closed or not self._count or self._ahead + entry.plain_length > self._limit // 2:
                        break
                    self._ahead += entry.plain_length
                    self._fetches[blob_id] = _Fetch(wanted=False)
                    number[blob_id] = len(number)
                    wanted.setdefault(where.pack, []).append(entry)
                taken += 1
            if wanted:
                self._submit(wanted, number)
        return taken

    def unneeded(self, blob_ids: Iterable[bytes]) -> None:
        """Say that blobs which were fetched ahead are not going to be asked for, so that there is room for others."""
        with self._lock:
            for blob_id in blob_ids:
                self._was_read(blob_id)

    def close(self) -> None:
        """Let go of everything and end the threads. What is asked for after that is still fetched, and not kept."""
        with self._lock:
            self._closed = True
            for job in self._queue:
                self._give_up(job.entries)
            self._queue.clear()
            self._kept.clear()
            self._unread.clear()
            self._size = 0
            self._queued.notify_all()
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    # What follows is called with the lock held.

    def _take(self, blob_id: bytes) -> bytes | None:
        plain = self._kept.pop(blob_id, None)
        if plain is not None:
            self._was_read(blob_id, plain)
            self._kept[blob_id] = plain
        return plain

    def _was_read(self, blob_id: bytes, plain: bytes | None = None) -> None:
        if blob_id in self._unread:
            self._unread.remove(blob_id)
            self._ahead -= len(self._kept[blob_id] if plain is None else plain)

    def _submit(self, wanted: dict[bytes, list[PackEntry]], number: dict[bytes, int]) -> None:
        """Queue jobs for blobs by pack; the job with the blob that comes first in *number* first."""
        jobs = []
        for pack, entries in wanted.items():
            entries.sort(key=lambda entry: entry.offset)
            for run in coalesce(entries, lambda entry: entry.offset, lambda entry: entry.length):
                for group in groups(run.items, lambda entry: entry.plain_length):
                    job = _Job(pack)
                    job.entries = list(group)
                    for entry in group:
                        self._fetches[entry.id].job = job
                    jobs.append((min(number[entry.id] for entry in group), job))
        jobs.sort(key=lambda item: item[0])
        for _, job in jobs:
            self._queue[job] = None
        while len(self._threads) < self._count and self._idle < len(self._queue):
            thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads: those who ask fetch it themselves
                break
            self._threads.add(thread)
            self._idle += 1
        self._queued.notify(len(jobs))

    def _finish(self, entry: PackEntry, plain: bytes | None) -> None:
        """A blob that was fetched ahead is here, or could not be had that way."""
        fetch = self._fetches.pop(entry.id)
        fetch.done, fetch.plain = True, plain
        self._ahead -= entry.plain_length
        if plain is not None:
            self._keep(entry.id, plain, unread=not fetch.wanted)
        if fetch.wanted:
            self._fetched.notify_all()

    def _give_up(self, entries: Iterable[PackEntry]) -> None:
        for entry in entries:
            if entry.id in self._fetches:
                self._finish(entry, None)

    def _keep(self, blob_id: bytes, plain: bytes, *, unread: bool) -> None:
        if self._closed:
            return
        self._kept[blob_id] = plain
        self._size += len(plain)
        if unread:
            self._unread.add(blob_id)
            self._ahead += len(plain)
        while self._size > self._limit and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._was_read(oldest)
            self._size -= len(self._kept.pop(oldest))

    # What follows is called without the lock.

    def _fetch(self, blob_id: bytes, fetch: _Fetch) -> bytes:
        plain: bytes | None = None
        try:
            plain = self._repository.load_blob(BlobType.DATA, blob_id)
        except Exception as error:
            fetch.error = error
            raise
        finally:
            with self._lock:
                del self._fetches[blob_id]
                fetch.done, fetch.plain = True, plain
                if plain is not None:
                    self._keep(blob_id, plain, unread=False)
                self._fetched.notify_all()
        return plain

    def _run(self, job: _Job) -> None:
        """Fetch the blobs of a job; of one that cannot be had this way `get` finds out why."""
        left = {entry.id: entry for entry in job.entries}
        try:
            for entry, opened in self._repository.packs.blobs(job.pack, job.entries, again=True):
                plain = None if isinstance(opened, ResticFormatError) else bytes(opened)
                with self._lock:
                    del left[entry.id]
                    self._finish(entry, plain)
                    if self._closed:
                        break
        finally:
            with self._lock:
                self._give_up(left.values())

    def _work(self) -> None:
        """What a thread does."""
        while True:
            with self._lock:
                # It counts as idle already when it starts.
                while not self._queue and not self._closed:
                    if not self._queued.wait(_LINGER) and not self._queue:
                        break
                self._idle -= 1
                if not self._queue:
                    self._threads.remove(threading.current_thread())
                    return
                job = next(iter(self._queue))
                del self._queue[job]
            with suppress(Exception):  # whoever asks for a blob of the job meets it again
                self._run(job)
            with self._lock:
                self._idle += 1
