"""Choosing and running cases: scenario × writer × reader."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from restic_conformance.programs import OURS, REFERENCE, Mismatch, Program
from restic_conformance.scenarios import DATA, Scenario
from restic_conformance.scenarios_access import ACCESS
from restic_conformance.scenarios_check import DAMAGED
from restic_conformance.scenarios_same import SAME
from restic_conformance.workspace import Workspace

SCENARIOS: tuple[Scenario, ...] = (*DATA, *ACCESS, *SAME, *DAMAGED)
"""Every scenario, in the order of the report."""


@dataclass(frozen=True)
class Case:
    """One scenario with the program that writes (or holds) and the one that reads (or tries)."""

    scenario: Scenario
    writer: str
    reader: str

    @property
    def name(self) -> str:
        return f"{self.scenario.name}: {self.writer} → {self.reader}"


@dataclass(frozen=True)
class Result:
    """How a case ended."""

    case: Case
    verdict: str
    """``pass``; ``fail``: the programs disagree; ``error``: the judge itself broke."""
    message: str
    seconds: float
    notes: tuple[str, ...] = ()
    """Known faults of the real programs that were met and not judged."""


def choose(
    programs: Sequence[Program], fast: bool, only: Sequence[str] = (), scenarios: Sequence[Scenario] = SCENARIOS
) -> list[Case]:
    """The cases of a run.

    Full: every ordered pair that a scenario applies to. Fast: the pairs a scenario names, always with our program
    (or with the reference where ours is absent, which is how the judge itself is tried). ``only`` keeps scenarios
    whose name starts with one of these.
    """
    focus = OURS if any(program.name == OURS for program in programs) else REFERENCE
    by_name = {program.name: program for program in programs}
    cases = []
    for scenario in scenarios:
        if only and not scenario.name.startswith(tuple(only)):
            continue
        for writer, reader in _pairs(scenario, by_name, focus, fast):
            if scenario.applies(by_name[writer], by_name[reader]):
                cases.append(Case(scenario, writer, reader))
    return cases


def _pairs(
    scenario: Scenario, programs: dict[str, Program], focus: str, fast: bool
) -> Iterator[tuple[str, str]]:  # fmt: skip
    if scenario in DAMAGED:
        # Nothing is written here: the recipes are the writer.
        readers = [focus] if fast else list(programs)
        yield from ((REFERENCE, reader) for reader in readers)
        return
    if not fast:
        yield from ((writer, reader) for writer in programs for reader in programs)
        return
    for other in scenario.fast:
        if other in programs:
            yield other, focus
            if not scenario.one_way and other != focus:
                yield focus, other


def run_case(workspace: Workspace, case: Case) -> Result:
    """Run one case; a failure is a result, never an exception."""
    started = time.monotonic()
    workspace.notes.clear()
    try:
        case.scenario.run(workspace, workspace.programs[case.writer], workspace.programs[case.reader])
        verdict, message = "pass", ""
    except Mismatch as finding:
        verdict, message = "fail", str(finding)
    except Exception:  # noqa: BLE001  a broken scenario must not hide the other cases
        verdict, message = "error", traceback.format_exc()
    finally:
        workspace.tidy()
    notes = tuple(dict.fromkeys(workspace.notes))
    return Result(case, verdict, message, time.monotonic() - started, notes)
