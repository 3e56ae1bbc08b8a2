"""Commands on a storage whose calls fail, or do something else than they say.

Every call of every command goes wrong in turn, in every way. Nothing that a snapshot needs is lost; the command says in one
line which file it was; the next run finishes. The tests take some of the calls, ``make kills`` takes them all.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from restic_format.errors import ResticFormatError
from restic_format.storage import FaultyStorage, Storage
from restic_format.storage.faulty import Call, Fail, FailLate, Fault, Garble, Lose, Truncate
from restic_spec.layout import FileKind
from restic_tools.exitcodes import FAILURE, INCOMPLETE
from tests.fire.cases import CASES, Case, World
from tests.fire.kit import Contents, Ended, contents, copy_of, errors, free, prepare, run, words_of

ALL = bool(os.environ.get("RESTIC_FORMAT_KILLS"))
SOME = 12
"""So many calls of each command are tried, unless all are."""


class Moment(NamedTuple):
    """The call of an operation on a kind of file with this number, from 0: threads make calls in any order."""

    operation: str
    kind: FileKind
    number: int


def moments(calls: list[Call]) -> list[Moment]:
    """All moments of a run that made *calls*."""
    counts: Counter[tuple[str, FileKind]] = Counter()
    found = []
    for call in calls:
        key = call.operation, call.kind
        found.append(Moment(*key, counts[key]))
        counts[key] += 1
    return found


def faults(call: Moment) -> Iterator[Fault]:
    """What can go wrong with a call."""
    yield Fail()
    if call.operation in ("save", "remove", "list", "load"):
        yield FailLate()
    if call.operation == "load":
        yield Truncate(40)
        yield Garble()
    if call.operation == "save" and call.kind is not FileKind.LOCK:
        yield Lose()
        yield Truncate(40)


class Attempt:
    """A command line on copies of its repositories, with at most one fault."""

    def __init__(self, case: Case, world: World, work: Path) -> None:
        self.case = case
        self.work = work
        self.world = copy_of(world)
        self.places = {name: f"/{name}" for name in world}
        self.words = words_of(case, world, self.places, work)
        self.calls: list[Call] = []
        self.hit = False

    def run(self, moment: Moment | None = None, fault: Fault | None = None) -> Ended:
        """Run it; at *moment* the storage does what *fault* says."""
        self.calls = []
        self.hit = False

        def plan(call: Call) -> Fault | None:
            self.calls.append(call)
            if moment is None or self.hit or (call.operation, call.kind) != moment[:2]:
                return None
            self.hit = sum((old.operation, old.kind) == moment[:2] for old in self.calls) == moment.number + 1
            return fault if self.hit else None

        return self._on({self.places[name]: FaultyStorage(storage, plan) for name, storage in self.world.items()}, self.words)

    def run_first(self) -> Ended:
        """What has to be run before anything can be read."""
        assert self.case.first is not None
        return self._run_other(self.case.first)

    def repair_index(self) -> Ended:
        """What removes damaged index files."""
        return self._run_other(("repair", "index"))

    def _run_other(self, words: tuple[str, ...]) -> Ended:
        storages: dict[str, Storage] = {self.places[name]: storage for name, storage in self.world.items()}
        return self._on(storages, ["-r", self.places["repo"], "--no-cache", *words])

    def _on(self, storages: dict[str, Storage], words: list[str]) -> Ended:
        return run(words, self.work, storages)

    def finished(self, world: World) -> bool:
        """Whether what can be done only once has been done."""
        if self.case.goes is None:
            return False
        there = {name for name, _ in self.world["repo"].list(self.case.goes)}
        return any(name not in there for name, _ in world["repo"].list(self.case.goes))


def lies(moment: Moment, fault: Fault) -> bool:
    """Whether the storage says that it stored what it did not."""
    return isinstance(fault, Lose) or (isinstance(fault, Truncate) and moment.operation == "save")


def judge(attempt: Attempt, ended: Ended, moment: Moment, fault: Fault, whole: Whole) -> None:
    """Nothing is lost, the error is told in its line, and the next run finishes."""
    repo = attempt.world["repo"]
    assert ended.code in (0, FAILURE, INCOMPLETE) or (moment.kind is FileKind.CONFIG and lies(moment, fault)), ended
    assert "Traceback" not in ended.err and "Fatal: unexpected" not in ended.err, ended
    if ended.code:
        last = ended.err.strip().splitlines()[-1]
        assert last.startswith("Fatal: ") or ended.code == INCOMPLETE, ended
        assert "injected fault" in ended.err or not isinstance(fault, Fail | FailLate), ended
    if moment.kind is not FileKind.LOCK:
        assert list(repo.list(FileKind.LOCK)) == []
    free(repo)
    if attempt.case.first is not None:
        assert attempt.run_first().code == 0
    if lies(moment, fault) and moment.kind is FileKind.INDEX:
        # It may be damaged now, which everything else refuses to work with.
        assert attempt.repair_index().code == 0
    assert contents(repo).lost(whole.before, whole.after, lied=lies(moment, fault)) == []
    if lies(moment, fault) or attempt.finished(whole.world):
        return
    again = attempt.run()
    assert again.code == 0, again
    assert contents(repo).lost(whole.before, whole.after) == []
    assert errors(repo) <= whole.allowed


class Whole(NamedTuple):
    """A repository, and what becomes of it where nothing goes wrong."""

    world: World
    before: Contents
    after: Contents
    allowed: set[str]
    """Errors that a check finds at the end."""


@pytest.mark.clause("ORDER-1", "ORDER-3", "ORDER-4", "ORDER-9")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.old_layout])
def test_every_call_goes_wrong_in_turn(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    work = prepare(tmp_path / "work")
    world = case.make()
    good = Attempt(case, world, work)
    assert good.run().code == 0
    repo = good.world["repo"]
    whole = Whole(world, contents(world["repo"]), contents(repo), errors(repo))
    tries = [(moment, fault) for moment in moments(good.calls) for fault in faults(moment)]
    tried = failed = 0
    for moment, fault in tries if ALL else random.Random(name).sample(tries, min(SOME, len(tries))):
        attempt = Attempt(case, world, work)
        ended = attempt.run(moment, fault)
        if attempt.hit:  # threads may have made other calls
            tried += 1
            failed += ended.code != 0
            try:
                judge(attempt, ended, moment, fault, whole)
            except ResticFormatError as error:
                pytest.fail(f"{moment}, {fault}: {error}")
            except AssertionError as error:
                raise AssertionError(f"{moment}, {fault}: {error}") from error
    print(f"{name}: {tried} faults, {failed} runs failed")
    assert tried > len(tries) // 2 or not ALL
