"""The way of a file through a repository: against what the index files, trees and packs say when they are read one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from restic_conformance import fixtures
from restic_format.errors import Interrupted, SnapshotNotFound, StorageError
from restic_format.inspect import places, way
from restic_format.inspect.way import Way, WayBlob, find_way
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, all_snapshots
from restic_format.storage import LocalStorage, MemoryStorage
from restic_format.storage.cachefolder import CacheFolder
from restic_format.work import Cancel
from restic_spec.ids import id_of
from restic_spec.index import decode_index
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.regions import Finding
from restic_spec.snapshot import Snapshot
from restic_spec.tree import DIR, FILE
from tests.inspecting.waykit import T0, paths_of, snapshot
from tests.restore.kit import PASSWORD, Maker, cheap_repo, memory_repo


def all_findings(found: Way) -> list[Finding]:
    told: list[Finding] = [*found.findings]
    for blob in found.blobs():
        told += blob.stored.findings
    list(found.entries(told.append))
    return told


def places_of(repo: Repository) -> dict[tuple[str, str], dict[tuple[str, int, int], set[str]]]:
    """By type and id the copies of every blob, and the index files that list each, read from the files."""
    found: dict[tuple[str, str], dict[tuple[str, int, int], set[str]]] = {}
    for index_id, _ in repo.list(FileKind.INDEX):
        for pack in decode_index(repo.load_unpacked(FileKind.INDEX, index_id)).all_packs():
            for blob in pack.blobs:
                copies = found.setdefault((blob.type, blob.id), {})
                copies.setdefault((pack.id, blob.offset, blob.length), set()).add(index_id.hex())
    return found


def copies_of(blob: WayBlob | Any) -> dict[tuple[str, int, int], set[str]]:
    return {
        (copy.place.pack.hex(), copy.place.offset, copy.place.length): {index.hex() for index in copy.indexes}
        for copy in blob.stored.copies
    }


# Fixtures by real programs


@pytest.fixture(scope="module", params=["duplicates-v2", "rustic-v2", "restic-0.14-v1"])
def fixture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = fixtures.unpack(request.param, tmp_path_factory.mktemp("fixture") / "unpacked")
    repo = Repository.open(LocalStorage(str(folder)), fixtures.describe(request.param).passwords[0])
    repo.load_index()
    return repo


def test_ways_are_what_the_files_say_one_by_one(fixture: Repository) -> None:
    expected = places_of(fixture)
    for found in all_snapshots(fixture):
        every = paths_of(fixture, found)
        for path, node in random.Random(1).sample(every, min(len(every), 25)):
            seen = find_way(fixture, found, path)
            assert [told for told in all_findings(seen) if told.severity == "error"] == []
            assert seen.node is not None and seen.node.node is not None and seen.node.node.name == node.name
            assert [step.path for step in seen.trees][:2] == ["/", "/" + path.split("/")[1]][: len(seen.trees)]
            above = bytes.fromhex(found.snapshot.tree or "")
            for step in seen.trees:
                assert step.stored.id == above and copies_of(step) == expected["tree", above.hex()]
                assert all(copy.intact and copy.pack_size for copy in step.stored.copies)
                if step.entry is not None:
                    below = (fixture.load_tree(above).nodes or [])[step.entry]
                    above = bytes.fromhex(below.subtree or "")
            if node.type == FILE:
                blobs = list(seen.blobs())
                assert [blob.stored.id.hex() for blob in blobs] == list(node.blobs)
                offset = 0
                for blob in blobs:
                    assert copies_of(blob) == expected["data", blob.stored.id.hex()]
                    assert blob.offset == offset and all(copy.intact for copy in blob.stored.copies)
                    assert len(fixture.load_blob(BlobType.DATA, blob.stored.id)) == blob.stored.length
                    offset += blob.stored.length or 0
                assert seen.amounts is not None and offset == seen.amounts.length
            if node.type == DIR:
                assert seen.subtree is not None
                names = [entry.name for entry in seen.entries(lambda finding: pytest.fail(str(finding)))]
                assert names == [entry.name for entry in fixture.load_tree(seen.subtree).nodes or []]


def test_every_copy_is_found_with_duplicates(tmp_path: Path) -> None:
    folder = fixtures.unpack("duplicates-v2", tmp_path / "unpacked")
    repo = Repository.open(LocalStorage(str(folder)), fixtures.describe("duplicates-v2").passwords[0])
    repo.load_index()
    found = next(iter(all_snapshots(repo)))
    path = next(path for path, node in paths_of(repo, found) if node.size > 1000)
    blob = next(find_way(repo, found, path).blobs())
    assert len(blob.stored.copies) > 1
    hurt = blob.stored.copies[1].place
    file = folder / "data" / hurt.pack.hex()[:2] / hurt.pack.hex()
    raw = bytearray(file.read_bytes())
    raw[hurt.offset + 20] ^= 1
    file.chmod(0o600)
    file.write_bytes(raw)
    seen = find_way(repo, found, path)
    first = next(seen.blobs())
    assert [copy.intact for copy in first.stored.copies] == [True, False]
    assert [(told.region, told.clause) for told in first.stored.findings] == [("blobs[0].copies[1]", "CRYPTO-4")]


@pytest.mark.parametrize("recipe", ["data-blob-flip", "v1-data-blob-flip"])
def test_a_byte_that_was_hurt_is_told_by_every_file_that_has_it(recipe: str, tmp_path: Path) -> None:
    damage = fixtures.describe_damage(recipe)
    (step,) = damage.steps
    folder = fixtures.unpack(recipe, tmp_path / "unpacked")
    repo = Repository.open(LocalStorage(str(folder)), fixtures.describe(damage.fixture).passwords[0])
    repo.load_index()
    hurt = Path(step["path"]).name
    offset = step["offset"] if step["offset"] >= 0 else step["offset"] + (folder / step["path"]).stat().st_size
    seen = told = 0
    for found in all_snapshots(repo):
        for path, node in paths_of(repo, found):
            if node.type != FILE:
                continue
            for blob in find_way(repo, found, path).blobs():
                for copy in blob.stored.copies:
                    place = copy.place
                    inside = place.pack.hex() == hurt and place.offset <= offset < place.offset + place.length
                    assert copy.intact is not inside
                    seen += inside
                told += len(blob.stored.findings)
    assert seen == told > 0


# By hand


def test_the_top_and_a_path_of_any_form(maker: Maker) -> None:
    found = snapshot(maker, maker.folder("a", [maker.file("b", b"1", b"22")]))
    top = find_way(maker.repo, found, "/")
    assert (top.path, top.node, top.subtree) == ("/", None, bytes.fromhex(found.snapshot.tree or ""))
    assert len(top.trees) == 1 and not top.broken
    for text in ("a/b", "/a/b", "//a/./b/", "x/../a/b"):
        assert find_way(maker.repo, found, text).path == "/a/b"
    with pytest.raises(SnapshotNotFound, match="path /a/c: not found"):
        find_way(maker.repo, found, "a/c")
    with pytest.raises(SnapshotNotFound, match="path /a/b: not a directory"):
        find_way(maker.repo, found, "a/b/c")
    with pytest.raises(SnapshotNotFound, match="has no tree"):
        find_way(maker.repo, FoundSnapshot(bytes(32), Snapshot(time=T0, tree=None)), "/")


def test_odd_names_and_nodes_of_other_types(maker: Maker) -> None:
    entries = [maker.node(b"\xff\n", "fifo", 0), maker.symlink("ln", "a"), maker.node("é", "dev", 0, device=5)]
    found = snapshot(maker, *sorted(entries, key=lambda node: node.name_bytes))
    for name in ("\udcff\n", "ln", "é"):
        seen = find_way(maker.repo, found, name)
        assert seen.node is not None and seen.node.node is not None and seen.node.node.name == name
        assert (seen.amounts, seen.subtree, list(seen.blobs()), all_findings(seen)) == (None, None, [], [])


def test_amounts_and_repeated_blobs(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    found = snapshot(maker, maker.file("f", b"one", b"two", b"one", b"one", b"three"))
    monkeypatch.setattr(way, "WINDOW", 2)
    seen = find_way(maker.repo, found, "f")
    assert seen.amounts is not None
    assert seen.amounts[:3] == (5, 3, 17) and seen.amounts.missing == 0
    assert seen.amounts.stored == sum({blob.stored.id: blob.stored.copies[0].place.length for blob in seen.blobs()}.values())
    assert [(blob.number, blob.offset) for blob in seen.blobs()] == [(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)]
    assert all(blob.stored.copies[0].intact for blob in seen.blobs())


def test_large_files_are_read_only_when_asked(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    found = snapshot(maker, maker.file("f", b"one", b"two"))
    monkeypatch.setattr(way, "READ_UNASKED", 10)
    assert {copy.intact for blob in find_way(maker.repo, found, "f").blobs() for copy in blob.stored.copies} == {None}
    asked = find_way(maker.repo, found, "f", read=True)
    assert {copy.intact for blob in asked.blobs() for copy in blob.stored.copies} == {True}


@pytest.mark.clause("TREE-16")
def test_a_size_that_is_not_that_of_the_blobs_is_a_warning(maker: Maker) -> None:
    found = snapshot(maker, maker.file("f", b"one", size=4))
    assert [(told.region, told.severity) for told in all_findings(find_way(maker.repo, found, "f"))] == [
        ("node.size", "warning")
    ]


@pytest.mark.clause("TREE-24")
def test_missing_blobs_are_told_and_the_rest_goes_on(maker: Maker) -> None:
    node = maker.file("f", b"one", b"two")
    node.content = [node.blobs[0], "ab" * 32, node.blobs[1]]
    seen = find_way(maker.repo, snapshot(maker, node), "f")
    blobs = list(seen.blobs())
    assert [blob.offset for blob in blobs] == [0, 3, None]
    assert [told.region for told in all_findings(seen)] == ["blobs[1]"]
    assert seen.amounts is not None and seen.amounts.missing == 1
    # What is there as a tree only is no data blob.
    node.content = [found_tree := maker.tree([]).hex()]
    told = all_findings(find_way(maker.repo, snapshot(maker, node), "f"))
    assert [finding.region for finding in told] == ["blobs[0]"] and found_tree in told[0].what


@pytest.mark.parametrize("few", [0, 64])
def test_packs_that_are_gone_or_cut_are_told(maker: Maker, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(places, "FEW_PACKS", few)
    found = snapshot(maker, maker.folder("d", [maker.file("f", b"one")]))
    location = maker.repo.index.lookup_all(BlobType.DATA, next(find_way(maker.repo, found, "d/f").blobs()).stored.id)[0]
    pack = location.pack.hex()
    raw = maker.repo.storage.load(FileKind.PACK, pack)
    maker.repo.storage.remove(FileKind.PACK, pack)
    told = all_findings(find_way(maker.repo, found, "d/f"))
    assert [(finding.region, finding.clause) for finding in told] == [("blobs[0].copies[0]", "ORDER-1")]
    maker.repo.storage.save(FileKind.PACK, pack, raw[:-1])
    told = all_findings(find_way(maker.repo, found, "d/f"))
    assert [(finding.region, finding.clause) for finding in told] == [("blobs[0].copies[0]", "PACK-11")]


def test_a_tree_that_is_gone_ends_the_way(maker: Maker) -> None:
    inner = maker.folder("d", [maker.file("f", b"one")])
    inner.subtree = "cd" * 32
    found = snapshot(maker, inner)
    seen = find_way(maker.repo, found, "d/f")
    assert seen.broken and [step.path for step in seen.trees] == ["/", "/d"]
    assert [told.region for told in seen.findings] == ["trees[1]"]
    folder = find_way(maker.repo, found, "d")
    assert not folder.broken and {told.region for told in all_findings(folder)} == {"trees[1]", "entries"}


@pytest.mark.parametrize(
    "entries",
    [
        b'{"name":"f","type":"file","mode":"x","content":null}',
        b'{"name":"f","type":"file","content":["zz"]}',
        b'{"name":"f","type":"file","mtime":"yesterday"}',
        b'{"name":"f"}',
    ],
)
def test_a_node_that_is_not_one_is_shown_and_told(maker: Maker, entries: bytes) -> None:
    raw = b'{"nodes":[{"name":"e"},' + entries + b',{"bad":1}]}\n'
    tree = maker.writer.save_blob(BlobType.TREE, raw).id
    seen = find_way(maker.repo, snapshot(maker, tree=tree), "f")
    assert seen.node is not None and seen.node.node is None and seen.node.raw == entries and seen.node.number == 1
    assert seen.findings and list(seen.blobs()) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"nodes":[{"name":1}', b'{"nodes":{}}'])
def test_what_is_no_tree_is_told(maker: Maker, raw: bytes) -> None:
    tree = maker.writer.save_blob(BlobType.TREE, raw).id
    found = snapshot(maker, tree=tree)
    seen = find_way(maker.repo, found, "f")
    assert seen.broken and {told.region for told in seen.findings} == {"trees[0]"}


def test_entries_that_cannot_be_used_are_told(maker: Maker) -> None:
    nodes = [maker.node("a", "fifo", 0), maker.node("a", "fifo", 0), maker.node("..", "fifo", 0)]
    found = snapshot(maker, maker.folder("d", nodes))
    told: list[Finding] = []
    assert [node.name for node in find_way(maker.repo, found, "d").entries(told.append)] == ["a"]
    assert len(told) == 2 and all(finding.region == "entries" for finding in told)


def test_a_large_directory_and_a_large_node(maker: Maker) -> None:
    content = [maker.blob(b"x")] * 20_000
    nodes = [maker.node(f"n{number:06}", "fifo", 0) for number in range(9000)]
    nodes.append(maker.node("z", "file", 0, content=content, size=len(content)))
    found = snapshot(maker, *nodes)
    seen = find_way(maker.repo, found, "z")
    assert seen.node is not None and seen.node.number == 9000
    assert seen.amounts is not None and seen.amounts.blobs == 20_000 and all_findings(seen) == []


def test_index_files_that_list_a_part_of_a_pack(maker: Maker) -> None:
    from restic_spec.index import IndexFile, encode_index

    found = snapshot(maker, maker.file("f", b"one", b"two"))
    repo = maker.repo
    ((old, _),) = list(repo.list(FileKind.INDEX))
    index = decode_index(repo.load_unpacked(FileKind.INDEX, old))
    parts = []
    for pack in index.all_packs():
        for blob in pack.blobs:
            part = type(pack)(pack.id, [blob])
            parts.append((blob.id, repo.save_unpacked(FileKind.INDEX, encode_index(IndexFile(packs=[part])))))
    whole = repo.save_unpacked(FileKind.INDEX, encode_index(index))
    repo.storage.remove(FileKind.INDEX, old.hex())
    repo.load_index()
    for blob in find_way(repo, found, "f").blobs():
        expected = {whole, *(part for name, part in parts if name == blob.stored.id.hex())}
        assert len(expected) == 2 and set(blob.stored.copies[0].indexes) == expected


def test_an_index_that_cannot_be_read_is_told(maker: Maker) -> None:
    found = snapshot(maker, maker.file("f", b"one"))
    maker.repo.storage.save(FileKind.INDEX, "ab" * 32, b"x" * 100)
    told = all_findings(find_way(maker.repo, found, "f"))
    assert [finding.region for finding in told] == [f"index/{'ab' * 32}"]


def test_a_broken_blob_is_told_wherever_it_is_repeated(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    found = snapshot(maker, maker.file("f", b"one", b"two", b"one", b"two", b"one"))
    place = maker.repo.index.lookup(BlobType.DATA, id_of(b"one"))
    assert place is not None
    raw = bytearray(maker.repo.storage.load(FileKind.PACK, place.pack.hex()))
    raw[place.offset + 20] ^= 1
    maker.repo.storage.remove(FileKind.PACK, place.pack.hex())
    maker.repo.storage.save(FileKind.PACK, place.pack.hex(), raw)
    monkeypatch.setattr(way, "WINDOW", 1)
    for remembered in (0, 10):
        monkeypatch.setattr(places, "MOST_BROKEN", remembered)
        told = [finding.region for finding in all_findings(find_way(maker.repo, found, "f"))]
        assert told == ["blobs[0].copies[0]", "blobs[2].copies[0]", "blobs[4].copies[0]"]


def test_a_cache_does_not_hide_what_is_gone(tmp_path: Path) -> None:
    folder = cheap_repo(tmp_path / "repo")
    maker = Maker(Repository.open(LocalStorage(str(folder)), PASSWORD))
    found = snapshot(maker, maker.folder("d", [maker.file("f", b"one")]))
    repo = maker.repo
    repo.use_cache(CacheFolder(str(tmp_path / "cache"), repo.id))
    assert all_findings(find_way(repo, found, "d")) == []
    for pack, _ in list(repo.list(FileKind.PACK)):
        (folder / "data" / pack.hex()[:2] / pack.hex()).unlink()
    # The trees are still read, from the cache.
    seen = find_way(repo, found, "d")
    assert [told.clause for told in all_findings(seen)] == ["ORDER-1", "ORDER-1"] and not seen.broken


class Refusing(MemoryStorage):
    """Does not say whether packs are there."""

    def size(self, kind: FileKind, name: str) -> int:
        if kind is FileKind.PACK:
            raise StorageError("not today")
        return super().size(kind, name)


def test_a_storage_that_says_nothing_of_packs() -> None:
    maker = Maker(memory_repo(Refusing()))
    told = all_findings(find_way(maker.repo, snapshot(maker, maker.file("f", b"one")), "f"))
    assert {finding.region for finding in told} == {"trees[0].copies[0]", "blobs[0].copies[0]"}
    assert all("not today" in finding.what for finding in told)


def test_it_can_be_cancelled(maker: Maker) -> None:
    cancel = Cancel()
    found = snapshot(maker, maker.file("f", b"one"))
    seen = find_way(maker.repo, found, "f", cancel=cancel)
    cancel.set()
    with pytest.raises(Interrupted):
        list(seen.blobs())
    with pytest.raises(Interrupted):
        find_way(maker.repo, found, "f", cancel=cancel)


def _windows(seen: Way) -> Iterator[int]:
    return map(len, seen._windows())


def test_windows_are_bounded_by_bytes(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    found = snapshot(maker, maker.file("f", *(bytes(100) + bytes([number]) for number in range(6))))
    monkeypatch.setattr(way, "WINDOW_SIZE", 250)
    assert list(_windows(find_way(maker.repo, found, "f"))) == [2, 2, 2]
