"""The table of commands and options is what the help of both programs says, and has no gap without a reason."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def compatibility(project_root: Path, peer: Callable[[str], Path]) -> ModuleType:
    """The script that makes the table."""
    assert peer("restic-0.19").exists()
    spec = importlib.util.spec_from_file_location("compatibility", project_root / "scripts" / "compatibility.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compatibility"] = module  # its classes look for their module
    spec.loader.exec_module(module)
    return module


def test_the_table_is_up_to_date_and_has_no_unexplained_gap(compatibility: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = compatibility.compare()
    assert [problem for row in rows for problem in row.unexplained] == []
    text = compatibility.PAGE.read_text(encoding="utf-8")
    assert compatibility.page_with(text, compatibility.table(rows)) == text, "run: make compatibility"
    restic = [row for row in rows if row.same or not row.there]
    assert len(restic) > 20
    assert sum(len(row.same) for row in rows) > 150, "help pages could not be read"


def test_reasons_are_for_what_differs(compatibility: ModuleType) -> None:
    there = {row.command: row for row in compatibility.compare()}
    assert [name for name in compatibility.LATER_COMMANDS if there[name].there] == []
    for command, option in compatibility.REASONS:
        assert any(f"--{option}`" in gap for gap in there[command].gaps), f"{command} --{option} is there"


THEIRS = """
Usage:
  restic x [flags]

Exit status is 3 if so.

Available Commands:
  index       Do that

Flags:
  -n, --dry-run          only show
      --size bytes       how much (default 30)
      --name string      what (default "stdin")
  -h, --help             help

Global Flags:
      --json   more
"""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("      --size bytes       how much (default 30)\n", ""), "x --size: missing"),
        (("-n, --dry-run", "-d, --dry-run"), "x --dry-run: letter 'n' is 'd'"),
        (("-n, --dry-run", "    --dry-run"), "x --dry-run: letter 'n' is ''"),
        (("--size bytes ", "--size       "), "x --size: takes a value in one of them only"),
        (("(default 30)", "(default: 40)"), "x --size: default '30' is '40'"),
        (("Exit status is 3 if so.", ""), "x: exit codes [3] are not named"),
        (("(default 30)", "(default: 30)"), None),
        (("only show", "do nothing"), None),
    ],
)
def test_what_differs_is_found(compatibility: ModuleType, change: tuple[str, str], problem: str | None) -> None:
    theirs, ours = compatibility.read_page(THEIRS), compatibility.read_page(THEIRS.replace(*change))
    assert THEIRS.replace(*change) != THEIRS
    assert theirs.commands == ("index",)
    assert set(theirs.options) == {"dry-run", "size", "name"}
    assert compatibility._row("x", theirs, ours).unexplained == ((problem,) if problem else ())
    assert compatibility._row("x", theirs, None).unexplained == ("x: missing",)
