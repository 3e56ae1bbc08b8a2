"""How long a search may take, and the threads that share it: every search ends at its budget, whatever it is given
(SOLVE-12).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from restic_format.work import Cancel, WorkerPool

Found = TypeVar("Found")
Job = TypeVar("Job")


class OutOfTime(Exception):
    """The budget is used up before the search has come to its end."""


class Clock:
    """A budget in *seconds* of wall clock, None for no bound, from now on; and the token that cancels. For any thread."""

    def __init__(self, seconds: float | None, cancel: Cancel | None = None, workers: int | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self.cancel = cancel or Cancel()
        self.workers = workers or len(os.sched_getaffinity(0))

    def limited(self, seconds: float) -> Clock:
        """A clock that ends after so many *seconds*, or with this one."""
        clock = Clock(seconds, self.cancel, self.workers)
        if self._end is not None and clock._end is not None:
            clock._end = min(clock._end, self._end)
        return clock

    @property
    def over(self) -> bool:
        """Whether time is up."""
        return self._end is not None and time.monotonic() >= self._end

    def check(self) -> None:
        """Do nothing while the search may go on.

        Raises:
            OutOfTime: time is up.
            Interrupted, ResticFormatError: see `Cancel.check`.
        """
        self.cancel.check()
        if self.over:
            raise OutOfTime

    def first(self, work: Callable[[Job], Found | None], jobs: Iterable[Job]) -> Found | None:
        """The first result of *work* on one of the *jobs*, by all threads together; None where there is none.

        Raises as `check`.
        """
        found: list[Found] = []
        pools: list[WorkerPool] = []
        shared: list[Iterable[Job]] = []

        def run() -> None:
            for job in shared[0]:
                self.check()
                result = work(job)
                if result is not None:
                    found.append(result)
                    pools[0].stop()

        pools.append(WorkerPool("solving", self.workers, run, cancel=self.cancel))
        shared.append(pools[0].share(jobs))
        try:
            with pools[0]:
                pass
        except OutOfTime:
            if not found:
                raise
        finally:
            # The pool knows `run`, which knows it: nothing else would let go of a message soon.
            pools.clear()
            shared.clear()
        return found[0] if found else None
