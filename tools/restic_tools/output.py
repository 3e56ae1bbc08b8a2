"""Standard output and error: lines for people, JSON lines for programs, and which of them are shown.

Names can hold any bytes, so everything is written as UTF-8 with ``surrogateescape`` straight to the byte streams, whatever
the locale says. What is written for people goes through `visible` here, in this one place: nothing from a repository can act on
their terminal, and a line stays a line. Within a block `printable` keeps a name on its line.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from restic_format.systemtext import errno_text
from restic_format.words import json_for_terminal, visible
from restic_tools.environment import encode
from restic_tools.exitcodes import OutputFailed, ReaderGone
from restic_tools.globaloptions import DEBUG, NORMAL, QUIET, VERBOSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from restic_tools.progress import Live

__all__ = ["DEBUG", "DEFAULT_WIDTH", "NORMAL", "QUIET", "VERBOSE", "Output", "encode"]

DEFAULT_WIDTH = 80


class Output:
    """The program's two output streams.

    With ``json_mode`` only ``json``, ``write`` and the stderr methods write anything. When a stream cannot be written, that is
    said once (for standard output) and what would go there is dropped: a full disk for the log must not keep a backup from
    being made. A command that only *shows* something ends then, with ``OutputFailed``.
    """

    def __init__(self, *, verbosity: int = NORMAL, json_mode: bool = False, shows: bool = False) -> None:
        self.verbosity = verbosity
        self.json_mode = json_mode
        self._shows = shows
        self._failure: OutputFailed | None = None
        self.live: Live | None = None
        self.guard = threading.RLock()
        """Held while anything is written, so that lines from several threads do not mix."""

    # Standard output

    def line(self, text: str = "", *, block: bool = False) -> None:
        """A line of the command's result: always shown. A *block* is several lines, in which names are `printable`."""
        if not self.json_mode:
            self.write(encode(visible(text, block=block)) + b"\n")

    def info(self, text: str = "", *, block: bool = False) -> None:
        """What happens: shown unless --quiet."""
        if self.verbosity >= NORMAL:
            self.line(text, block=block)

    def info_on_terminal(self, text: str) -> None:
        """What happens, for people only: shown on a terminal unless --quiet."""
        if self.stdout_is_terminal:
            self.info(text)

    def verbose(self, text: str) -> None:
        """Minor things: shown with --verbose."""
        if self.verbosity >= VERBOSE:
            self.line(text)

    def debug(self, text: str) -> None:
        """Everything: shown with --verbose=2."""
        if self.verbosity >= DEBUG:
            self.line(text)

    def write(self, data: bytes) -> None:
        """Bytes as they are, to standard output: data, and pages of our own."""
        self._write(sys.stdout, data)

    def json(self, message: Any) -> None:
        """One message of ``restic_tools.messages`` (or any struct) as a line of compact JSON."""
        self.json_text(_encode_json(message) + b"\n")

    def json_text(self, text: bytes) -> None:
        """JSON, or a part of it, on standard output: as it is, but to a terminal nothing that it would act on."""
        self.write(json_for_terminal(text) if self.stdout_is_terminal else text)

    # Standard error

    def warn(self, text: str, *, block: bool = False) -> None:
        """A warning or an error, a line or a *block*: always shown, on standard error."""
        self._write(sys.stderr, encode(visible(text, block=block)) + b"\n")

    def json_error(self, message: Any) -> None:
        """One message as a line of compact JSON on standard error."""
        text = _encode_json(message)
        self._write(sys.stderr, (json_for_terminal(text) if _is_terminal(sys.stderr) else text) + b"\n")

    # Facts about the streams

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether a person reads standard output."""
        return _is_terminal(sys.stdout)

    @property
    def coloured(self) -> bool:
        """Whether colours may be used on standard output."""
        return self.stdout_is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        """Columns of the terminal that a person looks at, also while standard output goes into a pager; 80 if there is none."""
        import shutil

        for stream in (sys.stdout, sys.stderr, sys.stdin):
            if _is_terminal(stream):
                try:
                    return (
                        shutil.get_terminal_size((0, 0)).columns
                        or os.get_terminal_size(stream.fileno()).columns
                        or DEFAULT_WIDTH
                    )
                except OSError:
                    continue
        return DEFAULT_WIDTH

    def flush(self) -> None:
        """Push out what is still in buffers."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with self.guard:
                    self._attempt(stream, stream.flush)

    def draw(self, text: str) -> None:
        """Text for the terminal as it is, at once; for the live display only."""
        stream = sys.stdout
        if stream is not None:
            with self.guard:
                self._attempt(stream, lambda: (stream.write(text), stream.flush()))

    def _write(self, stream: IO[str] | None, data: bytes) -> None:
        if stream is None:
            # Python's way of saying that the descriptor was closed when the program began.
            return
        with self.guard:
            live = self.live
            if live is not None:
                live.clear()
            if stream is sys.stderr and sys.stdout is not None:
                # What was said before comes first, also where both are one terminal. If it fails it does so again later.
                with contextlib.suppress(OSError, ValueError):
                    sys.stdout.flush()
            self._attempt(stream, lambda: _put(stream, data, at_once=stream is sys.stderr or live is not None))
            if live is not None:
                live.redraw()

    def _attempt(self, stream: IO[str], write: Callable[[], object]) -> None:
        if self._failure is not None and stream is sys.stdout:
            raise self._failure
        try:
            write()
        except (OSError, ValueError) as error:
            silence(stream)
            if stream is sys.stdout:
                self._lost(error)

    def _lost(self, error: OSError | ValueError) -> None:
        """Standard output cannot be written any more."""
        reason = errno_text(error) if isinstance(error, OSError) else str(error)
        text = f"cannot write to standard output: {reason}"
        gone = isinstance(error, BrokenPipeError)
        if self._shows:
            self._failure = ReaderGone(text) if gone else OutputFailed(text)
            raise self._failure from error
        if gone:
            return
        if self.json_mode:
            from restic_tools.messages import ErrorText, ObjectError

            self.json_error(ObjectError("error", ErrorText(text), "write", "standard output"))
        else:
            self.warn(f"{text}; the command goes on")


def _put(stream: IO[str], data: bytes, *, at_once: bool) -> None:
    raw = getattr(stream, "buffer", None)
    if raw is None:
        stream.write(data.decode("utf-8", "backslashreplace"))
        return
    stream.flush()
    raw.write(data)
    if at_once:
        raw.flush()


def silence(stream: IO[str]) -> None:
    """Redirect a stream that cannot be written to the null device, so that what is left in its buffer does not fail again."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _is_terminal(stream: IO[str] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def _encode_json(message: Any) -> bytes:
    from restic_tools.messages import encode_message

    return encode_message(message)
