"""Finding snapshots and the folders in them."""

from __future__ import annotations

import time

import pytest

from restic_format.errors import DamagedFile, SnapshotNotFound
from restic_format.repository import Repository
from restic_format.snapshots import SnapshotFilter, filter_snapshots, find_id, find_snapshot, resolve_subfolder
from restic_format.storage import MemoryStorage
from restic_spec import gotime
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Node, encode_tree

DAY = 86400 * gotime.NS


def snapshot(repo: Repository, days_ago: float, host: str = "a", tags: tuple[str, ...] = (), path: str = "/x") -> bytes:
    made = gotime.format_ns(time.time_ns() - int(days_ago * DAY))
    return repo.save_snapshot(Snapshot(time=made, tree="00" * 32, paths=[path], hostname=host, tags=list(tags)))


def test_latest_is_the_newest_that_fits_and_not_from_the_future(repo: Repository) -> None:
    old = snapshot(repo, 3, tags=("t", "u"))
    new = snapshot(repo, 1, host="b")
    snapshot(repo, -1)
    assert find_snapshot(repo, "latest")[0].id == new
    assert find_snapshot(repo, "latest:sub/dir", SnapshotFilter(hosts=["a"])) == (find_snapshot(repo, old.hex())[0], "sub/dir")
    assert find_snapshot(repo, "latest", SnapshotFilter(tags=[["t", "u"], ["z"]]))[0].id == old
    assert find_snapshot(repo, "latest", SnapshotFilter(tags=[[""]]))[0].id == new
    assert find_snapshot(repo, "latest", SnapshotFilter(before_ns=time.time_ns() - 2 * DAY))[0].id == old
    with pytest.raises(SnapshotNotFound, match="no snapshot found"):
        find_snapshot(repo, "latest", SnapshotFilter(paths=["/x", "/y"]))


@pytest.mark.clause("SNAP-20")
def test_snapshots_before_the_latest_are_counted_among_those_that_fit(repo: Repository) -> None:
    ids = [snapshot(repo, days, host="ab"[days % 2]) for days in range(6, 0, -1)][::-1]
    snapshot(repo, -1)
    assert [find_snapshot(repo, f"latest~{number}")[0].id for number in range(6)] == ids
    on_b = SnapshotFilter(hosts=["b"])
    assert find_snapshot(repo, "latest~2:a/b:c", on_b) == (find_snapshot(repo, ids[4].hex())[0], "a/b:c")
    assert [found.id for found in filter_snapshots(repo, ["latest~1", "latest", "latest~1"])] == [ids[1], ids[0]]
    with pytest.raises(SnapshotNotFound, match="for latest~3, there are only 3 snapshots; the first is latest~2"):
        find_snapshot(repo, "latest~3", on_b)
    for name, says in (("latest~", "a number must come after"), ("latest~-1", "a number"), ("latest1", "no matching ID")):
        with pytest.raises(SnapshotNotFound, match=says):
            find_snapshot(repo, name)
    with pytest.raises(SnapshotNotFound, match=r"no snapshot found\Z"):
        find_snapshot(repo, "latest~1", SnapshotFilter(hosts=["c"]))
    with pytest.raises(SnapshotNotFound, match="no snapshot found for latest~999999999999999999"):
        find_snapshot(repo, "latest~" + "9" * 18)
    with pytest.raises(SnapshotNotFound, match="a number"):
        find_snapshot(repo, "latest~" + "9" * 5000)


def test_a_filter_is_used_by_names_that_are_counted_from_the_latest(repo: Repository) -> None:
    ids = [snapshot(repo, days, host="ab"[days % 2]) for days in (3, 2, 1)]
    ignored: list[str] = []
    found = filter_snapshots(repo, ["latest~1"], SnapshotFilter(hosts=["b"]), lambda name, _: ignored.append(name))
    assert [one.id for one in found] == [ids[0]] and ignored == []


def test_prefixes_must_mean_one_snapshot(repo: Repository) -> None:
    wanted = snapshot(repo, 1)
    digits = [snapshot(repo, 2).hex()[0] for _ in range(20)]
    shared = next(digit for digit in digits if digits.count(digit) > 1)
    assert find_snapshot(repo, wanted.hex()[:12])[0].id == wanted
    assert find_snapshot(repo, wanted.hex().upper())[0].id == wanted, "a whole id, as in restic"
    with pytest.raises(SnapshotNotFound, match="no matching ID"):
        find_snapshot(repo, "ABCDEF")
    with pytest.raises(SnapshotNotFound, match="multiple IDs"):
        find_id(repo, FileKind.SNAPSHOT, shared)
    with pytest.raises(SnapshotNotFound, match="no matching ID"):
        find_id(repo, FileKind.SNAPSHOT, "xyz")


def test_an_empty_id_means_nothing(repo: Repository) -> None:
    """Not even where there is but one snapshot: ``forget "$ID"`` would remove it."""
    snapshot(repo, 1)
    for name in ("", ":", ":/x"):
        with pytest.raises(SnapshotNotFound, match="the ID is empty"):
            find_snapshot(repo, name)


def test_names_give_each_snapshot_once_and_damage_is_reported(repo: Repository) -> None:
    first, second = snapshot(repo, 2), snapshot(repo, 1)
    names = ["latest", second.hex(), first.hex()[:16]]
    assert [found.id for found in filter_snapshots(repo, names)] == [second, first]
    storage = repo.storage
    assert isinstance(storage, MemoryStorage)
    storage.files[FileKind.SNAPSHOT, first.hex()] = b"rotten"
    damaged: list[str] = []
    assert [found.id for found in filter_snapshots(repo, damaged=lambda name, _: damaged.append(name))] == [second]
    assert damaged == [first.hex()]
    with pytest.raises(DamagedFile, match=first.hex()):
        list(filter_snapshots(repo))


def test_subfolders(repo: Repository) -> None:
    writer = repo.writer()
    inner = writer.save_blob(BlobType.TREE, encode_tree([Node(quoted="file", type="file", content=[])])).id
    middle = writer.save_blob(BlobType.TREE, encode_tree([Node(quoted="in", type="dir", content=None, subtree=inner.hex())])).id
    root = writer.save_blob(BlobType.TREE, encode_tree([Node(quoted="out", type="dir", content=None, subtree=middle.hex())])).id
    writer.flush()
    assert resolve_subfolder(repo, root, "/out/in/") == inner
    assert resolve_subfolder(repo, root, "") == root
    with pytest.raises(SnapshotNotFound, match="path out/none: not found"):
        resolve_subfolder(repo, root, "out/none")
    with pytest.raises(SnapshotNotFound, match="not a directory"):
        resolve_subfolder(repo, root, "out/in/file")
