"""The command line of the conformance runner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def conformance(project_root: Path) -> Run:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join(str(project_root / part) for part in (".", "spec", "tools", "conformance"))
        return subprocess.run(
            [sys.executable, "-m", "restic_conformance", *words],
            cwd=project_root,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_scenarios_are_listed(conformance: Run) -> None:
    from restic_conformance.runner import SCENARIOS

    done = conformance("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [scenario.name for scenario in SCENARIOS]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--peers", "/nowhere"], "is not below /nowhere: run python -m restic_conformance.peers"),
        (["--impl", "nothing"], "NAME=COMMAND is expected"),
        (["--fast", "--full"], "--fast and --full exclude each other"),
        (["--nothing"], "--nothing"),
    ],
)
def test_what_cannot_be_run(words: list[str], text: str, conformance: Run) -> None:
    done = conformance(*words)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_one_scenario(conformance: Run, tmp_path: Path) -> None:
    done = conformance(
        "--only", "shared-lock", "--without", "restic-0.14", "--without", "restic-0.18", "--report-dir", str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"junit.xml", "index.html"}
