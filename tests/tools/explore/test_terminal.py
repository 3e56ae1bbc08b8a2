"""The command on a real terminal: it starts, moves, ends, and leaves terminal and repository as they were, however it ends."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from fcntl import ioctl
from pathlib import Path
from types import TracebackType

import pytest

from tests.tools.kit import Runner

DEADLINE = 60.0
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"
"""What shows and hides the other screen of a terminal."""


class Terminal:
    """A terminal of 80 columns and 24 lines, and a program in it."""

    def __init__(self, words: list[str], env: Mapping[str, str], program: tuple[str, ...] = ("-m", "restic_tools")) -> None:
        self.master, self._slave = pty.openpty()
        ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self._slave)
        self.seen = b""
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            ioctl(self._slave, termios.TIOCSCTTY, 0)
            for descriptor in range(3):
                os.dup2(self._slave, descriptor)
            os.closerange(3, 64)
            os.execve(sys.executable, [sys.executable, *program, *words], dict(env))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.close()
        os.close(self._slave)

    def close(self) -> None:
        """Close it, as a window is closed."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def wait_for(self, text: str) -> None:
        """Read until a text was shown."""
        until = time.monotonic() + DEADLINE
        while text.encode() not in self.plain():
            assert time.monotonic() < until, (text, self.seen[-2000:])
            self._read()

    def plain(self) -> bytes:
        """What was shown, without what moves the cursor or colours."""
        return re.sub(rb"\x1b\[[0-9;?<>=]*[A-Za-z]", b"", self.seen)

    def _read(self) -> None:
        if select.select([self.master], [], [], 0.1)[0]:
            try:
                self.seen += os.read(self.master, 1 << 16)
            except OSError:
                return

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def end(self) -> int:
        """Wait for the end of the program; its exit code."""
        until = time.monotonic() + DEADLINE
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                break
            assert time.monotonic() < until, self.seen[-2000:]
            if self.master >= 0:
                self._read()
            else:
                time.sleep(0.05)
        if self.master >= 0:
            self._read()
        return os.waitstatus_to_exitcode(status)

    def after(self) -> list[object]:
        """How the terminal is set."""
        return list(termios.tcgetattr(self._slave))


@pytest.fixture
def repo(fixture: Callable[[str], Path], tmp_path: Path) -> Path:
    """A repository without any lock."""
    folder = tmp_path / "repo"
    shutil.copytree(fixture("restic-0.19-v2"), folder)
    for lock in (folder / "locks").iterdir():
        lock.unlink()
    return folder


