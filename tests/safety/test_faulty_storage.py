"""Every call to the storage can fail, fall short, or lie. Nothing that was safe may be lost, nothing wrong be believed."""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.backup import BackupOptions, backup
from restic_format.check import CheckOptions, CheckReport, check
from restic_format.check.findings import Code
from restic_format.errors import ResticFormatError
from restic_format.repository import Repository
from restic_format.repository.lock import remove_locks
from restic_format.restore import Restorer
from restic_format.snapshots import find_snapshot
from restic_format.storage import FaultyStorage, MemoryStorage, Storage
from restic_format.storage.faulty import Call, Fail, Fault, Lose, Truncate
from restic_spec.keyfile import SALT_SIZE, Kdf
from restic_spec.layout import FileKind
from tests.safety import kit

MOMENTS = 3
"""Of each kind of call the first, a middle and the last one are made to fail."""

Key = tuple[str, FileKind]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = kit.grow_source(tmp_path_factory.mktemp("faulty") / "src", files=2, size=20_000)
    return folder


@pytest.fixture(scope="module")
def half(source: Path) -> MemoryStorage:
    """A repository that holds a part of the source already."""
    storage = MemoryStorage()
    Repository.init(storage, kit.PASSWORD, kdf=Kdf(2, 1, 1, bytes(SALT_SIZE)))
    back_up(storage, source / "a")
    return storage


def back_up(storage: Storage, source: Path) -> str:
    repo = Repository.open(storage, kit.PASSWORD)
    with repo.lock():
        repo.load_index()
        options = BackupOptions(hostname="h", scan=False)
        result = backup(repo, [str(source)], options)
    assert result.snapshot_id is not None
    return result.snapshot_id


def restore(storage: Storage, snapshot: str, source: Path, target: Path) -> int:
    """Restore a snapshot of *source*; how many errors were reported. What was restored without one must be right."""
    repo = Repository.open(storage, kit.PASSWORD)
    repo.load_index()
    found, _ = find_snapshot(repo, snapshot)
    assert isinstance(found.snapshot.tree, str)
    stats = Restorer(repo, bytes.fromhex(found.snapshot.tree), target).run()
    if not stats.errors:
        kit.run(["diff", "-r", "--no-dereference", str(source), str(target) + str(source)])
    return stats.errors


def inspect(storage: Storage) -> CheckReport:
    return check(Repository.open(storage, kit.PASSWORD), CheckOptions(read_data=True))


def copy_of(storage: MemoryStorage) -> MemoryStorage:
    copy = MemoryStorage()
    copy.files = dict(storage.files)
    return copy


