"""Repositories and programs for the tests of backup."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.native import nodes
from restic_format.native.nodes import _pure
from restic_format.repository import Repository
from restic_format.storage import LocalStorage, MemoryStorage
from restic_spec.keyfile import Kdf
from tests.backup.sources import PASSWORD, Restic

CHEAP = Kdf(1024, 1, 1, bytes(range(64)))
"""Key derivation that costs nothing."""


@pytest.fixture
def repository() -> Repository:
    """A fresh repository in memory."""
    return Repository.init(MemoryStorage(), PASSWORD, kdf=CHEAP)


@pytest.fixture
def reopened() -> Callable[[Repository], Repository]:
    """Opens a repository once more, as another process would."""

    def open_again(repository: Repository) -> Repository:
        again = Repository.open(repository.storage, PASSWORD)
        again.load_index()
        return again

    return open_again


@pytest.fixture
def restic(peer: Callable[[str], Path], tmp_path: Path) -> Restic:
    """restic 0.19 on a repository of its own."""
    storage = LocalStorage(str(tmp_path / "repository"))
    Repository.init(storage, PASSWORD, kdf=Kdf(1024, 8, 1, bytes(range(64))))
    return Restic(peer("restic-0.19"), tmp_path / "repository")


@pytest.fixture
def ours(restic: Restic) -> Callable[[], Repository]:
    """Opens the repository that `restic` uses."""

    def open_it() -> Repository:
        repository = Repository.open(LocalStorage(str(restic.repository)), PASSWORD)
        repository.load_index()
        return repository

    return open_it


@pytest.fixture
def file_by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups look at and read one file after the other, by calls that a test can replace."""
    leave_out_native_parts(monkeypatch)


def leave_out_native_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin is used in the place of the compiled walk."""
    for name in set(nodes.__all__) & set(vars(_pure)):
        monkeypatch.setattr(nodes, name, getattr(_pure, name))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small tree; the current folder is above it."""
    root = tmp_path / "work"
    (root / "s" / "d" / "e").mkdir(parents=True)
    for name in ("one", "two", "d/three", "d/e/four"):
        (root / "s" / name).write_text(name * 10)
    monkeypatch.chdir(root)
    return root / "s"
