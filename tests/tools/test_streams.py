"""Standard streams that are closed, full or given up, and signals: the work goes on, beside real restic."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from restic_tools.render import Table
from tests.tools.kit import PASSWORD, Outcome, new_repository

FULL = b"no space left on device"


@dataclass
class Place:
    """A folder with a source and, for each program, a repository with one snapshot."""

    folder: Path
    programs: dict[str, str]
    environment: dict[str, str]

    def shell(self, program: str, line: str) -> Outcome:
        """Run a shell line in which ``PROGRAM`` stands for the program with its repository."""
        settings = {**self.environment, "RESTIC_REPOSITORY": str(self.folder / program), "RESTIC_PASSWORD": PASSWORD}
        done = subprocess.run(
            ["/bin/bash", "-c", line.replace("PROGRAM", self.programs[program])],
            cwd=self.folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        for text in (done.stdout, done.stderr):
            assert b"Traceback" not in text
            assert b"Exception" not in text
            assert b"unexpected" not in text
        return Outcome(done.returncode, done.stdout, done.stderr)

    def both(self, line: str) -> tuple[Outcome, Outcome]:
        """The same line with ours and with restic."""
        return self.shell("ours", line), self.shell("restic", line)

    def snapshots(self, program: str = "ours") -> list[bytes]:
        """Snapshots in the repository, read by the engine."""
        repo = Repository.open(LocalStorage(str(self.folder / program)), PASSWORD)
        return [file_id for file_id, _ in repo.list(FileKind.SNAPSHOT)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str], peer: Callable[[str], Path]) -> Place:
    """What the folder of each test is a copy of."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "src").mkdir()
    (folder / "src" / "file").write_text("hello")
    (folder / "password").write_text("another")
    restic = shlex.quote(str(peer("restic-0.19")))
    programs = {"ours": f"{shlex.quote(sys.executable)} -m restic_tools", "restic": restic}
    place = Place(folder, programs, {**environment, "RESTIC_CACHE_DIR": str(folder / "cache")})
    for name in programs:
        new_repository(folder / name)
        assert place.shell(name, f"{restic} backup -q --no-cache src").code == 0
    return place


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    folder = tmp_path / "place"
    shutil.copytree(original.folder, folder)
    return Place(folder, original.programs, {**original.environment, "RESTIC_CACHE_DIR": str(tmp_path / "cache")})


WORKING = (
    ("backup src", 0),
    ("backup src missing", 3),
    ("backup --json src", 0),
    ("backup --json -vv src", 0),
    ("backup -vv src", 0),
    ("restore latest --target OUT", 0),
    ("restore latest --target OUT --json -vv", 0),
    ("check", 0),
    ("key add --new-password-file password", 0),
    ("unlock --remove-all", 0),
    ("init -r NEW", 0),
    ("init --json -r NEW", 0),
)
CASES = [(words, code, where) for words, code in WORKING for where in (">/dev/full", "2>/dev/full", "<&- >&- 2>&-")]
CASES += [("backup src", 0, where) for where in (">/dev/full 2>/dev/full", ">&-", "2>&-", "<&-")]


@pytest.mark.parametrize(("words", "code", "where"), CASES)
def test_work_goes_on_without_output(words: str, code: int, where: str, place: Place) -> None:
    codes = {}
    for program in place.programs:
        line = words.replace("OUT", f"out-{program}").replace("NEW", f"new-{program}")
        outcome = place.shell(program, f"exec PROGRAM {line} {where}")
        codes[program] = outcome.code
        if where == ">/dev/full" and program == "ours" and words != "unlock --remove-all":
            assert outcome.err.count(FULL) == 1
    assert codes == {"ours": code, "restic": code}
    if words.startswith("backup"):
        assert len(place.snapshots()) == 2
    if "OUT" in words:
        assert (place.folder / "out-ours" / "src" / "file").read_text() == "hello"
    if words.startswith("key"):
        Repository.open(LocalStorage(str(place.folder / "ours")), "another")
    if "NEW" in words:
        Repository.open(LocalStorage(str(place.folder / "new-ours")), PASSWORD)


@pytest.mark.parametrize(
    "words", ["backup src --json -vv", "backup src -vv", "restore latest --target out --json -vv", "check"]
)
def test_a_reader_that_goes_away_does_not_end_the_work(words: str, place: Place) -> None:
    outcome = place.shell("ours", f"PROGRAM {words} | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}")
    assert (outcome.code, outcome.err) == (0, b"")
    outcome = place.shell("ours", f"PROGRAM {words} | true; exit ${{PIPESTATUS[0]}}")
    assert (outcome.code, outcome.err) == (0, b"")
    assert list((place.folder / "ours" / "locks").iterdir()) == []
    if words.startswith("backup"):
        assert len(place.snapshots()) == 3


