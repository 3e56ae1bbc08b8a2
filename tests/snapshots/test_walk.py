"""The walk over trees: what it hands out, what it refuses, and how much it keeps."""

from __future__ import annotations

import gc
import weakref

import pytest

from restic_format.errors import BlobMissing, DamagedFile, SnapshotNotFound
from restic_format.repository import Repository
from restic_format.snapshots import Level, NodeUnusable, TooDeep, UnsafeName, Walk, list_directory, stat
from restic_format.snapshots import nodes as nodes_module
from restic_format.snapshots import walk as walk_module
from restic_spec.errors import ResticFormatError, TreeInvalid
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, Node
from tests.restore.kit import Maker, memory_repo


class Listener:
    """Walks everything and remembers."""

    def __init__(self, repo: Repository, root: bytes) -> None:
        self.paths: list[str] = []
        self.faults: list[tuple[str, type[Exception]]] = []
        self.left: list[str] = []
        self.loaded: list[bytes] = []
        self.held = 0
        walk = Walk(repo, root, 0, fault=self.fault, left=lambda level: self.left.append(level.location), load=self.load)
        self.repo = repo
        for level, node, name in walk:
            path = level.path_of(name)
            assert level.data == level.depth == path.count("/") - 1
            self.paths.append(path)
            self.held = max(self.held, sum(level.held for level in walk._levels))
            if node.type == DIR:
                try:
                    walk.enter(node, name, level.data + 1)
                except ResticFormatError as error:
                    self.fault(level, node, error)

    def load(self, level: Level[int]) -> bytes:
        self.loaded.append(level.tree)
        return self.repo.load_blob(BlobType.TREE, level.tree)

    def fault(self, level: Level[int], node: Node | None, error: ResticFormatError) -> None:
        self.faults.append((level.location if node is None else f"{level.prefix}/{node.quoted}", type(error)))


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


def fifo(maker: Maker, name: str | bytes) -> Node:
    return maker.node(name, "fifo", 0)


def test_every_entry_comes_once_with_its_path(maker: Maker) -> None:
    inner = maker.folder("b", [fifo(maker, b"\xff"), maker.folder("c", [])])
    heard = Listener(maker.repo, maker.finish([fifo(maker, "a"), inner, fifo(maker, "d\n")]))
    assert heard.paths == ["/a", "/b", "/b/c", "/b/\udcff", "/d\n"] or heard.paths == ["/a", "/b", "/b/\udcff", "/b/c", "/d\n"]
    assert heard.left == ["/b/c", "/b", "/"] and heard.faults == []


def test_only_what_is_entered_is_read(maker: Maker) -> None:
    root = maker.finish([maker.folder("a", [fifo(maker, "x")]), maker.folder("b", [fifo(maker, "y")])])
    seen = []
    walk = Walk(maker.repo, root, None, fault=lambda *_: pytest.fail("a fault"))
    for level, node, name in walk:
        seen.append(level.path_of(name))
        if name == "b":
            walk.enter(node, name, None)
    assert seen == ["/a", "/b", "/b/y"]


@pytest.mark.clause("TREE-6")
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0"])
def test_names_that_lead_elsewhere_are_told_and_left_out(maker: Maker, name: str) -> None:
    heard = Listener(maker.repo, maker.finish([maker.node(name, "fifo", 0), fifo(maker, "good")]))
    assert heard.paths == ["/good"] and [kind for _, kind in heard.faults] == [UnsafeName]


@pytest.mark.clause("TREE-4")
def test_a_name_that_stands_twice_counts_once(maker: Maker) -> None:
    entries = [fifo(maker, name) for name in ("a", "c", "b", "b", "a", "d", "c", "d", "e")]
    heard = Listener(maker.repo, maker.finish(entries))
    # Out of order is not a reason to leave anything out: some programs sort by other rules.
    assert heard.paths == ["/a", "/c", "/b", "/d", "/e"]
    assert heard.faults == [("/b", UnsafeName), ("/a", UnsafeName), ("/c", UnsafeName), ("/d", UnsafeName)]