def moments(work: Callable[[Storage], object], start: MemoryStorage) -> list[tuple[Key, int]]:
    """Every kind of call *work* makes, with the numbers of those that are to go wrong."""
    quiet = FaultyStorage(copy_of(start), lambda call: None)
    work(quiet)
    counts: dict[Key, int] = {}
    for call in quiet.calls:
        counts[call.operation, call.kind] = counts.get((call.operation, call.kind), 0) + 1
    return [
        (key, number)
        for key, count in sorted(counts.items(), key=str)
        for number in sorted({0, count // 2, count - 1})[:MOMENTS]
    ]


def at(key: Key, number: int, fault: Fault) -> Callable[[Call], Fault | None]:
    """A plan: the call *number* of this operation on this kind gets *fault*."""
    seen = -1

    def plan(call: Call) -> Fault | None:
        nonlocal seen
        if (call.operation, call.kind) != key:
            return None
        seen += 1
        return fault if seen == number else None

    return plan


@pytest.mark.clause("ORDER-1", "ORDER-6")
def test_backup_when_any_call_fails(half: MemoryStorage, source: Path) -> None:
    tried = set()
    for key, number in moments(lambda storage: back_up(storage, source), half):
        inner = copy_of(half)
        before = {key for key in inner.files if key[0] is FileKind.SNAPSHOT}
        try:
            back_up(FaultyStorage(inner, at(key, number, Fail())), source)
        except ResticFormatError as error:
            assert "injected fault" in str(error) or error.__cause__ or error.__context__, (key, error)
        tried.add(key)
        assert before <= set(inner.files)
        report = inspect(inner)
        assert report.ok, (key, number, report.findings)
        remove_locks(Repository.open(inner, kit.PASSWORD), everything=True)
        back_up(inner, source)
        assert inspect(inner).ok
    operations = {operation for operation, _ in tried}
    assert operations >= {"load", "save", "list", "remove"}
    assert {kind for operation, kind in tried if operation == "save"} == {
        FileKind.LOCK,
        FileKind.PACK,
        FileKind.INDEX,
        FileKind.SNAPSHOT,
    }


def test_backup_when_any_load_falls_short(half: MemoryStorage, source: Path) -> None:
    for key, number in moments(lambda storage: back_up(storage, source), half):
        if key[0] != "load":
            continue
        for keep in (0, 20):
            inner = copy_of(half)
            try:
                back_up(FaultyStorage(inner, at(key, number, Truncate(keep))), source)
            except ResticFormatError:
                pass
            else:
                assert key[1] is not FileKind.CONFIG
            assert inspect(inner).ok, (key, number)


@pytest.mark.parametrize("fault", [Lose(), Truncate(40)], ids=["lost", "cut"])
@pytest.mark.parametrize("kind", [FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT])
def test_a_storage_that_lies_about_saving_is_found_out(half: MemoryStorage, source: Path, kind: FileKind, fault: Fault) -> None:
    inner = copy_of(half)
    back_up(FaultyStorage(inner, at(("save", kind), 0, fault)), source)
    report = inspect(inner)
    if kind is FileKind.SNAPSHOT and isinstance(fault, Lose):
        assert report.ok and report.snapshots == 1, "what the storage never had, nobody can miss"
        return
    assert not report.ok
    expected = {
        FileKind.PACK: {Code.PACK_MISSING, Code.PACK_SIZE},
        FileKind.INDEX: {Code.TREE_MISSING, Code.INDEX_DAMAGED},
        FileKind.SNAPSHOT: {Code.SNAPSHOT_DAMAGED},
    }[kind]
    assert expected & {finding.code for finding in report.findings}


@pytest.mark.parametrize("fault", [Fail(), Truncate(0), Truncate(33)], ids=str)
def test_restore_when_any_load_goes_wrong(half: MemoryStorage, source: Path, tmp_path: Path, fault: Fault) -> None:
    whole = copy_of(half)
    snapshot = back_up(whole, source)
    target = tmp_path / "quiet"
    faults = moments(lambda storage: restore(storage, snapshot, source, target), whole)
    for count, (key, number) in enumerate(faults):
        if isinstance(fault, Truncate) and key[0] != "load":
            continue
        target = tmp_path / str(count)
        try:
            errors = restore(FaultyStorage(whole, at(key, number, fault)), snapshot, source, target)
        except ResticFormatError:
            continue
        # Errors that were reported may leave files out, but no file that is there may have wrong content in full length.
        if errors:
            wrong_content(source, Path(str(target) + str(source)))


def wrong_content(source: Path, target: Path) -> None:
    """Fail for files that look whole and are not."""
    for path in target.rglob("*"):
        original = source / path.relative_to(target)
        if path.is_file() and not path.is_symlink() and path.stat().st_mtime_ns == original.stat().st_mtime_ns:
            assert filecmp.cmp(path, original, shallow=False), path


@pytest.mark.parametrize("fault", [Fail(), Truncate(0), Truncate(33)], ids=str)
def test_check_when_any_call_goes_wrong(half: MemoryStorage, source: Path, fault: Fault) -> None:
    whole = copy_of(half)
    back_up(whole, source)
    assert inspect(whole).ok
    for key, number in moments(inspect, whole):
        if isinstance(fault, Truncate) and key[0] != "load":
            continue
        try:
            report = inspect(FaultyStorage(whole, at(key, number, fault)))
        except ResticFormatError:
            # Whoever cannot even open a repository or list its files cannot report on it.
            assert key[1] in (FileKind.CONFIG, FileKind.KEY) or key[0] == "list", (key, number)
            continue
        if key[1] is FileKind.PACK and key[0] == "load":
            continue  # Read again, and good the second time.
        assert report.ok or report.findings
    assert inspect(whole).ok


def test_check_reports_a_storage_that_fails_for_good(half: MemoryStorage, source: Path) -> None:
    whole = copy_of(half)
    back_up(whole, source)
    for kind, expected in (
        (FileKind.PACK, {Code.PACK_UNREADABLE, Code.TREE_UNREADABLE}),
        (FileKind.INDEX, {Code.INDEX_UNREADABLE}),
        (FileKind.SNAPSHOT, {Code.SNAPSHOT_UNREADABLE}),
    ):
        report = inspect(
            FaultyStorage(whole, lambda call, kind=kind: Fail() if call.operation == "load" and call.kind is kind else None)
        )
        assert not report.ok
        assert expected <= {finding.code for finding in report.findings}, kind
        # What is only away is not lost: a repair would give it up.
        assert report.unreadable and not any(finding.repair for finding in report.findings)