@pytest.mark.parametrize("redirection", ["<&-", "<&- >&-", "<&- >&- 2>&-", "</dev/null"])
def test_backup_of_an_empty_or_closed_input(redirection: str, place: Place) -> None:
    ours, theirs = place.both(f"exec PROGRAM backup --stdin {redirection}")
    assert (ours.code, ours.err) == (theirs.code, theirs.err)
    assert ours.code == 3
    assert len(place.snapshots("ours")) == len(place.snapshots("restic"))


@pytest.mark.parametrize("line", ["version", "help ls", "ls latest", "snapshots --json", "cat config", "list packs", "nothing"])
def test_commands_that_only_show_say_that_they_could_not(line: str, place: Place) -> None:
    for redirection in (">&-", ">/dev/full", "2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"):
        outcome = place.shell("ours", f"exec PROGRAM {line} {redirection}")
        assert outcome.code == (1 if line == "nothing" or ">/dev/full" in f" {redirection}".split() else 0)
        if redirection == ">/dev/full" and line != "nothing":
            assert outcome.err.lower().count(FULL) == 1


@pytest.mark.parametrize(
    "line",
    ["list blobs", "snapshots", "snapshots --json", "ls latest", "find file --json", "cat config", "stats", "dump latest /"],
)
def test_a_reader_that_goes_away_ends_what_only_shows(line: str, place: Place) -> None:
    for program in place.programs:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            shlex.split(f"{place.programs[program]} -r {place.folder / program} {line}"),
            env={**place.environment, "RESTIC_PASSWORD": PASSWORD},
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")
    assert list((place.folder / "ours" / "locks").iterdir()) == []


# SIGUSR1


@pytest.mark.parametrize(
    "words", ["backup src", "restore latest --target OUT", "check", "init -r NEW", "snapshots", "cat config", "ls latest"]
)
def test_sigusr1_ends_nothing_whenever_it_comes(words: str, place: Place) -> None:
    line = words.replace("OUT", "out").replace("NEW", "new")
    script = place.folder / "asking"
    script.write_text(f"#!/bin/sh\nkill -USR1 $PPID\necho {PASSWORD}\n")
    script.chmod(0o755)
    outcome = place.shell("ours", f"exec PROGRAM {line} --password-command {script}")
    assert outcome.code == (3 if "missing" in words else 0), outcome.err


def test_sigusr1_while_a_lock_is_held(place: Place) -> None:
    read, write = os.pipe()
    settings = {**place.environment, "RESTIC_REPOSITORY": str(place.folder / "ours"), "RESTIC_PASSWORD": PASSWORD}
    process = subprocess.Popen([sys.executable, "-m", "restic_tools", "backup", "--stdin"], stdin=read, env=settings)
    os.close(read)
    locks = place.folder / "ours" / "locks"
    while not list(locks.iterdir()):
        assert process.poll() is None
    for _ in range(5):
        process.send_signal(10)
    os.write(write, b"data")
    os.close(write)
    assert process.wait(timeout=60) == 0
    assert list(locks.iterdir()) == []


def test_sigusr1_before_the_command_is_loaded() -> None:
    program = "import os, restic_tools.cli as cli\ncli.main = lambda: os.kill(os.getpid(), 10) or 0\ncli.run()"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# SIGINT


def test_sigint_before_the_command_runs_ends_the_process_without_a_word() -> None:
    program = "import os, restic_tools.cli as cli\ncli.load = lambda entry: os.kill(os.getpid(), 2)\ncli.run()"
    done = subprocess.run([sys.executable, "-c", program, "snapshots"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-2, b"")


INTERRUPTED_AT = """
import os
from restic_format.storage.local import LocalStorage

def interrupted(name):
    before = getattr(LocalStorage, name)
    def call(self, kind, *rest, **more):
        if kind.value == "keys":
            os.kill(os.getpid(), 2)
        return before(self, kind, *rest, **more)
    setattr(LocalStorage, name, call)

interrupted(os.environ["CALL"])
from restic_tools.cli import run
run()
"""


@pytest.mark.parametrize(("words", "call"), [("passwd", "save"), ("passwd", "remove"), ("add", "save")])
def test_changing_keys_is_finished_and_told_when_interrupted(words: str, call: str, place: Place) -> None:
    settings = {**place.environment, "RESTIC_REPOSITORY": str(place.folder / "ours"), "RESTIC_PASSWORD": PASSWORD, "CALL": call}
    command = [sys.executable, "-c", INTERRUPTED_AT, "key", words, "--new-password-file", str(place.folder / "password")]
    done = subprocess.run(command, env=settings, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"saved new key" in done.stdout
    assert b"signal received" in done.stderr
    Repository.open(LocalStorage(str(place.folder / "ours")), "another")
    assert len(list((place.folder / "ours" / "keys").iterdir())) == (1 if words == "passwd" else 2)


# Large tables


def test_one_wide_cell_does_not_make_every_line_wide() -> None:
    table = Table(["ID", "Host", "Tags"])
    table.add(["1", "h" * 100_000, "\n".join("t" * 1000)])
    assert max(map(len, list(table.lines())[3:])) < 2000
    assert "h" * 100_000 in table.text()
