"""How the face comes to a repository: opened once with the password, then locked anew for each operation.

Every operation has a `Repository` of the engine of its own, with its own lock and index, as if it were a process of its own. So
operations in several threads cannot disturb each other, and nothing is done with an index that others have changed since.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from restic_format.errors import LockLost, UsageError
from restic_format.repository import Repository
from restic_format.repository.keys import OpenedKey
from restic_format.snapshots.blobcache import BlobCache
from restic_format.snapshots.filesystem import DirectoryCache
from restic_format.storage.cache import without_cache
from restic_format.work import Cancel
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from restic_format.snapshots import FoundSnapshot
    from restic_format.storage import Storage
    from restic_spec.config import Config


@dataclass(frozen=True)
class Settings:
    """How the repository is used."""

    compression: str | None
    pack_size: int | None
    index_cache: str | None
    """The folder for all caches, for the sealed index."""
    lock: bool
    """Whether readers take locks; writers always do."""
    retry_lock: float
    """Seconds to wait for other locks."""


class Access:
    """A repository whose key is known: makes sessions."""

    def __init__(self, repository: Repository, settings: Settings) -> None:
        self.storage: Storage = repository.storage
        self.config: Config = repository.config
        self._key = OpenedKey(repository.key_id, repository.master_key)
        self._settings = settings

    @contextmanager
    def session(
        self, *, exclusive: bool = False, writes: bool = False, cached: bool = True, cancel: Cancel | None = None
    ) -> Iterator[tuple[Repository, Cancel]]:
        """A repository that is locked for the length of the block, its index not loaded, and the token for what is done in it.

        Raises as `Repository.lock`, and `Interrupted` where *cancel* was set before.
        """
        if cancel is not None:
            cancel.check()
        settings = self._settings
        repository = Repository(
            self.storage if cached else without_cache(self.storage),
            self.config,
            self._key,
            compression=settings.compression,
            pack_size=settings.pack_size,
            cache_folder=settings.index_cache if cached else None,
        )
        if not (settings.lock or writes):
            yield repository, Cancel(cancel)
            return
        with repository.lock(exclusive=exclusive, retry=settings.retry_lock, cancel=cancel) as held:
            yield repository, Cancel(cancel, health=held.check)


class Reading:
    """A locked repository with its index, for everybody who reads snapshots at the moment."""

    def __init__(self, access: Access) -> None:
        self._stack = ExitStack()
        with self._stack as stack:
            self.repository, self._token = stack.enter_context(access.session())
            # Snapshots first: what they need is then in the index (ORDER-2).
            self.known = {snapshot_id for snapshot_id, _ in self.repository.list(FileKind.SNAPSHOT)}
            self.repository.load_index()
            self.cache = BlobCache(self.repository)
            stack.callback(self.cache.close)
            self.directories = DirectoryCache()
            self._stack = stack.pop_all()
        self.users = 0

    def check(self) -> None:
        """Raise `LockLost` where others may have removed what is read: the machine has slept, or the storage was away."""
        self._token.check()

    @property
    def locked(self) -> bool:
        """Whether the lock is kept."""
        try:
            self.check()
        except LockLost:
            return False
        return True

    def close(self) -> None:
        """Release the lock and what is kept."""
        self._stack.close()


class Readings:
    """Hands out a `Reading` to several users, and closes it when the last one has returned it. Thread-safe."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._current: Reading | None = None
        self._open: set[Reading] = set()
        self._returned: deque[Reading] = deque()
        """What users have given back."""
        self._pid = os.getpid()

    def borrow(self, find: Callable[[Repository], tuple[FoundSnapshot, str]]) -> tuple[Reading, FoundSnapshot, str]:
        """What *find* finds, and a reading whose index has all that this snapshot needs."""
        try:
            with self._lock:
                reading = self._current
                if reading is None or not reading.locked:
                    reading = self._begin()
                found, folder = find(reading.repository)
                if found.id not in reading.known:
                    reading = self._begin()
                reading.users += 1
                return reading, found, folder
        finally:
            self._take_back()

    def _begin(self) -> Reading:
        reading = self._current = Reading(self._access)
        self._open.add(reading)
        return reading

    def give_back(self, reading: Reading) -> None:
        """Say that a user is done. May be called when an object is collected, in any thread and at any moment."""
        if os.getpid() == self._pid:  # in a forked process they are left to the process that opened them
            self._returned.append(reading)
            self._take_back()

    def _take_back(self) -> None:
        # Who holds the lock comes here afterwards; the garbage collector may call inside of that.
        while (self._returned or self._current is not None) and self._lock.acquire(blocking=False):
            try:
                while self._returned:
                    self._returned.popleft().users -= 1
                going = [reading for reading in self._open if not reading.users]
                self._open.difference_update(going)
                if self._current in going:
                    self._current = None
            finally:
                self._lock.release()
            for reading in going:
                reading.close()
            if not self._returned:
                return

    def close(self) -> None:
        """Close all; in a forked process none."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            going, self._open, self._current = self._open, set(), None
        for reading in going:
            reading.close()


class Guard:
    """Says whether an object of the face may still be used: it is open, and this is the process that opened it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid = os.getpid()
        self.closed = False

    def check(self) -> None:
        """Raise `UsageError` where it may not."""
        if self.closed:
            raise UsageError(f"{self._what} is closed")
        if os.getpid() != self._pid:
            raise UsageError(f"{self._what} was opened in another process: open it again in this one")


def close_at_the_end(owner: object, readings: Readings) -> weakref.finalize[[], object]:
    """Close *readings* when *owner* is gone, or the program ends: no lock stays behind."""
    # What `multiprocessing` forks ends without what Python does at the end of a program, but for this.
    forking = sys.modules.get("multiprocessing.util")
    if forking is not None:
        forking.Finalize(owner, readings.close, exitpriority=100)
    return weakref.finalize(owner, readings.close)
