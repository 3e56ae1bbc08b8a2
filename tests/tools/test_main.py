"""The command line as a whole: errors, exit codes, help, start-up; never a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from restic_tools import cli, exitcodes
from restic_tools.about import FOLLOWS_RESTIC
from restic_tools.cli import load
from restic_tools.globaloptions import GLOBAL_FLAGS
from restic_tools.output import Output
from restic_tools.registry import COMMANDS
from tests.tools.kit import Runner

WORDS = [" ".join(entry.path) for entry in COMMANDS]
RESTICS = [" ".join(entry.path) for entry in COMMANDS if not entry.own and entry.path not in (("help",), ("self-update",))]


@pytest.mark.parametrize(
    "line",
    [
        "nothing",
        "--foo",
        "snapshots --foo",
        "--json snapshots --foo",
        "snapshots -Z",
        "--limit-upload x snapshots",
        "snapshots --retry-lock x",
        "snapshots --latest x",
        "snapshots --group-by foo",
        "--compression foo snapshots",
        "-q -v snapshots",
        "snapshots",
        "-r missing snapshots",
        "-r missing snapshots --json",
        "ls",
        "ls latest dir",
        "cat",
        "cat foo",
        "cat key",
        "list",
        "list foo",
        "list keys x",
        "key remove",
        "init x",
        "init --repository-version 3",
        "init --repository-version x",
        "init --from-repo x",
        "generate",
        "generate x",
        "generate --zsh-completion - --bash-completion -",
    ],
)
def test_exit_codes_of_wrong_lines_are_restics(
    line: str, run: Runner, restic_here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTIC_PASSWORD", "x")
    ours, theirs = run(*line.split()), restic_here(*line.split())
    assert ours.code == theirs.code
    assert ours.out == theirs.out == b""
    assert b"Traceback" not in ours.err
    if "--json" in line:
        told, expected = json.loads(ours.err), json.loads(theirs.err)
        assert list(told) == list(expected)
        assert (told["message_type"], told["code"]) == (expected["message_type"], expected["code"])


@pytest.mark.parametrize(
    "line",
    ["snapshots --foo", "snapshots -Z", "-r missing snapshots", "-q -v snapshots", "snapshots", "ls", "cat", "cat foo", "list"],
)
def test_error_texts_are_restics_where_scripts_read_them(
    line: str, run: Runner, restic_here: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTIC_PASSWORD", "x")
    ours, theirs = run(*line.split()).err, restic_here(*line.split()).err
    assert ours == theirs


def test_an_error_before_the_json_flag_is_still_json(run: Runner) -> None:
    assert json.loads(run("snapshots", "--json", "--foo").err)["message"] == "unknown flag: --foo"


def test_a_wrong_word_gets_a_hint(run: Runner) -> None:
    assert run("snapshot").err == b'unknown command "snapshot" for "restic-format", did you mean "snapshots"?\n'
    assert b'did you mean "list"' in run("key", "lst").err


def test_unforeseen_errors_are_one_line_unless_debugging(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(cli, "_run", broken)
    outcome = run("snapshots")
    assert outcome.code == 1
    assert outcome.err.startswith(b"Fatal: unexpected ZeroDivisionError: division by zero")
    assert outcome.err.count(b"\n") == 1
    monkeypatch.setenv("RESTIC_FORMAT_DEBUG", "1")
    assert b"Traceback" in run("snapshots").err


@pytest.mark.parametrize(
    ("name", "code"),
    [("RepositoryNotFound", 10), ("AlreadyLocked", 11), ("WrongPassword", 12), ("Interrupted", 130), ("StorageError", 1)],
)
def test_every_error_of_the_engine_has_its_exit_code(name: str, code: int) -> None:
    from restic_format import errors

    kind = getattr(errors, name)
    assert exitcodes.exit_code(kind("why")) == code
    assert exitcodes.exit_code(type("Special", (kind,), {})("why")) == code


def test_the_exit_code_table_names_errors_that_exist() -> None:
    from restic_format import errors

    for name in exitcodes.TABLE.keys() | exitcodes.PLAIN:
        assert hasattr(errors, name) or name == "KeyboardInterrupt"


# Help


def options_of(page: bytes) -> set[str]:
    """Every option a help page lists, with its letter where it has one."""
    return {match.strip() for match in re.findall(r"^ +((?:-\w, )?--[a-z0-9-]+)", page.decode(), re.MULTILINE)}


@pytest.mark.parametrize("words", RESTICS)
def test_help_lists_every_option_of_restic(words: str, run: Runner, restic: Runner) -> None:
    ours, theirs = run(*words.split(), "--help"), restic(*words.split(), "--help")
    assert (ours.code, ours.err) == (0, b"")
    assert options_of(theirs.out), "restic's page could not be read"
    assert options_of(ours.out) >= options_of(theirs.out)


@pytest.mark.parametrize("words", WORDS)
def test_help_is_the_same_however_it_is_asked_for(words: str, run: Runner) -> None:
    page = run(*words.split(), "--help")
    assert run("help", *words.split()).out == page.out
    assert run("-h", *words.split()).out == page.out
    for part in (b"Usage:\n  restic-format " + words.encode(), b"Global Flags:", b"Exit codes:"):
        assert part in page.out


def test_overview(run: Runner, restic: Runner) -> None:
    page = run("--help").out
    assert run().out == run("help").out == page
    assert options_of(page) >= options_of(restic("--help").out)
    for entry in COMMANDS:
        assert entry.hidden or re.search(rf"^  {entry.path[0]} +\w", page.decode(), re.MULTILINE)


def test_group_page(run: Runner) -> None:
    page = run("key").out
    assert run("key", "--help").out == page == run("help", "key").out
    for name in (b"add", b"list", b"passwd", b"remove"):
        assert b"\n  " + name in page


def test_unknown_help_topic(run: Runner) -> None:
    assert run("help", "nothing").code == 1


def test_help_pages_fit_the_terminal(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Output, "stdout_is_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    for width in (30, 40, 60, 120):
        monkeypatch.setattr(Output, "width", width)
        for words in (("ls", "--help"), ("--help",), ("key",)):
            page = run(*words).out
            plain = re.sub(rb"\x1b\[[0-9;]*m", b"", page).decode()
            assert plain != page.decode(), "headings are styled on a terminal"
            assert max(map(len, plain.splitlines())) <= max(width, 40)
            shown = " ".join(plain.split())
            for flag in GLOBAL_FLAGS:
                assert flag.name in shown
                assert flag.help.split()[-1] in shown


def test_no_command_hides_a_global_option() -> None:
    names = {flag.name for flag in GLOBAL_FLAGS}
    letters = {flag.short for flag in GLOBAL_FLAGS if flag.short} | {"h"}
    keys = {flag.key for flag in GLOBAL_FLAGS}
    for entry in COMMANDS:
        flags = load(entry).flags
        assert not {flag.name for flag in flags} & names
        assert not {flag.short for flag in flags} & letters
        assert not {flag.key for flag in flags} & keys
        assert len({flag.name for flag in flags}) == len(flags)


# Version and start-up


@pytest.mark.parametrize(
    "pattern",
    [
        # How programs around restic read this line.
        r"restic ([0-9\.]+) compiled with go([0-9\.]+) on ([a-zA-Z0-9]+)/([a-zA-Z0-9]+)",
        r"^restic ([0-9]+\.[0-9]+\.[0-9]+)(?:[-+~][^ ]+)?(?: |$)",
        r"restic ([0-9]+)\.([0-9]+)\.([0-9]+)",
        r"restic ([0-9]+\.[0-9]+\.[0-9]+)(?: .*)?\n$",
    ],
)
def test_version_line_has_the_form_that_wrappers_read(pattern: str, run: Runner) -> None:
    line = run("version").out.decode()
    assert re.match(pattern, line)
    assert line.split()[:2] == ["restic", FOLLOWS_RESTIC]
    assert line.count("\n") == 1


def test_version_line_says_what_we_are(run: Runner) -> None:
    import restic_format

    assert f"(restic-format {restic_format.__version__}, cpython-".encode() in run("version").out


def test_version_message_has_restics_fields_first(run: Runner, restic: Runner) -> None:
    for line in ("version --json", "--json version", "version --json -q"):
        ours = json.loads(run(*line.split()).out)
        theirs = json.loads(restic("version", "--json").out)
        assert list(ours)[: len(theirs)] == list(theirs)
        same = ("message_type", "version", "go_os", "go_arch")
        assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
        assert ours["program"] == "restic-format"


def test_verbose_version_names_the_native_parts(run: Runner) -> None:
    assert re.search(rb"^native chunker: (compiled|pure)", run("version", "-v").out, re.MULTILINE)


def test_version_imports_nothing_heavy(environment: dict[str, str]) -> None:
    code = "import sys; from restic_tools.cli import main; main(['version']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not loaded & {"typer", "rich", "msgspec", "cryptography", "numpy", "restic_spec", "restic_format.repository"}
