"""What scripts rely on beside the common path: old flags, times, order, one damaged snapshot among good ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.tools.kit import PASSWORD, Filled, Outcome, Runner, new_repository

# Old flags


@pytest.mark.parametrize(
    "line", ["snapshots --last", "snapshots --last --json", "snapshots --last=false", "snapshots --json --last --group-by host"]
)
def test_snapshots_last(line: str, filled: Filled, run: Runner, restic_here: Runner) -> None:
    ours, theirs = run(*line.split()), restic_here(*line.split())
    assert (ours.code, ours.err) == (theirs.code, theirs.err)
    assert b"Flag --last has been deprecated, use --latest 1\n" in ours.err
    if "--json" in line and "group" not in line:
        ids = [[item["id"] for item in json.loads(outcome.out)] for outcome in (ours, theirs)]
        assert sorted(ids[0]) == sorted(ids[1])


def test_backup_hostname(empty: Path, run: Runner, restic_here: Runner, tmp_path: Path) -> None:
    for call in (run, restic_here):
        outcome = call("backup", "-q", "--hostname", "other", str(Path(__file__)))
        assert (outcome.code, outcome.err) == (0, b"Flag --hostname has been deprecated, use --host\n")
    assert {item["hostname"] for item in json.loads(run("snapshots", "--json").out)} == {"other"}


def test_hidden_flags_are_not_listed(run: Runner) -> None:
    for words in ("snapshots", "backup", "init"):
        page = run(words, "--help").out
        for flag in (b"--last ", b"--hostname", b"--repo2", b"--key-hint2", b"--password-file2"):
            assert flag not in page


SECOND = (
    (["--repo2", "OLD", "--password-file2", "FILE"], {}),
    (["--repository-file2", "WHERE", "--password-command2", "cat FILE"], {}),
    (["--repo2", "OLD", "--password-file2", "FILE", "--key-hint2", "abc"], {}),
    ([], {"RESTIC_REPOSITORY2": "OLD", "RESTIC_PASSWORD2": PASSWORD}),
    ([], {"RESTIC_REPOSITORY_FILE2": "WHERE", "RESTIC_PASSWORD_FILE2": "FILE"}),
    ([], {"RESTIC_REPOSITORY2": "OLD", "RESTIC_PASSWORD_COMMAND2": "cat FILE", "RESTIC_KEY_HINT2": "abc"}),
    (["--repo2", "OLD", "--from-password-file", "FILE"], {}),
    (["--repo2", "OLD", "--repository-file2", "WHERE"], {}),
    (["--from-repo", "OLD"], {"RESTIC_PASSWORD2": PASSWORD}),
    (["--from-repo", "OLD"], {"RESTIC_FROM_REPOSITORY_FILE": "WHERE"}),
    (["--from-repo", "OLD", "--from-password-file", "FILE"], {}),
    ([], {}),
)


@pytest.mark.parametrize("copying", [True, False])
@pytest.mark.parametrize(("words", "settings"), SECOND)
def test_the_second_repository_of_init(
    words: list[str],
    settings: dict[str, str],
    copying: bool,
    run: Runner,
    restic_here: Runner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new_repository(tmp_path / "old")
    (tmp_path / "file").write_text(PASSWORD)
    (tmp_path / "where").write_text(str(tmp_path / "old"))

    def known(text: str) -> str:
        for name in ("OLD", "FILE", "WHERE"):
            text = text.replace(name, str(tmp_path / name.lower()))
        return text

    for name, value in {"RESTIC_PASSWORD": "x", **settings}.items():
        monkeypatch.setenv(name, known(value))
    outcomes: list[Outcome] = []
    for number, call in enumerate((run, restic_here)):
        line = ["init", "-r", str(tmp_path / f"new{number}"), *words, *(["--copy-chunker-params"] if copying else [])]
        outcomes.append(call(*map(known, line)))
    ours, theirs = outcomes
    assert ours.code == theirs.code
    notes = [[line for line in outcome.err.splitlines() if line.startswith(b"Flag ")] for outcome in outcomes]
    assert notes[0] == notes[1]
    for text in (b"mutually exclusive", b"must only be specified when copying", b"Please specify a source"):
        assert (text in ours.err) == (text in theirs.err)


# backup --time


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_times_that_a_backup_may_have(zone: str, empty: Path, restic_here: Runner, spawn: Runner) -> None:
    times = (
        "2023-01-02 03:04:05",
        "2023-01-02 03:04:05.678",
        "2023-01-02 03:04:05,5",
        "2023-01-02 03:04:05.1234567891",
        "2023-01-02 3:04:05",
        "2023-01-02   03:04:05",
        "0000-01-01 00:00:00",
        "0000-12-31 23:00:00",
        "1850-01-01 00:00:00",
        "9999-12-31 23:59:59",
        "2024-02-29 01:00:00",
        "2024-03-31 02:30:00",
        "2024-10-27 02:30:00",
        "2024-03-10 02:30:00",
        "2024-11-03 01:30:00",
    )
    for text in times:
        outcome = restic_here("backup", "-q", "--time", text, str(Path(__file__)), env={"TZ": zone})
        assert outcome.code == 0, (text, outcome.err)
        (name,) = [path.name for path in (empty / "snapshots").iterdir()]
        stored = json.loads(restic_here("cat", "snapshot", name).out)["time"]
        code = "import sys; from restic_spec import gotime; from restic_tools.flagtypes import local_time; "
        code += "print(gotime.format_ns(local_time(sys.argv[1])), end='')"
        paths = os.pathsep.join(sys.path)
        ours = subprocess.run(
            [sys.executable, "-c", code, text], env={"TZ": zone, "PYTHONPATH": paths}, capture_output=True, check=True
        )
        assert ours.stdout.decode() == stored
        (empty / "snapshots" / name).unlink()
    for text in ("2023-01-02 03:04:05.5", "0000-01-01 00:00:00", "9999-12-31 23:59:59"):
        outcome = spawn("backup", "-q", "--time", text, str(Path(__file__)), env={**os.environ, "TZ": zone})
        assert outcome.code == 0, outcome.err
        (name,) = [path.name for path in (empty / "snapshots").iterdir()]
        assert json.loads(restic_here("cat", "snapshot", name).out)["time"].startswith(text.replace(" ", "T"))
        (empty / "snapshots" / name).unlink()


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-30 00:00:00",
        "2023-1-02 03:04:05",
        "2023-01-02 03:04:05.",
        "2023-01-02 03:04:05,",
        "2023-01-02 24:00:00",
        "2023-01-02 03:04:60",
        "2023-01-02 03:4:5",
        "2023-01-02 003:04:05",
        "2023-01-02T03:04:05",
        "2023-01-02 03:04:05Z",
        "2023-01-02",
        "now",
        "1900-02-29 01:00:00",
    ],
)
def test_times_that_are_refused(text: str, empty: Path, run: Runner, restic_here: Runner) -> None:
    for call in (run, restic_here):
        outcome = call("backup", "--time", text, str(Path(__file__)))
        assert outcome.code == 1
        assert outcome.err.startswith(b"Fatal: error in time option: ")
    assert list((empty / "snapshots").iterdir()) == []


# snapshots


@pytest.fixture
def unsorted(empty: Path, restic_here: Runner, tmp_path: Path) -> Path:
    """A repository whose only snapshot has its paths in another order than theirs."""
    for name in ("b", "a", "c"):
        (tmp_path / name).mkdir()
    assert restic_here("backup", "-q", *(str(tmp_path / name) for name in ("b", "a", "c"))).code == 0
    return empty


@pytest.mark.parametrize("grouping", [[], ["--group-by", "host"], ["--group-by", "paths"], ["--group-by", "tags"]])
def test_paths_are_shown_in_order(grouping: list[str], unsorted: Path, run: Runner, restic_here: Runner) -> None:
    ours, theirs = (call("snapshots", *grouping) for call in (run, restic_here))
    assert ours.out == theirs.out
    ours, theirs = (call("snapshots", "--json", *grouping) for call in (run, restic_here))
    assert json.loads(ours.out) == json.loads(theirs.out)


def test_a_group_with_nothing_in_common_has_no_heading(filled: Filled, run: Runner, restic_here: Runner) -> None:
    for call in (run, restic_here):
        headings = [line for line in call("snapshots", "--group-by", "tags").out.splitlines() if line.startswith(b"snapshots")]
        assert len(headings) == 2
        assert all(b"tags" in heading for heading in headings)


BAD: tuple[dict[str, object], ...] = (
    {"time": "yesterday"},
    {"time": 5},
    {"summary": {"backup_start": "now"}},
    {"summary": {"backup_start": 5}},
    {"summary": {"files_new": "many"}},
    {"summary": {"files_new": -1}},
    {"summary": {"files_new": 1.5}},
    {"summary": []},
    {"tags": "one"},
    {"uid": -1},
    {"tree": 5},
)


@pytest.mark.clause("SNAP-9")
def test_a_snapshot_that_cannot_be_told_hides_no_other(filled: Filled, run: Runner, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(filled.folder, folder)
    repo = Repository.open(LocalStorage(str(folder)), PASSWORD)
    (tree,) = {repo.load_snapshot(bytes.fromhex(filled.ids[0])).tree}
    bad = set()
    for change in BAD:
        document = {"time": "2020-01-01T00:00:00Z", "tree": tree, "paths": ["/x"], "hostname": "h", **change}
        bad.add(repo.save_unpacked(FileKind.SNAPSHOT, json.dumps(document).encode()).hex())
    outcome = run("snapshots", "--json", "-r", str(folder))
    assert outcome.code == 0
    assert {item["id"] for item in json.loads(outcome.out)} == set(filled.ids)
    assert all(f'Ignoring "{name}": '.encode() in outcome.err for name in bad)
    assert run("snapshots", "-r", str(folder)).code == 0


# Others


def test_key_remove_tells_programs_the_key(empty: Path, run: Runner, restic_here: Runner, tmp_path: Path) -> None:
    (first,) = [path.name for path in (empty / "keys").iterdir()]
    file = tmp_path / "password"
    file.write_text("another")
    for call, said in ((run, '{{"message_type":"key_removed","id":"{}"}}\n'), (restic_here, "")):
        assert run("key", "add", "--new-password-file", str(file)).code == 0
        (name,) = {path.name for path in (empty / "keys").iterdir()} - {first}
        outcome = call("key", "remove", name, "--json")
        assert (outcome.code, outcome.out, outcome.err) == (0, said.format(name).encode(), b"")


@pytest.mark.parametrize("words", ["backup .", "restore latest --target x", "snapshots --path x"])
def test_a_folder_that_is_gone(words: str, filled: Filled, environment: dict[str, str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone}; rmdir {gone}; exec {sys.executable} -m restic_tools {words}"
    settings = {**environment, "RESTIC_REPOSITORY": str(filled.folder), "RESTIC_PASSWORD": PASSWORD}
    done = subprocess.run(["/bin/sh", "-c", line], env=settings, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"getwd: no such file or directory" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_errors_of_the_system_are_in_lower_case(run: Runner, tmp_path: Path, empty: Path) -> None:
    for words in (["-p", str(tmp_path)], ["--password-command", str(tmp_path)]):
        assert any(text in run("snapshots", *words).err for text in (b": is a directory", b": permission denied"))
    check: Callable[[str], bytes] = lambda name: run("snapshots", "--repository-file", name, "--repo", "").err  # noqa: E731
    assert check(str(tmp_path)).endswith(b": is a directory\n")
