"""The command line, beside restic's: same words, same messages, same exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.keyfile import Kdf
from tests.backup.sources import PASSWORD

ROOT = Path(__file__).resolve().parents[2]

LESS_PRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
"""Even root minds permissions then."""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Pair:
    """restic and this program, each with a repository of its own that has the same polynomial."""

    def __init__(self, restic: Path, place: Path) -> None:
        self.place = place
        self.programs = {"restic": [str(restic), "--no-cache"], "ours": [sys.executable, "-m", "restic_tools"]}
        seed = place / "seed"
        Repository.init(LocalStorage(str(seed)), PASSWORD, kdf=Kdf(1024, 8, 1, bytes(range(64))))
        for name in self.programs:
            shutil.copytree(seed, place / name)
        paths = (ROOT, ROOT / "spec", ROOT / "tools")
        self.env = {
            "PATH": os.environ["PATH"],
            "RESTIC_PASSWORD": PASSWORD,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "HOME": str(place),
        }

    def command(self, name: str, *arguments: str) -> list[str]:
        return [*self.programs[name], "-r", str(self.place / name), *arguments]

    def run(self, name: str, *arguments: str, stdin: bytes | None = None, before: list[str] | None = None) -> Ran:
        done = subprocess.run(
            [*(before or []), *self.command(name, *arguments)],
            input=stdin,
            capture_output=True,
            env=self.env,
            cwd=self.place / "work",
        )
        return Ran(done.returncode, _plain(done.stdout), _plain(done.stderr))

    def both(self, *arguments: str, stdin: bytes | None = None, before: list[str] | None = None) -> Ran:
        """Run the same with both programs: they must say the same, lines in any order. Gives what ours said."""
        theirs, ours = (self.run(name, *arguments, stdin=stdin, before=before) for name in self.programs)
        assert ours.code == theirs.code, (theirs, ours)
        assert sorted(ours.out.splitlines()) == sorted(theirs.out.splitlines())
        assert sorted(ours.err.splitlines()) == sorted(theirs.err.splitlines())
        return ours


def _plain(raw: bytes) -> str:
    """Without what differs between two runs of one program: ids, times, sizes of compressed data."""
    text = raw.decode()
    for pattern, plain in (
        (r'^.*"message_type":"status".*\n', ""),
        (r'"(total_duration|duration)":[0-9.e-]+', r'"\1":T'),
        (r'"backup_(start|end)":"[^"]*"', r'"backup_\1":T'),
        (r'"(data_size_in_repo|metadata_size_in_repo|data_added_packed)":\d+', r'"\1":N'),
        (r"\b[0-9a-f]{64}\b", "<ID>"),
        (r"\b[0-9a-f]{8}\b", "<id>"),
        (r"\b\d+:\d\d\b", "M:SS"),
        (r"in \d+\.\d+s", "in Ts"),
        (r"[\d.]+ [KM]?i?B(?= +stored| metadata)", "N"),
    ):
        text = re.sub(pattern, plain, text, flags=re.MULTILINE)
    return text


def _parsed(text: str) -> Any:
    """JSON that went through `_plain`."""
    return json.loads(re.sub(r'(":)[TN]\b', r"\g<1>0", text))


@pytest.fixture
def pair(peer: Callable[[str], Path], tmp_path: Path) -> Pair:
    work = tmp_path / "work"
    (work / "s" / "d").mkdir(parents=True)
    for name in ("one", "two", "d/three", "d/odd\n<name>"):
        (work / "s" / name).write_text(name * 100)
    return Pair(peer("restic-0.19"), tmp_path)


def test_first_and_second_backup(pair: Pair) -> None:
    first = pair.both("backup", "s")
    assert "no parent snapshot found, will read all files" in first.out
    assert "Files:           4 new,     0 changed,     0 unmodified" in first.out
    second = pair.both("backup", "s")
    assert "using parent snapshot <id>" in second.out
    (pair.place / "work" / "s" / "one").write_text("changed")
    pair.both("backup", "s", "-vv")
    assert "skipped creating snapshot" in pair.both("backup", "s", "--skip-if-unchanged").out
    pair.both("backup", "s/d", "--dry-run", "-vv")


def test_json(pair: Pair) -> None:
    first = pair.both("backup", "s", "--json", "--verbose")
    messages = [_parsed(line) for line in first.out.splitlines()]
    assert {message["message_type"] for message in messages} == {"verbose_status", "summary"}
    assert first.out.startswith('{"message_type":')
    pair.both("backup", "s", "--json", "--dry-run")
    pair.both("backup", "s", "missing", "--json", "--quiet")


def test_status_messages_are_whole_json(pair: Pair) -> None:
    (pair.place / "work" / "big").write_bytes(os.urandom(30_000_000))
    env = {**pair.env, "RESTIC_PROGRESS_FPS": "60"}
    done = subprocess.run(
        pair.command("ours", "backup", "--json", "s", "big"), env=env, cwd=pair.place / "work", capture_output=True, check=True
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    statuses = [message for message in messages if message["message_type"] == "status"]
    assert statuses and all(0 <= message["percent_done"] <= 1 for message in statuses)
    assert messages[-1]["message_type"] == "summary"
    total = 30_000_000 + sum(path.stat().st_size for path in (pair.place / "work" / "s").rglob("*") if path.is_file())
    assert messages[-1]["total_bytes_processed"] == total
    assert statuses[-1]["total_bytes"] in (0, total) or statuses[-1]["total_bytes"] < total


def test_what_cannot_be_read(pair: Pair) -> None:
    source = pair.place / "work" / "s"
    (source / "closed").mkdir()
    (source / "no-entry").mkdir()
    (source / "no-entry" / "f").touch()
    (source / "two").chmod(0)
    (source / "closed").chmod(0)
    (source / "no-entry").chmod(0o600)
    before = LESS_PRIVILEGED if os.geteuid() == 0 else None
    ran = pair.both("backup", "s", before=before)
    assert ran.code == 3
    assert "Warning: at least one source file could not be read" in ran.err
    assert pair.both("backup", "s", "--json", before=before).code == 3


@pytest.mark.clause("SNAP-14")
def test_targets_of_which_nothing_can_be_read_make_no_snapshot(pair: Pair) -> None:
    work = pair.place / "work"
    for name in ("one", "s/one"):
        (work / name).touch()
        (work / name).chmod(0)
    (work / "closed").mkdir(mode=0)
    before = LESS_PRIVILEGED if os.geteuid() == 0 else None
    for words, code in ((["one"], 1), (["closed"], 1), (["one", "closed"], 1), (["s/one"], 3)):
        theirs, ours = (pair.run(name, "backup", *words, before=before) for name in pair.programs)
        assert ours.code == theirs.code == code, (theirs, ours)
        if code == 1:
            assert ours.err.startswith(theirs.err.rstrip()), (theirs, ours)
    message = json.loads(pair.run("ours", "backup", "one", "--json", before=before).err.splitlines()[-1])
    assert (message["code"], message["message"][:52]) == (1, "Fatal: unable to save snapshot: snapshot is empty; c")
    for name in pair.programs:
        assert len(list((pair.place / name / "snapshots").iterdir())) == 1


def test_targets_that_are_not_there(pair: Pair) -> None:
    assert pair.both("backup", "missing", "s").code == 3
    assert pair.both("backup", "missing").code == 1
    assert pair.both("backup").code == 1


def test_lists_of_targets(pair: Pair) -> None:
    work = pair.place / "work"
    (work / "patterns").write_text("# all\n s/* \nnothing*\n")
    (work / "lines").write_text("s/one\n\nnot-there\n")
    (work / "raw").write_bytes(b"s/one\0s/d/odd\n<name>\0")
    (work / "cut").write_bytes(b"s/one\0s/two")
    pair.both("backup", "--files-from", "patterns", "-vv")
    pair.both("backup", "--files-from", "patterns", "--files-from-raw", "raw")
    assert pair.both("backup", "--files-from-verbatim", "lines").code == 3
    pair.both("backup", "--files-from", "-", stdin=b"s/t*\n")
    assert pair.run("ours", "backup", "--files-from-raw", "cut").code == 1


def test_excludes(pair: Pair) -> None:
    work = pair.place / "work"
    (work / "s" / "cache").mkdir()
    (work / "s" / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    (work / "s" / "cache" / "data").touch()
    (work / "patterns").write_text("# none\n*ree\n$HOME/nothing\n")
    pair.both("backup", "s", "-vv", "-e", "t*", "--iexclude", "ONE", "--exclude-caches")
    pair.both(
        "backup", "s", "-vv", "--exclude-file", "patterns", "--exclude-larger-than", "350b", "--exclude-if-present", "one"
    )
    assert pair.both("backup", "s", "-e", "[a").code == 1


def test_streams(pair: Pair) -> None:
    def at(second: int) -> tuple[str, str]:
        """Fixed times, for their digits count in the tree's size; no two the same, for the newest is the parent."""
        return "--time", f"2020-01-02 03:04:0{second}"

    pair.both("backup", "--stdin", *at(1), stdin=b"some data")
    pair.both("backup", "--stdin", "--stdin-filename", "a/b", "--json", *at(2), stdin=b"some data")
    assert pair.both("backup", "--stdin", *at(3), stdin=b"").code == 3
    pair.both("backup", "--stdin-from-command", *at(4), "--", "sh", "-c", "echo err >&2; sleep 0.3; echo out")
    assert pair.both("backup", "--stdin", "s").code == 1
    for command in ("exit 3", "echo half; kill -9 $$", "kill -15 $$", "kill -35 $$"):
        theirs, ours = (pair.run(name, "backup", "--stdin-from-command", "--", "sh", "-c", command) for name in pair.programs)
        how = theirs.err.splitlines()[-1].rpartition("command failed: ")[2]
        assert ours.code == theirs.code == 1 and f"command failed: {how};" in ours.err, (theirs, ours)
    # What is on our standard input is not for the command.
    ours = pair.both("backup", "--stdin-from-command", *at(5), "--", "sh", "-c", "cat; echo out", stdin=b"not for it\n")
    assert "processed 1 files, 4 B" in ours.out


