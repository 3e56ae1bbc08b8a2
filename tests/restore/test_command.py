"""The command line against the real one: the same words, messages, exit codes and files."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from restic_conformance.compare import differences, restorable, scan
from tests.restore.kit import T0, cheap_repo, environment, ours, restic

Peer = Callable[[str], Path]
Prepare = Callable[[Path], None]


@pytest.fixture(scope="module")
def repo(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two snapshots by restic 0.19."""
    base = tmp_path_factory.mktemp("command")
    source, repo = base / "src", cheap_repo(base / "repo")
    (source / "a" / "b").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "a" / "b" / "File").write_bytes(b"hello")
    (source / "a" / "g.txt").write_bytes(b"x" * 3000)
    os.link(source / "a" / "g.txt", source / "a" / "h.txt")
    (source / "a" / "zero").touch()
    (source / "a" / "link").symlink_to("g.txt")
    os.mkfifo(source / "a" / "pipe")
    (source / "new\nline").write_bytes(b"odd")
    for path in source.rglob("*"):
        os.utime(path, ns=(T0, T0), follow_symlinks=False)
    for extra in (["--tag", "old,x", "--host", "other"], ["--tag", "new", "--host", "here"]):
        done = restic(peer("restic-0.19"), repo, "backup", ".", *extra, cwd=source)
        assert done.returncode == 0, done.stderr
        (source / "only-in-second").write_bytes(b"2")
    return repo


def normal(raw: bytes) -> list[str]:
    """Lines without what differs from run to run: times, and the order in which threads finish files."""
    text = raw.decode("utf-8", "surrogateescape")
    text = re.sub(r" in \d+:\d\d", " in 0:00", text)
    text = re.sub(r"\(took [^)]*\)", "(took 0s)", text)
    text = re.sub(r'"seconds_elapsed":\d+,', "", text)
    return sorted(text.splitlines())


def nothing(_: Path) -> None:
    pass


def changed(folder: Path) -> None:
    out = folder / "out"
    (out / "a" / "b").mkdir(parents=True)
    (out / "a" / "b" / "File").write_bytes(b"HELLO")
    (out / "a" / "g.txt").write_bytes(b"x" * 3000)
    (out / "extra" / "deep").mkdir(parents=True)
    (out / "extra" / "deep" / "file").write_bytes(b"e")
    (out / "a" / "extra.txt").write_bytes(b"e")
    (out / "a" / "link").symlink_to("elsewhere")
    # A second name outside, which restic writes through and we do not; both call it updated.
    os.link(out / "a" / "b" / "File", folder.parent / f"second-{len(os.listdir(folder.parent))}")


def newer(folder: Path) -> None:
    changed(folder)
    os.utime(folder / "out" / "a" / "b" / "File", ns=(T0 + 10, T0 + 10))
    os.utime(folder / "out" / "a" / "g.txt", ns=(T0 - 10, T0 - 10))
    os.utime(folder / "out" / "a" / "link", ns=(T0 - 10, T0 - 10), follow_symlinks=False)


def same_but_time(folder: Path) -> None:
    changed(folder)
    os.utime(folder / "out" / "a" / "b" / "File", ns=(T0, T0))


def in_the_way(folder: Path) -> None:
    (folder / "out" / "a" / "g.txt" / "full").mkdir(parents=True)


MADE_HERE = frozenset({b".", b"out", b"out/below", b"out/below/here"})
"""Folders that belong to no snapshot, so that their times are those of the run."""

