"""The budget of a repair: how long attempts that may come to nothing are made, all of them together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """*seconds* of wall clock, None for no bound. One thread at a time."""

    def __init__(self, seconds: float | None) -> None:
        self._left = seconds
        self._part = 1.0
        self.has_run_out = False
        """Whether something was given up because time was up."""

    @contextmanager
    def shared(self, part: float) -> Iterator[None]:
        """What is done inside may use up this *part* of what is left, from 0 to 1; what it does not need stays for others."""
        before = self._part
        self._part = before * part
        try:
            yield
        finally:
            self._part = before

    @contextmanager
    def spending(self) -> Iterator[float | None]:
        """Gives the seconds that what is done inside may take, None for no bound; what it takes is gone."""
        started = time.monotonic()
        try:
            yield None if self._left is None else self._left * self._part
        finally:
            if self._left is not None:
                self._left = max(self._left - (time.monotonic() - started), 0.0)
