"""A server for tests: started on a free port of loopback or on a unix socket, waited for, and stopped with all its children."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

ROOT = Path(__file__).resolve().parents[2]

PATIENCE = 60.0
"""Seconds a server may take to answer."""

ATTEMPTS = 4
"""Ports that are tried: another process may take one before the server does."""

NONE: Mapping[str, str] = {}


class Place(NamedTuple):
    """A place for one repository on a server, where nothing is yet."""

    location: str
    options: Mapping[str, str] = NONE
    """Extended options (``-o``) for restic and for us."""
    environment: Mapping[str, str] = NONE
    """Environment variables for restic and for us: credentials and the like."""
    flags: tuple[str, ...] = ()
    """Global flags, such as ``--cacert FILE``."""
    folder: Path | None = None
    """Where the repository's files lie as files, for servers that keep them so."""

    def words(self) -> list[str]:
        """The location, options and flags for a command line of restic's."""
        return ["-r", self.location, *(word for item in self.options.items() for word in ("-o", "=".join(item))), *self.flags]


def peer(folder: str, program: str = "") -> str:
    """The path of a program that `make peers` brings."""
    path = ROOT / ".peers" / folder / (program or folder)
    assert path.exists(), f"{path.relative_to(ROOT)} is missing: run `make peers`"
    return str(path)


def free_port() -> int:
    """A port nobody listens on, below those that the system gives to clients."""
    while True:
        port = random.SystemRandom().randrange(10240, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server(ABC):
    """A program that serves from ``folder/data``. `start` it, ask for a `place` for each repository, `stop` it."""

    name: ClassVar[str]
    alive: ClassVar[list[Server]] = []
    """The servers that run."""

    def __init__(self, folder: Path) -> None:
        """*folder* is the server's own, and empty."""
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self.port = 0
        self.started = 0.0
        """Seconds it took to start."""
        self._child: subprocess.Popen[bytes] | None = None
        self._places = 0

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it; it listens on ``self.port`` of 127.0.0.1, or on a socket in ``self.folder``."""

    @abstractmethod
    def place(self, name: str = "") -> Place:
        """A new place for a repository; *name* makes its name easier to recognise."""

    def prepare(self) -> None:
        """Make what the server needs before it starts. Called once."""
        return

    def environment(self) -> dict[str, str]:
        """The server's whole environment."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def user(self) -> int | None:
        """The user it runs as, None for who runs the tests."""
        return None

    def answers(self) -> bool:
        """Whether it is ready; asked again and again after the start."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def new_name(self, name: str) -> str:
        """A name no place had yet."""
        self._places += 1
        return f"{name or 'repo'}-{self._places}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._child is None, "it runs already"
        begun = time.monotonic()
        if not self.data.exists():
            self.data.mkdir(parents=True)
            self.prepare()
        for attempt in range(ATTEMPTS):
            # A server that was stopped comes back where it was.
            self.port = self.port if self.port and not attempt else free_port()
            if self._begin():
                self.started = time.monotonic() - begun
                Server.alive.append(self)
                return
            self.stop()
        raise AssertionError(f"{self.name} does not start: {self.told()}")

    def _begin(self) -> bool:
        with open(self.log, "ab") as log:
            self._child = subprocess.Popen(
                # The kernel ends it when the tests are killed.
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command()],
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.user(),
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        while self._child.poll() is None and time.monotonic() < end:
            if self.answers():
                return self._child.poll() is None
            time.sleep(0.01)
        return False

    def stop(self) -> None:
        """Stop it with all its children, at once. Its data stay, and `start` starts it again."""
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._child = None
        if self in Server.alive:
            Server.alive.remove(self)

    def pause(self) -> None:
        """Let it hang: connections stay open, and nothing is answered until `go_on`."""
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Go on after `pause`."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to it and its children."""
        assert self._child is not None, "it does not run"
        os.killpg(self._child.pid, number)

    def log_size(self) -> int:
        """Bytes of its log."""
        return self.log.stat().st_size if self.log.exists() else 0

    def told(self, since: int = 0, most: int = 3000) -> str:
        """The end of its log, from byte *since* on."""
        data = self.log.read_bytes()[since:] if self.log.exists() else b""
        return data[-most:].decode("utf-8", "replace")


@contextlib.contextmanager
def running(kind: type[Server], *arguments: object) -> Iterator[Server]:
    """A server of *kind* in a folder of its own, which every user can enter; removed with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix=f"restic-format-{kind.name}-"))
    folder.chmod(0o755)
    server = kind(folder, *arguments)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
