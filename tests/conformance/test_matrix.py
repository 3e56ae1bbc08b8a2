"""The fast part of the compatibility matrix: each scenario and pair is one test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_conformance.programs import OURS, Program, Rustic, make_program
from restic_conformance.runner import Case, choose, run_case
from restic_conformance.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("restic-0.14", "restic-0.18", "restic-0.19")


def _expected() -> list[Program]:
    """The programs the cases are about; whether they are there is found out when a case runs."""
    versions = [(name, (0, int(name[-2:]))) for name in PEERS]
    return [*(Program(name, [], version=version) for name, version in versions), Program(OURS, []), _rustic()]


def _rustic() -> Program:
    # The fast run only reads what rustic stored in the fixtures, so the program itself is not needed.
    return Rustic("rustic", [], takes_locks=False, formats=(2,))


CASES = choose(_expected(), fast=True)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    programs = [_rustic()]
    for name in PEERS:
        path = ROOT / ".peers" / name / "restic"
        if not path.exists():
            pytest.fail(f"{name} is missing: run `make peers`")
        programs.append(make_program(name, [str(path)]))
    ours = Path(sys.executable).parent / "restic-format"
    if not ours.exists():
        pytest.fail("restic-format is not installed beside this Python: run `make install`")
    programs.append(make_program(OURS, [str(ours)]))
    with Workspace(programs, fast=True, folder=tmp_path_factory.mktemp("matrix")) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(": ", "-").replace(" → ", "-to-"))
def test_matrix(workspace: Workspace, case: Case) -> None:
    result = run_case(workspace, case)
    assert result.verdict == "pass", result.message
