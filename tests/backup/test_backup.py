"""What a backup does, seen through the repository it leaves behind."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restic_format.backup import (
    BackupEvent,
    BackupOptions,
    ItemStats,
    NothingToBackUp,
    Totals,
    Warned,
    backup,
    find_parent,
    walk,
)
from restic_format.backup.parent import ParentTrees
from restic_format.errors import Interrupted, LockLost, StorageError
from restic_format.filter import ExcludeFilter
from restic_format.repository import Repository
from restic_format.storage import Content, MemoryStorage
from restic_format.work import MOST_THREADS, Cancel
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.tree import Node, encode_tree
from tests.backup.conftest import CHEAP
from tests.backup.sources import PASSWORD, Listener, Recorder, again, files, stored

Reopen = Callable[[Repository], Repository]


@pytest.mark.clause("SNAP-3", "SNAP-6", "SNAP-9")
def test_snapshot_and_summary(source: Path, repository: Repository, reopened: Reopen) -> None:
    seen = Recorder()
    options = BackupOptions(
        hostname="host",
        tags=["a", "b"],
        exclude_patterns=["*.tmp"],
        time_ns=1_600_000_000_000_000_000,
        start_ns=1_700_000_000_000_000_000,
    )
    result = backup(repository, ["s", "./s/"], options, seen)
    snapshot = stored(reopened(repository), result)
    assert (snapshot.hostname, snapshot.tags, snapshot.excludes) == ("host", ["a", "b"], ["*.tmp"])
    assert snapshot.paths == [str(source), str(source)]
    assert snapshot.time_ns == 1_600_000_000_000_000_000
    assert snapshot.tree == result.tree and snapshot.parent is None
    assert (snapshot.uid, snapshot.program_version.split()[0]) == (os.getuid(), "restic-format")
    summary = snapshot.statistics()
    assert summary is not None
    assert (summary.files_new, summary.dirs_new, summary.total_files_processed) == (4, 3, 4)
    assert summary.total_bytes_processed == seen.bytes == 30 + 30 + 70 + 80
    assert (summary.data_blobs, summary.tree_blobs) == (4, 4)
    assert summary.data_added_packed == sum(len(pack) for pack in _packs(repository)) - 2 * 36
    assert seen.totals == Totals(files=4, dirs=3, others=0, bytes=210, finished=True)
    assert seen.items["/s/d/"] == ("dir", "new") and seen.items["/s/d/e/four"] == ("file", "new")


def _packs(repository: Repository) -> list[bytes]:
    storage = repository.storage
    return [storage.load(FileKind.PACK, name) for name, _ in storage.list(FileKind.PACK)]


def test_content_comes_back(source: Path, repository: Repository, reopened: Reopen) -> None:
    big = os.urandom(9_000_000)
    (source / "big").write_bytes(big)
    (source / "empty").touch()
    result = backup(repository, ["s"])
    fresh = reopened(repository)
    nodes = files(fresh, result.tree)
    assert b"".join(fresh.load_blob(BlobType.DATA, bytes.fromhex(blob)) for blob in nodes["/s/big"].blobs) == big
    assert nodes["/s/empty"].content == []
    assert nodes["/s/d"].content is None
    assert len(nodes["/s/big"].blobs) >= 2


@pytest.mark.usefixtures("file_by_file")
def test_unchanged_files_are_not_read(source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    first = backup(repository, ["s"])

    def refuse(*arguments: object) -> int:
        raise AssertionError("an unchanged file was read")

    monkeypatch.setattr(os, "readv", refuse)
    second, seen = again(repository, first)
    assert second.tree == first.tree
    assert seen.items["/s/one"] == ("file", "unchanged") and seen.items["/s/d/"] == ("dir", "unchanged")
    assert second.summary.stats == ItemStats()
    assert second.summary.files.unchanged == 4 and second.summary.dirs.unchanged == 3
    assert stored(repository, second).parent == first.snapshot_id


def test_changes_are_seen(source: Path, repository: Repository) -> None:
    first = backup(repository, ["s"])
    (source / "one").write_text("other")
    (source / "new").write_text("new")
    second, seen = again(repository, first)
    assert seen.items["/s/one"] == ("file", "modified")
    assert seen.items["/s/new"] == ("file", "new")
    assert seen.items["/s/two"] == ("file", "unchanged")
    assert seen.items["/s/"] == ("dir", "modified")
    assert second.summary.files.modified == 1 and second.summary.dirs.unchanged == 2


def test_same_content_with_other_metadata(source: Path, repository: Repository) -> None:
    """A file whose inode, ctime and mtime differ is read, unless told otherwise."""
    first = backup(repository, ["s"])
    before = (source / "one").stat()
    (source / "copy").write_bytes((source / "one").read_bytes())
    os.utime(source / "copy", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.rename(source / "copy", source / "one")
    reads: dict[str, bool] = {}
    for name, options in (("default", {}), ("ctime", {"ignore_ctime": True}), ("inode", {"ignore_inode": True})):
        _, seen = again(repository, first, **options)
        reads[name] = seen.items["/s/one"][1] != "unchanged"
    assert reads == {"default": True, "ctime": True, "inode": False}
    os.chmod(source / "two", 0o700)
    assert again(repository, first)[1].items["/s/two"][1] == "modified"
    result, seen = again(repository, first, ignore_ctime=True)
    assert seen.items["/s/two"][1] == "unchanged"
    assert files(repository, result.tree)["/s/two"].mode == 0o700


def test_times_in_another_zone_are_the_same_times(
    source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backup(repository, ["s"])
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        _, seen = again(repository, first)
    finally:
        monkeypatch.undo()
        time.tzset()
        os.chdir(source.parent)
    assert {change for _, change in seen.items.values()} <= {"unchanged", "modified"}
    assert seen.items["/s/one"] == ("file", "unchanged")


def test_lost_blobs_are_stored_again(source: Path, repository: Repository, reopened: Reopen) -> None:
    first = backup(repository, ["s"])
    storage = repository.storage
    for name, _ in list(storage.list(FileKind.INDEX)):
        storage.remove(FileKind.INDEX, name)
    fresh = reopened(repository)
    second, seen = again(fresh, first)
    assert second.tree == first.tree
    assert [item for item, _ in seen.errors] == ["/"]
    assert "is not known" in seen.errors[0][1]
    assert second.summary.stats.data_blobs == 4


def test_missing_content_is_reported(source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    first = backup(repository, ["s"])
    lost = files(repository, first.tree)["/s/one"].blobs[0]
    has, has_all = repository.index.has, repository.index.has_all
    monkeypatch.setattr(repository.index, "has", lambda kind, blob: blob.hex() != lost and has(kind, blob))
    monkeypatch.setattr(repository.index, "has_all", lambda kind, ids: lost not in ids.hex() and has_all(kind, ids))
    second, seen = again(repository, first)
    assert second.tree == first.tree and second.summary.errors == 1
    assert "parts of s/one not found in the repository index; storing the file again" in seen.errors[0][1]
    assert second.summary.stats.data_blobs == 1 and second.summary.files.unchanged == 4


@pytest.mark.parametrize(
    "harm",
    [
        {"mtime": "yesterday"},
        {"ctime": "2020-13-01T00:00:00Z"},
        {"content": ["no id"]},
        {"content": ["AB" * 32]},
        {"type": "dir", "subtree": "../../../etc"},
        {"type": "dir", "subtree": "ab" * 32},
        {"quoted": "\\q"},
        {"size": 1 << 63},
    ],
    ids=str,
)
def test_nonsense_in_the_parent_only_costs_time(harm: dict[str, object], source: Path, repository: Repository) -> None:
    writer = repository.writer()
    first = backup(repository, ["s"])
    (root,) = repository.load_tree(bytes.fromhex(first.tree))
    tree = repository.load_tree(bytes.fromhex(root.subtree))
    for node in tree:
        if node.name in ("one", "d"):
            for name, value in harm.items():
                setattr(node, name, value)
    root.subtree = writer.save_blob(BlobType.TREE, encode_tree(tree)).id.hex()
    harmed = writer.save_blob(BlobType.TREE, encode_tree([root])).id.hex()
    writer.flush()
    snapshot = stored(repository, first)
    snapshot.tree = harmed
    second = backup(repository, ["s"], BackupOptions(parent=snapshot, parent_id=first.snapshot_id), Recorder())
    assert second.tree == first.tree
    assert second.summary.stats.data_blobs == 0


def test_skip_if_unchanged(source: Path, repository: Repository) -> None:
    first = backup(repository, ["s"])
    skipped, _ = again(repository, first, skip_if_unchanged=True)
    assert skipped.snapshot_id is None and skipped.tree == first.tree
    (source / "one").write_text("other")
    assert again(repository, first, skip_if_unchanged=True)[0].snapshot_id is not None


def test_dry_run_writes_nothing(source: Path, repository: Repository) -> None:
    before = {kind: sorted(repository.storage.list(kind)) for kind in FileKind}
    result = backup(repository, ["s"], BackupOptions(dry_run=True))
    assert {kind: sorted(repository.storage.list(kind)) for kind in FileKind} == before
    assert result.summary.stats.data_blobs == 4 and result.summary.stats.data_size == 210


def test_sockets_are_left_out_and_others_kept(source: Path, repository: Repository) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s/socket")
    os.mkfifo(source / "fifo")
    os.symlink("nowhere", source / "link")
    result = backup(repository, ["s"])
    nodes = files(repository, result.tree)
    assert "/s/socket" not in nodes
    assert (nodes["/s/fifo"].type, nodes["/s/link"].target) == ("fifo", "nowhere")
    assert result.summary.errors == 0


def test_nothing_left(source: Path, repository: Repository) -> None:
    with pytest.raises(NothingToBackUp):
        backup(repository, ["."], BackupOptions(excludes=ExcludeFilter(["s"])))
    assert not list(repository.storage.list(FileKind.SNAPSHOT))


def test_excludes(source: Path, repository: Repository) -> None:
    (source / "cache" / "below").mkdir(parents=True)
    (source / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55 and more")
    (source / "cache" / "data").write_text("x")
    (source / "big").write_bytes(bytes(5000))
    (source / "THREE").touch()
    options = BackupOptions(
        excludes=ExcludeFilter(["d/e"], ["Three"]),
        exclude_if_present=["CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55"],
        exclude_larger_than=4999,
    )
    seen = Recorder()
    result = backup(repository, ["s"], options, seen)
    assert sorted(files(repository, result.tree)) == [
        "/s",
        "/s/cache",
        "/s/cache/CACHEDIR.TAG",
        "/s/d",
        "/s/one",
        "/s/two",
    ]
    assert seen.totals is not None and (seen.totals.files, seen.totals.dirs) == (3, 3)


def test_explicit_targets_are_never_excluded(source: Path, repository: Repository) -> None:
    result = backup(repository, ["s/d/e", "s/one"], BackupOptions(excludes=ExcludeFilter(["e", "one", "four"])))
    assert sorted(files(repository, result.tree)) == ["/s", "/s/d", "/s/d/e", "/s/one"]


def test_tag_files_that_cannot_be_used(source: Path, repository: Repository) -> None:
    (source / "TAG").write_text("wrong")
    (source / "d" / "TAG").touch()
    warnings: list[str] = []

    def listen(event: BackupEvent) -> None:
        if isinstance(event, Warned):
            warnings.append(event.text)

    result = backup(repository, ["s"], BackupOptions(exclude_if_present=["TAG:right"]), listen)
    assert len(files(repository, result.tree)) == 9
    assert sorted(warnings) == [
        f'invalid (too short) signature in exclusion tagfile "{source}/d/TAG"',
        f'invalid signature in exclusion tagfile "{source}/TAG"',
    ]


@pytest.mark.usefixtures("file_by_file")
def test_other_file_systems(source: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point stays, what is mounted there does not."""
    real, look_closely = os.lstat, walk.look_closely

    def moved(path: bytes, info: os.stat_result) -> os.stat_result:
        if b"/s/d/e" in os.path.abspath(path):
            fields = list(info)
            fields[2] = info.st_dev + 1
            return os.stat_result([*fields, *info[10:]], {"st_mtime_ns": info.st_mtime_ns, "st_ctime_ns": info.st_ctime_ns})
        return info

    monkeypatch.setattr(os, "lstat", lambda path: moved(path, real(path)))
    monkeypatch.setattr(walk, "look_closely", lambda place: moved(place.path, look_closely(place)))
    result = backup(repository, ["s"], BackupOptions(one_file_system=True, scan=False))
    assert sorted(files(repository, result.tree)) == ["/s", "/s/d", "/s/d/e", "/s/d/three", "/s/one", "/s/two"]


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """1200 directories, one in the other."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    Path("f").write_text("bottom")
    monkeypatch.chdir(tmp_path)
    yield
    # Python 3.11 and pytest with it cannot remove a tree this deep.
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)


@pytest.mark.usefixtures("deep")
@pytest.mark.parametrize(("target", "as_path"), [("d", ""), ("d/" * 1200, ""), ("d", "/" + "d/" * 1200), ("d/" * 1200, "/d")])
def test_deep_trees(repository: Repository, target: str, as_path: str) -> None:
    """Deeper than Python's own stack would allow, also as a target."""
    result = backup(repository, [target], BackupOptions(as_path=as_path))
    if target != "d" or as_path:
        assert result.summary.files.new == 1 and result.summary.errors == 0
        return
    assert result.summary.dirs.new == 1200 and result.summary.files.new == 1
    assert result.summary.errors == 0


