"""Copies and rewrites that are killed at any moment: nothing incomplete, no snapshot lost, the next run finishes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import restic_format.repository.coder as coder_module
import restic_format.repository.repository as repository_module
import restic_format.storage.local as local_module
from restic_format.check import CheckOptions, check
from restic_format.filter import ExcludeFilter
from restic_format.maintenance import copy as copy_module
from restic_format.maintenance.copy import copy, plan_copy
from restic_format.maintenance.rewrite import RewriteOptions, plan_rewrite, rewrite
from restic_format.repository import Repository
from restic_format.repository.lock import remove_locks
from restic_format.snapshots import all_snapshots
from restic_format.storage import LocalStorage
from restic_spec.snapshot import Snapshot
from tests.restore.kit import PASSWORD, Maker, cheap_repo
from tests.safety import kit
from tests.safety.child import PACK_SIZE, SlowOs

SNAPSHOTS = 4


def opened(folder: Path, **options: object) -> Repository:
    return Repository.open(LocalStorage(str(folder)), PASSWORD, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with snapshots that share some of what they have."""
    folder = cheap_repo(tmp_path_factory.mktemp("killed") / "source")
    rng = random.Random(3)
    repo = opened(folder)
    maker = Maker(repo)
    shared = [maker.file(f"s{number:02}", rng.randbytes(20_000)) for number in range(10)]
    for day in range(SNAPSHOTS):
        own = [maker.file(f"f{day}-{number}.txt", rng.randbytes(60_000)) for number in range(6)]
        deep = maker.folder("deep", [maker.file("x.bin", rng.randbytes(5000)), maker.file("y.txt", b"text %d" % day)])
        tree = maker.finish([deep, *own, *shared])
        repo.save_snapshot(Snapshot(time=f"2020-01-{day + 1:02}T00:00:00Z", tree=tree.hex(), paths=["/x"], hostname="h"))
    return folder


def work_slowly(work: Callable[[], None]) -> None:
    """In the child: small packs and a slow storage, so that there are many moments to be killed at."""
    local_module.os = SlowOs()  # type: ignore[assignment]
    repository_module.MIN_PACK_SIZE = 1
    coder_module.GROUP_SIZE = PACK_SIZE // 2
    copy_module._PACKS_IN_BATCH, copy_module._BATCH_SECONDS = 1, 0.0
    work()


def child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work_slowly(work)
            code = 0
        finally:
            os._exit(code)
    return pid


def kill_at_random(work: Callable[[], None], rng: random.Random, longest: float, files: Path | None = None) -> bool:
    """Whether the child was killed before it was done; with *files* just after something has changed in that folder."""
    before = names(files)
    pid = child(work)
    if files is None:
        time.sleep(rng.uniform(0.0, longest * 0.8))
    else:
        give_up = time.monotonic() + 60
        while names(files) == before and time.monotonic() < give_up:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return False
            time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def names(folder: Path | None) -> set[str]:
    """The files in a folder of a repository."""
    return set() if folder is None else {path.name for path in folder.rglob("?" * 64)}


def duration(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    assert os.waitpid(child(work), 0)[1] == 0
    return time.perf_counter() - started


def trees(folder: Path) -> set[str]:
    return {str(found.snapshot.tree) for found in all_snapshots(opened(folder))}


def judge(folder: Path) -> None:
    """Every snapshot there is, is whole."""
    repo = opened(folder)
    remove_locks(repo, everything=True)
    report = check(repo, CheckOptions(read_data=True))
    assert report.ok, [str(finding) for finding in report.findings]


def restic_agrees(folder: Path) -> None:
    words = [kit.restic_binary(), "--no-cache", "-r", str(folder), "check", "--read-data"]
    kit.run(words, env=kit.environment(RESTIC_PASSWORD=PASSWORD))


def run_copy(source: Path, target: Path) -> None:
    one, other = opened(source), opened(target, pack_size=PACK_SIZE if local_module.os is not os else None)
    with one.lock(), other.lock():
        plan = plan_copy(one, other)
        one.load_index()
        other.load_index()
        assert not copy(plan).failed


def run_rewrite(folder: Path) -> None:
    repo = opened(folder)
    with repo.lock(exclusive=True):
        repo.load_index()
        rewrite(plan_rewrite(repo, RewriteOptions(excludes=ExcludeFilter(["*.txt"]), forget=True)))


def copies_under_fire(source: Path, base: Path, kills: int) -> None:
    rng = random.Random(kills)
    empty = cheap_repo(base / "empty")
    # A snapshot of its own, so that packs without an index are no riddle to check.
    maker = Maker(opened(empty))
    own = maker.finish([])
    maker.repo.save_snapshot(Snapshot(time="2019-01-01T00:00:00Z", tree=own.hex(), paths=["/"]))
    target = Path(shutil.copytree(empty, base / "target"))
    longest = duration(lambda: run_copy(source, target))
    wanted = trees(source) | {own.hex()}
    assert trees(target) == wanted
    partial = killed = 0
    for number in range(kills):
        if trees(target) == wanted:
            shutil.rmtree(target)
            shutil.copytree(empty, target)
        killed += kill_at_random(lambda: run_copy(source, target), rng, longest, target / "data" if number % 2 else None)
        judge(target)
        partial += any((target / "data").rglob("?" * 64)) and trees(target) != wanted
    assert killed >= kills // 3 and partial >= kills // 5, (killed, partial, longest)
    run_copy(source, target)
    assert trees(target) == wanted
    restic_agrees(target)


def rewrites_under_fire(source: Path, base: Path, kills: int) -> None:
    rng = random.Random(kills)
    remove_locks(opened(source), everything=True)  # of copies that were killed
    folder = Path(shutil.copytree(source, base / "rewritten"))
    longest = duration(lambda: run_rewrite(folder))
    originals = {found.id.hex() for found in all_snapshots(opened(source))}
    wanted = trees(folder)
    assert len(wanted) == SNAPSHOTS and not wanted & trees(source)
    killed = between = 0
    for number in range(kills):
        if trees(folder) == wanted:
            shutil.rmtree(folder)
            shutil.copytree(source, folder)
        killed += kill_at_random(lambda: run_rewrite(folder), rng, longest, folder / "snapshots" if number % 2 else None)
        judge(folder)
        # Every snapshot is there, in its old form or in the new one.
        found = list(all_snapshots(opened(folder)))
        assert originals <= {item.id.hex() for item in found} | {item.snapshot.original for item in found}
        between += 0 < len(trees(folder) & wanted) < SNAPSHOTS
    assert killed >= kills // 3 and between >= kills // 10, (killed, between, longest)
    run_rewrite(folder)
    assert trees(folder) == wanted
    restic_agrees(folder)


@pytest.mark.clause("ORDER-1", "ORDER-6")
def test_copies_that_are_killed(source: Path, tmp_path: Path) -> None:
    copies_under_fire(source, tmp_path, 5)


@pytest.mark.clause("ORDER-1", "ORDER-5")
def test_rewrites_that_are_killed(source: Path, tmp_path: Path) -> None:
    rewrites_under_fire(source, tmp_path, 5)


@pytest.mark.slow
def test_copies_that_are_killed_at_many_moments(source: Path, tmp_path: Path) -> None:
    copies_under_fire(source, tmp_path, 60)


@pytest.mark.slow
def test_rewrites_that_are_killed_at_many_moments(source: Path, tmp_path: Path) -> None:
    rewrites_under_fire(source, tmp_path, 60)
