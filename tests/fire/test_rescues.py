"""Repairs and protection that are killed, whose storage fails, whose disk is full: nothing is worse than before, the next run
ends the work, and what was begun can be undone.

``make kills`` does all of it more often.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from restic_format.rescue.parity import check_protection
from restic_format.storage import FaultyStorage, LocalStorage, Storage
from restic_format.storage.faulty import Call, Fail, FailLate, Fault
from restic_spec.pack import BlobType
from tests.fire.cases import World
from tests.fire.kit import PAUSE, Contents, Ended, copy_of, errors, prepare, run, run_child, stored
from tests.fire.rescues import RESCUES, UNDO, Rescue, State, intact_blobs, readable, state, unlock
from tests.fire.test_faults import Moment, faults, lies, moments

ALL = bool(os.environ.get("RESTIC_FORMAT_KILLS"))
KILLS = int(os.environ.get("RESTIC_FORMAT_KILLS", "2"))
SOME = 8
"""So many failing calls are tried, unless all are."""
IN_A_ROW = 3
"""So often at most a run is killed again, on what the one before has left."""


class Whole(NamedTuple):
    """A repository, and what becomes of it where nothing goes wrong."""

    case: Rescue
    world: World
    start: State
    before: Contents
    blobs: set[tuple[BlobType, bytes]]
    """Those that are intact before and after."""
    code: int
    end: State
    after: Contents
    errors: set[str]
    """What a check finds in the end."""


FOLDERS = ("quarantine", "parity")


@cache
def whole(name: str) -> Whole:
    """What *name* does undisturbed."""
    case = RESCUES[name]
    world = case.make()
    start, blobs, before = state(world["repo"], *FOLDERS), intact_blobs(world["repo"]), readable(world["repo"])
    done = copy_of(world)
    work = place()
    ended = run(line(case, "/repo", work), work, {"/repo": done["repo"]})
    assert ended.code in (0, 1), ended
    repo = done["repo"]
    kept = intact_blobs(repo)
    if case.words[0] == "heal" and "--undo" not in case.words:
        assert blobs <= kept
    can_be_opened = readable(repo) != Contents({})
    found = errors(repo) if can_be_opened else set()
    return Whole(case, world, start, before, blobs & kept, ended.code, state(repo, *FOLDERS), readable(repo), found)


@cache
def place() -> Path:
    """A folder with what is backed up."""
    return prepare(Path(tempfile.mkdtemp()))


def line(case: Rescue, place: str, work: Path) -> list[str]:
    return ["-r", place, "--no-cache", *(word.format(work=work) for word in case.words)]


def is_no_worse(wanted: Whole, repo: Storage) -> None:
    """Everything is there that was there before, and that an undisturbed run leaves."""
    unlock(repo)
    if not wanted.case.changes:
        assert state(repo).files == wanted.start.files
    assert readable(repo).lost(wanted.before, wanted.after) == []
    assert wanted.blobs <= intact_blobs(repo)


def sets(found: Contents, origin: str) -> set[frozenset[tuple[str, bytes | None]]]:
    """What is in the snapshots made from one."""
    return {frozenset(files.items()) for files in found.snapshots.get(origin, [])}


def is_done(wanted: Whole, repo: Storage) -> None:
    """What is there is what an undisturbed run leaves."""
    unlock(repo)
    have = state(repo, *FOLDERS)
    if wanted.case.words[:2] == UNDO[:2] or "--forget-quarantine" in wanted.case.words:
        assert have == wanted.end
        return
    found = readable(repo)
    assert {origin: sets(found, origin) for origin in wanted.before.snapshots} == {
        origin: sets(wanted.after, origin) for origin in wanted.before.snapshots
    }
    # A run that was stopped may have left directories, which are in the snapshot of those that none has named.
    assert {(Path(path).name, data) for path, data in found.items()} >= {
        (Path(path).name, data) for path, data in wanted.after.items()
    }
    assert errors(repo) == wanted.errors
    if wanted.case.words[0] in ("protect", "backup"):
        parity = check_protection(repo, repo.side_files("parity"))
        assert (parity.faults, parity.unprotected) == ([], [])


def remains(wanted: Whole, repo: Storage) -> bool:
    """Whether something remains to be done: where all is undone nothing may open the repository."""
    return "--undo" not in wanted.case.words or any(True for _ in repo.side_files("quarantine").list())


def undone(wanted: Whole, repo: Storage, undo: Callable[[], Ended]) -> None:
    """Every run that was stopped is undone: all bytes are as before."""
    for _ in range(IN_A_ROW + 2):
        if not list(repo.side_files("quarantine").list()):
            break
        unlock(repo)
        done = undo()
        if done.code:
            break  # It cannot be opened, as before.
    assert state(repo).files == wanted.start.files, done


@pytest.mark.clause("ORDER-1", "ORDER-3", "ORDER-4", "LAYOUT-12")
@pytest.mark.parametrize("name", RESCUES)
def test_kill_9_at_any_moment(name: str, tmp_path: Path) -> None:
    wanted = whole(name)
    rng = random.Random(name)
    work = place()
    repo_whole = stored(wanted.world, tmp_path / "whole")["repo"]
    steps = run_child(line(wanted.case, repo_whole, work), work).steps
    killed = rounds = 0
    while killed < KILLS:
        folder = tmp_path / f"{rounds}"
        where = stored(wanted.world, folder)["repo"]
        repo = LocalStorage(where)
        words = line(wanted.case, where, work)
        for _ in range(rng.randint(1, IN_A_ROW)):
            done = run_child(words, work, kill_at=rng.randint(1, steps), later=rng.uniform(0.0, 2 * PAUSE))
            assert done.killed or done.code in (0, wanted.code)
            killed += done.killed
            is_no_worse(wanted, repo)
            if not done.killed:
                break
        if wanted.case.words[0] == "heal" and wanted.case.changes and "--undo" not in wanted.case.words and rounds % 2:
            undone(wanted, repo, lambda where=where: run(["-r", where, "--no-cache", *UNDO], work))
        else:
            if remains(wanted, repo):
                again = run(words, work)
                assert again.code in (0, wanted.code), again
            is_done(wanted, repo)
        shutil.rmtree(folder)
        rounds += 1
        assert rounds < 2 * KILLS + 10, "it is hardly ever killed"
    print(f"{name}: killed {killed} times in {rounds} rounds, of {steps} steps")


class Attempt:
    """A command line on a copy of its repository, with at most one fault."""

    def __init__(self, wanted: Whole, work: Path) -> None:
        self.repo = copy_of(wanted.world)["repo"]
        self.words = line(wanted.case, "/repo", work)
        self.work = work
        self.calls: list[Call] = []
        self.hit = False

    def run(self, moment: Moment | None = None, fault: Fault | None = None) -> Ended:
        """Run it; at *moment* the storage does what *fault* says."""
        self.calls, self.hit = [], False

        def plan(call: Call) -> Fault | None:
            self.calls.append(call)
            if moment is None or self.hit or (call.operation, call.kind) != moment[:2]:
                return None
            self.hit = sum((old.operation, old.kind) == moment[:2] for old in self.calls) == moment.number + 1
            return fault if self.hit else None

        return run(self.words, self.work, {"/repo": FaultyStorage(self.repo, plan)})

    def undo(self) -> Ended:
        return run(["-r", "/repo", "--no-cache", *UNDO], self.work, {"/repo": self.repo})


def side_faults(moment: Moment) -> list[Fault]:
    """What can go wrong with a call."""
    if moment.operation.startswith("side"):
        return [Fail(), FailLate()] if moment.operation in ("side save", "side remove") else [Fail()]
    return list(faults(moment))


@pytest.mark.clause("ORDER-1", "ORDER-3", "ORDER-4", "LAYOUT-12")
@pytest.mark.parametrize("name", RESCUES)
def test_every_call_goes_wrong_in_turn(name: str, tmp_path: Path) -> None:
    wanted = whole(name)
    work = place()
    good = Attempt(wanted, work)
    assert good.run().code == wanted.code
    tries = [(moment, fault) for moment in moments(good.calls) for fault in side_faults(moment)]
    rng = random.Random(name)
    tried = failed = 0
    for moment, fault in tries if ALL else rng.sample(tries, min(SOME, len(tries))):
        attempt = Attempt(wanted, work)
        ended = attempt.run(moment, fault)
        if not attempt.hit:  # threads may have made other calls
            continue
        tried += 1
        failed += ended.code != wanted.code
        try:
            judge(wanted, attempt, ended, moment, fault, undo=tried % 2 == 1)
        except Exception as error:
            raise AssertionError(f"{moment}, {fault}: {ended}: {error!r}") from error
    print(f"{name}: {tried} faults, {failed} runs ended otherwise")
    assert tried > len(tries) // 2 or not ALL


def judge(wanted: Whole, attempt: Attempt, ended: Ended, moment: Moment, fault: Fault, *, undo: bool) -> None:
    """Nothing is lost, the error is told in its line, and the next run finishes, or all is undone."""
    repo = attempt.repo
    assert "Traceback" not in ended.err and "Fatal: unexpected" not in ended.err, ended
    if ended.code:
        assert ended.err.strip().splitlines()[-1].startswith("Fatal: "), ended
    unlock(repo)
    if not lies(moment, fault):
        is_no_worse(wanted, repo)
    if undo and wanted.case.words[0] == "heal" and wanted.case.changes and "--undo" not in wanted.case.words:
        undone(wanted, repo, attempt.undo)
        return
    if remains(wanted, repo):
        again = attempt.run()
        assert again.code in (0, wanted.code), again
    if lies(moment, fault) and wanted.case.words[0] in ("heal", "backup"):
        assert wanted.before.items() & wanted.after.items() <= readable(repo).items()
        return
    is_done(wanted, repo)