def test_cancelled_backup_keeps_what_is_stored(source: Path, repository: Repository, reopened: Reopen) -> None:
    for number in range(300):
        (source / f"file-{number}").write_bytes(os.urandom(20_000))
    cancel = Cancel()

    class Impatient(Listener):
        def item_done(self, item: str, kind: str, change: str, stats: ItemStats, seconds: float) -> None:
            if item.endswith("/file-123"):
                cancel.set()

    with pytest.raises(Interrupted):
        backup(repository, ["s"], BackupOptions(), Impatient(), cancel)
    assert not list(repository.storage.list(FileKind.SNAPSHOT))
    assert threading.active_count() < 5
    fresh = reopened(repository)
    kept = sum(entry.type is BlobType.DATA for _, entry in fresh.index.entries())
    assert kept > 0
    result = backup(fresh, ["s"])
    assert result.summary.stats.data_blobs == 304 - kept


def test_the_lock_is_asked_for_every_batch(source: Path, repository: Repository) -> None:
    for number in range(20):
        (source / f"big-{number:02d}").write_bytes(bytes(1_500_000))
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    backup(repository, ["s"], cancel=Cancel(health=count))
    assert calls > 20


def test_what_the_user_names_is_not_left_out_for_its_size(source: Path, repository: Repository) -> None:
    (source / "one").write_bytes(bytes(100))
    options = BackupOptions(exclude_larger_than=80)
    assert sorted(files(repository, backup(repository, ["s/one", "s/d"], options).tree)) == [
        *("/s", "/s/d", "/s/d/e", "/s/d/e/four", "/s/d/three", "/s/one"),
    ]


