"""What the tests of restore share: repositories made by hand, real programs, and what a restore said."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restic_format.errors import Interrupted
from restic_format.repository import Repository
from restic_format.restore import Action, Failed, RestoreEvent, RestoreOptions, Restorer, RestoreStats
from restic_format.storage import LocalStorage, MemoryStorage
from restic_format.work import Cancel
from restic_spec import gomode, gotime
from restic_spec.gojson import quote, to_text
from restic_spec.ids import id_of
from restic_spec.keyfile import Kdf
from restic_spec.pack import BlobType
from restic_spec.tree import Node, encode_tree
from tests.reading import without_lock

ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "pw"
CHEAP = Kdf(16, 8, 1, b"s" * 64)
POLYNOMIAL = 0x3DA3358B4DC173
T0 = 1_600_000_000_123_456_789
"""Modification time of hand-made nodes, in nanoseconds."""


def memory_repo(storage: Any = None) -> Repository:
    """A fresh repository in memory (or in *storage*)."""
    return Repository.init(storage or MemoryStorage(), PASSWORD, polynomial=POLYNOMIAL, kdf=CHEAP)


def cheap_repo(path: Path, version: int = 2) -> Path:
    """A fresh repository on disk that every program opens in no time."""
    Repository.init(LocalStorage(str(path)), PASSWORD, version=version, polynomial=POLYNOMIAL, kdf=CHEAP)
    return path


class Maker:
    """Makes nodes and trees by hand, well-formed or not."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self.writer = repo.writer()

    def blob(self, data: bytes) -> str:
        return self.writer.save_blob(BlobType.DATA, data).id.hex()

    def node(self, name: str | bytes, kind: str, mode: int, **fields: Any) -> Node:
        text = to_text(name) if isinstance(name, bytes) else name
        values: dict[str, Any] = {
            "mtime": gotime.format_ns(T0, 0),
            "atime": gotime.format_ns(T0, 0),
            "uid": os.getuid(),
            "gid": os.getgid(),
            "content": None,
        }
        return Node(quoted=quote(text), type=kind, mode=mode, **{**values, **fields})

    def file(self, name: str | bytes, *chunks: bytes, mode: int = 0o644, **fields: Any) -> Node:
        content = [self.blob(chunk) for chunk in chunks]
        return self.node(name, "file", mode, **{"size": sum(map(len, chunks)), "content": content, **fields})

    def folder(self, name: str | bytes, entries: Iterable[Node], mode: int = 0o755, **fields: Any) -> Node:
        return self.node(name, "dir", gomode.DIR | mode, **{"subtree": self.tree(entries).hex(), **fields})

    def symlink(self, name: str | bytes, target: str, **fields: Any) -> Node:
        return self.node(name, "symlink", gomode.SYMLINK | 0o777, **{"linktarget": target, **fields})

    def tree(self, entries: Iterable[Node]) -> bytes:
        raw = encode_tree(list(entries))
        self.writer.save_blob(BlobType.TREE, raw)
        return id_of(raw)

    def finish(self, entries: Iterable[Node]) -> bytes:
        """The id of a root tree, everything stored."""
        tree = self.tree(entries)
        self.writer.flush()
        return tree


@dataclass
class Heard:
    """Remembers what a restore tells."""

    items: list[tuple[Action, str, int]] = field(default_factory=list)
    errors: list[tuple[str, Exception]] = field(default_factory=list)

    def __call__(self, event: RestoreEvent) -> None:
        if isinstance(event, Failed):
            self.errors.append((event.location, event.error))
        else:
            self.items.append((event.action, event.location, event.size))

    @property
    def failed(self) -> list[str]:
        return sorted(location for location, _ in self.errors)

    def actions(self) -> dict[str, Action]:
        return {location: action for action, location, _ in self.items}


def restore(
    repo: Repository, tree: bytes, target: Path, *, cancel: Cancel | None = None, **options: Any
) -> tuple[RestoreStats, Heard]:
    """Restore and give back counters and callbacks."""
    heard = Heard()
    restorer = Restorer(repo, tree, target, RestoreOptions(tell_items=True, **options), progress=heard, cancel=cancel)
    return restorer.run(), heard


def environment(**extra: str) -> dict[str, str]:
    """A scrubbed environment for any program."""
    base = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    path = os.pathsep.join(str(ROOT / part) for part in ("", "spec", "tools", "conformance"))
    return {**base, "RESTIC_PASSWORD": PASSWORD, "RESTIC_PROGRESS_FPS": "0.001", "PYTHONPATH": path, **extra}


def run(command: list[str], cwd: Path | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, check=False, timeout=120, **options)


def restic(program: Path, repo: Path, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a real restic, without a lock where it only reads."""
    return run([str(program), "--no-cache", "-r", str(repo), *without_lock(args)], cwd)


def ours_command(repo: Path, *args: str) -> list[str]:
    """This project's command line."""
    return [sys.executable, "-m", "restic_tools", "--no-cache", "-r", str(repo), *args]


def ours(repo: Path, *args: str, cwd: Path | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run this project's program."""
    return run(ours_command(repo, *args), cwd, **options)


def as_nobody(action: Callable[[], None]) -> None:
    """Run *action* in a child process without root's rights (as it is, if there are none to give up).

    Fails the test if *action* raises; its directories must be open to everyone.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            action()
            code = 0
        except BaseException:  # noqa: BLE001  # nothing may get back into the copy of the test runner
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


class Alarm(Cancel):
    """Is set from the *count*-th question on."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count
        self._lock = threading.Lock()

    def is_set(self) -> bool:
        with self._lock:
            self.left -= 1
            return self.left < 0

    def check(self) -> None:
        if self.is_set():
            raise Interrupted("interrupted")
