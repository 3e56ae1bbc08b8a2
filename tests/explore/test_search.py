"""Searching snapshots: everything is found, nothing is read twice, what cannot be read is told and gone past."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from restic_format.errors import BlobMissing, Interrupted, ResticFormatError
from restic_format.explore.search import PLACE_SIZE, ObjectSearch, PatternSearch, blobs_of_packs
from restic_format.filter import AnyPattern, InvalidPattern
from restic_format.repository import Repository
from restic_format.snapshots import NodeUnusable, Walk, remembering
from restic_format.storage import LocalStorage
from restic_format.work import Cancel
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import DIR, Node
from tests.explore.trees import Forest
from tests.restore.kit import PASSWORD, Maker, cheap_repo, memory_repo, ours


class Searched:
    """A repository whose reads of trees are counted, and the faults that a search in it tells."""

    def __init__(self, repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repo = repo
        self.read: list[bytes] = []
        self.faults: list[tuple[str, type[ResticFormatError]]] = []
        load = repo.load_blob

        def counted(kind: BlobType, blob: bytes) -> bytes:
            self.read.append(blob)
            return load(kind, blob)

        monkeypatch.setattr(repo, "load_blob", counted)

    def fault(self, path: str, error: ResticFormatError) -> None:
        self.faults.append((path, type(error)))

    def paths(self, roots: Iterable[bytes], *patterns: str) -> list[list[str]]:
        search = PatternSearch(self.repo, AnyPattern(patterns), lambda match: match.path, size=lambda _: 1, fault=self.fault)
        return [list(search.matches(root)) for root in roots]


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


@pytest.fixture
def searched(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> Searched:
    return Searched(maker.repo, monkeypatch)


def plainly(repo: Repository, root: bytes, *patterns: str) -> list[str]:
    """What fits, found by walking through everything."""
    fits = AnyPattern(patterns)

    def fault(_level: object, _node: Node | None, error: ResticFormatError) -> None:
        raise error

    found = []
    walk = Walk(repo, root, None, fault=fault)
    for level, node, name in walk:
        path = level.path_of(name)
        if fits.match(path):
            found.append(path)
        if node.type == DIR:
            walk.enter(node, name, None)
    return found


def test_what_was_searched_is_not_read_again(maker: Maker, searched: Searched) -> None:
    same = maker.folder("same", [maker.folder("deep", [maker.file("x")]), maker.file("y")])
    none = maker.folder("none", [maker.file("z")])
    roots = [maker.finish([maker.file(name), none, same]) for name in ("a", "b", "c")]
    expected = ["/same/deep/x"]
    assert searched.paths([*roots, roots[0]], "x") == [expected] * 4
    assert len(searched.read) == len(set(searched.read)) == 6


def test_a_tree_at_another_path_is_searched_anew(maker: Maker, searched: Searched) -> None:
    tree = maker.folder("x", [maker.file("y")])
    first, second = maker.finish([maker.folder("a", [tree])]), maker.finish([maker.folder("b", [tree])])
    assert searched.paths([first, second], "b/x/y") == [[], ["/b/x/y"]]


@pytest.mark.parametrize("found", [0, 1, 3, 1 << 15])
@pytest.mark.parametrize("empty", [0, 1 << 22])
def test_little_room_to_remember_changes_nothing(
    found: int, empty: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "MOST_FOUND", found)
    monkeypatch.setattr(remembering, "MOST_EMPTY", empty)
    forest = Forest(tmp_path / "repo", 5)
    forest.fill(6)
    roots = [bytes.fromhex(str(forest.repo.load_snapshot(bytes.fromhex(name)).tree)) for name in forest.snapshots]
    searched = Searched(forest.repo, monkeypatch)
    for patterns in (["a*"], ["*.txt", "/*/b*"], ["nothing"], ["*"]):
        assert searched.paths([*roots, *roots], *patterns) == [plainly(forest.repo, root, *patterns) for root in roots] * 2
    assert not searched.faults


def test_room_comes_back_when_a_search_ends_early(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "MOST_FOUND", 2 * PLACE_SIZE)
    inner = maker.folder("b", [maker.file("x")])
    root = maker.finish([maker.folder("a", [inner]), maker.file("z")])
    assert inner.subtree is not None
    search = ObjectSearch(maker.repo, trees=[inner.subtree], once=True, fault=lambda path, error: None)
    for _ in range(5):
        assert [place.path for place in search.places(root)] == ["/a/b"]
        assert search._search._room == 2 * PLACE_SIZE


def test_what_cannot_be_read_is_told_for_every_snapshot(maker: Maker, searched: Searched) -> None:
    lost = maker.node("lost", "dir", 0, subtree="ab" * 32)
    roots = [maker.finish([maker.folder("a", [lost, maker.file("x")]), maker.file(name)]) for name in ("x1", "x2")]
    assert searched.paths(roots, "x*", "lost") == [["/a/lost", "/a/x", "/x1"], ["/a/lost", "/a/x", "/x2"]]
    assert searched.faults == [("/a/lost", BlobMissing)] * 2


def test_a_directory_without_a_tree_is_told_for_every_snapshot(maker: Maker, searched: Searched) -> None:
    shared = maker.folder("a", [maker.node("lost", "dir", 0)])
    roots = [maker.finish([shared, maker.file(name)]) for name in ("x1", "x2")]
    assert searched.paths(roots, "x*") == [["/x1"], ["/x2"]]
    assert searched.faults == [("/a/lost", NodeUnusable)] * 2


def test_where_nothing_can_match_nothing_is_read(maker: Maker, searched: Searched) -> None:
    lost = maker.node("lost", "dir", 0, subtree="ab" * 32)
    root = maker.finish([maker.folder("a", [maker.file("x")]), lost])
    assert searched.paths([root], "/a/*") == [["/a/x"]]
    assert not searched.faults


def test_a_cancelled_search_ends(maker: Maker) -> None:
    root = maker.finish([maker.folder("a", [maker.file("x")]), maker.folder("b", [maker.file("x")])])
    cancel = Cancel()
    search = PatternSearch(
        maker.repo, AnyPattern(["x"]), lambda match: match.path, fault=lambda path, error: None, cancel=cancel
    )
    matches = search.matches(root)
    assert next(matches) == "/a/x"
    cancel.set()
    with pytest.raises(Interrupted):
        list(matches)


def test_a_short_id_stands_for_the_first_blob_with_it(maker: Maker) -> None:
    first, second = "12345678" + "a" * 56, "12345678" + "b" * 56
    nodes = [maker.node(name, "file", 0o644, content=[blob]) for name, blob in (("x", first), ("y", second), ("z", first))]
    root = maker.finish(nodes)
    search = ObjectSearch(maker.repo, blobs=["12345678"], fault=lambda path, error: None)
    assert [place.path for place in search.places(root)] == ["/x", "/z"]
    assert list(search.blobs) == [first]


def test_the_index_tells_what_is_in_a_pack_that_is_not_there(tmp_path: Path) -> None:
    maker = Maker(Repository.open(LocalStorage(str(cheap_repo(tmp_path / "repo"))), PASSWORD))
    root = maker.finish([maker.file("x", b"content")])
    packs = {path.name: path for path in (tmp_path / "repo" / "data").glob("*/*")}
    whole = [blobs_of_packs(maker.repo, [name]) for name in packs]
    assert [content.trees for content in whole if content.trees] == [[root.hex()]]
    for path in packs.values():
        path.unlink()
    again = [blobs_of_packs(maker.repo, [name[:8], "nobody"]) for name in packs]
    assert [(content.blobs, content.trees) for content in again] == [(content.blobs, content.trees) for content in whole]
    assert [content.from_index for content in again] == [[name] for name in packs]
    assert all(content.missing == ["nobody"] for content in again)


@pytest.mark.parametrize(
    ("pattern", "path", "matches", "leads_on"),
    [
        ("", "/a", True, True),
        ("!a", "/a", True, True),
        ("!!a", "/!a", True, True),
        ("/a/b", "/a", False, True),
        ("/a/b", "/c", False, False),
        ("/a/b", "/a/b/c", True, True),
        ("b/", "/a/b", True, True),
        ("B", "/a/b", False, True),
    ],
)
def test_any_pattern(pattern: str, path: str, matches: bool, leads_on: bool) -> None:
    either = AnyPattern(["/nowhere/x", pattern])
    assert (either.match(path), either.child_may_match(path)) == (matches, leads_on)


def test_case_does_not_matter_where_that_is_asked_for() -> None:
    either = AnyPattern(["/ÄB/*.TXT"], ignore_case=True)
    assert either.match("/äb/x.txt")
    assert either.child_may_match("/Äb")
    assert not either.child_may_match("/c")


def test_malformed_patterns_are_named() -> None:
    with pytest.raises(InvalidPattern) as raised:
        AnyPattern(["a", "[", "b\\"])
    assert raised.value.patterns == ("[", "b\\")


@pytest.mark.parametrize("json_mode", [False, True])
def test_an_unreadable_tree_is_named_and_the_rest_found(json_mode: bool, tmp_path: Path) -> None:
    repo = cheap_repo(tmp_path / "repo")
    maker = Maker(Repository.open(LocalStorage(str(repo)), PASSWORD))
    lost = maker.node("x-lost", "dir", 0, subtree="ab" * 32)
    root = maker.finish([maker.folder("a", [maker.file("x"), lost]), maker.file("x")])
    name = maker.repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree=root.hex(), paths=["/"])).hex()
    done = ours(repo, "find", "x*", *(["--json"] if json_mode else []))
    assert done.returncode == 1
    if json_mode:
        (only,) = json.loads(done.stdout)
        assert [match["path"] for match in only["matches"]] == ["/a/x", "/a/x-lost", "/x"]
        told, ended = (json.loads(line) for line in done.stderr.splitlines())
        assert (told["message_type"], told["during"], told["item"]) == ("error", "find", f"{name[:8]}:/a/x-lost")
        assert ended["message"] == "Fatal: There were 1 errors"
    else:
        assert done.stdout.splitlines()[1:] == [b"/a/x", b"/a/x-lost", b"/x"]
        told, ended = done.stderr.decode().splitlines()
        assert told.startswith(
            f"ignoring error for /a/x-lost in snapshot {name[:8]}: tree blob {'ab' * 32} is not in any index"
        )


def test_ls_tells_how_much_there_is(tmp_path: Path) -> None:
    repo = cheap_repo(tmp_path / "repo")
    maker = Maker(Repository.open(LocalStorage(str(repo)), PASSWORD))
    root = maker.finish([maker.folder("a", [maker.file("x", b"12345")]), maker.file("b", b"12"), maker.symlink("l", "a")])
    maker.repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree=root.hex(), paths=["/"]))
    assert ours(repo, "ls", "latest", "--summary").stdout.splitlines()[-1] == b"total: 1 dirs, 3 files, 7 bytes"
    assert ours(repo, "ls", "latest", "--summary", "/a").stdout.splitlines()[-1] == b"total: 1 dirs, 1 files, 5 bytes"
    message = ours(repo, "ls", "latest", "--summary", "--json").stdout.splitlines()[-1]
    assert message == b'{"message_type":"summary","dirs":1,"files":3,"bytes":7}'
    assert ours(repo, "ls", "latest", "--summary", "--ncdu").returncode == 1
