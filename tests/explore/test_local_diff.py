"""``diff`` with a local path says what ``diff`` says when the local path has been backed up."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restic_format.backup import BackupOptions, SourceError, backup
from restic_format.errors import Interrupted, ResticFormatError
from restic_format.explore import local as module
from restic_format.explore.diff import TreeDiff
from restic_format.explore.local import LocalDiff, LocalOptions, LocalStatistics, Reading
from restic_format.filter import ExcludeFilter
from restic_format.native import nodes
from restic_format.native.nodes import _pure
from restic_format.repository import Repository
from restic_format.snapshots import resolve_subfolder, stat
from restic_format.storage import LocalStorage
from restic_format.work import Cancel
from tests.restore.kit import PASSWORD, Maker, cheap_repo, memory_repo, ours, restic

NAMES = [b"a", b"b", b"b.txt", b"dir", b"dirx", "ä".encode(), b"z <&>", b"new\nline", b"bad\xff"]


def make(rng: random.Random, path: bytes, depth: int = 0) -> None:
    """An item of any kind."""
    match rng.choice(["file", "file", "dir", "link", "pipe"] if depth < 3 else ["file"]):
        case "file":
            with open(path, "wb") as file:
                file.write(b"content %d" % rng.randint(10, 30))
        case "dir":
            os.mkdir(path)
            for name in rng.sample(NAMES, rng.randint(0, 5)):
                make(rng, path + b"/" + name, depth + 1)
        case "link":
            os.symlink(rng.choice([b"x", b"y"]), path)
        case "pipe":
            os.mkfifo(path)


def remove(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def change(rng: random.Random, folder: bytes, depth: int = 0) -> None:
    """A few changes of every kind."""
    for name in os.listdir(folder):
        path = folder + b"/" + name
        match rng.randint(0, 6):
            case 0:
                remove(path)
            case 1:
                remove(path)
                make(rng, path, depth + 1)
            case 2 if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "wb") as file:
                    file.write(b"content %d" % rng.randint(10, 30))
            case 3 if not os.path.islink(path):
                os.utime(path, (1, rng.randint(1, 2)))
            case 4 if not os.path.islink(path):
                os.chmod(path, 0o700)
            case _ if os.path.isdir(path) and not os.path.islink(path):
                change(rng, path, depth + 1)
    if rng.random() < 0.5 and not os.path.lexists(folder + b"/zzz"):
        make(rng, folder + b"/zzz", depth + 1)


def save(repo: Repository, source: Path) -> bytes:
    """The tree of the directory *source*, backed up."""
    result = backup(repo, [str(source)], BackupOptions(scan=False))
    return resolve_subfolder(repo, bytes.fromhex(result.tree), str(source))


def compare(
    repo: Repository, tree: bytes | None, path: Path, faults: dict[str, str] | None = None, **options: Any
) -> tuple[list[tuple[str, str]], LocalStatistics]:
    def damaged(item: str, error: ResticFormatError) -> None:
        assert faults is not None, (item, error)
        faults[item] = str(error)

    node = options.pop("node", None)
    cancel = options.pop("cancel", None)
    found = LocalDiff(
        repo, tree, str(path), LocalOptions(**options), node=node, damaged=damaged, warn=pytest.fail, cancel=cancel
    )
    return [tuple(difference) for difference in found], found.statistics


@pytest.fixture
def repo() -> Repository:
    return memory_repo()


@pytest.mark.parametrize("seed", range(30))
def test_it_says_what_two_snapshots_say(repo: Repository, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 3 == 0:  # the files are looked at one by one
        monkeypatch.setattr(nodes, "look_at", _pure.look_at)
    rng = random.Random(seed)
    source = tmp_path / "source"
    source.mkdir()
    for name in rng.sample(NAMES, 6):
        make(rng, bytes(source) + b"/" + name)
    before = save(repo, source)
    change(rng, bytes(source))
    after = save(repo, source)
    stored = TreeDiff(repo, before, after, damaged=lambda path, error: pytest.fail(path))
    expected = [(path, mark.rstrip("?")) for path, mark, _, _ in stored]
    found, statistics = compare(repo, before, source, reading=Reading.ALL)
    # A symlink that leads elsewhere is told of without --metadata as well.
    assert [item for item in found if item[1] != "U"] == expected
    marked = [path for path, mark in found if mark == "U"]
    assert all(os.path.islink(bytes(source) + os.fsencode(path)) for path in marked)
    counts = stored.statistics
    assert statistics.changed_files == counts.changed_files
    for mine, theirs in ((statistics.added, counts.added), (statistics.removed, counts.removed)):
        assert (mine.files, mine.dirs, mine.others) == (theirs.files, theirs.dirs, theirs.others)
    # And what was backed up last has no differences, not in metadata either.
    assert compare(repo, after, source, reading=Reading.ALL, metadata=True)[0] == []


def test_lines_are_those_of_real_restic(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    real, folder, source = peer("restic-0.19"), cheap_repo(tmp_path / "repo"), tmp_path / "source"
    rng = random.Random(5)
    source.mkdir()
    for name in NAMES:
        make(rng, bytes(source) + b"/" + name)
    ids = []
    for step in range(2):
        done = restic(real, folder, "backup", "--json", str(source))
        ids.append(json.loads(done.stdout.splitlines()[-1])["snapshot_id"])
        if not step:
            change(rng, bytes(source))
    one, two = (f"{snapshot}:{source}" for snapshot in ids)
    expected = restic(real, folder, "diff", "--no-lock", one, two).stdout.split(b"\n\n")[1]
    for words in ([one, str(source)], [ids[0], str(source)]):
        mine = ours(folder, "diff", "--no-lock", "--read-data", *words)
        assert mine.returncode == 0, mine.stderr
        lines = mine.stdout.split(b"\n\n")[1].splitlines()
        assert [line for line in lines if not line.startswith(b"U")] == expected.splitlines() and lines


def test_which_files_are_read(repo: Repository, tmp_path: Path) -> None:
    for name in ("same", "touched", "rewritten", "hidden", "longer"):
        (tmp_path / name).write_text(f"{name} content")
    tree = save(repo, tmp_path)
    times = {name: (tmp_path / name).stat() for name in ("hidden",)}
    os.utime(tmp_path / "touched")
    (tmp_path / "rewritten").write_text("REWRITTEN content")
    (tmp_path / "hidden").write_text("HIDDEN content")
    os.utime(tmp_path / "hidden", ns=(1, times["hidden"].st_mtime_ns))
    (tmp_path / "longer").write_text("longer content by some bytes")
    expected = {
        Reading.NONE: ({"longer": "M"}, 0),
        Reading.CHANGED: ({"longer": "M", "rewritten": "M"}, 2),
        Reading.ALL: ({"longer": "M", "rewritten": "M", "hidden": "M"}, 4),
    }
    for reading, (marks, read) in expected.items():
        found, statistics = compare(repo, tree, tmp_path, reading=reading)
        assert {path[1:]: mark for path, mark in found} == marks
        assert statistics.files_read == read and bool(statistics.bytes_read) == bool(read)
    found, _ = compare(repo, tree, tmp_path, metadata=True)
    assert ("/touched", "U") in found and ("/hidden", "U") not in found


def test_bitrot_is_content_that_differs_behind_the_backs_of_all_times(repo: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("good")
    tree = save(repo, tmp_path)
    node = stat(repo, tree, "file")
    assert node is not None
    node.content = [Maker(repo).blob(b"other"[:4])]
    maker = Maker(repo)
    node.content = [maker.blob(b"evil")]
    assert compare(repo, maker.finish([node]), tmp_path, reading=Reading.ALL)[0] == [("/file", "M?")]


def test_metadata_that_counts_and_metadata_that_does_not(repo: Repository, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    (source / "dir").mkdir(parents=True)
    for name in ("mode", "time", "attribute", "plain"):
        (source / "dir" / name).write_text(name)
    tree = save(repo, source)
    shutil.copytree(source, copy)  # other inodes and ctimes
    for path in (copy / "dir", copy):
        shutil.copystat(source / path.relative_to(copy), path)
    assert compare(repo, tree, copy, metadata=True)[0] == []
    (copy / "dir" / "mode").chmod(0o600)
    os.utime(copy / "dir" / "time", (1, 1))
    os.setxattr(copy / "dir" / "attribute", "user.comment", b"new")
    assert compare(repo, tree, copy, metadata=True)[0] == [(f"/dir/{name}", "U") for name in ("attribute", "mode", "time")]


def test_what_is_excluded_is_left_out_on_both_sides(repo: Repository, tmp_path: Path) -> None:
    for name in ("gone.o", "keep", "cache/data", "both.o", "big"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "tagged").mkdir()
    (tmp_path / "tagged" / "old").touch()
    tree = save(repo, tmp_path)
    (tmp_path / "gone.o").unlink()
    (tmp_path / "new.o").touch()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "big").write_bytes(bytes(5000))
    (tmp_path / "tagged" / "old").write_text("changed")
    (tmp_path / "tagged" / "TAG").touch()
    source = BackupOptions(
        excludes=ExcludeFilter(["*.o", "cache"]), exclude_larger_than=4000, exclude_if_present=["TAG"], one_file_system=True
    )
    found, _ = compare(repo, tree, tmp_path, source=source)
    assert found == [("/tagged/TAG", "+")]
    assert len(compare(repo, tree, tmp_path)[0]) == 7


def test_sockets_are_nobodys_business(repo: Repository, tmp_path: Path) -> None:
    tree = save(repo, tmp_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(tmp_path / "socket"))
        assert compare(repo, tree, tmp_path)[0] == []


def test_a_single_file(repo: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one")
    (tmp_path / "link").symlink_to("file")
    tree = save(repo, tmp_path)
    for name in ("file", "link"):
        assert compare(repo, None, tmp_path / name, node=stat(repo, tree, name))[0] == []
    (tmp_path / "other").write_text("other")
    assert compare(repo, None, tmp_path / "other", node=stat(repo, tree, "file"))[0] == [("/file", "M")]
    assert compare(repo, None, tmp_path, node=stat(repo, tree, "file"))[0] == [("/file/", "T")]
    with pytest.raises(SourceError):
        compare(repo, None, tmp_path / "none", node=stat(repo, tree, "file"))


def test_what_cannot_be_read_is_named_and_nothing_in_it_is_new_or_gone(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dir/a", "dir/b", "other/a", "file", "denied", "lost"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    tree = save(repo, tmp_path)
    maker = Maker(repo)
    children = {node.name: node for node in repo.load_tree(tree)}
    children["other"].subtree = "ab" * 32
    children["lost"].content = ["cd" * 32]
    for name in ("file", "denied", "lost"):
        os.utime(tmp_path / name, (1, 1))
    tree = maker.finish(children[name] for name in sorted(children))

    def list_directory(place: Any, *flags: Any) -> list[bytes]:
        if place.name == b"dir":
            raise PermissionError(errno.EACCES, "permission denied")
        return original(place, *flags)

    def compare_content(place: Any, node: Any, index: Any) -> Any:
        if place.name == b"denied":
            raise PermissionError(errno.EACCES, "permission denied")
        return original_compare(place, node, index)

    original, original_compare = module.list_directory, module.compare_content
    monkeypatch.setattr(module, "list_directory", list_directory)
    monkeypatch.setattr(module, "compare_content", compare_content)
    faults: dict[str, str] = {}
    found, _ = compare(repo, tree, tmp_path, faults)
    assert found == []
    assert {path: name for path, name in faults.items() if name} == faults
    assert set(faults) == {"/dir", "/other", "/denied", "/lost"} and "cd" * 32 in faults["/lost"]


def test_a_path_that_is_not_there_is_an_error(repo: Repository, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        compare(repo, save(repo, tmp_path), tmp_path / "none")


def test_it_ends_when_it_is_cancelled(repo: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cancel = Cancel()
    tree = save(repo, tmp_path)
    cancel.set()
    with pytest.raises(Interrupted):
        compare(repo, tree, tmp_path, cancel=cancel)


def test_which_argument_is_a_local_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cheap_repo(tmp_path / "repo")
    opened = Repository.open(LocalStorage(str(folder)), PASSWORD)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("old")
    monkeypatch.chdir(tmp_path)
    first = backup(opened, ["source"], BackupOptions(scan=False)).snapshot_id or ""
    second = backup(opened, [str(tmp_path / "source")], BackupOptions(scan=False)).snapshot_id or ""
    (tmp_path / "source" / "file").write_text("longer")

    def changed(*words: str) -> tuple[list[str], dict[str, Any]]:
        done = ours(folder, "diff", "--no-lock", "--json", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        *changes, statistics = map(json.loads, done.stdout.splitlines())
        return [change["path"] for change in changes], statistics

    # A relative path is where a backup of it puts it; an absolute one where it is.
    for words in ([first, "source"], [first, "./source"], [second, "source"], [second, f"{tmp_path}/source"]):
        paths, statistics = changed(*words)
        assert paths == ["/file"] and statistics["target_path"] == f"{tmp_path}/source"
        assert statistics["changed_files"] == 1 and statistics["source_snapshot"] == words[0]
    assert changed(f"{first}:/", ".")[0] != []
    # What means a snapshot is one, also where a file has that name.
    (tmp_path / second[:8]).mkdir()
    assert "target_snapshot" in changed(first, second[:8])[1]
    assert "target_path" in changed(f"{first}:/source", f"./{second[:8]}")[1]
    for words, text in (
        ([first, f"{tmp_path}/source"], "is not in snapshot"),
        ([f"{first}:/none", "source"], "not found"),
        ([first, "nothing"], 'no matching ID found for prefix "nothing"'),
        ([f"{tmp_path}/source", first], "no matching ID found"),
        ([first, second, "--no-content"], "no local path"),
        ([first, second, "--exclude", "x"], "no local path"),
        ([first, "source", "--no-content", "--read-data"], "mutually exclusive"),
        ([first, "source", "--exclude", "[a"], "--exclude"),
        ([f"{first}:/source", f"{tmp_path}/absent"], "no such file"),
    ):
        done = ours(folder, "diff", "--no-lock", *words, cwd=tmp_path)
        assert done.returncode == 1 and text in done.stderr.decode(), (words, done.stderr)