def test_a_loop_that_reads_lines_backs_up_each(pair: Pair) -> None:
    ours = " ".join(pair.command("ours", "backup", "-q", "--stdin-from-command", "--", "sh", "-c"))
    loop = f'while read line; do {ours} "echo $line; cat" || exit; done'
    subprocess.run(["sh", "-c", loop], input=b"one\ntwo\nthree\n", env=pair.env, cwd=pair.place / "work", check=True)
    assert len(list((pair.place / "ours" / "snapshots").iterdir())) == 3


def test_what_is_at_the_top_of_a_relative_target_is_called_by_its_name(pair: Pair) -> None:
    (pair.place / "work" / "top").write_text("x")
    for words in (["-vv"], ["-vv"], ["--json", "-vv"]):
        pair.both("backup", ".", *words)


def test_parents(pair: Pair) -> None:
    pair.both("backup", "s", "--host", "a", "--tag", "x,y", "--time", "2020-01-02 03:04:05")
    pair.both("backup", "s", "--host", "b")
    pair.both("backup", "s", "--host", "a", "--time", "2019-01-01 00:00:00")
    pair.both("backup", "s", "--host", "c", "--group-by", "paths")
    pair.both("backup", "s/d", "--host", "b", "--group-by", "")
    pair.both("backup", "s", "--force")
    assert pair.both("backup", "s", "--parent", "ffffff").code == 1
    snapshots = [_parsed(pair.run(name, "snapshots", "--json").out) for name in ("restic", "ours")]
    for theirs, ours in zip(*snapshots, strict=True):
        assert ours["program_version"].startswith("restic-format ")
        same = ("paths", "hostname", "username", "uid", "gid", "tags", "excludes")
        assert {name: ours.get(name) for name in same} == {name: theirs.get(name) for name in same}
        assert ("parent" in ours) == ("parent" in theirs)


