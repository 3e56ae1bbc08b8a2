"""Who shares the blobs of a file: against every file of every snapshot, looked at one by one, and beside real restic."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from restic_conformance import fixtures
from restic_format.errors import Interrupted
from restic_format.inspect import sharing
from restic_format.inspect.sharing import Sharing, find_sharing
from restic_format.inspect.way import find_way
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, all_snapshots
from restic_format.storage import LocalStorage
from restic_format.work import Cancel
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node
from tests.explore.trees import Forest
from tests.inspecting.waykit import paths_of, snapshot
from tests.restore.kit import PASSWORD, Maker, restic


@pytest.fixture(params=[1, 2])
def forest(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    made = Forest(tmp_path / "repo", request.param, request.param)
    made.fill(5)
    repo = Repository.open(LocalStorage(str(made.folder)), PASSWORD)
    repo.load_index()
    return repo


def expected(repo: Repository, every: list[FoundSnapshot], own: FoundSnapshot, path: str, node: Node) -> Sharing:
    sizes = {blob: repo.index.lookup(BlobType.DATA, bytes.fromhex(blob)) for blob in node.blobs}
    stored = {blob: place.length for blob, place in sizes.items() if place is not None}
    plain = {blob: len(repo.load_blob(BlobType.DATA, bytes.fromhex(blob))) for blob in stored}
    found: dict[tuple[str, frozenset[str]], list[bytes]] = {}
    beside: set[str] = set()
    elsewhere: set[str] = set()
    for item in every:
        for other, entry in paths_of(repo, item):
            common = frozenset(stored) & set(entry.blobs)
            if entry.type != FILE or not common or (item is own and other == path):
                continue
            found.setdefault((other, common), []).append(item.id)
            (beside if item is own else elsewhere).update(common)
    shares = [
        sharing.Share(other, ids, len(common), sum(plain[blob] for blob in common)) for (other, common), ids in found.items()
    ]
    unique = sum(size for blob, size in stored.items() if blob not in beside)
    freed = sum(size for blob, size in stored.items() if blob not in beside | elsewhere)
    return Sharing(shares, 0, sum(stored.values()), unique, freed, [])


def test_shares_are_what_every_file_says(forest: Repository) -> None:
    every = sorted(all_snapshots(forest), key=lambda found: found.time_ns)
    choices = random.Random(3)
    files = [(own, path, node) for own in every for path, node in paths_of(forest, own) if node.type == FILE]
    for own, path, node in choices.sample(files, min(len(files), 20)):
        seen = find_sharing(find_way(forest, own, path), every)
        wanted = expected(forest, every, own, path, node)
        assert sorted(seen.shares) == sorted(wanted.shares)
        assert seen[1:] == wanted[1:]


def test_directories_share_trees(forest: Repository) -> None:
    every = sorted(all_snapshots(forest), key=lambda found: found.time_ns)
    own = every[-1]
    for path, node in [item for item in paths_of(forest, own) if item[1].type == DIR][:8]:
        seen = find_sharing(find_way(forest, own, path), every)
        places = {(share.path, snapshot_id) for share in seen.shares for snapshot_id in share.snapshots}
        wanted = {
            (other, item.id) for item in every for other, entry in paths_of(forest, item) if entry.subtree == node.subtree
        } - {(path, own.id)}
        assert places == wanted and seen[1:] == (0, 0, 0, 0, [])


def test_a_blob_is_shared_where_real_restic_finds_it(tmp_path: Path, peer: object) -> None:
    folder = fixtures.unpack("restic-0.19-v2", tmp_path / "unpacked")
    repo = Repository.open(LocalStorage(str(folder)), fixtures.describe("restic-0.19-v2").passwords[0])
    repo.load_index()
    every = list(all_snapshots(repo))
    own = every[0]
    path, node = next(item for item in paths_of(repo, own) if len(item[1].blobs) == 1)
    seen = find_sharing(find_way(repo, own, path), every)
    places = {(share.path, snapshot_id.hex()) for share in seen.shares for snapshot_id in share.snapshots}
    assert callable(peer)
    (folder.parent / "pw").write_text(fixtures.describe("restic-0.19-v2").passwords[0])
    words = ["find", "--json", "--password-file", str(folder.parent / "pw"), "--blob", node.blobs[0]]
    done = restic(peer("restic-0.19"), folder, *words)
    assert done.returncode == 0, done.stderr
    found = {(item["path"], item["snapshot"]) for item in json.loads(done.stdout)}
    assert places == found - {(path, own.id.hex())} and found


def test_what_cannot_be_looked_at_is_told_and_the_rest_counted(maker: Maker) -> None:
    lost = maker.folder("b", [])
    lost.subtree = "ab" * 32
    found = snapshot(maker, maker.file("a", b"one"), lost, maker.file("c", b"one"))
    seen = find_sharing(find_way(maker.repo, found, "a"), [found])
    assert [share.path for share in seen.shares] == ["/c"]
    assert [(told.region, told.severity) for told in seen.findings] == [("shared", "error")] and "'/b'" in seen.findings[0].what


def test_what_is_told_is_bounded_but_counted_whole(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MOST_SHARES", 2)
    found = snapshot(maker, *(maker.file(f"f{number}", b"one") for number in range(6)), maker.file("g", b"one", b"two"))
    seen = find_sharing(find_way(maker.repo, found, "g"), [found])
    assert len(seen.shares) == 2 and seen.left_out == 4
    place = maker.repo.index.lookup(BlobType.DATA, bytes.fromhex(maker.blob(b"two")))
    assert place is not None and seen.unique == seen.freed == place.length


def test_what_is_held_of_those_who_share_is_bounded(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each it is held which of the blobs it has: much, where a file of a million blobs has its last with many."""
    count = 2000
    blobs = [number.to_bytes(2, "big") for number in range(count)]
    others = [maker.file(f"o{number}", blobs[-1]) for number in range(20)]
    found = snapshot(maker, maker.file("f", *blobs), *others)
    way = find_way(maker.repo, found, "/f")
    whole = find_sharing(way, [found])
    assert (len(whole.shares), whole.left_out) == (20, 0)
    monkeypatch.setattr(sharing, "MOST_HELD", 10 * (300 + count // 8))
    bounded = find_sharing(way, [found])
    assert (len(bounded.shares), bounded.left_out) == (10, 10)
    assert bounded[2:] == whole[2:]


def test_other_items_share_nothing(maker: Maker) -> None:
    found = snapshot(maker, maker.file("empty"), maker.symlink("ln", "x"))
    for name in ("empty", "ln"):
        assert find_sharing(find_way(maker.repo, found, name), [found]) == Sharing([], 0, 0, 0, 0, [])


def test_it_can_be_cancelled(maker: Maker) -> None:
    found = snapshot(maker, maker.file("a", b"one"))
    seen = find_way(maker.repo, found, "a")
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        find_sharing(seen, [found], cancel=cancel)
