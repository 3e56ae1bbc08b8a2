"""The mounted tree beside that of restic 0.19.1, and beside a restore."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.mount import kit
from tests.restore.kit import cheap_repo, environment
from tests.restore.kit import ours as run_ours
from tests.restore.kit import restic as run_restic

PATH_TEMPLATES = (
    "ids/%i",
    "whole/%I",
    "hosts/%h/%T",
    "tags/%t/%T",
    "each/%t",
    "users/%u/%h/%i",
    "twice/%t/%t/%T",
    "in between/%T/%h/%t",
    "behind/%T-%i",
    "nothing",
    "no verb/%xx",
    "percent/%%%q/%h%",
    "static/folder/%u",
    "%h",
    "prefix-%T",
)
TIME_TEMPLATES = (
    "2006-01-02T15:04:05Z07:00",
    "2006/01/02_15-04-05",
    "Monday, 02-Jan-06 15:04:05 MST",
    "January|Jan|1|01|Mon|2|_2|02|__2|002|15|3|03|4|04|5|05|2006|06|PM|pm|_2006|Month|Janus|200|Z0700|Z07|Z070000|-0700|-07|-07:00|-07:00:00",
    "05.000|05,999|05.99999|05.0000000000|.00x|.009|12:0|same for all",
)


class Made(NamedTuple):
    repo: Path
    source: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path]) -> Made:
    """A repository that restic made: a tree with everything, and small snapshots of several hosts, times and tags."""
    folder = tmp_path_factory.mktemp("made")
    repo, source = cheap_repo(folder / "repo"), folder / "source"
    kit.make_tree(source)
    program = peer("restic-0.19")

    def backup(*args: str, zone: str = "UTC") -> None:
        command = [str(program), "--no-cache", "-r", str(repo), "backup", "-q", *args]
        subprocess.run(command, cwd=folder, env=environment(TZ=zone), check=True, capture_output=True, timeout=60)

    backup("source", "--host", "one", "--time", "2024-03-01 10:00:00")
    small = "source/dir/sub"
    for number, (host, zone, when, tags) in enumerate(
        (
            ("two", "Europe/Berlin", "1999-12-31 23:59:59", ["a,b"]),
            ("two", "Europe/Berlin", "2019-07-05 04:03:02", ["b"]),
            ("two", "America/St_Johns", "2019-07-05 04:03:02", ["..", ".", "x/y", "a b"]),
            ("two", "UTC", "2019-07-05 04:03:02", ["x/y"]),
            ("two", "UTC", "2019-07-05 04:03:02", ["b"]),
            ("a/b", "UTC", "2020-02-29 12:00:00", []),
        )
    ):
        marks = [part for tag in tags for part in ("--tag", tag)]
        backup(small, "--host", host, "--time", when, *marks, *(["--force"] if number else []), zone=zone)
    return Made(repo, source)


def places(folder: Path) -> Iterator[tuple[str, str]]:
    """What is above the snapshots: paths, and what they are or where they lead to."""
    for path, folders, _ in os.walk(folder):
        for name in list(folders):
            full = os.path.join(path, name)
            is_link = os.path.islink(full)
            yield os.path.relpath(full, folder), os.readlink(full) if is_link else "folder"
            if is_link or any(stat.S_ISREG(os.lstat(os.path.join(full, item)).st_mode) for item in os.listdir(full)):
                folders.remove(name)


def known_to_restic(seen: tuple[Any, ...]) -> tuple[Any, ...]:
    """What `kit.look` saw, without what restic shows wrong."""
    mode, uid, gid, mtime, size, _, *rest = seen
    return mode, uid, gid, mtime, size if not stat.S_ISFIFO(int(mode, 8)) else None, *rest


@pytest.mark.parametrize("layout", TIME_TEMPLATES)
def test_templates_give_the_names_that_restic_gives(
    made: Made, tmp_path: Path, peer: Callable[[str], Path], layout: str
) -> None:
    wanted = PATH_TEMPLATES if layout == TIME_TEMPLATES[0] else PATH_TEMPLATES[:5]
    args = [part for template in wanted for part in ("--path-template", template)]
    args += ["--time-template", layout]
    with (
        kit.ours(made.repo, tmp_path / "ours", *args, TZ="Europe/Berlin") as ours,
        kit.restic(peer("restic-0.19"), made.repo, tmp_path / "theirs", *args, TZ="Europe/Berlin") as theirs,
    ):
        assert dict(places(ours.folder)) == dict(places(theirs.folder))
        assert ours.said == ""


def test_the_mounted_tree_is_that_of_restic(made: Made, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    """Except for what restic shows wrong: times before 1970, device numbers, and links of pipes."""
    with (
        kit.ours(made.repo, tmp_path / "ours") as ours,
        kit.restic(peer("restic-0.19"), made.repo, tmp_path / "theirs") as theirs,
    ):
        assert ours.log.read_text().replace(str(ours.folder), "X") == theirs.log.read_text().replace(str(theirs.folder), "X")
        assert dict(places(ours.folder)) == dict(places(theirs.folder))
        for name in ("hosts/one/latest", "tags/b/latest"):
            a, b = (kit.look(program.folder / name, times=False) for program in (ours, theirs))
            assert {path: known_to_restic(seen) for path, seen in a.items()} == {
                path: known_to_restic(seen) for path, seen in b.items()
            }
        for name in ("hosts/one/latest/", "snapshots", "hosts/one/latest"):
            a, b = (os.lstat(program.folder / name) for program in (ours, theirs))
            assert (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid)
        a, b = (os.lstat(program.folder / "hosts/two/latest") for program in (ours, theirs))
        assert (a.st_mtime_ns, a.st_size, a.st_nlink) == (b.st_mtime_ns, b.st_size, b.st_nlink)
        assert ours.said == ""


def test_owners_are_root_if_asked_for(made: Made, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    with (
        kit.ours(made.repo, tmp_path / "ours", "--owner-root") as ours,
        kit.restic(peer("restic-0.19"), made.repo, tmp_path / "theirs", "--owner-root") as theirs,
    ):
        a, b = (kit.look(program.folder / "hosts/one/latest", times=False) for program in (ours, theirs))
        assert {path: seen[:4] for path, seen in a.items()} == {path: seen[:4] for path, seen in b.items()}
        assert {item[1:3] for item in a.values()} == {(0, 0)}


def test_filters(made: Made, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    args = ["-H", "two", "--tag", "b", "--path", str(made.source / "dir" / "sub")]
    with (
        kit.ours(made.repo, tmp_path / "ours", *args) as ours,
        kit.restic(peer("restic-0.19"), made.repo, tmp_path / "theirs", *args) as theirs,
    ):
        shown = dict(places(ours.folder))
        assert shown == dict(places(theirs.folder))
        assert len([name for name in shown if name.startswith("ids/") and name.count("/") == 1]) == 3


def test_the_mounted_tree_is_what_is_restored(made: Made, tmp_path: Path) -> None:
    target = tmp_path / "restored"
    assert run_ours(made.repo, "restore", "latest", "--host", "one", "--target", str(target)).returncode == 0
    restored = target / "source"
    with kit.ours(made.repo, tmp_path / "ours") as ours:
        mounted = ours.folder / "hosts/one/latest" / "source"
        assert kit.look(mounted) == kit.look(restored) == kit.look(made.source)
        # Directories have as many links as they have directories in them, and two.
        assert os.lstat(mounted).st_nlink == 4
        # The names of one file have one inode, and no two files do.
        inodes: dict[int, set[str]] = {}
        for name in kit.entries(os.fsencode(mounted)):
            inodes.setdefault(os.lstat(os.path.join(os.fsencode(mounted), name)).st_ino, set()).add(os.fsdecode(name))
        assert [names for names in inodes.values() if len(names) > 1] == [{"a.txt", "another", "dir/hard"}]
        assert os.lstat(mounted / "sparse").st_blocks == -(-5_000_001 // 512)
        again = {name: os.lstat(mounted / name).st_ino for name in ("a.txt", "dir", "dir/sub/small 3", "null")}
    with kit.ours(made.repo, tmp_path / "again") as ours:
        mounted = ours.folder / "hosts/one/latest" / "source"
        assert {name: os.lstat(mounted / name).st_ino for name in again} == again


@pytest.mark.parametrize("case", ["none", "two", "missing", "file", "inside", "same", "around", "empty", "slash"])
def test_mount_points_that_cannot_be_used(made: Made, tmp_path: Path, peer: Callable[[str], Path], case: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "fine").mkdir()
    words = {
        "none": [],
        "two": [str(tmp_path / "missing"), "x"],
        "missing": [str(tmp_path / "missing")],
        "file": [str(tmp_path / "file")],
        "inside": [str(made.repo / "data")],
        "same": [str(made.repo)],
        "around": [str(made.repo.parent)],
        "empty": [str(tmp_path / "fine"), "--time-template", ""],
        "slash": [str(tmp_path / "fine"), "--time-template", "2006/"],
    }[case]
    ours, theirs = run_ours(made.repo, "mount", *words), run_restic(peer("restic-0.19"), made.repo, "mount", *words)
    assert ours.returncode == theirs.returncode == 1
    if case != "two":
        assert ours.stderr == theirs.stderr
