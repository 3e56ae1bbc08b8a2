"""The terminal that the explorer needs: whether there is one, and noticing that it is gone."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.driver import Driver

_LOOK = 0.5
"""Seconds between two looks at whether to end."""


def is_terminal() -> bool:
    """Whether all standard streams are a terminal on which a screen can be drawn."""
    if os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        return False
    try:
        return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    except ValueError:
        return False


@contextmanager
def watched(gone: Callable[[], None]) -> Iterator[None]:
    """Call *gone* from another thread when the terminal is closed within the block.

    Standard streams lead nowhere from then on, so that nobody waits for a terminal that takes nothing any more. SIGHUP says
    nothing: whoever asks whether the holder of a lock is alive sends it, too (LOCK-14).
    """
    ended = threading.Event()

    def watch() -> None:
        poll = select.poll()
        poll.register(0, 0)
        while not ended.is_set():
            if any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(_LOOK * 1000)):
                null = os.open(os.devnull, os.O_RDWR)
                for descriptor in range(3):
                    os.dup2(null, descriptor)
                os.close(null)
                gone()
                return

    thread = threading.Thread(target=watch, name="terminal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def driver_class() -> type[Driver]:
    """What reads keys and writes the screen: Textual's, which what is no UTF-8 does not end."""
    from textual.drivers.linux_driver import LinuxDriver

    class TerminalDriver(LinuxDriver):
        """Bytes that are not UTF-8 are dropped, with what came at once with them; any other failure ends the explorer."""

        def run_input_thread(self) -> None:
            """Read keys until the end."""
            while True:
                try:
                    super().run_input_thread()
                    return
                except UnicodeDecodeError:
                    continue
                except Exception as error:  # noqa: BLE001 - told by whoever has run the explorer
                    self._app.call_later(self._app._handle_exception, error)
                    return

    return TerminalDriver