def test_large_trees_of_the_parent_are_not_loaded_ahead(repository: Repository) -> None:
    trees = [encode_tree([Node("n" * size, "file", mtime="2020-01-01T00:00:00Z", content=[])]) for size in (100, 300_000)]
    ids = [id_of(raw) for raw in trees]
    writer = repository.writer()
    writer.save(BlobType.TREE, list(zip(ids, trees, strict=True)))
    writer.flush()
    loaded = ParentTrees(repository, None, lambda item, error: None).load_many([blob.hex() for blob in ids])
    assert list(loaded) == [ids[0].hex()]


@pytest.mark.parametrize("stored", [None, FileKind.PACK, FileKind.INDEX])
def test_nothing_is_listed_after_a_lost_lock(stored: FileKind | None, source: Path) -> None:
    """Who holds no lock must not write an index: the packs it lists may be gone.

    It is lost at the beginning, or as soon as there is a file of the kind *stored*.
    """
    for number in range(20):
        (source / f"big-{number:02d}").write_bytes(os.urandom(1_500_000))
    repository = Repository.init(MemoryStorage(), PASSWORD, kdf=CHEAP, pack_size=4 << 20)

    def lost() -> None:
        if stored is None or list(repository.storage.list(stored)):
            raise LockLost("gone")

    with pytest.raises(LockLost):
        backup(repository, ["s"], cancel=Cancel(health=lost))
    assert not list(repository.storage.list(FileKind.SNAPSHOT))
    assert bool(list(repository.storage.list(FileKind.PACK))) is (stored is not None)
    assert bool(list(repository.storage.list(FileKind.INDEX))) is (stored is FileKind.INDEX)


