"""Progress while a command works: live lines on a terminal, status messages with ``--json``, silence elsewhere.

A command that reports progress keeps its own numbers (the engine's callback updates them) and lends two functions::

    with ctx.progress(lines=my_lines, status=my_status):
        engine_call(..., progress=my_callback)

``lines()`` gives the lines people see, ``status()`` the message programs see; both are called from a thread, several times a
second, so they must only read. For plain counting there is ``ctx.counter("packs", total)``.

``RESTIC_PROGRESS_FPS`` sets how often (also when the output is no terminal); SIGUSR1 asks for one report at any time.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from restic_format.words import visible
from restic_tools.exitcodes import OutputFailed
from restic_tools.interrupt import Interrupt
from restic_tools.output import NORMAL, Output
from restic_tools.render import bytes_text, percent_text, seconds_text, shortened

DEFAULT_FPS = 10.0
MAX_FPS = 60.0
RATE_WINDOW = 15.0
"""Seconds over which a rate is averaged, so that the time left does not jump."""

Lines = Callable[[], Sequence[str]]
Status = Callable[[], Any]


def update_interval(out: Output) -> float:
    """Seconds between two reports; 0 when there is nobody to report to."""
    text = os.environ.get("RESTIC_PROGRESS_FPS", "")
    if text:
        try:
            fps = float(text)
        except ValueError:
            fps = math.nan
        if fps > 0:
            return 1.0 / min(fps, MAX_FPS)
    if out.verbosity < NORMAL or not (out.json_mode or out.stdout_is_terminal):
        return 0.0
    return 1.0 / DEFAULT_FPS


class Live:
    """Reports progress from a thread for the length of a ``with`` block.

    On a terminal the lines stay at the bottom and other output scrolls above them.
    """

    def __init__(self, out: Output, *, lines: Lines, status: Status | None = None, interrupt: Interrupt | None = None) -> None:
        self._out = out
        self._interrupt = interrupt or Interrupt()
        self._lines = lines
        self._status = status
        self._drawn = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._asked = False
        self._thread: threading.Thread | None = None
        self._in_place = out.stdout_is_terminal and not out.json_mode and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        self._interval = update_interval(self._out)
        if self._in_place and self._interval:
            self._out.live = self
        self._before, self._interrupt.report = self._interrupt.report, self._report_asked
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._interrupt.report = self._before
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        with self._out.guard:
            self.clear()
            self._out.live = None

    def clear(self) -> None:
        """Take the live lines off the screen (called with the output's guard held)."""
        if self._drawn:
            self._out.draw("\r\x1b[2K" + "\x1b[1A\x1b[2K" * (self._drawn - 1))
            self._drawn = 0

    def redraw(self) -> None:
        """Put the live lines on the screen again (called with the output's guard held)."""
        if not self._interval or self._stop.is_set():
            return
        width = self._out.width - 1
        shown = [shortened(visible(line), width) for line in self._lines()]
        text = "\n".join(shown).encode("utf-8", "replace").decode()
        self.clear()
        self._out.draw(text)
        self._drawn = len(shown)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._interval or None)
            self._wake.clear()
            if self._stop.is_set():
                return
            with suppress(OutputFailed):  # the command is told when it writes
                self._report()

    def _report(self) -> None:
        asked, self._asked = self._asked, False
        if not (asked or self._interval):
            return
        if self._out.json_mode:
            if self._status is not None:
                self._out.json(self._status())
                self._out.flush()
            return
        with self._out.guard:
            if self._out.live is self:
                self.redraw()
            else:
                for line in self._lines():
                    self._out.line(line)
                self._out.flush()

    def _report_asked(self) -> None:
        self._asked = True
        self._wake.set()


class Rate:
    """How fast a growing number grows, averaged over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self.started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.started

    def per_second(self, done: float) -> float:
        """The rate, given the number reached now."""
        now = time.monotonic()
        self._samples.append((now, done))
        while now - self._samples[0][0] > RATE_WINDOW and len(self._samples) > 2:
            self._samples.popleft()
        then, before = self._samples[0]
        return (done - before) / (now - then) if now > then else 0.0

    def remaining(self, done: float, total: float) -> float | None:
        """Seconds left, None while that cannot be told."""
        rate = self.per_second(done)
        return max(0.0, (total - done) / rate) if rate > 0 and total > 0 else None


class Counter:
    """Counting towards a total, shown as ``[0:03] 42.00%  21 / 50 packs``; the last state is left on the screen.

    ``add`` may be called from any thread. ``bytes_total`` adds volume and rate.
    """

    def __init__(self, out: Output, noun: str, total: int, bytes_total: int = 0, interrupt: Interrupt | None = None) -> None:
        self._out = out
        self.noun = noun
        self.total = total
        self.bytes_total = bytes_total
        self.done = 0
        self.bytes_done = 0
        self._guard = threading.Lock()
        self._rate = Rate()
        self._live = Live(out, lines=self.lines, interrupt=interrupt)

    def add(self, count: int = 1, volume: int = 0) -> None:
        """Count what has been done; ``volume`` in bytes."""
        with self._guard:
            self.done += count
            self.bytes_done += volume

    def lines(self) -> list[str]:
        """The state as one line."""
        text = f"[{seconds_text(self._rate.elapsed)}]"
        share = percent_text(self.done, self.total)
        # Without a total the number stands where it would stand behind the percentage.
        text += f" {share}  {self.done} / {self.total} {self.noun}" if share else f"{'':10}{self.done} {self.noun}"
        if self.bytes_total:
            text += f", {bytes_text(self.bytes_done)} / {bytes_text(self.bytes_total)}"
            rate = self._rate.per_second(self.bytes_done)
            left = self._rate.remaining(self.bytes_done, self.bytes_total)
            if rate > 0 and left is not None and self.done < self.total:
                text += f", {bytes_text(rate)}/s, {seconds_text(left)} left"
        return [text]

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)
        if kind is None:
            self._out.info(self.lines()[0])
