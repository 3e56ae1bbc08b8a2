"""Locks between this program and a live restic, in both directions."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restic_format.repository import Repository, lock
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.safety import kit

LOCKED = 11


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locks")
    return kit.make_repository(folder / "repo", kit.grow_source(folder / "src", files=1, size=2000))


@pytest.fixture
def repo(original: Path, tmp_path: Path) -> Path:
    return kit.copy_repository(original, tmp_path / "repo")


def wait_for_lock(repo: Path, process: subprocess.Popen[bytes]) -> None:
    """Return when there is a lock file under its final name."""
    while not any(len(path.name) == 64 for path in kit.files_of(repo, "locks")):
        assert process.poll() is None, "restic ended before it locked"
        time.sleep(0.005)


@contextmanager
def restic_holding_exclusively(repo: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real restic that is stopped while it holds an exclusive lock."""
    command = [kit.restic_binary(), "--no-cache", "-r", str(repo), "check"]
    process = subprocess.Popen(command, env=kit.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for_lock(repo, process)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.wait(60)


@contextmanager
def restic_holding_shared(repo: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real restic in the middle of a backup: it waits for its standard input."""
    command = [kit.restic_binary(), "--no-cache", "-r", str(repo), "backup", "--stdin"]
    process = subprocess.Popen(
        command, env=kit.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None
    try:
        process.stdin.write(b"some data")
        process.stdin.flush()
        wait_for_lock(repo, process)
        yield process
    finally:
        process.communicate(timeout=60)


@pytest.mark.clause("LOCK-2", "LOCK-4")
def test_we_stop_at_the_exclusive_lock_of_a_live_restic(repo: Path, tmp_path: Path) -> None:
    with restic_holding_exclusively(repo) as process:
        for command in (["backup", str(tmp_path)], ["check"]):
            done = kit.ours(repo, *command, check=False)
            assert done.returncode == LOCKED, (command, done.stderr)
            assert "already locked" in done.stderr and str(process.pid) in done.stderr
        assert kit.ours(repo, "check", "--no-lock", check=False).returncode in (0, 1)
        assert len(kit.files_of(repo, "locks")) == 1, "whoever was refused leaves nothing behind"
    assert process.returncode == 0
    assert kit.ours(repo, "check").returncode == 0


@pytest.mark.clause("LOCK-2", "LOCK-4", "LOCK-13")
def test_we_work_beside_the_shared_lock_of_a_live_restic_but_not_alone(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with restic_holding_shared(repo) as process:
        assert kit.ours(repo, "backup", str(tmp_path / "file")).returncode == 0
        assert kit.ours(repo, "check", check=False).returncode == LOCKED
    assert process.returncode == 0
    kit.restic(repo, "check", "--read-data")


@pytest.mark.clause("LOCK-12")
def test_retry_lock_waits_until_restic_is_done(repo: Path) -> None:
    with restic_holding_exclusively(repo) as process:
        ours = subprocess.Popen(
            kit.ours_command(repo, "check", "--retry-lock", "30s"), env=kit.environment(), stdout=subprocess.PIPE, text=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            ours.wait(2)
        os.kill(process.pid, signal.SIGCONT)
        process.wait(60)
        out, _ = ours.communicate(timeout=60)
    assert ours.returncode == 0, out


@pytest.mark.clause("LOCK-1", "LOCK-2", "LOCK-13")
def test_restic_stops_at_our_locks(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    opened = Repository.open(LocalStorage(repo), kit.PASSWORD)
    with opened.lock(exclusive=True):
        for command in (["backup", str(tmp_path / "file")], ["prune"], ["check"]):
            done = kit.restic(repo, *command, check=False)
            assert done.returncode == LOCKED, (command, done.stderr)
            assert str(os.getpid()) in done.stderr, "it can tell whose lock it is"
    with opened.lock():
        assert kit.restic(repo, "backup", str(tmp_path / "file")).returncode == 0
        for command in (["prune"], ["check"]):
            assert kit.restic(repo, *command, check=False).returncode == LOCKED
        # Our process lives, so the lock is not stale.
        kit.restic(repo, "unlock")
        assert len(kit.files_of(repo, "locks")) == 1
    assert not kit.files_of(repo, "locks")
    assert kit.restic(repo, "prune").returncode == 0


@pytest.mark.clause("LOCK-10")
def test_an_interrupted_check_gives_its_lock_back(repo: Path) -> None:
    command = kit.ours_command(repo, "check", "--read-data")
    process = subprocess.Popen(command, env=kit.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for_lock(repo, process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert b"Traceback" not in out
    assert not kit.files_of(repo, "locks")


@pytest.mark.clause("LOCK-10")
@pytest.mark.parametrize("moment", ["saved", "waiting"])
def test_a_signal_while_locking_leaves_no_lock(repo: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    storage = LocalStorage(repo)
    opened = Repository.open(storage, kit.PASSWORD)
    save = storage.save

    def interrupted_save(kind: FileKind, name: str, data: bytes) -> None:
        save(kind, name, data)
        raise KeyboardInterrupt

    def interrupted_wait(*_: object) -> None:
        assert len(kit.files_of(repo, "locks")) == 1
        raise KeyboardInterrupt

    if moment == "saved":
        monkeypatch.setattr(storage, "save", interrupted_save)
    else:
        monkeypatch.setattr(LocalStorage, "lists_at_once", False)
        monkeypatch.setattr(lock, "_sleep", interrupted_wait)
    with pytest.raises(KeyboardInterrupt), opened.lock():
        pytest.fail("the lock must not be had")
    assert not kit.files_of(repo, "locks")