@pytest.mark.clause("TREE-4")
def test_in_a_large_directory_names_must_be_in_order(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "BATCH", 1000)
    names = [f"{number:03}" for number in range(100)]
    root = maker.finish([fifo(maker, name) for name in [*names[:2], "001", *names[2:], "050", "0505", "099", "100"]])
    heard = Listener(maker.repo, root)
    assert heard.paths == [f"/{name}" for name in [*names, "100"]]
    assert heard.faults == [("/001", UnsafeName), ("/050", UnsafeName), ("/0505", UnsafeName), ("/099", UnsafeName)]


def test_what_cannot_be_read_is_told_and_gone_past(maker: Maker) -> None:
    repo = maker.repo
    rotten = maker.writer.save_blob(BlobType.TREE, b'{"nodes":[{"name":5}]}').id.hex()
    root = maker.finish(
        [
            maker.node("a", "dir", 0, subtree=rotten),
            maker.node("b", "dir", 0, subtree="11" * 32),
            maker.node("c", "dir", 0),
            maker.node("d", "dir", 0, subtree="../x"),
            maker.folder("e", [fifo(maker, "x")]),
        ]
    )
    heard = Listener(repo, root)
    assert heard.paths == ["/a", "/b", "/c", "/e", "/e/x"] and heard.left == ["/a", "/b", "/e", "/"]
    assert dict(heard.faults) == {"/a": DamagedFile, "/b": BlobMissing, "/c": NodeUnusable, "/d": TreeInvalid}