CASES: list[tuple[Prepare, list[str]]] = [
    (nothing, ["latest", "--target", "out"]),
    (nothing, ["latest", "--target", "out", "-vv"]),
    (nothing, ["latest", "--target", "out", "--quiet"]),
    (nothing, ["latest", "--target", "out", "--json", "-vv"]),
    (nothing, ["latest", "--target", "out", "--json", "-v", "--verify"]),
    (nothing, ["latest", "--target", "out", "--verify", "--sparse"]),
    (nothing, ["latest", "-t", "out/below/here", "--host", "other"]),
    (nothing, ["latest", "-t", "out", "--tag", "old", "--tag", "none"]),
    (nothing, ["latest", "-t", "out", "--tag", "old,none"]),
    (nothing, ["latest", "-t", "out", "--path", "/nowhere"]),
    (nothing, ["latest:a", "-t", "out", "-vv"]),
    (nothing, ["latest:/a/b/", "-t", "out", "-vv"]),
    (nothing, ["latest", "-t", "out", "-vv", "--include", "/a/b"]),
    (nothing, ["latest", "-t", "out", "-vv", "--include", "b/file"]),
    (nothing, ["latest", "-t", "out", "-vv", "--iinclude", "b/file"]),
    (nothing, ["latest", "-t", "out", "-vv", "--include", "*.txt", "--include", "!g.*"]),
    (nothing, ["latest", "-t", "out", "-vv", "--exclude", "*.txt"]),
    (nothing, ["latest", "-t", "out", "-vv", "--iexclude", "FILE", "-e", "/a/z*"]),
    (nothing, ["latest", "-t", "out", "-vv", "--exclude-file", "patterns"]),
    (nothing, ["latest", "-t", "out", "-vv", "--include-file", "patterns"]),
    (nothing, ["latest", "-t", "out", "-vv", "--iinclude-file", "patterns", "--json"]),
    (nothing, ["latest", "-t", "out", "--include", "nothing"]),
    (nothing, ["latest", "-t", "out", "-vv", "--include", "", "--include", "/a/b"]),
    (nothing, ["latest", "-t", "out", "-vv", "--include", "", "--iinclude", "B/FILE"]),
    (nothing, ["latest", "-t", "out", "-vv", "--exclude", ""]),
    (nothing, ["latest", "-t", "out", "-vv", "--iexclude", "", "--exclude", "/a"]),
    (nothing, ["latest", "-t", "out", "-vv", "--include-xattr", ""]),
    (nothing, ["latest", "-t", "out", "-vv", "--exclude-xattr", ""]),
    (nothing, ["latest", "-t", "out", "--dry-run", "-vv"]),
    (changed, ["latest", "-t", "out", "-vv"]),
    (changed, ["latest", "-t", "out", "-vv", "--json", "--verify"]),
    (changed, ["latest", "-t", "out", "-vv", "--delete"]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--json"]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--dry-run"]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--include", "/a"]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--include", ""]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--iinclude", ""]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--include-file", "empty"]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--include-file", "unset"]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--iinclude-file", "unset"]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--exclude", ""]),
    (changed, ["latest", "-t", "out", "-vv", "--delete", "--exclude", "/extra"]),
    (changed, ["latest", "-t", "out", "-vv", "--overwrite", "never"]),
    (changed, ["latest", "-t", "out", "-vv", "--overwrite=if-changed"]),
    (same_but_time, ["latest", "-t", "out", "-vv", "--overwrite=if-changed"]),
    (same_but_time, ["latest", "-t", "out", "-vv", "--overwrite=always"]),
    (newer, ["latest", "-t", "out", "-vv", "--overwrite=if-newer"]),
    (in_the_way, ["latest", "-t", "out"]),
    (in_the_way, ["latest", "-t", "out", "--json"]),
    (in_the_way, ["latest", "-t", "out", "--delete"]),
]


