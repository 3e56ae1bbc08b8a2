"""Backups that are interrupted and leave a partial snapshot, and those that go on from it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.backup import BackupEvent, BackupOptions, FilesDone, FileStarted, ItemDone, Result, backup, find_parent
from restic_format.backup.files import Workers
from restic_format.backup.parent import LayeredDirectory, ParentTrees
from restic_format.errors import Interrupted, LockLost, ResticFormatError, SnapshotNotFound, StorageError
from restic_format.repository import Repository
from restic_format.repository.writer import BlobWriter
from restic_format.snapshots import SnapshotFilter, find_latest, find_snapshot
from restic_format.snapshots.grouping import TAGS, group_of
from restic_format.storage import MemoryStorage
from restic_format.storage.faulty import Call, Fail, FaultyStorage
from restic_format.work import Cancel
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import is_partial
from tests.backup.conftest import CHEAP
from tests.backup.sources import PASSWORD, Restic, files, stored

FOLDERS, EACH = 12, 40


@pytest.fixture
def wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enough files for several batches, in folders in folders; the current folder is above them."""
    rng = random.Random(5)
    root = tmp_path / "work"
    for folder in range(FOLDERS):
        path = root / "s" / f"{folder % 3}" / f"{folder:02}"
        path.mkdir(parents=True)
        for number in range(EACH):
            (path / f"{number:02}").write_bytes(rng.randbytes(rng.choice([0, 10, 3000, 50_000])))
    monkeypatch.chdir(root)
    return root / "s"


def interrupted(
    repository: Repository,
    after: int,
    options: BackupOptions | None = None,
    cancel: Cancel | None = None,
    *,
    modified: bool = False,
) -> Result:
    """A backup that is cancelled when so many files are done, or so many *modified* ones."""
    cancel = cancel or Cancel()
    done = 0

    def listen(event: BackupEvent) -> None:
        nonlocal done
        if isinstance(event, FilesDone):
            done += event.files
        if isinstance(event, ItemDone) and event.kind == "file" and (event.change == "modified" or not modified):
            done += 1
        if done >= after:
            cancel.set()

    options = options or BackupOptions()
    options.snapshot_on_interrupt = True
    options.scan = False
    return backup(repository, ["s"], options, listen, cancel)


def onto(repository: Repository, parent: Result, **more: object) -> BackupOptions:
    return BackupOptions(parent=stored(repository, parent), parent_id=parent.snapshot_id, scan=False, **more)  # type: ignore[arg-type]


def read_files(repository: Repository, options: BackupOptions) -> tuple[Result, list[str]]:
    """A backup, and what it reads."""
    read: list[str] = []

    def listen(event: BackupEvent) -> None:
        if isinstance(event, FileStarted):
            read.append(event.item)

    return backup(repository, ["s"], options, listen), read


def content(repository: Repository, tree: str) -> dict[str, bytes]:
    return {
        path: b"".join(repository.load_blob(BlobType.DATA, bytes.fromhex(blob)) for blob in node.blobs)
        for path, node in files(repository, tree).items()
        if node.type == "file"
    }


@pytest.mark.clause("SNAP-21", "ORDER-1")
@pytest.mark.parametrize("twin", [False, True])
def test_what_is_finished_is_kept(
    wide: Path,
    repository: Repository,
    reopened: Callable[[Repository], Repository],
    request: pytest.FixtureRequest,
    twin: bool,
) -> None:
    if twin:
        request.getfixturevalue("file_by_file")
    result = interrupted(repository, 100, BackupOptions(tags=["own"]))
    assert result.partial and result.snapshot_id is not None
    snapshot = stored(repository, result)
    assert is_partial(snapshot) and snapshot.tags == ["own", "partial"] and bytes(snapshot.extra["partial"]) == b"true"
    found = content(reopened(repository), result.tree)
    assert 100 <= len(found) < FOLDERS * EACH
    for path, data in found.items():
        assert (wide.parent / path[1:]).read_bytes() == data
    assert result.summary.files.total == len(found)
    whole = backup(repository, ["s"])
    assert not is_partial(stored(repository, whole)) and not whole.partial


