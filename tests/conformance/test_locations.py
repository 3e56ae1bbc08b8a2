"""Our program and real restic in turn on servers: a few of what `make conformance` tries everywhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from restic_conformance.locations import Place, read_places
from restic_conformance.programs import OURS, REFERENCE, Program, make_program
from restic_conformance.runner import choose, run_case
from restic_conformance.scenarios_locations import location_scenarios
from restic_conformance.workspace import Workspace
from tests.servers.__main__ import described
from tests.servers.base import peer
from tests.servers.places import KINDS, Places

EVERY_DAY = [("rest", OURS), ("sftp", REFERENCE), ("s3", OURS)]
"""Kinds of locations, and who writes there first."""

CASES = [
    pytest.param(kind, writer, id=f"{kind}-{writer}", marks=[] if (kind, writer) in EVERY_DAY else [pytest.mark.long])
    for kind in KINDS
    for writer in (OURS, REFERENCE)
    if kind != "azure"  # Debian's restic is built without it, and its files lie in no folder
]


def programs() -> list[Program]:
    ours = Path(sys.executable).parent / "restic-format"
    return [make_program(REFERENCE, [peer(REFERENCE, "restic")]), make_program(OURS, [str(ours)])]


@pytest.mark.parametrize(("kind", "writer"), CASES)
def test_each_goes_on_from_what_the_other_has_done(kind: str, writer: str, places: Places, tmp_path: Path) -> None:
    (tmp_path / "places").write_text(json.dumps([described(kind, places.server(kind).place("{repo}"))]))
    scenarios = location_scenarios(read_places(tmp_path / "places"))
    with Workspace(programs(), fast=True, folder=tmp_path) as workspace:
        cases = [case for case in choose(programs(), True, ["location"], scenarios) if case.writer == writer]
        assert len(cases) == 1
        result = run_case(workspace, cases[0])
    assert result.verdict == "pass", result.message


def test_who_has_no_storage_for_it_works_in_the_folder_or_not_at_all(tmp_path: Path) -> None:
    place = Place("x", "x:{repo}", options={"x.y": "{repo}"}, flags=["--f"], folder="/srv/{repo}", without=["restic-0.14"])
    made = place.repository("one")
    ours, old = made.reached_by(OURS), made.reached_by("restic-0.14")
    assert ours is not None and (ours.location, ours.words) == ("x:one", ["-o", "x.y=one", "--f"])
    assert old is not None and (old.location, old.words) == ("/srv/one", ())
    assert Place("x", "x:{repo}", without=["restic-"]).reached_by("restic-0.19") is None
    (tmp_path / "places").write_text('[{"nothing": 1}]')
    with pytest.raises(ValueError, match="does not describe places"):
        read_places(tmp_path / "places")
