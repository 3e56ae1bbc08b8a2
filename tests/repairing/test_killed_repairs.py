"""Repairs that are killed at any moment: nothing that was there is lost, and the next run ends the work.

``make kills`` kills each of them more often.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

import restic_format.storage.local as local_module
import restic_format.storage.localwriter as writer_module
from restic_format.maintenance import repairindex, repairpacks
from restic_format.maintenance.migrate import UpgradeToVersion2
from restic_format.maintenance.repairsnapshots import SnapshotRepairer
from restic_format.repository import Repository
from restic_format.repository.lock import remove_locks, remove_unfinished
from restic_format.snapshots import all_snapshots
from restic_spec.layout import FileKind
from tests.repairing.kit import indexed, inspect, opened, packs_of_type
from tests.safety import kit

KILLS = int(os.environ.get("RESTIC_FORMAT_KILLS", "6"))


class SlowOs:
    """The ``os`` module, but what changes a file or a folder takes its time, and is announced with a byte to a pipe."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def __getattr__(self, name: str) -> object:
        found = getattr(os, name)
        if name not in ("rename", "replace", "link", "unlink", "fsync", "writev"):
            return found

        def slow(*args: object, **named: object) -> object:
            os.write(self.pipe, b".")
            time.sleep(0.003)
            done = found(*args, **named)
            time.sleep(0.003)
            return done

        return slow


class Case(NamedTuple):
    """A repair: the damage before it, the work, and what must be there after every kill."""

    damage: Callable[[Path], None]
    work: Callable[[Repository, Path], None]
    kept: Callable[[Path], set[object]]
    version: int = 2


def mend_index(repository: Repository, folder: Path) -> None:
    repairindex.execute(repairindex.plan(repository, read_all=True))


def salvage(repository: Repository, folder: Path) -> None:
    repository.load_index()
    there = {pack.hex(): pack for pack, _ in repository.list(FileKind.PACK)}
    packs = [there[name] for name in (folder / "damaged").read_text().split() if name in there]
    repairpacks.execute(repairpacks.plan(repository, packs))


def repair_snapshots(repository: Repository, folder: Path) -> None:
    repository.load_index()
    repairer = SnapshotRepairer(repository, forget=True)
    for found in list(all_snapshots(repository)):
        repairer.repair(found)


def migrate(repository: Repository, folder: Path) -> None:
    if repository.config.version == 1:
        kept = folder / f"kept{os.getpid()}"
        kept.mkdir()
        UpgradeToVersion2().apply(repository, str(kept))


def damage_index(repo: Path) -> None:
    packs_of_type(repo, "data")[0].unlink()
    kit.files_of(repo, "index")[0].unlink()


def damage_packs(repo: Path) -> None:
    data, tree = packs_of_type(repo, "data")[-1], packs_of_type(repo, "tree")[-1]
    kit.flip_bit(data, 1000)
    kit.flip_bit(tree, -20)
    (repo.parent / "damaged").write_text(f"{data.name} {tree.name}")


def lose_data(repo: Path) -> None:
    packs_of_type(repo, "data")[-1].unlink()
    repository = opened(repo)
    repairindex.execute(repairindex.plan(repository))


def nothing(repo: Path) -> None:
    """No damage."""


def blobs_in_packs(repo: Path) -> set[object]:
    """What the index lists in packs that are there."""
    there = {path.name for path in kit.files_of(repo, "data")}
    return {(entry.type, entry.id) for pack, entry in indexed(repo) if pack.hex() in there}


def origins(repo: Path) -> set[object]:
    return {item.snapshot.original or item.id.hex() for item in all_snapshots(opened(repo))}


def config(repo: Path) -> set[object]:
    return {opened(repo).config.id, len(kit.files_of(repo, "data"))}


CASES = {
    "index": Case(damage_index, mend_index, blobs_in_packs),
    "packs": Case(damage_packs, salvage, blobs_in_packs),
    "snapshots": Case(lose_data, repair_snapshots, origins),
    "migrate": Case(nothing, migrate, config, version=1),
}


def run_and_exit(case: Case, repo: Path, pipe: int) -> NoReturn:
    code = 1
    try:
        local_module.os = writer_module.os = SlowOs(pipe)  # type: ignore[assignment]
        repository = opened(repo)
        with repository.lock(exclusive=True):
            case.work(repository, repo.parent)
        code = 0
    finally:
        os._exit(code)


def run(case: Case, repo: Path, *, kill_at: int | None = None, later: float = 0.0) -> tuple[int, int]:
    """Repair in a child, which is killed *later* seconds after step *kill_at*: how many steps it took, and how it ended."""
    steps, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(steps)
        run_and_exit(case, repo, pipe)
    os.close(pipe)
    taken = 0
    while taken != kill_at and os.read(steps, 1):
        taken += 1
    if kill_at is not None:
        time.sleep(later)
        os.kill(child, signal.SIGKILL)
    os.close(steps)
    return taken, os.waitpid(child, 0)[1]


def free(repo: Path) -> None:
    repository = opened(repo)
    remove_locks(repository, everything=True)
    remove_unfinished(repository)


def errors(repo: Path) -> set[str]:
    return {finding.code.name for finding in inspect(repo).findings if finding.severity.value == "error"}


@pytest.mark.clause("ORDER-1", "ORDER-3", "ORDER-4", "LAYOUT-8")
@pytest.mark.parametrize("name", CASES)
def test_kill_9_at_any_moment(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    rng = random.Random(len(name))
    source = kit.grow_source(tmp_path / "src", files=1, size=100_000)
    original = kit.make_repository(tmp_path / "original", source, version=case.version)
    damaged = kit.copy_repository(original, tmp_path / "damaged_repo")
    case.damage(damaged)

    whole = kit.copy_repository(damaged, tmp_path / "whole")
    steps, status = run(case, whole)
    assert status == 0 and steps > 5
    right = case.kept(whole)
    expected = errors(whole)
    killed = 0
    for number in range(KILLS):
        repo = kit.copy_repository(damaged, tmp_path / f"copy{number}")
        before = case.kept(repo) & right
        _, status = run(case, repo, kill_at=rng.randint(1, steps), later=rng.uniform(0.0, 0.006))
        killed += os.WIFSIGNALED(status)
        assert before <= case.kept(repo), number
        free(repo)
        assert run(case, repo)[1] == 0
        assert case.kept(repo) >= right, number
        assert errors(repo) <= expected, "packs that no index lists do no harm"
        if number % 10 == 0:
            kit.restic(repo, "check", "--read-data", check=not expected)
        kit.run(["rm", "-rf", str(repo)])
    print(f"{name}: killed {killed} times of {KILLS}, in {steps} steps")
    assert killed > KILLS // 2
