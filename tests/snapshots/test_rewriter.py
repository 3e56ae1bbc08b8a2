"""Rewriting trees: what stays keeps its bytes, what goes is gone, and nothing is lost on the way."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from restic_format.errors import BlobMissing, DamagedFile, FileMissing, StorageAway
from restic_format.repository import Repository
from restic_format.snapshots import nodes as nodes_module
from restic_format.snapshots import rewriter as rewriter_module
from restic_format.snapshots.errors import NodeUnusable, TooDeep, TreeNotEncodable
from restic_format.snapshots.rewriter import Rewritten, TreeRewriter, TreeRules
from restic_spec.errors import JsonInvalid, ResticFormatError
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.tree import Node, Tree, encode_node, encode_tree
from tests.restore.kit import Maker, memory_repo


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


def rewrite(repo: Repository, tree: bytes, rules: TreeRules, **options: object) -> Rewritten:
    writer = repo.writer()
    result = TreeRewriter(repo, writer, rules, **options).rewrite(tree)  # type: ignore[arg-type]
    writer.flush()
    return result


def without(*paths: str) -> TreeRules:
    return TreeRules(node=lambda path, node: None if path in paths else node)


def plain(repo: Repository, tree: bytes | None) -> bytes:
    assert tree is not None
    return repo.load_blob(BlobType.TREE, tree)


def store(maker: Maker, raw: bytes) -> bytes:
    return maker.writer.save_blob(BlobType.TREE, raw).id


def names(repo: Repository, tree: bytes | None) -> list[str]:
    assert tree is not None
    return [node.name for node in repo.load_tree(tree)]


@pytest.mark.clause("TREE-25")
def test_a_tree_that_stays_is_not_written(maker: Maker) -> None:
    root = maker.finish([maker.folder("b", [maker.folder("e", []), maker.file("x", b"12")]), maker.file("c", b"345")])
    before = maker.repo.storage.files.copy()  # type: ignore[attr-defined]
    assert rewrite(maker.repo, root, without("/nowhere")) == Rewritten(root, 2, 5)
    assert rewrite(maker.repo, root, TreeRules()) == Rewritten(root, 2, 5)
    assert maker.repo.storage.files == before  # type: ignore[attr-defined]


def test_what_goes_is_gone_and_only_the_way_to_it_is_new(maker: Maker) -> None:
    other = maker.folder("other", [maker.file("y", b"1")])
    root = maker.finish([maker.folder("b", [maker.file("x", b"12"), maker.file("z", b"3")]), other])
    wanted = maker.finish([maker.folder("b", [maker.file("z", b"3")]), other])
    assert rewrite(maker.repo, root, without("/b/x")) == Rewritten(wanted, 2, 2)
    assert rewrite(maker.repo, root, without("/b", "/other")) == Rewritten(maker.tree([]), 0, 0)
    asked: list[str] = []
    rewrite(maker.repo, root, TreeRules(node=lambda path, node: asked.append(path) or (None if path == "/b" else node)))
    assert asked == ["/b", "/other", "/other/y"]


def test_directories_with_nothing_in_them_go_where_the_rules_say_so(maker: Maker) -> None:
    root = maker.finish([maker.folder("a", [maker.folder("b", [])]), maker.file("c", b"3"), maker.folder("keep", [])])
    rules = TreeRules(keep_empty=lambda path: path == "/keep")
    assert names(maker.repo, rewrite(maker.repo, root, rules).tree) == ["c", "keep"]
    assert rewrite(maker.repo, maker.finish([maker.folder("a", [])]), rules) == Rewritten(None, 0, 0)


@pytest.mark.clause("TREE-23", "TREE-25", "SNAP-10")
def test_what_is_not_known_stays_as_it_is(maker: Maker) -> None:
    inner = store(maker, b'{"nodes":[{"name":"f","type":"file","content":[],"new":{"b":[1, 2]}},{"name":"g","type":"fifo"}]}\n')
    odd = b'{"name":"d","type":"dir","subtree":"%s","mine":"\xc3\xa4"}' % inner.hex().encode()
    root = store(maker, b'{"nodes":[' + odd + b',{"name":"e","type":"file","content":[]}],"more":[true]}\n')
    maker.writer.flush()
    result = rewrite(maker.repo, root, without("/d/g"))
    new_inner = b'{"nodes":[{"name":"f","type":"file","content":[],"new":{"b":[1, 2]}}]}\n'
    raw = plain(maker.repo, result.tree)
    assert raw.replace(hashlib.sha256(new_inner).hexdigest().encode(), inner.hex().encode()) == (
        b'{"nodes":[{"name":"d","type":"dir","subtree":"%s","mine":"\xc3\xa4"},'
        b'{"name":"e","type":"file","content":[]}],"more":[true]}\n' % inner.hex().encode()
    )
    assert plain(maker.repo, hashlib.sha256(new_inner).digest()) == new_inner


@pytest.mark.clause("GOJSON-11", "TREE-25")
@pytest.mark.parametrize("member", [b'"\xff"', b'"\\ud800x"', b'{"a":["\xff"]}'])
def test_what_is_not_known_and_unsound_is_not_copied(maker: Maker, member: bytes) -> None:
    root = store(maker, b'{"nodes":[{"name":"a","type":"fifo","new":%s},{"name":"b","type":"fifo"}]}\n' % member)
    maker.writer.flush()
    with pytest.raises((JsonInvalid, DamagedFile)):
        rewrite(maker.repo, root, without("/b"))


@pytest.mark.clause("RUSTIC-4", "TREE-25")
def test_trees_of_rustic_change_without_loss(maker: Maker) -> None:
    link = b'{"name":"l","type":"symlink","linktarget":"x","mode":511,"size":0,"links":1}'
    folder = b'{"name":"m","type":"dir","user":null,"subtree":"%s","mode":511}'
    below = maker.tree([maker.node("x", "fifo", 0), maker.node("y", "fifo", 0)])
    root = store(maker, b'{"nodes":[' + link + b"," + folder % below.hex().encode() + b"]}\n")
    maker.writer.flush()
    result = rewrite(maker.repo, root, without("/m/x"))
    new = maker.tree([maker.node("y", "fifo", 0)])
    # The link is as it was; the directory has another tree, and is encoded like any other node.
    moved = b'{"name":"m","type":"dir","mode":511,"subtree":"%s"}' % new.hex().encode()
    assert plain(maker.repo, result.tree) == b'{"nodes":[' + link + b"," + moved + b"]}\n"


@pytest.mark.clause("TREE-25")
def test_a_node_that_would_lose_something_is_not_written(maker: Maker) -> None:
    below = maker.tree([maker.node("x", "fifo", 0)])
    folder = b'{"name":"m","type":"dir","subtree":"%s","linktarget_raw":"eA==","linktarget":"y"}' % below.hex().encode()
    root = store(maker, b'{"nodes":[' + folder + b"]}\n")
    maker.writer.flush()
    with pytest.raises(TreeNotEncodable, match="cannot encode tree at '/' without losing information"):
        rewrite(maker.repo, root, without("/m/x"))
    assert rewrite(maker.repo, root, without("/m/y")).tree == root


def test_nodes_are_changed_and_keep_the_rest(maker: Maker) -> None:
    raw = b'{"name":"f","type":"file","mode":420,"size":3,"content":["%s"],"new":1}' % (b"ab" * 32)
    below = maker.tree([maker.node("x", "fifo", 0)])
    folder = b'{"name":"m","type":"dir","mode":1,"subtree":"%s","new":2}' % below.hex().encode()
    root = store(maker, b'{"nodes":[' + raw + b"," + folder + b"]}\n")
    maker.writer.flush()

    def change(path: str, node: Node) -> Node | None:
        if path == "/f":
            return msgspec.structs.replace(node, content=[], size=0)
        return None if path == "/m/x" else msgspec.structs.replace(node, mode=2)

    result = rewrite(maker.repo, root, TreeRules(node=change))
    assert result == Rewritten(result.tree, 1, 0)
    empty = hashlib.sha256(encode_tree([])).hexdigest().encode()
    assert plain(maker.repo, result.tree) == (
        b'{"nodes":[{"name":"f","type":"file","mode":420,"content":[],"new":1},'
        b'{"name":"m","type":"dir","mode":2,"subtree":"%s","new":2}]}\n' % empty
    )


def test_trees_that_are_gone_or_damaged(maker: Maker) -> None:
    gone = maker.node("gone", "dir", 0, subtree="00" * 32)
    none = maker.node("none", "dir", 0)
    bad = maker.node("bad", "dir", 0, subtree=store(maker, b'{"nodes":[{"name":"z","type":"fifo"},{"name":"a"}]}\n').hex())
    root = maker.finish([bad, maker.node("f", "fifo", 0), gone, none])
    with pytest.raises(DamagedFile):
        rewrite(maker.repo, root, TreeRules())
    with pytest.raises(BlobMissing):
        rewrite(maker.repo, root, without("/bad"))
    with pytest.raises(NodeUnusable):
        rewrite(maker.repo, root, without("/bad", "/gone"))
    told: list[tuple[str, bytes | None, type[ResticFormatError]]] = []

    def failed(path: str, tree: bytes | None, error: ResticFormatError) -> list[Node] | None:
        told.append((path, tree, type(error)))
        return None if path == "/none" else []

    result = rewrite(maker.repo, root, TreeRules(failed_tree=failed))
    assert [(path, kind) for path, _, kind in told] == [("/bad", DamagedFile), ("/gone", BlobMissing), ("/none", NodeUnusable)]
    assert told[1][1] == bytes(32) and told[2][1] is None
    assert [(node.name, node.subtree) for node in maker.repo.load_tree(result.tree or b"")] == [
        ("bad", maker.tree([]).hex()),
        ("f", None),
        ("gone", maker.tree([]).hex()),
    ]
    assert rewrite(maker.repo, bytes(32), TreeRules(failed_tree=lambda *_: None)) == Rewritten(None, 0, 0)


def test_a_storage_that_fails_is_no_damaged_tree(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    root = maker.finish([maker.node("f", "fifo", 0)])

    def fail(error: Exception) -> None:
        def load(*_: object) -> bytes:
            raise error

        monkeypatch.setattr(maker.repo.storage, "load", load)

    rules = TreeRules(failed_tree=lambda *_: None)
    fail(StorageAway("gone for a moment"))
    with pytest.raises(StorageAway):
        rewrite(maker.repo, root, rules)
    fail(FileMissing("no such pack"))
    assert rewrite(maker.repo, root, rules).tree is None


@pytest.mark.clause("TREE-4", "TREE-6")
@pytest.mark.parametrize(
    ("nodes", "bad"),
    [
        (b'{"name":"a","type":"fifo"},{"name":"a","type":"fifo"}', 1),
        (b'{"name":"b","type":"fifo"},{"name":"a","type":"fifo"}', 1),
        (b'{"name":"..","type":"fifo"},{"name":"a","type":"fifo"}', 0),
        (b'{"name":"a","type":"fifo"},{"name":"b","type":"fifo","mtime":"x"}', 1),
        (b'{"name":"a","type":"fifo"},7', 1),
    ],
)
def test_nodes_that_cannot_be_used_go_only_where_the_rules_say_so(maker: Maker, nodes: bytes, bad: int) -> None:
    root = store(maker, b'{"nodes":[' + nodes + b',{"name":"c","type":"fifo"}]}\n')
    maker.writer.flush()
    with pytest.raises(DamagedFile):
        rewrite(maker.repo, root, without())
    told: list[str] = []
    rules = TreeRules(bad_node=lambda path, _node, _error: told.append(path))
    result = rewrite(maker.repo, root, rules)
    assert told == ["/"]
    left = [name for number, name in enumerate([nodes[9:10].decode(), "a", "c"]) if number != bad]
    assert names(maker.repo, result.tree) == ([left[0], "c"] if bad else ["a", "c"])


@pytest.mark.parametrize(("by_path", "asked"), [(True, 4), (False, 3)])
def test_what_was_met_before_is_remembered(maker: Maker, by_path: bool, asked: int) -> None:
    same = [maker.file("x", b"12")]
    root = maker.finish([maker.folder("a", same), maker.folder("b", same)])
    paths: list[str] = []
    rules = TreeRules(node=lambda path, node: paths.append(path) or (None if path.endswith("/x") else node), by_path=by_path)
    rewriter = TreeRewriter(maker.repo, maker.writer, rules)
    first = rewriter.rewrite(root)
    assert len(paths) == asked and rewriter.rewrite(root) == first and len(paths) == asked
    forgetful = TreeRewriter(maker.repo, maker.writer, rules, remembered=0)
    assert forgetful.rewrite(root) == first == forgetful.rewrite(root) and len(paths) == asked + 8


def test_counts_of_remembered_directories(maker: Maker) -> None:
    same = [maker.node("l", "symlink", 0, size=5), maker.file("x", b"12")]
    root = maker.finish([maker.folder("a", same), maker.folder("b", same)])
    assert rewrite(maker.repo, root, TreeRules(by_path=False)) == Rewritten(root, 2, 4)


def test_large_trees_in_little_memory(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "BATCH", 1000)
    monkeypatch.setattr(nodes_module, "LARGE", 3000)
    monkeypatch.setattr(rewriter_module, "HELD", 5000)
    long = maker.node("m-long", "file", 0, content=["ab" * 32] * 60)
    deep = maker.folder("d", [maker.node(f"{number:03}", "fifo", 0) for number in range(100)])
    for _ in range(5):
        deep = maker.folder("d", [*(maker.node(f"c{number:03}", "fifo", 0) for number in range(50)), deep, long])
    root = maker.finish([deep])

    def rule(path: str, node: Node) -> Node | None:
        if path.endswith("m-long"):
            assert node.content is not None
            return msgspec.structs.replace(node, content=list(node.content or [])[:59])  # type: ignore[arg-type]
        return None if path[-2:] in ("05", "33") else node

    result = rewrite(maker.repo, root, TreeRules(node=rule))

    def expected(tree: bytes, path: str) -> bytes:
        kept = []
        for node in maker.repo.load_tree(tree):
            changed = rule(f"{path}/{node.name}", node)
            if changed is not None:
                if changed.subtree:
                    changed.subtree = expected(bytes.fromhex(changed.subtree), f"{path}/{node.name}").hex()
                kept.append(changed)
        return maker.tree(kept)

    assert result.tree == expected(root, "")


def test_directories_without_end_are_refused(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriter_module, "MAX_DEPTH", 4)
    tree = maker.folder("d", [maker.node("x", "fifo", 0)])
    for _ in range(2):
        tree = maker.folder("d", [tree])
    assert rewrite(maker.repo, maker.finish([tree]), without("/d/d/d/x")).tree is not None
    with pytest.raises(TooDeep):
        rewrite(maker.repo, maker.finish([maker.folder("d", [tree])]), without())


def test_nodes_null_is_an_empty_directory(maker: Maker) -> None:
    root = store(maker, b'{"nodes":null}\n')
    maker.writer.flush()
    assert rewrite(maker.repo, root, TreeRules()) == Rewritten(root, 0, 0)
    assert encode_tree(Tree(nodes=None)) == encode_tree([])


def test_names_that_need_quoting(maker: Maker) -> None:
    nodes = [maker.node(name, "fifo", 0) for name in (b"\n", b"a\\", b"b", "ä".encode(), b"\xff")]
    root = maker.finish(nodes)
    paths: list[str] = []
    result = rewrite(
        maker.repo, root, TreeRules(node=lambda path, node: paths.append(path) or (None if path == "/ä" else node))
    )
    assert paths == ["/\n", "/a\\", "/b", "/ä", "/\udcff"]
    assert plain(maker.repo, result.tree) == encode_tree([node for node in nodes if node.name != "ä"])
    assert encode_node(nodes[0]) in plain(maker.repo, result.tree)
    assert maker.repo.storage.list(FileKind.PACK)
