"""Copying snapshots: nothing is lost, nothing incomplete comes to be, and what was copied is known again."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import msgspec
import pytest

from restic_format.check import CheckOptions, check
from restic_format.errors import Interrupted, ResticFormatError, StorageAway, StorageError
from restic_format.maintenance import copy as copy_module
from restic_format.maintenance.copy import (
    BatchEnds,
    BlobsFound,
    CopyPlan,
    CopyResult,
    CopyStarted,
    PackCopied,
    SnapshotCopied,
    SnapshotFailed,
    copy,
    is_copy,
    plan_copy,
)
from restic_format.repository import Repository
from restic_format.snapshots import SnapshotFilter, all_snapshots
from restic_format.storage import FaultyStorage, MemoryStorage, Storage
from restic_format.storage.faulty import Call, Fail
from restic_format.work import Cancel
from restic_spec.chunker import random_polynomial
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot, encode_snapshot
from tests.restore.kit import CHEAP, POLYNOMIAL, Maker

OTHER = random_polynomial(random.Random(1))


def new(version: int = 2, polynomial: int = POLYNOMIAL, password: str = "pw", storage: Storage | None = None) -> Repository:
    return Repository.init(storage or MemoryStorage(), password, version=version, polynomial=polynomial, kdf=CHEAP)


def add(repo: Repository, tree: bytes, time: str = "2020-01-01T00:00:00Z", **fields: object) -> bytes:
    return repo.save_snapshot(Snapshot(time=time, tree=tree.hex(), paths=["/x"], hostname="h", **fields))  # type: ignore[arg-type]


def filled(repo: Repository) -> list[bytes]:
    """Two snapshots that share most of what they need."""
    maker = Maker(repo)
    same = maker.folder("same", [maker.file("a", b"text " * 500, b"2"), maker.file("b", bytes(range(256)) * 8)])
    first = maker.finish([same, maker.symlink("z", "same")])
    second = maker.finish([same, maker.file("t", b"new"), maker.file("u", b"")])
    return [add(repo, first, tags=["one"]), add(repo, second, "2020-01-02T00:00:00+01:00", parent="ab" * 32)]


def run(source: Repository, target: Repository, names: list[str] | None = None, **options: object) -> CopyResult:
    source.load_index()
    target.load_index()
    return copy(plan_copy(source, target, names or []), **options)  # type: ignore[arg-type]


def trees(repo: Repository) -> set[str]:
    return {str(found.snapshot.tree) for found in all_snapshots(repo)}


def is_whole(repo: Repository) -> bool:
    """Whether everything that a snapshot needs is there and intact."""
    return check(reopened(repo), CheckOptions(read_data=True)).ok


def reopened(repo: Repository) -> Repository:
    return Repository.open(getattr(repo.storage, "inner", repo.storage), "pw")


@pytest.mark.clause("SNAP-19", "PACK-9", "PACK-19")
@pytest.mark.parametrize(("from_version", "to_version"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_snapshots_go_into_repositories_of_either_version(from_version: int, to_version: int) -> None:
    source, target = new(from_version), new(to_version, OTHER)
    ids = filled(source)
    result = run(source, target)
    assert trees(source) == trees(target) and is_whole(target) and result.failed == []
    assert {stored.source.id for stored in result.copied} == set(ids)
    for stored in result.copied:
        made, old = target.load_snapshot(stored.id), source.load_snapshot(stored.source.id)
        assert made.original == stored.source.id.hex() and made.parent is None
        assert encode_snapshot(msgspec.structs.replace(made, original=None)) == encode_snapshot(
            msgspec.structs.replace(old, parent=None)
        )
    compressed = {entry.uncompressed_length is not None for _, entry in target.index.entries() if entry.type is BlobType.TREE}
    assert compressed == {to_version == 2}
    assert result.blobs == len(target.index) == len({(entry.type, entry.id) for _, entry in source.index.entries()})
    assert result.size == sum(entry.length + entry.header_size for _, entry in target.index.entries())


def test_data_is_compressed_where_the_source_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, same = new(1), new(2), new(2)
    filled(source)
    run(source, target)
    long = next(entry for _, entry in target.index.entries() if entry.plain_length == 2500)
    assert long.length < 100
    # What is compressed already is moved as it is.
    monkeypatch.setattr(type(same.coder), "seal_many", lambda *_: pytest.fail("compressed again"))
    run(target, same)
    assert len(same.index) == len(target.index)


def test_repositories_with_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    source = new()
    filled(source)
    storage = MemoryStorage()
    storage.files = {key: value for key, value in source.storage.files.items() if key[0] in (FileKind.CONFIG, FileKind.KEY)}  # type: ignore[attr-defined]
    target = Repository.open(storage, "pw")
    monkeypatch.setattr(type(target.coder.cipher), "seal_many", lambda *_: pytest.fail("sealed again"), raising=False)
    run(source, target)
    assert trees(target) == trees(source) and is_whole(target)


@pytest.mark.clause("SNAP-10", "SNAP-19")
def test_what_is_not_known_of_a_snapshot_survives() -> None:
    source, target = new(), new()
    raw = encode_snapshot(
        Snapshot(time="2020-01-01T00:00:00Z", tree=Maker(source).finish([]).hex(), paths=["/"], original="cd" * 32)
    )
    source.save_unpacked(FileKind.SNAPSHOT, raw[:-1] + b',"label":"mine","delete":"Never"}')
    [stored] = run(source, target).copied
    assert target.load_unpacked(FileKind.SNAPSHOT, stored.id) == raw[:-1] + b',"label":"mine","delete":"Never"}'


@pytest.mark.clause("SNAP-19")
def test_what_was_copied_is_known_again() -> None:
    source, target, third = new(), new(), new()
    first, second = filled(source)
    run(source, target, [first.hex()])
    plan = plan_copy(source, target)
    assert [found.id for found in plan.snapshots] == [second] and [skipped.source.id for skipped in plan.skipped] == [first]
    run(source, target)
    assert plan_copy(source, target).snapshots == [] and run(source, target).copied == []
    # A copy of a copy has the same original, in either direction.
    run(target, third)
    assert plan_copy(source, third).snapshots == [] == plan_copy(third, source).snapshots
    # The filter counts for both.
    wanted = SnapshotFilter(tags=[["one"]])
    assert len(plan_copy(source, target, [], wanted).skipped) == 1


@pytest.mark.clause("SNAP-19")
@pytest.mark.parametrize(
    "change",
    [
        {"time": "2020-01-01T00:00:01Z"},
        {"tree": "cd" * 32},
        {"hostname": "i"},
        {"username": "u"},
        {"uid": 1},
        {"gid": 1},
        {"paths": ["/y"]},
        {"paths": ["/x", "/y"]},
        {"tags": []},
        {"tags": ["a", "c"]},
        {"excludes": ["f", "e"]},
    ],
)
def test_a_copy_says_the_same(change: dict[str, object]) -> None:
    one = Snapshot(
        time="2020-01-01T00:00:00Z", tree="ab" * 32, paths=["/x"], hostname="h", tags=["a", "b"], excludes=["e", "f"]
    )
    assert is_copy(one, msgspec.structs.replace(one, parent="ab" * 32, original="ab" * 32, time="2020-01-01T01:00:00+01:00"))
    assert is_copy(one, msgspec.structs.replace(one, tags=["b", "a"]))
    assert not is_copy(one, msgspec.structs.replace(one, **change))


def test_what_is_told() -> None:
    source, target = new(), new(polynomial=OTHER)
    filled(source)
    events: list[object] = []
    source.load_index()
    target.load_index()
    plan = plan_copy(source, target)
    assert not plan.same_chunks and CopyPlan(source, new(), [], []).same_chunks
    copy(plan, progress=events.append)
    kinds = [type(event) for event in events]
    assert kinds[:2] == [CopyStarted, BlobsFound] and kinds[-3:] == [BatchEnds, SnapshotCopied, SnapshotCopied]
    found = [event for event in events if isinstance(event, BlobsFound)]
    assert sum(event.blobs for event in found) == 8
    assert sum(event.size for event in found) == sum(event.size for event in events if isinstance(event, PackCopied))
    assert sum(event.packs for event in found) == kinds.count(PackCopied)


def test_snapshots_are_stored_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_module, "_PACKS_IN_BATCH", 0)
    monkeypatch.setattr(copy_module, "_BATCH_SECONDS", 0.0)
    source, target = new(), new()
    filled(source)
    events: list[object] = []
    monkeypatch.setattr(copy_module.time, "monotonic", lambda: 0.0)
    source.load_index()
    plan = dataclasses.replace(plan_copy(source, target))
    monkeypatch.setattr(copy_module, "_BATCH_SECONDS", 1e-9)
    copy(plan, progress=events.append)
    assert [event.snapshots for event in events if isinstance(event, BatchEnds)] in ([1, 1], [2])
    assert is_whole(target) and len(trees(target)) == 2


def damage(repo: Repository, blob_type: BlobType, wanted: Callable[[int], bool]) -> bytes:
    """Turn a bit over in a blob whose plaintext has a length that is *wanted*."""
    for pack, entry in repo.index.entries():
        if entry.type is blob_type and wanted(entry.plain_length):
            key = FileKind.PACK, pack.hex()
            raw = bytearray(repo.storage.files[key])  # type: ignore[attr-defined]
            raw[entry.offset + 20] ^= 1
            repo.storage.files[key] = bytes(raw)  # type: ignore[attr-defined]
            return entry.id
    raise AssertionError("no such blob")


@pytest.mark.clause("ORDER-1")
def test_a_snapshot_with_a_damaged_blob_is_not_copied_and_others_are() -> None:
    source, target = new(), new()
    first, second = filled(source)
    source.load_index()
    bad = damage(source, BlobType.DATA, lambda length: length == 3)
    result = run(source, target)
    assert [stored.source.id for stored in result.copied] == [first]
    [failed] = result.failed
    assert failed.source.id == second and failed.total == 1 and bad.hex()[:8] in str(failed.errors[0])
    assert is_whole(target) and len(trees(target)) == 1
    # Damage that both share is found in both, whichever comes first.
    damage(source, BlobType.DATA, lambda length: length == 1)
    other = new()
    assert {failed.source.id for failed in run(source, other).failed} == {first, second} and trees(other) == set()


@pytest.mark.parametrize("blob_type", list(BlobType))
def test_a_snapshot_that_misses_a_blob_is_not_copied(blob_type: BlobType) -> None:
    source, target = new(), new()
    ids = filled(source)
    source.load_index()
    same = [entries for _, entries in source.index.by_pack() if entries[0].type is blob_type]
    gone = source.index.lookup(blob_type, max(same, key=len)[0].id)
    assert gone is not None
    source.storage.remove(FileKind.PACK, gone.pack.hex())
    assert {failed.source.id for failed in run(source, target).failed} == set(ids)
    assert trees(target) == set()
    for file_id, _ in list(source.list(FileKind.INDEX)):
        source.storage.remove(FileKind.INDEX, file_id.hex())
    failed = run(source, target).failed
    assert len(failed) == 2 and "not in any index" in str(failed[0].errors[0])


def test_another_copy_of_a_blob_is_used() -> None:
    source, target = new(), new()
    filled(source)
    source.load_index()
    damaged = damage(source, BlobType.DATA, lambda length: length == 2500)
    writer = source.writer()
    writer._packer.add(BlobType.DATA, [(damaged, b"text " * 500)])
    writer.flush()
    result = run(source, target)
    assert result.failed == [] and is_whole(target) and len(trees(target)) == 2


def test_a_snapshot_without_a_tree() -> None:
    source, target = new(), new()
    source.save_snapshot(Snapshot(time="2020-01-01T00:00:00Z", paths=["/"]))
    assert "has no tree" in str(run(source, target).failed[0].errors[0])


@pytest.mark.parametrize("of_target", [False, True])
@pytest.mark.clause("ORDER-1", "ORDER-8")
def test_a_storage_that_fails_at_any_call_leaves_nothing_incomplete(of_target: bool) -> None:
    template = new()
    filled(template)
    start = new()
    mine = Maker(start).finish([])
    add(start, mine)
    calls: list[Call] = []

    def attempt(plan: Callable[[Call], Fail | None]) -> tuple[MemoryStorage, CopyResult | None]:
        copied = MemoryStorage()
        copied.files = dict(start.storage.files)  # type: ignore[attr-defined]
        source, target = Repository.open(template.storage, "pw"), Repository.open(copied, "pw")
        faulty = FaultyStorage(copied if of_target else template.storage, plan)
        if of_target:
            target.storage = faulty
        else:
            source.storage = faulty
        try:
            return copied, run(source, target)
        except StorageError:
            return copied, None

    attempt(lambda call: calls.append(call))  # type: ignore[func-returns-value]
    assert {call.operation for call in calls} >= ({"list", "save"} if of_target else {"list", "load"})
    for number in range(len(calls)):
        count = iter(range(len(calls) + 1000))
        storage, result = attempt(lambda call, number=number, count=count: Fail() if next(count) == number else None)
        target = Repository.open(storage, "pw")
        assert is_whole(target), calls[number]
        assert of_target or len(trees(target)) < 3 or (result is not None and not result.failed), calls[number]
        # The next run finishes.
        assert not run(Repository.open(template.storage, "pw"), target).failed
        assert len(trees(target)) == 3 and is_whole(target)
        assert plan_copy(Repository.open(template.storage, "pw"), target).snapshots == []


def test_a_source_that_is_away_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = new(), new()
    filled(source)
    source.load_index()

    def away(*_: object) -> None:
        raise StorageAway("gone for a moment")

    monkeypatch.setattr(source.storage, "load_into", away)
    monkeypatch.setattr(source.storage, "load", away)
    with pytest.raises(StorageAway):
        copy(dataclasses.replace(plan_copy(new(), target), source=source, snapshots=[_found(source)]))


def _found(repo: Repository):  # type: ignore[no-untyped-def]
    from restic_format.snapshots import FoundSnapshot

    entry = next(entry for _, entry in repo.index.entries() if entry.type is BlobType.TREE)
    return FoundSnapshot(bytes(32), Snapshot(time="2020-01-01T00:00:00Z", tree=entry.id.hex()))


@pytest.mark.clause("ORDER-6")
def test_an_interrupted_copy_goes_on_where_it_was() -> None:
    source, target = new(), new()
    filled(source)
    cancel = Cancel()

    def stop(event: object) -> None:
        if isinstance(event, CopyStarted) and stop.seen:  # type: ignore[attr-defined]
            cancel.set()
        stop.seen = isinstance(event, CopyStarted) or stop.seen  # type: ignore[attr-defined]

    stop.seen = False  # type: ignore[attr-defined]
    with pytest.raises(Interrupted):
        run(source, target, progress=stop, cancel=cancel)
    again = reopened(target)
    assert trees(again) == set() and is_whole(again)
    result = run(source, again)
    assert len(result.copied) == 2 and result.blobs < 8 and is_whole(again)


def test_unreadable_snapshots_are_told_and_gone_past() -> None:
    source, target = new(), new()
    filled(source)
    for repo in (source, target):
        repo.storage.save(FileKind.SNAPSHOT, "ab" * 32, b"no snapshot")
    told: list[tuple[bool, str]] = []

    def damaged(repo: Repository, name: str, error: ResticFormatError) -> None:
        told.append((repo is source, name))

    plan = plan_copy(source, target, damaged=damaged)
    assert sorted(told) == [(False, "ab" * 32), (True, "ab" * 32)] and len(plan.snapshots) == 2
    with pytest.raises(ResticFormatError):
        plan_copy(source, target)


def test_failures_are_events_too() -> None:
    source, target = new(), new()
    source.save_snapshot(Snapshot(time="2020-01-01T00:00:00Z", tree="ab" * 32, paths=["/"]))
    events: list[object] = []
    result = run(source, target, progress=events.append)
    assert [event for event in events if isinstance(event, SnapshotFailed)] == result.failed != []
