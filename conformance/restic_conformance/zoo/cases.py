"""Cases of the zoo: each kind of damage with each way to repair it, several at once in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import NamedTuple, TextIO

from restic_conformance.programs import Program, Run
from restic_conformance.zoo.diagnosis import Said, expect, heard
from restic_conformance.zoo.judge import Judge
from restic_conformance.zoo.prognosis import foresee
from restic_conformance.zoo.recipes import RECIPES, recipe
from restic_conformance.zoo.report import Measured, Row, measured
from restic_conformance.zoo.rescuers import DIAGNOSE, HELPED, Rescuer
from restic_conformance.zoo.site import Site


class Told(NamedTuple):
    """What a case came to."""

    words: str
    seconds: float
    behind: bool
    """Whether anything is not as it could be."""
    runs: tuple[Run, ...]
    found: Measured | Said


@dataclass
class Cases:
    """What the workers share: they are forks of the process that has read the repository."""

    site: Site
    judge: Judge
    ways: Mapping[str, Rescuer]
    diagnosing: Program | None
    seed: int

    def run(self, recipe_name: str, way: str) -> Told:
        """One kind of damage with one way to repair it, or the diagnosis of it."""
        change = recipe(recipe_name).change(self.site, self.seed)
        assert change is not None
        prognosis = foresee(self.site, change)
        started = time.monotonic()
        if way == DIAGNOSE:
            assert self.diagnosing is not None
            run = self.judge.diagnosis(change, self.diagnosing)
            said = heard(expect(self.site, change, prognosis), run)
            return Told(said.words() or "all told", time.monotonic() - started, not said.right, (run,), said)
        outcome = self.judge.case(change, self.ways[way], prognosis)
        found = measured(outcome)
        state = "clean" if found.clean else "only what is lost" if found.only_lost else "not clean"
        behind = outcome.recovered < outcome.recoverable or not (outcome.clean or outcome.only_lost)
        behind = behind or bool(outcome.healthy_lost) or outcome.undone is False
        more = ["healthy lost"] * bool(outcome.healthy_lost) + ["not undone"] * (outcome.undone is False)
        words = ", ".join([f"{outcome.recovered}/{outcome.recoverable} of {outcome.total}", state, *more])
        return Told(words, time.monotonic() - started, behind, outcome.runs, found)


_cases: Cases | None = None


def _begin(cases: Cases) -> None:
    global _cases
    _cases = cases


def _run(recipe_name: str, way: str) -> Told:
    assert _cases is not None
    return _cases.run(recipe_name, way)


def run_cases(cases: Cases, only: Sequence[str], jobs: int, log: TextIO | None) -> Iterator[Row]:
    """Every kind of damage (those whose names begin with one of *only*) in every way; says each as it is done.

    *jobs* cases run at once. What programs said where something stayed behind goes to *log*.
    """
    ways = [*cases.ways, *([DIAGNOSE] if cases.diagnosing else [])]
    with ProcessPoolExecutor(jobs, get_context("fork"), _begin, (cases,)) as pool:
        pending: list[tuple[Row, list[tuple[str, Future[Told]]]]] = []
        for one in RECIPES:
            change = None if only and not one.name.startswith(tuple(only)) else one.change(cases.site, cases.seed)
            if change is not None:
                prognosis = foresee(cases.site, change)
                row = Row(one.name, one.group, one.what, list(prognosis.ways), prognosis.recoverable, prognosis.total)
                fitting = [way for way in ways if way not in HELPED or prognosis.recoverable < prognosis.total]
                pending.append((row, [(way, pool.submit(_run, one.name, way)) for way in fitting]))
        try:
            for row, futures in pending:
                for way, future in futures:
                    told = future.result()
                    if isinstance(told.found, Measured):
                        row.programs[way] = told.found
                    else:
                        row.diagnosis = told.found.words()
                    print(f"{row.name:32} {way:18} {told.seconds:5.1f} s  {told.words}", flush=True)
                    if told.behind and log is not None:
                        log.write(f"=== {row.name}: {way}: {told.words}\n")
                        log.writelines(f"$ {run.say()} -> {run.code}\n{run.output}\n" for run in told.runs)
                        if isinstance(told.found, Said):
                            log.write(f"{told.found}\n")
                        log.flush()
                yield row
        finally:
            pool.shutdown(cancel_futures=True)
