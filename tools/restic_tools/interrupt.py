"""Signals: SIGINT and SIGTERM end a command in order, SIGUSR1 asks for progress and never ends the process.

By default the first signal raises ``Interrupted`` in the main thread, so that ``with`` blocks release what they hold (the
repository's lock above all). Work that must finish what it has begun runs inside ``deferred()``: there the signal only sets
``event``, and the work stops by itself. Further signals do not disturb the cleaning up; the third ends the process at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)
IMPATIENT = 3
"""The signal with this number in a row ends the process without cleaning up."""


class Interrupt:
    """Whether and how this process has been interrupted."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._deferred = 0
        self._count = 0
        self._stop: Callable[[], None] = lambda: None
        self.announce: Callable[[], None] = lambda: None
        self.report: Callable[[], None] = lambda: None
        """Called when SIGUSR1 asks how far the work is."""

    @property
    def requested(self) -> bool:
        """Whether a signal has asked us to stop."""
        return self.event.is_set()

    def check(self) -> None:
        """Raise ``Interrupted`` when a signal has asked us to stop."""
        if self.event.is_set():
            raise self._error()

    @contextmanager
    def deferred(self, stop: Callable[[], None] | None = None) -> Iterator[threading.Event]:
        """Let signals only set ``event`` and call *stop* inside this block; the work inside then stops in good order."""
        self._deferred += 1
        before = self._stop
        self._stop = stop or before
        try:
            if self.requested:
                self._stop()
            yield self.event
        finally:
            self._stop = before
            self._deferred -= 1

    @contextmanager
    def installed(self) -> Iterator[Interrupt]:
        """Handle the signals inside this block (only possible in the main thread)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._handle_report)
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._count += 1
        first = not self.event.is_set()
        self.event.set()
        self._stop()
        if self._count >= IMPATIENT:
            os._exit(EXIT_INTERRUPTED)
        if first:
            self.announce()
            if not self._deferred:
                raise self._error()

    def _handle_report(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.report()

    @staticmethod
    def _error() -> BaseException:
        from restic_format.errors import Interrupted

        return Interrupted("interrupted by a signal")