@pytest.fixture
def terminal(repo: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Begin `explore` in a terminal."""
    env = {
        **environment,
        "RESTIC_REPOSITORY": str(repo),
        "RESTIC_PASSWORD": "correct horse",
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
        "TERM": "xterm-256color",
    }
    open_ones = []

    def begin(*words: str, program: tuple[str, ...] = ("-m", "restic_tools"), **extra: str) -> Terminal:
        begun = Terminal(["explore", *words], {**env, **extra}, program)
        open_ones.append(begun)
        return begun

    yield begin
    for begun in open_ones:
        begun.__exit__(None, None, None)


def locks(repo: Path) -> int:
    return len(list((repo / "locks").iterdir()))


def test_start_move_quit(terminal: Callable[..., Terminal], repo: Path) -> None:
    begun = terminal()
    begun.wait_for("ef57a321")
    assert locks(repo) == 1
    begun.type(b"\x1b[B\r")
    begun.wait_for("tree/")
    begun.type(b"q")
    assert begun.end() == 0
    assert begun.seen.count(ENTERED) == begun.seen.count(LEFT) == 1 and begun.seen.rindex(LEFT) > begun.seen.rindex(b"tree/")
    assert begun.after() == begun.before
    assert b"\x1b[?25h" in begun.seen[begun.seen.rindex(LEFT) - 200 :]
    assert b"Traceback" not in begun.seen
    assert locks(repo) == 0


def test_without_a_lock(terminal: Callable[..., Terminal], repo: Path) -> None:
    begun = terminal("--no-lock")
    begun.wait_for("ef57a321")
    assert locks(repo) == 0
    begun.type(b"\x03")
    assert begun.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: int, terminal: Callable[..., Terminal], repo: Path) -> None:
    begun = terminal()
    begun.wait_for("ef57a321")
    os.kill(begun.pid, number)
    assert begun.end() == 130
    assert begun.seen.count(LEFT) == 1 and begun.after() == begun.before and locks(repo) == 0


def test_a_closed_terminal_ends_it(terminal: Callable[..., Terminal], repo: Path) -> None:
    begun = terminal()
    begun.wait_for("ef57a321")
    assert locks(repo) == 1
    begun.close()
    begun.end()
    assert locks(repo) == 0


def test_who_asks_whether_it_lives_does_not_end_it(terminal: Callable[..., Terminal], repo: Path) -> None:
    """restic's ``unlock`` sends SIGHUP to the holder of a lock for that (LOCK-14)."""
    begun = terminal()
    begun.wait_for("ef57a321")
    os.kill(begun.pid, signal.SIGHUP)
    begun.type(b"\x1b[B\r")
    begun.wait_for("tree/")
    begun.type(b"q")
    assert begun.end() == 0 and locks(repo) == 0


def test_a_fault_of_our_own_is_told_in_a_line(terminal: Callable[..., Terminal], repo: Path) -> None:
    """Terminal and repository are left as they were also then."""
    code = (
        "from restic_tools.own.explore.screen import Explorer\n"
        "def action_down(self): raise ValueError('a fault of our own')\n"
        "Explorer.action_down = action_down\n"
        "from restic_tools.cli import run; run()"
    )
    begun = terminal(program=("-c", code))
    begun.wait_for("ef57a321")
    begun.type(b"\x1b[B")
    assert begun.end() == 1
    said = begun.seen[begun.seen.rindex(LEFT) :]
    assert b"a fault of our own" in said and b"Traceback" not in begun.seen
    assert begun.after() == begun.before and locks(repo) == 0


def test_a_failure_of_the_terminal_is_told_in_a_line(terminal: Callable[..., Terminal], repo: Path) -> None:
    """Keys that cannot be read any more do not end it as if its user had."""
    code = (
        "from textual.drivers.linux_driver import LinuxDriver\n"
        "def run_input_thread(self): raise ValueError('no more keys')\n"
        "LinuxDriver.run_input_thread = run_input_thread\n"
        "from restic_tools.cli import run; run()"
    )
    begun = terminal(program=("-c", code))
    assert begun.end() == 1
    assert b"no more keys" in begun.seen[begun.seen.rindex(LEFT) :] and b"Traceback" not in begun.seen
    assert begun.after() == begun.before and locks(repo) == 0


def test_keys_that_are_no_utf_8_are_dropped(terminal: Callable[..., Terminal], repo: Path) -> None:
    """As a terminal of another encoding sends them."""
    begun = terminal()
    begun.wait_for("ef57a321")
    for keys in (b"\xff", b"\xe9", b"i", b"a\xffb", b"\xc3", b"\x1b"):
        begun.type(keys)
        time.sleep(0.3)
    begun.type(b"\x1b[B\r")
    begun.wait_for("tree/")
    begun.type(b"q")
    assert begun.end() == 0 and locks(repo) == 0


def test_what_an_index_that_can_be_read_knows_is_shown(terminal: Callable[..., Terminal], repo: Path) -> None:
    """A damaged index file is told of, and no reason not to look around."""
    for index in (repo / "index").iterdir():
        raw = bytearray(index.read_bytes())
        raw[len(raw) // 2] ^= 1
        index.chmod(0o600)
        index.write_bytes(raw)
        name = index.name
        break
    begun = terminal()
    begun.wait_for("ef57a321")
    begun.wait_for(f"error (e): index {name[:8]}")
    begun.type(b"q")
    assert begun.end() == 0 and locks(repo) == 0


def test_only_snapshots_that_fit(terminal: Callable[..., Terminal]) -> None:
    begun = terminal("--tag", "second")
    begun.wait_for("db6f680c")
    begun.type(b"q")
    assert begun.end() == 0
    assert b"ef57a321" not in begun.plain()


def test_without_the_library(terminal: Callable[..., Terminal], tmp_path: Path, environment: dict[str, str]) -> None:
    """One line that says how to get it."""
    (tmp_path / "lacks/textual").mkdir(parents=True)
    (tmp_path / "lacks/textual/__init__.py").write_text("raise ImportError('not here')\n")
    begun = terminal(PYTHONPATH=f"{tmp_path / 'lacks'}{os.pathsep}{environment['PYTHONPATH']}")
    assert begun.end() == 1
    said = begun.seen.decode().splitlines()
    assert said == ["Fatal: explore needs the library Textual, which is not installed: pip install 'restic-format[explore]'"]


def test_a_terminal_that_can_do_nothing(terminal: Callable[..., Terminal]) -> None:
    begun = terminal(TERM="dumb")
    assert begun.end() == 1
    assert begun.seen.startswith(b"Fatal: explore needs a terminal") and begun.seen.count(b"\n") == 1


def test_no_terminal(run: Runner, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repo))
    monkeypatch.setenv("RESTIC_PASSWORD", "correct horse")
    done = run("explore")
    assert (done.code, done.out) == (1, b"")
    assert done.err.startswith(b"Fatal: explore needs a terminal for its input and output") and done.err.count(b"\n") == 1
    done = run("explore", "--json")
    assert (done.code, done.out) == (1, b"") and b"--json" in done.err


def test_help_has_every_option(run: Runner) -> None:
    page = run("explore", "--help").out.decode()
    assert all(text in page for text in ("--host", "--path", "--tag", "Textual", "Look around in a repository"))