def test_failing_storage_ends_the_backup(source: Path) -> None:
    class Broken(MemoryStorage):
        failing = False

        def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
            if self.failing and kind is FileKind.PACK:
                raise StorageError("disk full")
            super().save(kind, name, data, metadata=metadata)

    storage = Broken()
    repository = Repository.init(storage, PASSWORD, kdf=CHEAP, pack_size=4 << 20)
    storage.failing = True
    (source / "big").write_bytes(os.urandom(40_000_000))
    with pytest.raises(StorageError, match="disk full"):
        backup(repository, ["s"])
    assert not list(storage.list(FileKind.SNAPSHOT))
    assert not list(storage.list(FileKind.INDEX))


def test_many_workers_give_the_same_tree(source: Path, repository: Repository) -> None:
    for number in range(40):
        (source / f"n{number}").write_bytes(os.urandom(200 * number))
    (source / "large").write_bytes(os.urandom(6_000_000))
    trees = {backup(repository, ["s"], BackupOptions(read_concurrency=count)).tree for count in (1, 2, 7)}
    assert len(trees) == 1


def test_workers_are_bounded_whatever_is_asked_for(source: Path, repository: Repository) -> None:
    counts: list[int] = []

    class Counting(Listener):
        def start_file(self, item: str) -> None:
            counts.append(sum(thread.name.startswith("backup-") for thread in threading.enumerate()))

    backup(repository, ["s"], BackupOptions(read_concurrency=MOST_THREADS + 20), Counting())
    assert max(counts) == MOST_THREADS


def test_parent_choice(source: Path, repository: Repository) -> None:
    def made(second: int, **options: object) -> str:
        chosen = BackupOptions(time_ns=second * 10**9, **options)  # type: ignore[arg-type]
        snapshot_id = backup(repository, ["s"], chosen).snapshot_id
        assert snapshot_id is not None
        return snapshot_id

    old = made(1_000, hostname="a")
    tagged = made(2_000, hostname="a", tags=["x", "y"])
    other = made(3_000, hostname="b")

    def chosen(**options: object) -> str | None:
        found = find_parent(repository, **options)  # type: ignore[arg-type]
        return found and found.id.hex()

    assert chosen(hostname="a", paths=["s"]) == tagged
    assert chosen(hostname="a", paths=["s"], not_after_ns=1_500 * 10**9) == old
    assert chosen(hostname="a", paths=["s/d"]) is None
    assert chosen(hostname="c", paths=["s"]) is None
    assert chosen(hostname="c", paths=["s"], group_by=frozenset({"paths"})) == other
    assert chosen(group_by=frozenset({"tags"}), tags=["y"]) == tagged
    assert chosen(group_by=frozenset()) == other
    assert chosen(name=old[:12]) == old
