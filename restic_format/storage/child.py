"""A program that is started to reach a storage, and spoken to over its standard input and output: ``ssh``, ``rclone``.

It is in a process group of its own, so that Ctrl-C does not end it before this program has removed its lock. While it may ask
for a password it has the terminal. It ends by itself when this program does, however that ends: its input is closed then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from restic_format.errors import StorageError, UsageError
from restic_format.storage.base import Buffer
from restic_format.systemtext import errno_text, exit_text
from restic_format.words import split_command, visible

_PIPE_SIZE = 1 << 20
"""Bytes that a pipe holds, where the system allows it: the fewer times each side has to wait for the other, the faster."""

_MOST_IN_LINE = 1024
"""Characters of a line that the program prints; the rest of it is left out."""

_PIECES_AT_ONCE = 512
"""Well below the system's bound on what one call takes."""

_LONGEST_POLL = (1 << 31) - 1
"""Milliseconds that the system can be asked to wait at most: three weeks."""

_KILL_AFTER = 1.0
"""Seconds that a program has to end after it was asked to by a signal."""


class ChildUnusable(StorageError):
    """The program cannot be started, so that to try again is of no use."""

    permanent = True


class ChildStuck(Exception):
    """The program has taken nothing of what was written to it for too long."""


_OURS = re.compile("(RESTIC|RUSTIC)_.*(PASSWORD|REPO)")


def words_of(text: str, option: str) -> list[str]:
    """The words of the command in an extended option. Raises `UsageError`."""
    try:
        return split_command(text)
    except ValueError as error:
        raise UsageError(f"option {option}: {error}") from error


def environment_of(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child gets of *environment*: all but what is meant for this program and may have a password in it."""
    return {name: value for name, value in environment.items() if not _OURS.match(name)}


class Child:
    """The running program *words*; *name* is what messages call it, by default its first word.

    What it prints on its standard error goes to *report*, line by line with *prefix* before it, from a thread of its own. It
    gets *environment*, but for the passwords in it (`environment_of`), and is looked for in the ``PATH`` that is named there.

    Raises:
        ChildUnusable: it cannot be started.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        report: Callable[[str], object],
        *,
        name: str = "",
        prefix: str | None = None,
    ) -> None:
        self.name = name or os.path.basename(words[0])
        self._prefix = f"subprocess {self.name}: " if prefix is None else prefix
        self._report = report
        self._last = ""
        self._closing = threading.Lock()
        self.moved = time.monotonic()
        """When it took something last, by the clock that does not jump."""
        environment = environment_of(environment)
        program = _find(words[0], environment.get("PATH", os.defpath))
        self._terminal = _Terminal()
        try:
            self._process = subprocess.Popen(
                list(words),
                executable=program,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                process_group=0,
            )
        except (OSError, ValueError) as error:  # ValueError: a zero byte in a word
            self._terminal.take_back()
            why = errno_text(error) if isinstance(error, OSError) else str(error)
            raise ChildUnusable(f"{visible(words[0])} cannot be started: {why}") from error
        self._terminal.give(self._process.pid)
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        self._input, self._output, self._errors = stdin, stdout, stderr
        for pipe in (stdin, stdout):
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        os.set_blocking(stdin.fileno(), False)
        self._listener = threading.Thread(target=self._listen, name=f"{self.name}-messages", daemon=True)
        self._listener.start()

    @property
    def output(self) -> int:
        """The descriptor that its standard output is read from, until `close_output`."""
        return self._output.fileno()

    def close_output(self) -> None:
        """Close what its standard output is read from; for whoever reads it, once there is no more."""
        self._output.close()

    @property
    def has_terminal(self) -> bool:
        """Whether it may be asking somebody for a password."""
        return self._terminal.is_given

    @property
    def last_line(self) -> str:
        """What it printed last on its standard error, safe for a terminal; "" for nothing."""
        return self._last

    def write(self, pieces: Sequence[Buffer], patience: float) -> None:
        """Write *pieces* to its standard input. One thread at a time may do so.

        Raises:
            ChildStuck: it took nothing for *patience* seconds.
            OSError: it has closed its input, or has ended.
        """
        left = deque(memoryview(piece) for piece in pieces if len(piece))
        ready: select.poll | None = None
        while left:
            try:
                written = os.writev(self._input.fileno(), list(islice(left, _PIECES_AT_ONCE)))
            except BlockingIOError:
                if ready is None:
                    ready = select.poll()
                    ready.register(self._input.fileno(), select.POLLOUT)
                if not ready.poll(min(patience * 1000, _LONGEST_POLL)):
                    raise ChildStuck from None
                continue
            self.moved = time.monotonic()
            while left and written >= len(left[0]):
                written -= len(left.popleft())
            if written:
                left[0] = left[0][written:]

    def keep_terminal_no_longer(self) -> None:
        """Take the terminal back: it will ask for no password any more."""
        self._terminal.take_back()

    def ended(self, patience: float) -> str | None:
        """How it has ended, such as ``exit status 255``; None if it still runs after *patience* seconds."""
        try:
            status = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return None
        self._listener.join(patience)  # what it printed last may still be on its way
        return exit_text(status)

    def close_input(self) -> None:
        """Close its input, at which it should end. Nobody may be writing any more."""
        with contextlib.suppress(OSError):
            self._input.close()

    def kill(self) -> None:
        """End it at once, with the programs that it has started."""
        self._terminal.take_back()
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self, patience: float = 2.0) -> None:
        """Close its input and wait until it ends; after *patience* seconds it is made to.

        Nobody may be writing any more. May be called twice.
        """
        with self._closing:
            self._terminal.take_back()
            self.close_input()
            if self.ended(patience) is None:
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGTERM)
                if self.ended(_KILL_AFTER) is None:
                    self.kill()
                    self._process.wait()
            self._listener.join(_KILL_AFTER)  # something that it has left running may hold the pipe open

    def _listen(self) -> None:
        """Pass on the lines that it prints."""
        with self._errors:
            for line in _lines(self._errors.fileno()):
                if line:
                    self._last = line
                    with contextlib.suppress(
                        Exception
                    ):  # a report that fails must not stop the child, which waits for its reader
                        self._report(self._prefix + line)


