"""Programs that lie are caught: restic behind a wrapper that spoils one thing must fail the scenario about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_conformance.programs import REFERENCE, Program, make_program
from restic_conformance.report import matrix, summary
from restic_conformance.runner import SCENARIOS, Case, Result, run_case
from restic_conformance.workspace import Workspace

WRAPPER = """#!{python}
import os, shutil, subprocess, sys
real, spoil = {real!r}, {spoil!r}
words = sys.argv[1:]
command = next((word for word in words if not word.startswith("-")), "")
if spoil == "tree" and command == "backup":
    words += ["--exclude", "empty-file"]
if spoil == "time" and command == "backup":
    words += ["--with-atime"]
if spoil == "check" and command == "check":
    sys.exit(0)
locks = os.path.join(os.environ["RESTIC_REPOSITORY"], "locks") if command == "backup" else ""
if spoil == "lock" and locks:
    os.rename(locks, locks + ".hidden")
done = subprocess.run([real, *words], capture_output=True, stdin=None)
if spoil == "lock" and locks:
    shutil.rmtree(locks, ignore_errors=True)
    os.rename(locks + ".hidden", locks)
out = done.stdout
if spoil == "restore" and command == "restore" and "--target" in words:
    for folder, _, files in os.walk(words[words.index("--target") + 1]):
        for name in files:
            if name == "text.txt":
                os.utime(os.path.join(folder, name), ns=(1, 1))
if spoil == "number" and "--json" in words:
    out = out.replace(b'"total_files_processed":46', b'"total_files_processed":46.0')
if spoil == "order" and "--json" in words:
    out = out.replace(b'{{"message_type":"summary",', b'{{').replace(b'}}\\n', b',"message_type":"summary"}}\\n')
sys.stdout.buffer.write(out)
sys.stderr.buffer.write(done.stderr)
sys.exit(1 if spoil == "code" and done.returncode > 3 else done.returncode)
"""


@pytest.fixture(scope="module")
def reference() -> Program:
    path = Path(__file__).resolve().parents[2] / ".peers" / "restic-0.19" / "restic"
    if not path.exists():
        pytest.fail("restic 0.19 is missing: run `make peers`")
    return make_program(REFERENCE, [str(path)])


@pytest.fixture(scope="module")
def workspace(reference: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace([reference], folder=tmp_path_factory.mktemp("judge")) as made:
        yield made


def _run(workspace: Workspace, folder: Path, scenario: str, spoil: str) -> Result:
    liar = folder / f"spoils-{spoil or 'nothing'}"
    real = str(workspace.reference.command[0])
    liar.write_text(WRAPPER.format(python=sys.executable, real=real, spoil=spoil))
    liar.chmod(0o755)
    program = Program(liar.name, [str(liar)])
    workspace.programs[program.name] = program
    found = next(one for one in SCENARIOS if one.name == scenario)
    return run_case(workspace, Case(found, REFERENCE, program.name))


@pytest.mark.parametrize(
    ("scenario", "spoil", "finding"),
    [
        ("compression-off", "restore", "mtime_ns"),
        ("same-tree-v2", "tree", "/source/"),
        ("same-json-writing", "number", "total_files_processed"),
        ("same-json-writing", "order", "message_type"),
        ("exit-codes", "code", "exit code 1, expected 10"),
        ("damaged-data-blob-flip", "check", "exit code 0, expected 1"),
        ("exclusive-lock", "lock", "exit code 0, expected 11"),
        ("incremental", "tree", "files_unmodified"),
    ],
)
def test_a_liar_is_caught(workspace: Workspace, tmp_path: Path, scenario: str, spoil: str, finding: str) -> None:
    result = _run(workspace, tmp_path, scenario, spoil)
    assert result.verdict == "fail", result.message
    assert finding in result.message


@pytest.mark.parametrize("scenario", ["compression-off", "exit-codes", "incremental"])
def test_an_honest_wrapper_passes(workspace: Workspace, tmp_path: Path, scenario: str) -> None:
    result = _run(workspace, tmp_path, scenario, "")
    assert result.verdict == "pass", result.message


def test_a_broken_scenario_is_an_error_not_a_pass(workspace: Workspace, tmp_path: Path) -> None:
    gone = Program("gone", [str(tmp_path / "no-such-program")])
    workspace.programs["gone"] = gone
    result = run_case(workspace, Case(SCENARIOS[0], "gone", REFERENCE))
    assert result.verdict == "error"
    assert "ERROR" in matrix([result])
    assert "1 broken" in summary([result])
