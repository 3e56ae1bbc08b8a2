"""Forgetting, pruning and tagging that end in the middle lose nothing that is still wanted, and the next run finishes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import restic_format.storage.local as local_module
from restic_format.check import CheckOptions, check
from restic_format.maintenance import forget, prune
from restic_format.maintenance.policy import KeepPolicy
from restic_format.maintenance.tags import TagChange, change_tags
from restic_format.repository import Repository
from restic_format.repository.lock import remove_locks
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.safety import kit
from tests.safety.child import SlowOs, back_up

POLICY = KeepPolicy(last=2)
ROUNDS = 6


class Dawdling(SlowOs):
    """`SlowOs`, where removing takes its time, too."""

    def unlink(self, path: bytes) -> None:
        time.sleep(0.003)
        os.unlink(path)
        time.sleep(0.003)


def open_repository(folder: Path) -> Repository:
    return Repository.open(LocalStorage(folder), kit.PASSWORD)


def forget_and_prune(folder: Path) -> None:
    """What ``forget --prune --max-unused 0`` does."""
    repo = open_repository(folder)
    with repo.lock(exclusive=True):
        forget.execute(repo, forget.plan(repo, POLICY))
        prune.execute(prune.plan(repo, prune.PruneOptions(max_unused=prune.MaxUnused(percent=0))))


def tag_all(folder: Path) -> None:
    repo = open_repository(folder)
    with repo.lock(exclusive=True):
        change_tags(repo, TagChange(add=["tagged"]))


def killed_after(seconds: float, work: Callable[[Path], None], folder: Path) -> bool:
    """Run *work* in a process that is killed; whether it had not ended before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            local_module.os = Dawdling()  # type: ignore[assignment]
            work(folder)
            code = 0
        finally:
            os._exit(code)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def takes(work: Callable[[Path], None], folder: Path) -> float:
    """Seconds that *work* takes in such a process when nobody kills it."""
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            local_module.os = Dawdling()  # type: ignore[assignment]
            work(folder)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    return time.perf_counter() - started


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of several snapshots, most of which share something with the others."""
    folder = tmp_path_factory.mktemp("killed")
    source = kit.grow_source(folder / "src", files=1, size=60_000)
    repo = folder / "repo"
    kit.restic(repo, "init", "-q")
    kit.cheap_key(repo)
    rng = random.Random(7)
    for number in range(ROUNDS):
        for name in range(6):
            (source / f"file{(number + name) % 8}").write_bytes(rng.randbytes(rng.randrange(1, 90_000)))
        back_up(repo, source)
    return repo


def snapshots_of(repo: Repository) -> set[bytes]:
    return {snapshot_id for snapshot_id, _ in repo.list(FileKind.SNAPSHOT)}


OFTEN = [8, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]


@pytest.mark.clause("ORDER-3", "ORDER-4", "ORDER-5")
@pytest.mark.parametrize("kills", OFTEN)
def test_forget_and_prune_killed(kills: int, base: Path, tmp_path: Path) -> None:
    whole = open_repository(base)
    kept = snapshots_of(whole) - {found.id for found in forget.plan(whole, POLICY).remove}
    assert len(kept) == 2
    duration = takes(forget_and_prune, shutil.copytree(base, tmp_path / "timed"))
    rng = random.Random(11)
    early = 0
    for number in range(kills):
        copy = shutil.copytree(base, tmp_path / f"copy{number}")
        early += killed_after(rng.uniform(0, duration), forget_and_prune, copy)
        repo = open_repository(copy)
        remove_locks(repo)
        assert snapshots_of(repo) >= kept
        report = check(repo, CheckOptions(read_data=True))
        assert report.ok, report.findings
        forget_and_prune(copy)
        assert snapshots_of(open_repository(copy)) == kept
        if number % 5 == 0:
            kit.restic(copy, "check", "--read-data")
        shutil.rmtree(copy)
    assert early >= kills // 5, (early, duration)


@pytest.mark.clause("ORDER-9", "SNAP-7")
@pytest.mark.parametrize("kills", OFTEN)
def test_tagging_killed(kills: int, base: Path, tmp_path: Path) -> None:
    before = snapshots_of(open_repository(base))
    duration = takes(tag_all, shutil.copytree(base, tmp_path / "timed"))
    rng = random.Random(13)
    early = 0
    for number in range(kills):
        copy = shutil.copytree(base, tmp_path / f"copy{number}")
        early += killed_after(rng.uniform(0, duration), tag_all, copy)
        repo = open_repository(copy)
        remove_locks(repo)
        names = set()
        for snapshot_id in snapshots_of(repo):
            original = repo.load_snapshot(snapshot_id).original
            names.add(snapshot_id if original is None else bytes.fromhex(original))
        assert names == before
        shutil.rmtree(copy)
    assert early >= kills // 5, (early, duration)
