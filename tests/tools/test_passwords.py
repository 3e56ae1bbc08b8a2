"""Where the password comes from, beside real restic: fetched once, by restic's rules, never from what belongs to the backup."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from restic_format.words import split_command
from tests.tools.kit import PASSWORD, Runner, new_repository

COMMANDS = (
    "a",
    "a b",
    "  a  \t b\n",
    "a''b \"c\"'d'",
    "a\\ b",
    "a\\b",
    "\\",
    "a\\\\b",
    "'a b'",
    '"a b" c',
    "'a \"b\" c'",
    "\"a 'b' c\"",
    '"a \\"b\\" c"',
    "'a \\'b\\' c'",
    'a\\"b c',
    "a\\'b c",
    '\\"a b\\"',
    '"a\\\\"b"',
    '"a\\b"',
    "'a\\n'",
    '""',
    "a '' b",
    'a "" b',
    "''a",
    "a''",
    "sh -c 'echo \"$HOME\"'",
    'sh -c "echo \\"x y\\""',
    "a=b 'c=d e'",
    "--flag='x y'",
    '--flag="x y"z',
    "$HOME `id` $(id)",
    "a;b|c&d>e<f",
    "a#b # c",
    "~ * ? [a-z] {a,b}",
    "ä ö 'ü ß'",
    "a\u00a0b\u2003c\u3000d\x85e",
    "a\x1cb\x1dc\x1ed\x1fe",
    "a\vb\fc\rd",
    "a\u200bb\ufeffc",
    "'a\nb'",
    "a'b'c'd'e",
    '"a"\'b\'"c"',
    "a \\\\ b",
    "a \\' b",
    "'\\\\' a",
    '"\\\\" a" b',
    "'",
    '"',
    "'a",
    'a "b',
    "a\\'b'",
    "' \"",
    "",
    "   ",
    "''",
    "\\\\",
)
"""Parts of password commands."""


@pytest.fixture(scope="module")
def teller(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A program that notes its arguments in a file, and that file."""
    folder = tmp_path_factory.mktemp("teller")
    script, told = folder / "tell", folder / "told"
    script.write_text(
        f"#!{sys.executable} -S\nimport json, os, sys\n"
        f"json.dump([os.fsencode(w).hex() for w in sys.argv[1:]], open({str(told)!r}, 'w'))\n"
    )
    script.chmod(0o755)
    return str(script), told


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_are_split_as_restic_splits_them(words: str, teller: tuple[str, Path], restic: Runner) -> None:
    program, told = teller
    told.unlink(missing_ok=True)
    command = f"{program} {words}"
    theirs = restic("snapshots", "-r", "/nowhere", "--password-command", command)
    try:
        ours: list[str] | None = [word.encode("utf-8", "surrogateescape").hex() for word in split_command(command)[1:]]
    except ValueError as error:
        ours = None
        assert f"Resolving password failed: {error}\n".encode() in theirs.err
    assert ours == (json.loads(told.read_text()) if told.exists() else None)


def test_a_command_without_words(run: Runner, restic: Runner) -> None:
    for command in ("''", " ", "\\"):
        line = ("snapshots", "-r", "/nowhere", "--password-command", command)
        assert restic(*line).err == b"Fatal: Resolving password failed: command string is empty\n"
        with pytest.raises(ValueError, match="command string is empty"):
            split_command(command)


@pytest.mark.parametrize(
    "command", ["false", "sh -c 'exit 3'", "sh -c 'kill -9 $$'", "sh -c 'kill -TERM $$'", "sh -c 'kill -SEGV $$'", "'", 'a "b']
)
def test_a_command_that_fails_is_told_as_by_restic(command: str, empty: Path, run: Runner, restic_here: Runner) -> None:
    ours, theirs = (call("snapshots", "--password-command", command) for call in (run, restic_here))
    assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err)


def test_a_program_that_is_not_there(empty: Path, run: Runner) -> None:
    outcome = run("snapshots", "--password-command", "/no/such/program x")
    assert (outcome.code, outcome.err) == (
        1,
        b'Fatal: Resolving password failed: cannot run "/no/such/program": no such file or directory\n',
    )


# Once


def lines_for(folder: Path, source: Path) -> dict[str, list[str]]:
    """A line for every command that opens a repository, and for one that makes it."""
    old = str(folder)
    return {
        "backup": ["backup", "-r", old, str(source)],
        "backup --stdin": ["backup", "-r", old, "--stdin"],
        "cat": ["cat", "config", "-r", old],
        "check": ["check", "-r", old],
        "key list": ["key", "list", "-r", old],
        "list": ["list", "keys", "-r", old],
        "ls": ["ls", "latest", "-r", old],
        "restore": ["restore", "latest", "--target", str(folder.parent / "restored"), "-r", old],
        "snapshots": ["snapshots", "-r", old],
        "unlock": ["unlock", "-r", old],
        "init": ["init", "-r", str(folder.parent / "made")],
    }