@pytest.mark.clause("SNAP-22")
def test_the_next_backup_goes_on_from_it(wide: Path, repository: Repository) -> None:
    partial = interrupted(repository, 100)
    kept = {path for path, node in files(repository, partial.tree).items() if node.type == "file"}
    parent = find_parent(repository, paths=["s"])
    assert parent is not None and parent.id.hex() == partial.snapshot_id
    for group_by in (frozenset[str](), frozenset({"host", "paths", "tags"})):
        grouped = find_parent(repository, paths=["s"], group_by=group_by)
        assert grouped is not None and grouped.id == parent.id
    options = BackupOptions(parent=parent.snapshot, parent_id=parent.id.hex(), scan=False)
    result, _ = read_files(repository, options)
    assert result.summary.files.unchanged == len(kept) and result.summary.files.new == FOLDERS * EACH - len(kept)
    fresh = backup(repository, ["s"])
    assert fresh.tree == result.tree


@pytest.mark.clause("SNAP-22")
@pytest.mark.parametrize("twin", [False, True])
def test_what_it_lacks_is_compared_with_what_came_before(
    wide: Path, repository: Repository, request: pytest.FixtureRequest, twin: bool
) -> None:
    if twin:
        request.getfixturevalue("file_by_file")
    first = backup(repository, ["s"], BackupOptions(scan=False))
    for folder in ("0/00", "1/01", "2/02"):
        for number in range(30):
            path = wide / folder / f"{number:02}"
            path.write_bytes(path.read_bytes() + b"changed")
    before = interrupted(repository, 5, onto(repository, first), modified=True)
    one = content(repository, before.tree)
    second = interrupted(repository, 50, onto(repository, before))
    assert stored(repository, second).parent == before.snapshot_id and second.partial
    changed = sum(data.endswith(b"changed") for data in (one | content(repository, second.tree)).values())
    result, read = read_files(repository, onto(repository, second, skip_if_unchanged=True))
    assert result.snapshot_id is not None and not result.partial
    assert result.summary.files.new == 0 and result.summary.files.modified == 90 - changed
    assert backup(repository, ["s"]).tree == result.tree
    assert changed > 0 and len(set(read)) <= 90 - changed
    # Without its predecessors a partial parent is still one.
    repository.storage.remove(FileKind.SNAPSHOT, before.snapshot_id or "")
    alone, _ = read_files(repository, onto(repository, second))
    assert alone.tree == result.tree and alone.summary.files.new > 0


def test_directories_in_layers(wide: Path, repository: Repository) -> None:
    first = backup(repository, ["s"], BackupOptions(scan=False))
    (wide / "0" / "00" / "00").write_bytes(b"other")
    partial = interrupted(repository, 1, onto(repository, first))
    errors: list[str] = []
    trees = ParentTrees(repository, stored(repository, partial), lambda item, error: errors.append(f"{item}: {error}"))
    root = trees.load(trees.root, "/")
    assert isinstance(root, LayeredDirectory) and len(root) == 2
    node = root.find(b"s")
    assert node is not None and node.subtree is not None
    below = trees.load(node.subtree, "/s")
    assert below is not None and below.find(b"2") is not None and below.find(b"none") is None
    assert not errors


@pytest.mark.clause("SNAP-21")
def test_nothing_finished_makes_no_snapshot(wide: Path, repository: Repository) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Interrupted):
        interrupted(repository, 0, cancel=cancel)
    with pytest.raises(Interrupted):
        interrupted(repository, 50, BackupOptions(dry_run=True))
    assert not list(repository.list(FileKind.SNAPSHOT))


def test_unchanged_is_not_said_of_a_partial_snapshot(wide: Path, repository: Repository) -> None:
    """A partial snapshot that happens to have everything does not stand in for a whole one."""
    partial = interrupted(repository, FOLDERS * EACH)
    result = backup(repository, ["s"], onto(repository, partial, skip_if_unchanged=True))
    assert result.snapshot_id is not None and not is_partial(stored(repository, result))
    same = backup(repository, ["s"], onto(repository, result, skip_if_unchanged=True))
    assert same.snapshot_id is None


def test_a_lost_lock_leaves_no_snapshot(wide: Path, repository: Repository) -> None:
    cancel = Cancel(health=lambda: (_ for _ in ()).throw(LockLost("gone")) if cancel.is_set() else None)
    with pytest.raises(ResticFormatError):
        interrupted(repository, 50, cancel=cancel)
    assert not list(repository.list(FileKind.SNAPSHOT)) and not list(repository.list(FileKind.INDEX))


