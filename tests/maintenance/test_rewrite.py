"""Rewriting snapshots: what patterns choose, what stays, and that no snapshot is lost however it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from restic_format.check import CheckOptions, check
from restic_format.errors import BlobMissing, DamagedFile, Interrupted, ResticFormatError, StorageError, UsageError
from restic_format.filter import ExcludeFilter, IncludeFilter
from restic_format.maintenance.rewrite import (
    ItemExcluded,
    ItemIncluded,
    RewriteOptions,
    RewriteResult,
    RewriteStarted,
    SnapshotChanged,
    plan_rewrite,
    rewrite,
)
from restic_format.repository import Repository
from restic_format.snapshots import all_snapshots
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage.faulty import Call, Fail, Lose
from restic_format.work import Cancel
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot, encode_snapshot
from tests.maintenance.test_configure import made as append_only
from tests.restore.kit import Maker, memory_repo

SUMMARY = (
    b'"summary":{"backup_start":"2020-01-01T00:00:00Z","backup_end":"2020-01-01T00:00:01Z","files_new":7,"files_changed":0,'
)


@pytest.fixture
def maker() -> Maker:
    return Maker(memory_repo())


def excluding(*patterns: str, **options: object) -> RewriteOptions:
    return RewriteOptions(excludes=ExcludeFilter(patterns), **options)  # type: ignore[arg-type]


def including(*patterns: str, **options: object) -> RewriteOptions:
    return RewriteOptions(includes=IncludeFilter(patterns), **options)  # type: ignore[arg-type]


def filled(maker: Maker) -> bytes:
    """A snapshot of a small tree."""
    folder = maker.folder("d", [maker.file("a.txt", b"12"), maker.file("b.bin", b"345"), maker.folder("e", [])])
    tree = maker.finish([folder, maker.file("z.txt", b"6789")])
    snapshot = Snapshot(time="2020-01-01T00:00:00Z", tree=tree.hex(), paths=["/d"], hostname="h", tags=["t"])
    return maker.repo.save_snapshot(snapshot)


def test_an_append_only_repository_gets_nothing_new_when_the_old_is_to_go() -> None:
    storage = append_only(append_only=True)
    maker = Maker(Repository.open(storage, "pw"))
    filled(maker)
    before = dict(storage.files)
    with pytest.raises(UsageError, match="append-only"):
        run(maker.repo, excluding("a.txt", forget=True))
    assert storage.files == before
    assert len(run(maker.repo, excluding("a.txt", forget=True, dry_run=True)).changed) == 1
    assert len(run(maker.repo, excluding("a.txt")).changed) == 1


def run(repo: Repository, options: RewriteOptions, **more: object) -> RewriteResult:
    repo.load_index()
    return rewrite(plan_rewrite(repo, options), **more)  # type: ignore[arg-type]


def paths(repo: Repository, tree: str, above: str = "") -> list[str]:
    found = []
    for node in repo.load_tree(bytes.fromhex(tree)):
        found.append(f"{above}/{node.name}")
        if node.subtree:
            found += paths(repo, node.subtree, f"{above}/{node.name}")
    return found


@pytest.mark.clause("SNAP-7", "TREE-25")
@pytest.mark.parametrize(
    ("options", "left"),
    [
        (excluding("*.txt"), ["/d", "/d/b.bin", "/d/e"]),
        (excluding("/d"), ["/z.txt"]),
        (excluding("/"), []),
        (including("*.txt"), ["/d", "/d/a.txt", "/z.txt"]),
        (including("e"), ["/d", "/d/e"]),
        (including("d", "!*.bin"), ["/d", "/d/a.txt", "/d/e"]),
        (RewriteOptions(includes=IncludeFilter([], ["*.TXT"])), ["/d", "/d/a.txt", "/z.txt"]),
    ],
)
def test_what_stays(maker: Maker, options: RewriteOptions, left: list[str]) -> None:
    old = filled(maker)
    [changed] = run(maker.repo, options).changed
    assert changed.new_id is not None and not changed.removed
    new = maker.repo.load_snapshot(changed.new_id)
    assert paths(maker.repo, str(new.tree)) == left
    assert new.original == old.hex() and new.tags == ["t", "rewrite"] and new.time == "2020-01-01T00:00:00Z"
    files = {"/d/a.txt": 2, "/d/b.bin": 3, "/z.txt": 4}
    sizes = [size for path, size in files.items() if path in left]
    statistics = new.statistics()
    assert statistics is not None
    assert (statistics.total_files_processed, statistics.total_bytes_processed) == (len(sizes), sum(sizes))
    assert len(list(all_snapshots(maker.repo))) == 2 and check(maker.repo, CheckOptions(read_data=True)).ok


@pytest.mark.parametrize("options", [including("nothing"), including("")])
def test_a_snapshot_of_which_nothing_is_included_stays_as_it_is(maker: Maker, options: RewriteOptions) -> None:
    old = filled(maker)
    result = run(maker.repo, options)
    assert result.changed == [] and [found.id for found in result.unchanged] == [old]


@pytest.mark.clause("SNAP-10", "SNAP-9")
def test_what_is_not_known_of_a_snapshot_stays(maker: Maker) -> None:
    filled(maker)
    [found] = all_snapshots(maker.repo)
    maker.repo.remove(FileKind.SNAPSHOT, found.id)
    rest = b'"mine":[1, 2],"total_files_processed":3,"total_bytes_processed":9},"label":"x"}'
    old = maker.repo.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(found.snapshot)[:-1] + b"," + SUMMARY + rest)
    assert run(maker.repo, excluding("nothing")).changed == []
    [changed] = run(maker.repo, excluding("*.bin", forget=True)).changed
    assert changed.new_id is not None and changed.removed
    raw = maker.repo.load_unpacked(FileKind.SNAPSHOT, changed.new_id)
    assert SUMMARY + b'"mine":[1, 2],"total_files_processed":2,"total_bytes_processed":6},"label":"x"}' in raw
    assert b'"tags":["t"],"original":"' + old.hex().encode() in raw
    assert [found.id for found in all_snapshots(maker.repo)] == [changed.new_id]


def test_metadata_only(maker: Maker) -> None:
    filled(maker)
    maker.repo.index = Repository.open(maker.repo.storage, "pw").index  # trees are not read
    options = RewriteOptions(hostname="new", time="2021-01-01T00:00:00Z")
    [changed] = rewrite(plan_rewrite(maker.repo, options)).changed
    assert (changed.new.hostname, changed.new.time, changed.new.summary) == ("new", "2021-01-01T00:00:00Z", None)
    assert changed.new.tree == changed.old.snapshot.tree


def test_a_summary_where_there_is_none(maker: Maker) -> None:
    filled(maker)
    [changed] = run(maker.repo, RewriteOptions(summary=True, forget=True)).changed
    statistics = changed.new.statistics()
    assert statistics is not None and statistics.total_files_processed == 3 and statistics.files_new == 0
    assert run(maker.repo, RewriteOptions(summary=True)).changed == []


def test_a_dry_run_changes_nothing(maker: Maker) -> None:
    filled(maker)
    before = dict(maker.repo.storage.files)  # type: ignore[attr-defined]
    [changed] = run(maker.repo, excluding("*.txt", dry_run=True, forget=True)).changed
    assert changed.new_id is None and not changed.removed and changed.new.tree != changed.old.snapshot.tree
    assert maker.repo.storage.files == before  # type: ignore[attr-defined]


def test_what_is_told(maker: Maker) -> None:
    filled(maker)
    events: list[object] = []
    run(maker.repo, including("*.txt", "e", tell_items=True), progress=events.append)
    assert [event for event in events if isinstance(event, ItemIncluded)] == [
        ItemIncluded("/d/a.txt", directory=False),
        ItemIncluded("/d/e", directory=True),
        ItemIncluded("/z.txt", directory=False),
    ]
    assert isinstance(events[0], RewriteStarted) and isinstance(events[-1], SnapshotChanged)
    events.clear()
    run(maker.repo, excluding("d", tell_items=True), progress=events.append)
    # Both snapshots are told of, though they have directories in common.
    assert [event for event in events if isinstance(event, ItemExcluded)] == [ItemExcluded("/d")] * 2


def test_the_tag_is_there_once(maker: Maker) -> None:
    filled(maker)
    run(maker.repo, excluding("*.bin"))
    run(maker.repo, excluding("z.txt"))
    tags = sorted(found.snapshot.tags for found in all_snapshots(maker.repo))
    assert tags == [["t"], ["t", "rewrite"], ["t", "rewrite"], ["t", "rewrite"]]


def test_a_damaged_tree_ends_it_and_nothing_is_removed(maker: Maker) -> None:
    filled(maker)
    maker.repo.save_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree="ab" * 32))
    with pytest.raises(BlobMissing):
        run(maker.repo, excluding("*.txt", forget=True))
    assert len(list(all_snapshots(maker.repo))) == 2
    maker.repo.save_snapshot(Snapshot(time="2020-01-01T00:00:00Z"))
    bare = [found.id.hex() for found in all_snapshots(maker.repo) if not found.snapshot.tree]
    with pytest.raises(DamagedFile, match="has no tree"):
        rewrite(plan_rewrite(maker.repo, RewriteOptions(hostname="x"), bare))


@pytest.mark.clause("ORDER-1", "ORDER-5")
@pytest.mark.parametrize("fault", [Fail(), Lose()])
def test_a_storage_that_fails_at_any_call_loses_no_snapshot(fault: Fail | Lose) -> None:
    start = MemoryStorage()
    maker = Maker(memory_repo(start))
    filled(maker)

    def attempt(plan: Callable[[Call], Fail | Lose | None]) -> tuple[MemoryStorage, bool]:
        storage = MemoryStorage()
        storage.files = dict(start.files)
        repo = Repository.open(storage, "pw")
        repo.storage = FaultyStorage(storage, plan)
        try:
            return storage, bool(run(repo, excluding("*.txt", forget=True)).changed)
        except ResticFormatError:
            return storage, False

    calls: list[Call] = []
    attempt(lambda call: calls.append(call))  # type: ignore[func-returns-value]
    assert "remove" in {call.operation for call in calls}
    for number, wrong in enumerate(calls):
        if isinstance(fault, Lose) and wrong.operation not in ("save", "finish"):
            continue
        count = iter(range(len(calls) + 1000))
        storage, _ = attempt(lambda _, number=number, count=count: fault if next(count) == number else None)
        repo = Repository.open(storage, "pw")
        assert 1 <= len(list(all_snapshots(repo))) <= 2, wrong
        if isinstance(fault, Lose):
            # What the storage only says it has is read back, so that the old snapshot is still there.
            repo.load_index()
            assert all(paths(repo, str(found.snapshot.tree)) for found in all_snapshots(repo)), wrong
            continue
        assert check(repo, CheckOptions(read_data=True)).ok, wrong
        run(repo, excluding("*.txt", forget=True))
        assert {tuple(paths(repo, str(found.snapshot.tree))) for found in all_snapshots(repo)} == {("/d", "/d/b.bin", "/d/e")}


def test_it_can_be_interrupted(maker: Maker) -> None:
    filled(maker)
    cancel = Cancel()
    with pytest.raises(Interrupted):
        run(maker.repo, excluding("*.txt", forget=True), progress=lambda _: cancel.set(), cancel=cancel)
    assert len(list(all_snapshots(maker.repo))) == 1 and check(maker.repo, CheckOptions(read_data=True)).ok


def test_unreadable_snapshots_are_told(maker: Maker) -> None:
    filled(maker)
    maker.repo.storage.save(FileKind.SNAPSHOT, "ab" * 32, b"none")
    told: list[str] = []
    plan = plan_rewrite(maker.repo, excluding("x"), damaged=lambda name, error: told.append(name))
    assert told == ["ab" * 32] and len(plan.snapshots) == 1


def test_a_storage_that_is_away(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(maker)
    maker.repo.load_index()
    plan = plan_rewrite(maker.repo, excluding("x"))

    def away(*_: object) -> bytes:
        raise StorageError("gone")

    real = maker.repo.storage.load
    monkeypatch.setattr(maker.repo.storage, "load", lambda kind, *rest: away() if kind is FileKind.PACK else real(kind, *rest))
    with pytest.raises(StorageError, match="gone"):
        rewrite(plan)
    assert maker.repo.index.has(BlobType.TREE, bytes.fromhex(str(plan.snapshots[0].snapshot.tree)))
