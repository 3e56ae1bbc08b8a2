"""The workers' queue: batches of small jobs, bounded, and calls for help with files that are large enough to share."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Job = TypeVar("Job")
Shared = TypeVar("Shared")


class WorkQueue(Generic[Job, Shared]):
    """Hands out batches of jobs in order; a worker that would have none, or too many large files open, helps with one.

    *limit* is the number of batches that may wait, *open_files* how many shared files may be begun at a time while there is
    one to help with.
    """

    def __init__(self, limit: int, open_files: int) -> None:
        self._limit = limit
        self._open_files = open_files
        self._batches: deque[list[Job]] = deque()
        self._calls: deque[Shared] = deque()
        self._shared = 0
        self._closed = False
        self._aborted = False
        lock = threading.Lock()
        self._not_empty = threading.Condition(lock)
        self._not_full = threading.Condition(lock)

    def put(self, batch: list[Job]) -> None:
        """Add a batch; waits while too many are queued."""
        with self._not_full:
            while len(self._batches) >= self._limit and not self._closed:
                self._not_full.wait()
            if not self._closed:
                self._batches.append(batch)
                self._not_empty.notify()

    def get(self) -> list[Job] | Shared | None:
        """The next batch, or a file to help with; None when there will be no more."""
        with self._not_empty:
            while True:
                if self._batches and (self._shared < self._open_files or not self._calls):
                    self._not_full.notify()
                    return self._batches.popleft()
                if self._calls:
                    return self._calls.popleft()
                if self._closed and not self._shared:
                    return None
                self._not_empty.wait()

    def call_for_help(self, shared: Shared, helpers: int) -> None:
        """Begin a shared file and ask *helpers* workers to join in."""
        with self._not_empty:
            if not self._aborted:
                self._shared += 1
                self._calls.extend([shared] * helpers)
                self._not_empty.notify(helpers)

    def end_shared(self, shared: Shared) -> None:
        """Say that a shared file needs no more help."""
        with self._not_empty:
            self._shared = max(0, self._shared - 1)
            self._calls = deque(call for call in self._calls if call is not shared)
            self._not_empty.notify_all()

    def abort(self) -> None:
        """Forget what is queued; workers end at once, and nobody waits any more."""
        with self._not_empty:
            self._closed = self._aborted = True
            self._shared = 0
            self._batches.clear()
            self._calls.clear()
            self._not_empty.notify_all()
            self._not_full.notify_all()

    def close(self) -> None:
        """Nothing more will be added: workers end when everything is handed out."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()
