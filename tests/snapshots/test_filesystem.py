"""A tree as a file system: paths, listings, walks and files, in bounded memory, going past what is damaged."""

from __future__ import annotations

import threading
from pathlib import PurePosixPath

import pytest

from restic_format.errors import ResticFormatError, SnapshotNotFound
from restic_format.repository import Repository
from restic_format.snapshots import BlobCache, DirectoryCache, NodeUnusable, SnapshotFileSystem, UnsafeName
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage.faulty import Call
from restic_spec.tree import Node
from tests.restore.kit import PASSWORD, Maker, memory_repo


class Tree:
    """A small tree, and the repository it is in."""

    def __init__(self) -> None:
        self.inner = MemoryStorage()
        maker = Maker(memory_repo(self.inner))
        inner = maker.folder("inner", [maker.file("c", b"deep"), maker.symlink("link", "c")])
        self.root = maker.finish(
            [maker.file("a", b"one", b"two"), maker.folder("dir", [maker.file("b"), inner]), maker.folder("empty", [])]
        )
        self.loads: list[Call] = []
        self.repo = Repository.open(FaultyStorage(self.inner, self.loads.append), PASSWORD)
        self.repo.load_index()


def names(nodes: object) -> list[str]:
    return [node.name for node in nodes]  # type: ignore[attr-defined]


def test_paths_and_listings() -> None:
    tree = Tree()
    with SnapshotFileSystem(tree.repo, tree.root) as files:
        for path in ("", "/", ".", "//dir/.."):
            assert files.stat(path).type == "dir" and files.stat(path).subtree == tree.root.hex()
            assert names(files.list(path)) == ["a", "dir", "empty"]
        for path in ("dir/inner/c", "/dir/inner/c", "dir//inner/./c"):
            assert files.stat(path).name == "c"
            assert files.open(path).read() == b"deep"
        assert list(files.list("empty")) == []
        assert [entry.path for entry in files.walk()] == [
            *("/a", "/dir", "/dir/b", "/dir/inner", "/dir/inner/c", "/dir/inner/link", "/empty")
        ]
        assert [entry.path for entry in files.walk("dir/inner")] == ["/dir/inner/c", "/dir/inner/link"]
        assert all(PurePosixPath(entry.path).name == entry.node.name for entry in files.walk())
        for path in ("nothing", "dir/nothing", "a/b", "dir/inner/c/d"):
            with pytest.raises(SnapshotNotFound, match="path "):
                files.stat(path)
        with pytest.raises(SnapshotNotFound, match="path a: not a directory"):
            files.list("a")
        with pytest.raises(SnapshotNotFound):
            next(files.walk("a"))
        for path in ("/", "dir", "dir/inner/link"):
            with pytest.raises(NodeUnusable):
                files.open(path)


def test_a_directory_is_read_once_and_files_share_blobs() -> None:
    tree = Tree()
    with BlobCache(tree.repo) as cache:
        files = SnapshotFileSystem(tree.repo, tree.root, cache=cache)
        for _ in range(3):
            files.stat("dir/inner/c")
            list(files.list("dir"))
        before = len(tree.loads)
        assert files.stat("dir/inner/link").target == "c" and names(files.list("/")) == ["a", "dir", "empty"]
        assert len(tree.loads) == before
        assert files.open("a").read() == b"onetwo"
        before = len(tree.loads)
        assert files.open("a").read() == b"onetwo"
        files.close()
        assert files.open("a").read() == b"onetwo" and len(tree.loads) == before


def test_directories_that_are_kept_are_bounded() -> None:
    maker = Maker(memory_repo())
    many = [maker.node(f"{number:04}", "fifo", 0) for number in range(500)]
    root = maker.finish([maker.folder(f"d{number}", many[number:]) for number in range(20)])
    directories = DirectoryCache(limit=600 << 10)
    files = SnapshotFileSystem(maker.repo, root, directories=directories)
    for _ in range(2):
        for number in range(20):
            assert files.stat(f"d{number}/0450").name == "0450"
            assert len(list(files.list(f"d{number}"))) == 500 - number
            assert 0 < directories.size <= 600 << 10
    assert directories.size == sum(directory.size for directory in directories._kept.values())
    small = DirectoryCache(limit=10)
    files = SnapshotFileSystem(maker.repo, root, directories=small)
    assert files.stat("d3/0450").name == "0450" and len(list(files.list("d3"))) == 497
    assert small.size == 0
    with pytest.raises(SnapshotNotFound):
        files.stat("d3/0000")


def test_what_cannot_be_used_is_told_and_gone_past() -> None:
    maker = Maker(memory_repo())
    lost = maker.folder("lost", [])
    lost.subtree = "11" * 32
    root = maker.finish(
        [maker.node("..", "fifo", 0), lost, maker.folder("sub", [maker.node("a/b", "fifo", 0), maker.file("x")])]
    )
    told: list[tuple[str, ResticFormatError]] = []
    files = SnapshotFileSystem(maker.repo, root, fault=lambda path, error: told.append((path, error)))
    for _ in range(2):
        assert names(files.list()) == ["lost", "sub"]
        assert [path for path, _ in told] == ["/.."] and isinstance(told.pop()[1], UnsafeName)
        assert [entry.path for entry in files.walk()] == ["/lost", "/sub", "/sub/x"]
        assert [path for path, _ in told] == ["/..", "/lost", "/sub/a/b"]
        told.clear()
        assert [entry.path for entry in files.walk("sub")] == ["/sub/x"]
        assert [path for path, _ in told] == ["/sub/a/b"]
        told.clear()
        assert list(files.list("lost")) == [] and told.pop()[0] == "/lost"
        assert files.stat("sub/x").name == "x" and not told
    with pytest.raises(ResticFormatError):
        files.stat("lost/x")
    strict = SnapshotFileSystem(maker.repo, root)
    with pytest.raises(UnsafeName):
        list(strict.list())
    with pytest.raises(UnsafeName):
        list(strict.walk())


def test_several_threads() -> None:
    tree = Tree()
    wrong: list[object] = []
    with SnapshotFileSystem(tree.repo, tree.root, directories=DirectoryCache(limit=4000)) as files:

        def look() -> None:
            for _ in range(50):
                found: list[Node] = [files.stat("dir/inner/c"), *files.list("dir")]
                if names(found) != ["c", "b", "inner"] or files.open("a").read() != b"onetwo":
                    wrong.append(found)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