@pytest.mark.parametrize("batch", [64, 256 << 10])
def test_nodes_that_are_none_are_told_once_each(maker: Maker, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(nodes_module, "BATCH", batch)
    monkeypatch.setattr(walk_module, "HELD", 0)
    bad = [maker.node(f"bad{number}", "file", 0, content=["zz"] * 3) for number in range(20)]
    inner = maker.folder("d", [fifo(maker, "x")])
    heard = Listener(maker.repo, maker.finish([fifo(maker, "a"), *bad, inner, maker.node("e", "file", 0, content=[5 * "z"])]))
    assert heard.paths == ["/a", "/d", "/d/x"]
    assert heard.faults == [*((f"/bad{number}", TreeInvalid) for number in range(20)), ("/e", TreeInvalid)]


def test_the_rest_of_a_tree_that_ends_in_garbage(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "BATCH", 64)
    good = b",".join(b'{"name":"%03d","type":"fifo"}' % number for number in range(20))
    root = maker.writer.save_blob(BlobType.TREE, b'{"nodes":[' + good + b',{"name":5},{"name":"z","type":"fifo"}]}').id
    maker.writer.flush()
    heard = Listener(maker.repo, root)
    assert heard.faults == [("/", DamagedFile)] and "/010" in heard.paths and "/z" not in heard.paths


def test_depth_is_bounded(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "MAX_DEPTH", 10)
    node = fifo(maker, "deepest")
    for _ in range(20):
        node = maker.folder("d", [node])
    heard = Listener(maker.repo, maker.finish([node, fifo(maker, "good")]))
    assert heard.paths == [*("/d" * depth for depth in range(1, 11)), "/good"]
    assert heard.faults == [("/d" * 10, TooDeep)]


@pytest.mark.parametrize("batch", [100, 256 << 10])
def test_little_is_kept_of_the_directories_above(maker: Maker, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Large directories inside each other, with entries before and behind the one that leads on."""
    monkeypatch.setattr(nodes_module, "BATCH", batch)
    inner = [fifo(maker, "end")]
    expected = [f"{'/d' * 40}/end"]
    for depth in reversed(range(40)):
        before, behind = [f"b{number}" for number in range(30)], [f"e{number}" for number in range(depth % 3)]
        inner = [
            *[fifo(maker, name) for name in sorted(before)],
            maker.folder("d", inner),
            *[fifo(maker, name) for name in behind],
        ]
        prefix = "/d" * depth
        expected = [
            *[f"{prefix}/{name}" for name in sorted(before)],
            f"{prefix}/d",
            *expected,
            *[f"{prefix}/{name}" for name in behind],
        ]
    root = maker.finish(inner)
    monkeypatch.setattr(walk_module, "HELD", 1 << 40)
    once = Listener(maker.repo, root)
    assert once.paths == expected and once.faults == [] and len(once.loaded) == 41
    monkeypatch.setattr(walk_module, "HELD", 100_000)
    again = Listener(maker.repo, root)
    assert again.paths == expected and again.faults == [] and again.left == once.left
    assert again.held < 100_000 + 50_000 < once.held
    # A directory is read again once on the way back, not for everything in it.
    assert 41 < len(again.loaded) <= 2 * 41


@pytest.mark.parametrize("sort", [False, True])
def test_a_batch_that_was_dropped_goes_on_where_it_was(maker: Maker, monkeypatch: pytest.MonkeyPatch, sort: bool) -> None:
    """Many directories in each of several batches, all of which are dropped as soon as one is entered."""
    monkeypatch.setattr(nodes_module, "BATCH", 2000)
    monkeypatch.setattr(walk_module, "HELD", 0)
    names = [f"{number:03}" for number in range(100)]
    if not sort:
        names[:3] = reversed(names[:3])
        names[50] += '"'
    listed = Listener(maker.repo, maker.finish([maker.folder(name, [fifo(maker, "x")]) for name in names]))
    assert listed.faults == []
    assert listed.paths == [path for name in names for path in (f"/{name}", f"/{name}/x")]


def test_paths_do_not_take_room_at_every_level(maker: Maker) -> None:
    node = fifo(maker, "deepest")
    for _ in range(100):
        node = maker.folder("long-name", [node])
    walk = Walk(maker.repo, maker.finish([node]), None, fault=lambda *_: pytest.fail("a fault"))
    for level, node, name in walk:
        assert level.location == "/" + "/".join(["long-name"] * level.depth)
        assert sum(level._prefix is not None for level in walk._levels) == 1
        if node.type == DIR:
            walk.enter(node, name, None)


def test_directories_are_let_go_when_they_are_left(maker: Maker) -> None:
    """At once: the garbage collector may run rarely, and the nodes of 100,000 files were 80 MB."""
    root = maker.finish([maker.folder(f"d{number}", [fifo(maker, "x")]) for number in range(3)])
    walk = Walk(maker.repo, root, None, fault=lambda *_: pytest.fail("a fault"))
    left: list[weakref.ref[Level[None]]] = []
    gc.disable()
    try:
        for level, node, name in walk:
            if node.type == DIR:
                assert [ref() for ref in left] == [None] * len(left)
                walk.enter(node, name, None)
            else:
                left.append(weakref.ref(level))
            del level
    finally:
        gc.enable()
    assert len(left) == 3


def test_a_path_through_what_cannot_be_read(maker: Maker) -> None:
    rotten = maker.writer.save_blob(BlobType.TREE, b'{"nodes":[{"name":5}]}').id.hex()
    root = maker.finish(
        [maker.node("a", "dir", 0, subtree=rotten), maker.node("b", "file", 0, content=["zz"]), fifo(maker, "c")]
    )
    with pytest.raises(DamagedFile):
        stat(maker.repo, root, "/a/x")
    with pytest.raises(SnapshotNotFound, match="path c: not a directory"):
        stat(maker.repo, root, "/c/x")
    # What is wrong with other entries does not matter.
    found = stat(maker.repo, root, "/c")
    assert found is not None and found.name == "c"


def test_stat_and_list(maker: Maker) -> None:
    root = maker.finish([maker.folder("a", [maker.file("f", b"x"), maker.node("..", "fifo", 0)]), maker.folder("b", [])])
    repo = maker.repo
    found = stat(repo, root, "/a/f")
    assert found is not None and found.size == 1 and stat(repo, root, "/") is None
    assert [node.name for node in list_directory(repo, root)] == ["a", "b"]
    listed = stat(repo, root, "a/./")
    assert listed is not None and listed.subtree is not None
    with pytest.raises(UnsafeName):
        list(list_directory(repo, bytes.fromhex(listed.subtree)))