NAMES = tuple(lines_for(Path("/x"), Path("/y")))


@pytest.fixture
def place(tmp_path: Path, restic: Runner) -> tuple[Path, Path]:
    """A repository with a snapshot, and its source."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("hello")
    folder = tmp_path / "repository"
    new_repository(folder)
    settings = {"RESTIC_PASSWORD": PASSWORD}
    assert restic("backup", "-q", "-r", str(folder), str(source), env=settings).code == 0
    return folder, source


@pytest.mark.parametrize("name", NAMES)
def test_a_password_command_runs_once(name: str, place: tuple[Path, Path], spawn: Runner, tmp_path: Path) -> None:
    count = tmp_path / "count"
    command = f"sh -c 'echo x >>{count}; echo {PASSWORD}'"
    outcome = spawn(*lines_for(*place)[name], "--password-command", command, stdin=b"data")
    assert outcome.code == 0, outcome.err
    assert len(count.read_text().split()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_password_from_a_fifo(name: str, place: tuple[Path, Path], spawn: Runner, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = subprocess.Popen(["sh", "-c", f'echo "{PASSWORD}" >"$0"', fifo])
    try:
        outcome = spawn(*lines_for(*place)[name], "-p", str(fifo), stdin=b"data")
    finally:
        writer.kill()
        writer.wait()
    assert outcome.code == 0, outcome.err


def test_the_location_from_a_fifo(place: tuple[Path, Path], spawn: Runner, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = subprocess.Popen(["sh", "-c", f'echo "{place[0]}" >"$0"', fifo])
    try:
        outcome = spawn("check", "--repository-file", str(fifo), env={"RESTIC_PASSWORD": "wrong"})
    finally:
        writer.kill()
        writer.wait()
    assert outcome.code == 12, outcome.err


# What belongs to the backup stays the backup's


@pytest.fixture
def stored(spawn: Runner, restic: Runner) -> Callable[[Path], list[tuple[str, int]]]:
    """Every file of the newest snapshot by real restic, with its size."""

    def read(folder: Path) -> list[tuple[str, int]]:
        listed = restic("ls", "--json", "latest", "-r", str(folder), env={"RESTIC_PASSWORD": PASSWORD})
        nodes = [json.loads(line) for line in listed.out.splitlines()[1:]]
        return [(node["path"], node["size"]) for node in nodes if node["type"] == "file"]

    return read


GREEDY = (f"sh -c 'head -c 10 >/dev/null; echo {PASSWORD}'", f"sh -c 'cat >/dev/null; echo {PASSWORD}'")


@pytest.mark.parametrize("command", GREEDY)
def test_a_password_command_gets_none_of_the_data(
    command: str, place: tuple[Path, Path], spawn: Runner, stored: Callable[[Path], list[tuple[str, int]]]
) -> None:
    folder, _ = place
    data = b"".join(b"%d\n" % number for number in itertools.islice(itertools.count(), 20000))
    for words, env in ((["--password-command", command], {}), ([], {"RESTIC_PASSWORD_COMMAND": command})):
        outcome = spawn("backup", "-r", str(folder), "--stdin", *words, stdin=data, env=env)
        assert outcome.code == 0, outcome.err
        assert stored(folder) == [("/stdin", len(data))]


@pytest.mark.parametrize("flag", ["--files-from", "--files-from-verbatim", "--files-from-raw"])
def test_a_password_command_gets_none_of_the_file_list(
    flag: str, place: tuple[Path, Path], spawn: Runner, tmp_path: Path, stored: Callable[[Path], list[tuple[str, int]]]
) -> None:
    folder, _ = place
    files = [tmp_path / f"f{number}" for number in range(3)]
    for file in files:
        file.write_text("x")
    end = "\0" if flag.endswith("raw") else "\n"
    outcome = spawn(
        "backup", "-r", str(folder), "--password-command", GREEDY[1], flag, "-",
        stdin="".join(f"{file}{end}" for file in files).encode(),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert stored(folder) == [(str(file), 1) for file in files]


def test_a_password_command_sees_the_end_of_its_input(empty: Path, spawn: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Mapping[str, str] = {"RESTIC_REPOSITORY": str(empty)}
    outcome = spawn("snapshots", "--json", "--password-command", GREEDY[1], stdin=b"x" * 100, env=settings)
    assert (outcome.code, outcome.out) == (0, b"[]\n")