def test_a_storage_that_fails_then(wide: Path) -> None:
    """Whatever cannot be stored any more: there is no snapshot, or all it needs is there."""
    for kind in (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT):
        failing: list[FileKind] = []

        def plan(call: Call, failing: list[FileKind] = failing) -> Fail | None:
            return Fail() if call.kind in failing and call.operation == "save" else None

        repository = Repository.init(FaultyStorage(MemoryStorage(), plan), PASSWORD, kdf=CHEAP)
        failing.append(kind)
        with pytest.raises(StorageError):
            interrupted(repository, 50)
        assert not list(repository.list(FileKind.SNAPSHOT))


@pytest.mark.clause("SNAP-23")
def test_latest_is_a_whole_one(wide: Path, repository: Repository) -> None:
    partial = interrupted(repository, 50, BackupOptions(time_ns=3 * 10**18 // 2))
    assert find_latest(repository).id.hex() == partial.snapshot_id, "there is no other"
    whole = [backup(repository, ["s"], BackupOptions(time_ns=10**18 + n)).snapshot_id for n in range(2)]
    assert find_latest(repository).id.hex() == whole[1]
    assert find_snapshot(repository, "latest~1")[0].id.hex() == whole[0]
    with pytest.raises(SnapshotNotFound, match="there are only 2 snapshots that are whole"):
        find_snapshot(repository, "latest~2")
    assert find_latest(repository, SnapshotFilter(tags=[["partial"]])).id.hex() == partial.snapshot_id
    assert find_latest(repository, partial=True).id.hex() == partial.snapshot_id
    assert group_of(find_latest(repository, partial=True), frozenset({TAGS})).tags is None


@pytest.mark.clause("SNAP-21")
def test_restics_of_every_age_take_it(
    wide: Path, restic: Restic, ours: Callable[[], Repository], peer: Callable[[str], Path], tmp_path: Path
) -> None:
    repository = ours()
    partial = interrupted(repository, 100)
    found = content(repository, partial.tree)
    for version in ("restic-0.14", "restic-0.18", "restic-0.19"):
        program = Restic(peer(version), restic.repository)
        assert "no errors were found" in program("check", "--read-data")
        target = tmp_path / version
        program("restore", "latest", "--target", str(target))
        restored = {f"/{path.relative_to(target)}": path.read_bytes() for path in target.rglob("*") if path.is_file()}
        assert restored == found
    restic("backup", "s", cwd=wide.parent)
    assert "using parent snapshot" in restic("backup", "s", cwd=wide.parent)
    restic("tag", "--add", "x", partial.snapshot_id or "")
    [tagged] = [
        repository.load_snapshot(one)
        for one, _ in repository.list(FileKind.SNAPSHOT)
        if "x" in repository.load_snapshot(one).tags
    ]
    assert not is_partial(tagged) and "partial" in tagged.tags
    assert os.listdir(wide)


@pytest.mark.clause("SNAP-21")
@pytest.mark.parametrize("name", ["finish", "flush", "save_snapshot"])
def test_what_is_whole_when_it_is_cancelled_gets_its_snapshot(
    wide: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A signal that comes while the last packs and the index are stored loses nothing."""
    owner = {"finish": Workers, "flush": BlobWriter, "save_snapshot": Repository}[name]
    original = getattr(owner, name)
    cancel = Cancel()

    def cancelled(*args: object) -> object:
        result = original(*args)
        cancel.set()
        return result

    monkeypatch.setattr(owner, name, cancelled)
    for wanted in (True, False) if name != "save_snapshot" else (True,):
        cancel = Cancel()
        options = BackupOptions(snapshot_on_interrupt=wanted, scan=False)
        if wanted:
            result = backup(repository, ["s"], options, cancel=cancel)
            assert cancel.is_set() and not result.partial and not is_partial(stored(repository, result))
            assert len(content(repository, result.tree)) == FOLDERS * EACH
        else:
            with pytest.raises(Interrupted):
                backup(repository, ["s"], options, cancel=cancel)
            assert len(list(repository.list(FileKind.SNAPSHOT))) == 1
