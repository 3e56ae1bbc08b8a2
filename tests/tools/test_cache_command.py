"""The local cache beside real restic's: shared, listed and cleaned up alike."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.tools.kit import Filled, Runner

CACHED = ("-o", "local.cache=true")
"""As for a repository that is not on this machine."""


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of all caches that both programs use."""
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "caches"))
    return tmp_path / "caches"


@pytest.fixture
def work(filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one's own with three snapshots, named in the environment."""
    shutil.copytree(filled.folder, tmp_path / "work")
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "work"))
    return tmp_path / "work"


def content(base: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its mode and size (0 for folders)."""
    found = {}
    for path in sorted(base.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(base))] = (status.st_mode, 0 if stat.S_ISDIR(status.st_mode) else status.st_size)
    return found


def files(base: Path, kind: str) -> set[str]:
    return {path.name for path in base.glob(f"*/{kind}/*/*")}


@pytest.mark.clause("CACHE-1", "CACHE-2")
@pytest.mark.parametrize("command", [("ls", "latest"), ("snapshots",), ("backup", "-q", "SOURCE")])
def test_it_is_restics_to_the_last_mode(
    command: tuple[str, ...], base: Path, work: Path, run: Runner, restic_here: Runner, filled: Filled
) -> None:
    words = [str(filled.source) if word == "SOURCE" else word for word in command]
    found = []
    for call, flags in ((restic_here, ()), (run, CACHED)):
        assert call(*words, *flags).code == 0
        found.append(content(base))
        shutil.rmtree(base)
    theirs, ours = found
    if command[0] == "backup":
        # What a backup writes has other names each time; what it reads of its parent is the same.
        assert {mode for mode, _ in ours.values()} == {mode for mode, _ in theirs.values()}
        kinds = [sorted(name.split("/")[1] for name in each if name.count("/") == 3) for each in (ours, theirs)]
        assert set(kinds[0]) == set(kinds[1])
    else:
        assert ours == theirs


@pytest.mark.clause("CACHE-1")
def test_a_cache_that_restic_filled_is_used(base: Path, work: Path, run: Runner, restic_here: Runner) -> None:
    assert restic_here("ls", "latest").code == 0
    plain = run("ls", "latest", "--no-cache").out
    # What is only in the cache is read from there: the packs are gone, and their trees are listed all the same.
    for pack in work.glob("data/*/*"):
        pack.unlink()
    assert run("ls", "latest", "--no-cache").code == 1
    done = run("ls", "latest", *CACHED)
    assert (done.code, done.out) == (0, plain)


@pytest.mark.clause("CACHE-1")
def test_a_cache_that_we_filled_is_used_by_restic(base: Path, work: Path, run: Runner, restic_here: Runner) -> None:
    assert run("ls", "latest", *CACHED).code == 0
    plain = restic_here("ls", "latest", "--no-cache").out
    for pack in work.glob("data/*/*"):
        pack.unlink()
    assert restic_here("ls", "latest", "--no-cache").code == 1
    done = restic_here("ls", "latest")
    assert (done.code, done.out) == (0, plain)


def test_backups_in_turns_keep_one_cache(
    base: Path, work: Path, run: Runner, restic_here: Runner, filled: Filled, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(filled.source, source, symlinks=True, ignore=lambda folder, names: {"pipe"} & set(names))
    for number, call in enumerate((run, restic_here, run, restic_here)):
        (source / f"new{number}").write_text(str(number))
        flags = CACHED if call is run else ()
        assert call("backup", "-q", str(source), *flags).code == 0
        assert files(base, "snapshots") == {path.name for path in (work / "snapshots").iterdir()}
        assert files(base, "index") == {path.name for path in (work / "index").iterdir()}
    assert files(base, "data") < {path.name for path in work.glob("data/*/*")}
    assert restic_here("check", "--read-data").code == 0
    # What restic removes is gone from the cache when we have looked, and the other way.
    assert restic_here("forget", "--keep-last", "1", "--prune", "-q", "--no-cache").code == 0
    assert run("snapshots", *CACHED).code == 0
    assert files(base, "snapshots") == {path.name for path in (work / "snapshots").iterdir()}
    assert run("ls", "latest", *CACHED).code == 0
    assert files(base, "index") == {path.name for path in (work / "index").iterdir()}


def test_a_damaged_cache_changes_nothing(base: Path, work: Path, run: Runner, restic_here: Runner) -> None:
    plain = run("ls", "latest", "--no-cache").out
    assert restic_here("ls", "latest").code == 0
    damaged = [path for kind in ("data", "index", "snapshots") for path in base.glob(f"*/{kind}/*/*")]
    before = {path: path.read_bytes() for path in damaged}
    assert len(damaged) >= 5
    for path, raw in before.items():
        path.write_bytes(raw[:40] + bytes([raw[40] ^ 1]) + raw[41:])
    done = run("ls", "latest", *CACHED)
    assert (done.code, done.out, done.err) == (0, plain, b"")
    assert {path: path.read_bytes() for path in damaged} == before, "fetched again"


@pytest.mark.parametrize("flags", [(), ("--with-cache",)])
def test_check_reads_the_repository_itself(flags: tuple[str, ...], base: Path, work: Path, run: Runner) -> None:
    assert run("ls", "latest", *CACHED).code == 0
    assert run("check", *flags, *CACHED).code == 0
    for path in (work / "index").iterdir():
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert run("ls", "latest", *CACHED).code == 0
    assert run("check", *flags, *CACHED).code == 1


@pytest.mark.parametrize("flags", [("--no-cache",), (), ("-o", "local.cache=false")])
def test_a_repository_on_this_machine_needs_no_cache(flags: tuple[str, ...], base: Path, filled: Filled, run: Runner) -> None:
    assert run("ls", "latest", *flags).code == 0
    assert not base.exists()


def test_the_option_is_true_or_false(filled: Filled, run: Runner) -> None:
    done = run("snapshots", "-o", "local.cache=perhaps")
    assert (done.code, done.err) == (1, b"Fatal: option local.cache: 'perhaps' is neither true nor false\n")


@pytest.mark.parametrize("trouble", ["a file", "another version", "nowhere"])
def test_a_cache_that_cannot_be_used_is_told_and_done_without(
    trouble: str, base: Path, filled: Filled, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run("ls", "latest", "--no-cache").out
    if trouble == "a file":
        base.write_bytes(b"")
    elif trouble == "another version":
        assert run("snapshots", *CACHED).code == 0
        next(base.glob("*/version")).write_bytes(b"2")
    else:
        for name in ("RESTIC_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
            monkeypatch.delenv(name, raising=False)
    done = run("ls", "latest", *CACHED)
    assert (done.code, done.out) == (0, plain)
    assert done.err.startswith(b"unable to open cache: ")
    assert done.err.count(b"\n") == 1


# Two at once, and no room


def _start(words: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, env={**environment, **_settings()}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RESTIC_")}


def test_several_processes_at_once(
    base: Path, work: Path, environment: dict[str, str], peer: Callable[[str], Path], run: Runner
) -> None:
    plain = run("ls", "latest", "--no-cache").out
    ours = [sys.executable, "-m", "restic_tools", "ls", "latest", *CACHED]
    theirs = [str(peer("restic-0.19")), "ls", "latest"]
    programs = [_start(words, environment) for words in (ours, theirs, ours, ours, theirs, ours)]
    results = [program.communicate(timeout=120) for program in programs]
    assert [program.returncode for program in programs] == [0] * 6, results
    assert {out for (out, _), program in zip(results, programs, strict=True) if program.args == ours} == {plain}
    assert [err for _, err in results if err] == []
    assert list(base.rglob("tmp-*")) == []
    for path in base.glob("*/*/*/*"):
        assert path.read_bytes() == next(work.rglob(path.name)).read_bytes()


@pytest.mark.parametrize("room", ["none", "some"])
def test_a_full_disk(room: str, work: Path, environment: dict[str, str], tmp_path: Path, run: Runner, filled: Filled) -> None:
    plain = run("ls", "latest", "--no-cache").out
    mounted = tmp_path / "small"
    mounted.mkdir()
    inodes = {"none": "1", "some": "9"}[room]
    script = (
        f'mount -t tmpfs -o size=64k,nr_inodes={inodes} tmpfs "$1" && export RESTIC_CACHE_DIR="$1/c" && shift && '
        '"$@" ls latest -o local.cache=true && "$@" backup -q "$SOURCE" -o local.cache=true'
    )
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(mounted), sys.executable, "-m", "restic_tools"]
    done = subprocess.run(
        words,
        env={**environment, **_settings(), "SOURCE": str(filled.source)},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, plain), done.stderr
    said = {"none": b"unable to open cache: mkdir ", "some": b"the cache is not written to any more: write "}[room]
    assert done.stderr.count(said) == done.stderr.count(b"\n") == 2
    assert len(json.loads(run("snapshots", "--json").out)) == 4


def test_a_read_only_disk(
    base: Path, work: Path, environment: dict[str, str], tmp_path: Path, run: Runner, filled: Filled
) -> None:
    plain = run("ls", "latest", "--no-cache").out
    assert run("snapshots", *CACHED).code == 0
    before = content(base)
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && "$@" ls latest -o local.cache=true'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(base), sys.executable, "-m", "restic_tools"]
    done = subprocess.run(words, env={**environment, **_settings()}, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, plain), done.stderr
    assert done.stderr.startswith(b"the cache is not written to any more: write ")
    assert done.stderr.endswith(b": read-only file system\n")
    assert content(base) == before


def test_a_place_where_no_folder_can_be_made(work: Path, run: Runner) -> None:
    plain = run("ls", "latest", "--no-cache").out
    # procfs says of a folder to be made that it does not exist, and so does autofs.
    done = run("ls", "latest", "--cache-dir", "/proc/none/caches", *CACHED)
    assert (done.code, done.out) == (0, plain)
    assert re.fullmatch(rb"unable to open cache: mkdir /proc/none/caches/[0-9a-f]{64}: no such file or directory\n", done.err)
    done = run("-r", "/proc/none/repository", "init")
    assert (done.code, done.err) == (1, b"Fatal: mkdir /proc/none/repository: no such file or directory\n")


# The command


def older(base: Path, days: float) -> None:
    for path in base.iterdir():
        if path.is_dir():
            then = time.time() - days * 24 * 3600
            os.utime(path, (then, then))


@pytest.mark.parametrize("days", [0, 3, 31])
@pytest.mark.parametrize("flags", ["", "--no-size", "--max-age 3", "--max-age 0 --no-size", "--max-age=2 -q"])
def test_the_table_is_restics(days: int, flags: str, base: Path, work: Path, run: Runner, restic_here: Runner) -> None:
    assert run("ls", "latest", *CACHED).code == 0
    (base / "restic-check-cache-77").mkdir()
    older(base, days + 0.1)
    ours, theirs = run("cache", *flags.split()), restic_here("cache", *flags.split())
    assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err)
    assert ours.code == 0


@pytest.mark.parametrize(
    "words", ["cache", "cache --cleanup", "cache --cleanup -q", "cache x", "cache --no-cache", "cache --max-age -1"]
)
def test_without_caches_and_wrong_uses(words: str, base: Path, run: Runner, restic_here: Runner) -> None:
    ours, theirs = run(*words.split()), restic_here(*words.split())
    assert (ours.code, ours.out) == (theirs.code, theirs.out)
    if "-1" not in words:
        assert ours.err == theirs.err.replace(b"`restic help", b"`restic-format help")


@pytest.mark.parametrize("words", ["cache --cleanup", "cache --cleanup --max-age 4", "cache --cleanup-cache --max-age 2"])
def test_cleaning_up(words: str, base: Path, work: Path, run: Runner, restic_here: Runner) -> None:
    outcomes = []
    for call in (run, restic_here):
        shutil.rmtree(base, ignore_errors=True)
        assert run("snapshots", *CACHED).code == 0
        (base / ("a" * 64)).mkdir()
        (base / "photos").mkdir()
        older(base, 3)
        older_one = base / ("a" * 64)
        os.utime(older_one, (0, 0))
        done = call(*words.split())
        outcomes.append((done.code, done.out, done.err, set(content(base))))
    assert outcomes[0] == outcomes[1]
    assert not (base / ("a" * 64)).exists()
    assert (base / "photos").exists()


def test_the_messages(base: Path, work: Path, run: Runner) -> None:
    assert json.loads(run("cache", "--json").out) == []
    assert run("ls", "latest", *CACHED).code == 0
    [found] = json.loads(run("cache", "--json").out)
    size = sum(path.stat().st_size for path in base.glob("*/**/*") if path.is_file())
    assert (found["repository_id"], found["old"], found["size"]) == (next(base.glob("*/version")).parent.name, False, size)
    assert found["last_used"].startswith("20")
    assert "size" not in json.loads(run("cache", "--json", "--no-size", "--max-age", "0").out)[0]
    done = run("cache", "--json", "--cleanup", "--max-age", "0")
    assert json.loads(done.out) == {"message_type": "summary", "removed": [found["repository_id"]], "failed": []}
    assert json.loads(run("cache", "--json").out) == []


def test_old_caches_go_with_the_flag(base: Path, work: Path, run: Runner) -> None:
    assert run("snapshots", *CACHED).code == 0
    (base / ("a" * 64)).mkdir()
    older(base, 31)
    assert run("list", "keys", "--no-cache", "--cleanup-cache").code == 0
    assert run("list", "keys", *CACHED).code == 0
    assert (base / ("a" * 64)).exists()
    done = run("list", "keys", "--cleanup-cache")
    assert (done.code, done.err) == (0, b"")
    assert [path.name for path in base.iterdir() if path.is_dir()] == [next(base.glob("*/version")).parent.name]


def test_the_password_is_not_needed_for_it(base: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTIC_PASSWORD", raising=False)
    monkeypatch.delenv("RESTIC_REPOSITORY", raising=False)
    done = run("cache")
    assert (done.code, done.err) == (0, b"")
