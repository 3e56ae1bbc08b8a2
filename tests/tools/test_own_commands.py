"""Commands that restic does not have: typer apps that take the global options anywhere and fail like the other commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from restic_tools import registry
from restic_tools.registry import Entry
from tests.tools.kit import Runner


@pytest.fixture(autouse=True)
def entry(monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The test's app among the commands."""
    entry = Entry("paint", "own_app:app", "Paint snapshots", own=True, group=registry.ADVANCED)
    entry.module = "tests.tools.own_app"
    monkeypatch.setattr(registry, "COMMANDS", registry.COMMANDS)
    registry.COMMANDS.append(entry)
    monkeypatch.setitem(registry.BY_PATH, entry.path, entry)
    registry.PREFIXES.add(entry.path)
    yield entry
    registry.COMMANDS.remove(entry)
    registry.PREFIXES.remove(entry.path)


LINES = (
    ("paint", "[] 3 red [] False False False 1 "),
    ("paint a b --depth 5", "['a', 'b'] 5 red [] False False False 1 "),
    ("paint -d5 a -r x b", "['a', 'b'] 5 red [] False False False 1 x"),
    ("-rx -v paint -v --depth=7", "[] 7 red [] False False False 3 x"),
    ("paint -vfq=false", "[] 3 red [] False True False 2 "),
    ("paint -fv -l a -lb --layer c", "[] 3 red ['a', 'b', 'c'] False True False 2 "),
    ("paint -l -v", "[] 3 red ['-v'] False False False 1 "),
    ("paint --layer --json", "[] 3 red ['--json'] False False False 1 "),
    ("paint --wet --quiet", "[] 3 red [] True False False 0 "),
    ("paint --wet --dry a -- --json -r", "['a', '--json', '-r'] 3 red [] False False False 1 "),
    ("paint --json=false --verbose=2 --colour red", "[] 3 red [] False False False 3 "),
    ("paint - a", "['-', 'a'] 3 red [] False False False 1 "),
)


@pytest.mark.parametrize(("line", "said"), LINES)
def test_global_options_stand_anywhere(line: str, said: str, run: Runner) -> None:
    outcome = run(*line.split())
    assert (outcome.code, outcome.err) == (0, b"")
    assert outcome.out.decode() == said + "\n"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("paint --nothing", "no such option: --nothing"),
        ("paint --depth x", "invalid value for '--depth'"),
        ("paint --depth", "requires an argument"),
        ("paint --colour blue", "blue"),
        ("paint -Z", "unknown shorthand flag: 'Z' in -Z"),
        ("paint --limit-upload x", 'invalid argument "x" for "--limit-upload" flag'),
        ("paint --quiet --verbose", "--quiet and --verbose cannot be specified at the same time"),
        ("paint --depth 101", "Fatal: too deep"),
        ("paint --colour green", "Please specify repository location"),
    ],
)
def test_errors_are_told_like_those_of_other_commands(line: str, text: str, run: Runner) -> None:
    outcome = run(*line.split())
    assert (outcome.code, outcome.out, outcome.err.count(b"\n")) == (1, b"", 1)
    assert text.lower() in outcome.err.decode().lower()
    told = json.loads(run("--json", *line.split()).err)
    assert (told["message_type"], told["code"]) == ("exit_error", 1)


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 3), (99, 4), (98, 130)])
def test_exit_codes(code: int, expected: int, run: Runner) -> None:
    assert run("paint", "--code", str(code)).code == expected


def test_errors_of_the_engine(empty: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("paint", "--colour", "green").out.startswith(b"version 2\n")
    monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
    assert run("paint", "--colour", "green").code == 12
    assert run("paint", "--colour", "green", "-r", "/nowhere").code == 10


def test_help_has_the_same_shape(run: Runner) -> None:
    page = run("paint", "--help").out.decode()
    assert run("help", "paint").out.decode() == run("paint", "-fh").out.decode() == run("-h", "paint").out.decode() == page
    for text in (
        "Paint snapshots.\n\nA longer text about painting.\n",
        "Usage:\n  restic-format paint [flags] [NAME...]\n",
        "  -d, --depth ",
        "how deep to look (default: 3)",
        "what to paint with (default: red)",
        "  -f, --fast ",
        "--wet ",
        "Exit codes:",
        "Global Flags:",
        "--repository-file file",
    ):
        assert text in page
    assert "--code" not in page
    assert "\n  paint " in run("--help").out.decode()


def test_completion_and_manual_page(run: Runner, tmp_path: Path) -> None:
    assert run("__complete", "pai").out == b"paint\tPaint snapshots\n:4\n"
    assert b"--depth\thow deep to look\n" in run("__complete", "paint", "--").out
    assert run("__completeNoDesc", "paint", "--colour", "").out == b"red\ngreen\n:4\n"
    assert run("generate", "--man", str(tmp_path)).code == 0
    page = (tmp_path / "restic-format-paint.1").read_text()
    assert "how deep to look" in page
    assert "A longer text about painting." in page


def test_no_other_command_waits_for_typer(environment: dict[str, str]) -> None:
    code = "import sys; from restic_tools.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    for words in (["snapshots", "-r", "/nowhere"], ["backup", "-r", "/nowhere", "x"], ["version", "-v"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=False
        )
        assert "restic_tools.cli" in done.stderr
        assert not set(done.stderr.split()) & {"typer", "click", "rich"}


def test_an_app_that_hides_no_global_option(entry: Entry) -> None:
    from restic_tools.cli import load
    from restic_tools.globaloptions import GLOBAL_FLAGS

    flags = load(entry).flags
    assert not {flag.name for flag in flags} & {flag.name for flag in GLOBAL_FLAGS}