@pytest.mark.clause("ORDER-6")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(pair: Pair, number: signal.Signals) -> None:
    (pair.place / "work" / "big").write_bytes(os.urandom(200_000_000))
    process = subprocess.Popen(pair.command("ours", "backup", "--pack-size", "4", "big"), env=pair.env, cwd=pair.place / "work")
    packs = pair.place / "ours" / "data"
    deadline = time.monotonic() + 60
    while sum(1 for path in packs.rglob("?" * 64)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert not list((pair.place / "ours" / "locks").iterdir())
    assert not list((pair.place / "ours" / "snapshots").iterdir())
    restic = [pair.programs["restic"][0], "--no-cache", "-r", str(pair.place / "ours")]
    check = subprocess.run([*restic, "check", "--read-data"], env=pair.env, capture_output=True, text=True)
    assert check.returncode == 0 and "no errors were found" in check.stdout, check
    assert "not referenced in any index" not in check.stdout + check.stderr
    done = subprocess.run([*restic, "backup", "--json", "big"], env=pair.env, cwd=pair.place / "work", capture_output=True)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert 0 < summary["data_added"] < 195_000_000


def test_ignore_files_and_another_path(pair: Pair) -> None:
    work = pair.place / "work"
    (pair.place / ".config" / "git").mkdir(parents=True)
    (pair.place / ".config" / "git" / "ignore").write_text("*.user\n")
    (work / "s" / ".git").mkdir()
    for name, text in ((".gitignore", "two\n"), (".own", "three\n"), ("x.user", "x")):
        (work / "s" / name).write_text(text)
    options = ("--git-ignore", "--custom-ignorefile", ".own", "--as-path", "/as")
    ran = pair.run("ours", "backup", *options, "s", "-vv", "--dry-run")
    items = {line.split()[1].rstrip(",") for line in ran.out.splitlines() if line.startswith("new ")}
    assert items == {"/as/", "/as/.git/", "/as/.gitignore", "/as/.own", "/as/d/", '"/as/d/odd\\n<name>"', "/as/one"}
    assert pair.run("ours", "backup", *options, "s").code == 0
    again = pair.run("ours", "backup", *options, "s")
    assert "using parent snapshot" in again.out and "0 new,     0 changed,     4 unmodified" in again.out
    assert pair.run("ours", "backup", "s", "--custom-ignorefile", "a/b").code == 1
    for path, words, text in (
        ("/as", ("s", "s/one"), "takes one file"),
        ("/as", ("--stdin",), "--stdin-filename"),
        ("", ("s",), "needs a path"),
    ):
        refused = pair.run("ours", "backup", "--as-path", path, *words)
        assert refused.code == 1 and text in refused.err