@pytest.mark.parametrize(
    ("prepare", "args"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else value.__name__
)
def test_as_restic_does_it(peer: Peer, repo: Path, tmp_path: Path, prepare: Prepare, args: Sequence[str]) -> None:
    results = []
    for name in ("theirs", "ours"):
        # The same path for both, because deleted items are named by it.
        folder = tmp_path / "work"
        folder.mkdir()
        prepare(folder)
        (folder / "patterns").write_text("# a comment\n\n  /a/b \n*.TXT\n")
        (folder / "empty").write_text("\n# nothing\n")
        (folder / "unset").write_text("$RESTIC_FORMAT_IS_NOT_SET\n")
        for file in ("patterns", "empty", "unset"):
            os.utime(folder / file, ns=(T0, T0))
        if name == "theirs":
            done = restic(peer("restic-0.19"), repo, "restore", *args, cwd=folder)
        else:
            done = ours(repo, "restore", *args, cwd=folder)
        kept = tmp_path / name
        folder.rename(kept)
        results.append((done, {path: facts for path, facts in restorable(scan(kept)).items() if path not in MADE_HERE}))
    (theirs, their_files), (mine, my_files) = results
    assert mine.returncode == theirs.returncode, mine.stderr
    # A name that would break the line is quoted here.
    expected = theirs.stdout.replace(b"/new\nline", b'"/new\\nline"')
    if prepare is in_the_way and "--delete" not in args:
        # restic counts what it failed to write as restored; we do not.
        expected = expected.replace(b"10 / 11 files/dirs (2.938 KiB /", b"9 / 11 files/dirs (9 B /")
        expected = expected.replace(b'_restored":10', b'_restored":9').replace(b'_restored":3009', b'_restored":9')
    assert normal(mine.stdout) == normal(expected)
    # What a restore leaves alone was made anew for each of the two, and has another time. And restic gives a folder that
    # stood in a file's way the file's mode.
    made_here = frozenset({"mtime_ns"} if prepare is not nothing else ()) | frozenset({"mode"} if prepare is in_the_way else ())
    assert [str(item) for item in differences(their_files, my_files, made_here)] == []
    if prepare is in_the_way:
        # The hard link to what could not be written fails too, with words of our own.
        assert len(normal(mine.stderr)) == len(normal(theirs.stderr))
    else:
        assert normal(mine.stderr) == normal(theirs.stderr)


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--target", "out"],
        ["latest"],
        ["a", "b", "--target", "out"],
        ["latest", "--target", "out", "-i", "a", "-e", "b"],
        ["latest", "--target", "out", "-i", "", "-e", "b"],
        ["latest", "--target", "out", "-i", "a", "-e", ""],
        ["latest", "--target", "out", "--iinclude", "", "--iexclude", ""],
        ["latest", "--target", "out", "--include-xattr", "", "--exclude-xattr", "b"],
        ["latest", "--target", "out", "--dry-run", "--verify"],
        ["latest", "--target", "/", "--delete"],
        ["latest", "--target", "/../.", "--delete"],
        ["latest", "--target", "out", "--overwrite", "foo"],
        ["latest", "--target", "out", "--include", "[a"],
        ["latest", "--target", "out", "--iexclude", "[a", "--iexclude", "b", "--iexclude", "[c"],
        ["latest", "--target", "out", "--include-xattr", "[a"],
        ["latest", "--target", "out", "--include-xattr", "a", "--exclude-xattr", "b"],
        ["nosuch", "--target", "out"],
        ["latest:/nosuch", "--target", "out"],
        ["latest:/a/g.txt", "--target", "out"],
        ["latest", "--target", "out", "--exclude-file", "missing"],
        ["latest", "--target", "out", "--nonsense"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_as_restic_refuses_it(peer: Peer, repo: Path, tmp_path: Path, args: list[str]) -> None:
    theirs = restic(peer("restic-0.19"), repo, "restore", *args, cwd=tmp_path)
    mine = ours(repo, "restore", *args, cwd=tmp_path)
    assert mine.returncode == theirs.returncode == 1
    assert os.listdir(tmp_path) == [] and b"Traceback" not in mine.stderr
    words = theirs.stderr.decode().removeprefix("Fatal: ").strip().split("\n")[0]
    if not words.startswith("unknown flag"):
        assert words in mine.stderr.decode()


def test_delete_on_the_root_with_a_filter_is_allowed_and_stays_within_it(repo: Path, tmp_path: Path) -> None:
    done = ours(repo, "restore", "latest", "--target", "/", "--delete", "--include", f"{tmp_path}/x", "--dry-run", "-vv")
    assert done.returncode == 0 and b"deleted" not in done.stdout


def test_status_messages(repo: Path, tmp_path: Path) -> None:
    import subprocess

    from tests.restore.kit import ours_command

    done = subprocess.run(
        ours_command(repo, "restore", "latest", "--target", "out", "--json"),
        cwd=tmp_path,
        env=environment(RESTIC_PROGRESS_FPS="60"),
        capture_output=True,
        check=True,
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert messages[-1]["message_type"] == "summary"
    order = ["message_type", "seconds_elapsed", "percent_done", "total_files", "files_restored", "files_skipped"]
    order += ["files_deleted", "total_bytes", "bytes_restored", "bytes_skipped"]
    for message in messages[:-1]:
        assert message["message_type"] == "status" and 0 <= message["percent_done"] <= 1
        assert list(message) == [key for key in order if key in message]


def test_every_option_of_restic_is_there(peer: Peer, repo: Path) -> None:
    def options(text: bytes) -> set[str]:
        flags = text.decode().partition("Global Flags")[0]
        return set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", flags, re.MULTILINE))

    theirs = options(restic(peer("restic-0.19"), repo, "restore", "--help").stdout)
    assert theirs and theirs <= options(ours(repo, "restore", "--help").stdout)


def test_damage_ends_with_exit_code_1_and_restores_the_rest(peer: Peer, repo: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "repo"
    shutil.copytree(repo, damaged)
    from restic_format.repository import Repository
    from restic_format.storage import LocalStorage
    from restic_spec.ids import id_of
    from restic_spec.pack import BlobType

    opened = Repository.open(LocalStorage(str(damaged)), "pw")
    opened.load_index()
    location = opened.index.lookup(BlobType.DATA, id_of(b"hello"))
    assert location is not None
    path = damaged / "data" / location.pack.hex()[:2] / location.pack.hex()
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[location.offset + 20] ^= 1
    path.write_bytes(data)
    theirs = restic(peer("restic-0.19"), damaged, "restore", "latest", "--target", "theirs", cwd=tmp_path)
    mine = ours(damaged, "restore", "latest", "--target", "ours", cwd=tmp_path)
    assert mine.returncode == theirs.returncode == 1
    assert b"ignoring error for /a/b/File: " in mine.stderr and id_of(b"hello").hex()[:8].encode() in mine.stderr
    assert mine.stderr.endswith(b"Fatal: There were 1 errors\n")
    assert (tmp_path / "ours" / "a" / "g.txt").read_bytes() == b"x" * 3000 and (tmp_path / "ours" / "new\nline").exists()
    assert normal(mine.stdout)[0] == normal(theirs.stdout)[0]
