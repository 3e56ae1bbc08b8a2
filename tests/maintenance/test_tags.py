"""Changing tags: what becomes of them, and what is left of a snapshot when it fails in the middle."""

from __future__ import annotations

import json

import pytest

from restic_format.errors import DamagedFile, ResticFormatError, StorageError
from restic_format.maintenance.tags import TagChange, change_tags
from restic_format.repository import Repository
from restic_format.snapshots.change import replace_snapshot
from restic_format.storage import MemoryStorage
from restic_format.storage.faulty import Fail, FaultyStorage, Lose, Truncate, nth
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.rustic import DeleteMark

CHEAP = Kdf(2, 1, 1, b"s" * 64)
STORED = {
    "time": "2026-06-15T11:00:00Z",
    "tree": "ab" * 32,
    "paths": ["/p"],
    "hostname": "h",
    "tags": ["a", "b", "c"],
    "program_version": "rustic 0.11.4",
    "label": "yes",
    "delete": "Never",
    "summary": {"command": "rustic backup", "total_duration": 0.10},
}


@pytest.fixture
def repo() -> Repository:
    return Repository.init(MemoryStorage(), "pw", kdf=CHEAP)


def store(repo: Repository, **more: object) -> bytes:
    return repo.save_unpacked(FileKind.SNAPSHOT, json.dumps(STORED | more).encode())


def only(repo: Repository) -> bytes:
    [(snapshot_id, _)] = repo.list(FileKind.SNAPSHOT)
    return snapshot_id


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (TagChange(add=["d", "", "a", "d"]), ["a", "b", "c", "d"]),
        (TagChange(remove=["a", "x"]), ["c", "b"]),
        (TagChange(add=["d"], remove=["a", "d"]), ["c", "b"]),
        (TagChange(to=["x", "y"]), ["x", "y"]),
        (TagChange(to=[""]), []),
        (TagChange(add=["a"], remove=["x"]), None),
        (TagChange(), None),
    ],
)
def test_what_becomes_of_tags(change: TagChange, expected: list[str] | None) -> None:
    assert change.apply(["a", "b", "c"]) == expected


@pytest.mark.clause("SNAP-7", "SNAP-10", "ORDER-9")
def test_everything_else_stays_and_the_first_form_is_remembered(repo: Repository) -> None:
    first = store(repo)
    result = change_tags(repo, TagChange(add=["d"]))
    second = only(repo)
    assert result.changed == [(first, second)]
    after = json.loads(repo.load_unpacked(FileKind.SNAPSHOT, second))
    assert after == STORED | {"tags": ["a", "b", "c", "d"], "original": first.hex()}
    assert b'"total_duration":0.1' in repo.load_unpacked(FileKind.SNAPSHOT, second)
    change_tags(repo, TagChange(to=[""]))
    after = json.loads(repo.load_unpacked(FileKind.SNAPSHOT, only(repo)))
    assert after["original"] == first.hex()
    assert "tags" not in after
    assert change_tags(repo, TagChange(remove=["a"])).changed == []


@pytest.mark.clause("ORDER-9")
@pytest.mark.parametrize("operation", ["save", "load", "remove"])
def test_a_fault_at_any_step_loses_nothing(operation: str, repo: Repository) -> None:
    first = store(repo)
    number = {"save": 0, "load": 2, "remove": 0}[operation]
    repo.storage = FaultyStorage(repo.storage, nth(operation, number, Fail(), FileKind.SNAPSHOT))
    told: list[ResticFormatError] = []
    result = change_tags(repo, TagChange(add=["d"]), failed=lambda found, error: told.append(error))
    assert (result.changed, result.failed) == ([], [first])
    assert isinstance(told[0], StorageError)
    assert first in {snapshot_id for snapshot_id, _ in repo.list(FileKind.SNAPSHOT)}


@pytest.mark.clause("ORDER-9")
@pytest.mark.parametrize("fault", [Lose(), Truncate(20)])
def test_the_old_snapshot_stays_until_the_new_one_can_be_read(fault: Lose | Truncate, repo: Repository) -> None:
    first = store(repo)
    snapshot = repo.load_snapshot(first)
    repo.storage = FaultyStorage(repo.storage, nth("save", 0, fault, FileKind.SNAPSHOT))
    with pytest.raises((StorageError, DamagedFile)):
        replace_snapshot(repo, first, snapshot)
    assert repo.load_snapshot(first) == snapshot


def test_one_that_cannot_be_changed_does_not_stop_the_others(repo: Repository) -> None:
    store(repo)
    store(repo)
    repo.storage = FaultyStorage(repo.storage, nth("save", 0, Fail(), FileKind.SNAPSHOT))
    told: list[ResticFormatError] = []
    result = change_tags(repo, TagChange(add=["d"]), failed=lambda found, error: told.append(error))
    assert (len(result.changed), len(told)) == (1, 1)
    repo.storage = FaultyStorage(repo.storage, nth("save", 0, Fail(), FileKind.SNAPSHOT))
    with pytest.raises(StorageError):
        change_tags(repo, TagChange(add=["e"]))


@pytest.mark.clause("RUSTIC-3", "RUSTIC-8", "SNAP-10")
def test_marks_are_set_and_taken_away(repo: Repository) -> None:
    store(repo)
    assert change_tags(repo, TagChange(delete=DeleteMark(None))).changed == []
    for change, expected in (
        (TagChange(delete=DeleteMark(1_800_000_000_500_000_000)), {"After": "2027-01-15T08:00:00.5+00:00[UTC]"}),
        (TagChange(delete=DeleteMark(None)), "Never"),
        (TagChange(add=["d"], remove_delete=True), None),
    ):
        assert len(change_tags(repo, change).changed) == 1
        after = json.loads(repo.load_unpacked(FileKind.SNAPSHOT, only(repo)))
        assert after.get("delete") == expected
        assert (after["label"], after["summary"]) == (STORED["label"], STORED["summary"])
        assert change_tags(repo, change).changed == []
    assert "d" in after["tags"]


@pytest.mark.clause("RUSTIC-8")
def test_a_mark_that_nobody_understands_can_be_taken_away(repo: Repository) -> None:
    store(repo, delete="Always")
    assert change_tags(repo, TagChange(add=["d"])).failed == []
    assert json.loads(repo.load_unpacked(FileKind.SNAPSHOT, only(repo)))["delete"] == "Always"
    assert len(change_tags(repo, TagChange(remove_delete=True)).changed) == 1
    assert "delete" not in json.loads(repo.load_unpacked(FileKind.SNAPSHOT, only(repo)))
