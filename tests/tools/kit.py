"""What the tests of the command line share: how a command line went, a small source tree, cheap repositories."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.keyfile import Kdf

PASSWORD = "correct horse"


def quick_kdf() -> Kdf:
    """scrypt parameters that cost nothing, so that tests do not wait for keys."""
    return Kdf(1 << 10, 8, 1, os.urandom(64))


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: bytes
    err: bytes


Runner = Callable[..., Outcome]


def new_repository(folder: Path, version: int = 2) -> None:
    """An empty repository whose key is cheap to open."""
    Repository.init(LocalStorage(str(folder)), PASSWORD, version=version, kdf=quick_kdf())


def make_source(folder: Path) -> None:
    """A small tree with a node of every type that needs no privileges, and odd names."""
    (folder / "dir" / "sub").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a.txt").write_text("hi\n")
    (folder / "dir" / "b.bin").write_bytes(os.urandom(3000))
    (folder / "dir" / "sub" / "c<&>.txt").write_text("x<&>\n")
    with open(bytes(folder) + b"/bad\xff\x01name", "wb") as file:
        file.write(b"q")
    (folder / "link").symlink_to("a.txt")
    os.mkfifo(folder / "pipe")
    os.link(folder / "a.txt", folder / "hard")
    old = folder / "old"
    old.write_bytes(b"")
    old.chmod(0o4755)
    os.utime(old, ns=(918014706_789000000, 918014706_789000000))
    os.utime(folder / "hard", ns=(-5_000000001, -5_000000001))


@dataclass(frozen=True)
class Filled:
    """A repository with three snapshots by real restic."""

    folder: Path
    source: Path
    ids: tuple[str, str, str]