def _find(program: str, path: str) -> str:
    """Where *program* is; a relative one is never looked for in the current folder (as restic does it)."""
    if "/" in program:
        return program
    folders = os.pathsep.join(folder for folder in path.split(os.pathsep) if os.path.isabs(folder))
    found = shutil.which(program, path=folders) if program and folders else None
    if found is None:
        raise ChildUnusable(f"{visible(program) or 'a program without a name'}: executable file not found in $PATH; install it")
    return found


def _lines(descriptor: int) -> Iterator[str]:
    """The lines that are read from *descriptor*, safe for a terminal; of a long one the beginning."""
    kept = b""
    while piece := os.read(descriptor, 4096):
        *whole, rest = (kept + piece).split(b"\n")
        yield from map(_line, whole)
        kept = rest[:_MOST_IN_LINE]
    yield _line(kept)


def _line(raw: bytes) -> str:
    return visible(raw[:_MOST_IN_LINE].decode("utf-8", "replace").rstrip("\r"))


_AT_TERMINAL = threading.Lock()
"""Held while a child has the terminal: another one would be stopped when it asks for a password."""

_MOST_WAIT = 300.0
"""Seconds that a child waits for another to give the terminal back."""


class _Terminal:
    """The terminal of this program, if it has one and is in front of it: a child that asks for a password must be there."""

    def __init__(self) -> None:
        self._own = 0
        self._lock = threading.RLock()  # a destructor may come at any point
        self._descriptor = -1
        self._has_turn = False
        try:
            self._descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
            self._has_turn = _AT_TERMINAL.acquire(timeout=_MOST_WAIT)
            self._own = os.tcgetpgrp(self._descriptor)
        except OSError:
            self._forget()
        else:
            if self._own != os.getpgrp():
                self._forget()

    @property
    def is_given(self) -> bool:
        """Whether a child may be before it."""
        return self._descriptor >= 0

    def _forget(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        if self._has_turn:
            self._has_turn = False
            _AT_TERMINAL.release()

    def give(self, group: int) -> None:
        """Put the process group *group* before the terminal."""
        with self._lock:
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.tcsetpgrp(self._descriptor, group)
                    os.killpg(group, signal.SIGCONT)  # it may have asked already, and been stopped for it

    def take_back(self) -> None:
        """Put this program before it again, and be done with it."""
        with self._lock:
            if self._descriptor >= 0:
                # A program behind the terminal is stopped for this, unless the thread that does it has blocked the signal.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
                with contextlib.suppress(OSError):
                    os.tcsetpgrp(self._descriptor, self._own)
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                self._forget()
