"""A cache before a storage: it spares reading, and whatever is wrong with it does no harm."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_format.errors import FileMissing, StorageError
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage import cachefolder as cachefolder_module
from restic_format.storage.cache import CachedStorage
from restic_format.storage.cachefolder import CacheFolder
from restic_format.storage.faulty import Fail, Truncate
from restic_spec.ids import id_of
from restic_spec.layout import FileKind

ID = "e" * 64
CONTENT = os.urandom(5000)
NAME = id_of(CONTENT).hex()
WHOLE = (FileKind.INDEX, FileKind.SNAPSHOT)


class Place:
    """A storage with a cache before it that notes what the storage is asked for."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.kept = MemoryStorage()
        self.asked = FaultyStorage(self.kept, lambda call: None)
        self.told: list[StorageError] = []
        self.cached = self.again()

    def again(self) -> CachedStorage:
        """What the next process has."""
        return CachedStorage(self.asked, CacheFolder(str(self.base), ID), self.told.append)

    def calls(self) -> list[str]:
        """What the storage was asked since the last time."""
        calls, self.asked.calls = self.asked.calls, []
        return [call.operation for call in calls]

    def copy(self, kind: FileKind) -> Path:
        return self.base / ID / kind.value / NAME[:2] / NAME


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "cache")


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.clause("CACHE-1")
def test_indexes_and_snapshots_are_read_once(place: Place, kind: FileKind) -> None:
    place.kept.save(kind, NAME, CONTENT)
    assert place.cached.load(kind, NAME) == CONTENT
    assert place.calls() == ["load"]
    assert place.copy(kind).read_bytes() == CONTENT
    for storage in (place.cached, place.again()):
        assert storage.load(kind, NAME) == CONTENT
    assert place.calls() == []


@pytest.mark.clause("CACHE-1")
def test_what_is_saved_need_not_be_read(place: Place) -> None:
    for kind in WHOLE:
        place.cached.save(kind, NAME, [CONTENT[:7], CONTENT[7:]])
        assert place.again().load(kind, NAME) == CONTENT
    writer = place.cached.begin(FileKind.PACK, metadata=True)
    writer.append(CONTENT)
    writer.finish(NAME)
    target = bytearray(20)
    place.again().load_into(FileKind.PACK, NAME, 100, memoryview(target))
    assert target == CONTENT[100:120]
    assert place.again().load(FileKind.PACK, NAME, 4000) == CONTENT[4000:]
    assert "load" not in place.calls()


def test_packs_with_data_keys_locks_and_the_config_are_not_kept(place: Place) -> None:
    for kind in (FileKind.PACK, FileKind.KEY, FileKind.LOCK):
        place.cached.save(kind, NAME, CONTENT)
        writer = place.cached.begin(kind)
        writer.append(CONTENT)
        writer.finish(NAME)
        assert place.cached.load(kind, NAME) == CONTENT
    place.cached.save(FileKind.CONFIG, "", CONTENT)
    assert place.cached.load(FileKind.CONFIG, "") == CONTENT
    assert [path for path in place.base.rglob("*") if NAME in path.name] == []


@pytest.mark.clause("CACHE-1")
def test_a_pack_with_trees_is_fetched_whole_once(place: Place) -> None:
    place.kept.save(FileKind.PACK, NAME, CONTENT)
    for storage in (place.cached, place.cached, place.again()):
        storage.prepare(FileKind.PACK, NAME)
        assert storage.load(FileKind.PACK, NAME, 10, 5) == CONTENT[10:15]
    assert place.calls() == ["size", "load"]
    assert place.copy(FileKind.PACK).read_bytes() == CONTENT


def test_several_threads_fetch_a_pack_once(place: Place) -> None:
    place.kept.save(FileKind.PACK, NAME, CONTENT)
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        place.cached.prepare(FileKind.PACK, NAME)
        assert place.cached.load(FileKind.PACK, NAME, 10, 5) == CONTENT[10:15]

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.calls() == ["size", "load"]


DAMAGES = {
    "flipped": lambda raw: raw[:100] + bytes([raw[100] ^ 1]) + raw[101:],
    "cut": lambda raw: raw[:200],
    "nearly nothing": lambda raw: raw[:10],
    "empty": lambda raw: b"",
    "longer": lambda raw: raw + b"x",
    "foreign": lambda raw: os.urandom(len(raw)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", [*WHOLE, FileKind.PACK])
@pytest.mark.clause("CACHE-3")
def test_a_damaged_copy_is_noticed_and_fetched_again(place: Place, kind: FileKind, damage: str) -> None:
    place.cached.save(kind, NAME, CONTENT, metadata=True)
    place.copy(kind).write_bytes(DAMAGES[damage](CONTENT))
    storage = place.again()
    for _ in range(2):
        storage.prepare(kind, NAME)
        found = storage.load(kind, NAME, 10, 20) if kind is FileKind.PACK else storage.load(kind, NAME)[10:30]
        assert found == CONTENT[10:30]
    assert place.copy(kind).read_bytes() == CONTENT
    place.calls()
    assert place.again().load(kind, NAME) == CONTENT
    assert place.calls() == []


@pytest.mark.parametrize("kind", [*WHOLE, FileKind.PACK])
def test_a_copy_that_is_no_file_is_passed_by(place: Place, kind: FileKind) -> None:
    place.kept.save(kind, NAME, CONTENT)
    place.copy(kind).parent.mkdir()
    os.mkfifo(place.copy(kind))
    place.cached.prepare(kind, NAME)
    assert place.cached.load(kind, NAME) == CONTENT


def test_a_huge_copy_takes_no_memory(place: Place) -> None:
    place.kept.save(FileKind.INDEX, NAME, CONTENT)
    place.copy(FileKind.INDEX).parent.mkdir()
    with open(place.copy(FileKind.INDEX), "wb") as file:
        file.truncate(1 << 40)
    assert place.cached.load(FileKind.INDEX, NAME) == CONTENT
    assert place.copy(FileKind.INDEX).stat().st_size == len(CONTENT)


@pytest.mark.parametrize("kind", [*WHOLE, FileKind.PACK])
@pytest.mark.clause("CACHE-3")
def test_what_arrives_damaged_is_not_kept(place: Place, kind: FileKind) -> None:
    place.kept.save(kind, NAME, CONTENT)
    place.asked.plan = lambda call: Truncate(300)
    place.cached.prepare(kind, NAME)
    assert place.cached.load(kind, NAME) == CONTENT[:300]
    assert not place.copy(kind).exists()
    assert list(place.base.rglob("tmp-*")) == []


def test_a_pack_that_is_damaged_in_the_repository_is_not_fetched_for_every_tree(place: Place) -> None:
    place.kept.save(FileKind.PACK, NAME, CONTENT[:-1] + b"?")
    for _ in range(5):
        place.cached.prepare(FileKind.PACK, NAME)
        place.cached.load(FileKind.PACK, NAME, 0, 10)
    assert place.calls() == ["size", "load", *["load"] * 5]


def test_faults_of_the_storage_are_told_to_who_reads(place: Place) -> None:
    place.kept.save(FileKind.PACK, NAME, CONTENT)
    place.asked.plan = lambda call: Fail()
    place.cached.prepare(FileKind.PACK, NAME)
    with pytest.raises(StorageError):
        place.cached.load(FileKind.PACK, NAME, 0, 5)
    for kind in WHOLE:
        with pytest.raises(StorageError):
            place.cached.load(kind, NAME)
        with pytest.raises(StorageError):
            place.cached.save(kind, NAME, CONTENT)
        assert not place.copy(kind).exists()
    writer = place.again().begin
    with pytest.raises(StorageError):
        writer(FileKind.PACK, metadata=True)


def test_a_pack_that_cannot_be_stored_is_not_kept(place: Place) -> None:
    place.asked.plan = lambda call: Fail() if call.operation == "save" else None
    writer = place.cached.begin(FileKind.PACK, metadata=True)
    writer.append(CONTENT)
    with pytest.raises(StorageError):
        writer.finish(NAME)
    assert [path for path in place.base.rglob("*/*/*/*") if path.is_file()] == []


# What is there


@pytest.mark.clause("CACHE-3")
def test_copies_of_what_is_gone_go(place: Place) -> None:
    for kind in (*WHOLE, FileKind.PACK):
        place.cached.save(kind, NAME, CONTENT, metadata=True)
        other = id_of(b"other").hex()
        place.cached.save(kind, other, b"other" * 20, metadata=True)
        place.kept.remove(kind, NAME)
        next(place.cached.list(kind))
        assert place.copy(kind).exists(), "not before everything is listed"
        assert [name for name, _ in place.cached.list(kind)] == [other]
        assert not place.copy(kind).exists()
        assert (place.base / ID / kind.value / other[:2] / other).exists()


@pytest.mark.clause("CACHE-3")
def test_what_comes_while_the_repository_is_listed_stays(place: Place) -> None:
    place.cached.save(FileKind.INDEX, id_of(b"first").hex(), b"first" * 20)
    listing = place.cached.list(FileKind.INDEX)
    next(listing)
    place.again().save(FileKind.INDEX, NAME, CONTENT)
    place.kept.files = {}  # as a listing that is behind
    assert [name for name, _ in listing] == []
    assert place.copy(FileKind.INDEX).exists()


def test_what_is_removed_is_removed_from_both(place: Place) -> None:
    for kind in (*WHOLE, FileKind.PACK):
        place.cached.save(kind, NAME, CONTENT, metadata=True)
        place.cached.remove(kind, NAME)
        assert not place.copy(kind).exists()
        with pytest.raises(FileMissing):
            place.cached.load(kind, NAME)
        place.cached.save(kind, NAME, CONTENT, metadata=True)
        place.kept.remove(kind, NAME)
        with pytest.raises(FileMissing):
            place.cached.size(kind, NAME)
        assert not place.copy(kind).exists()


# A cache that cannot be written to


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A disk on which nothing more can be written."""
    tried: list[int] = []

    def write(descriptor: int, pieces: object) -> None:
        tried.append(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cachefolder_module, "write_pieces", write)
    yield tried


@pytest.mark.clause("CACHE-3")
def test_a_full_disk_is_told_once_and_stops_nothing(place: Place, full: list[int]) -> None:
    writer = place.cached.begin(FileKind.PACK, metadata=True)
    writer.append(CONTENT)
    writer.finish(NAME)
    for kind in WHOLE:
        place.cached.save(kind, NAME, CONTENT)
        assert place.cached.load(kind, NAME) == CONTENT
    place.cached.prepare(FileKind.PACK, NAME)
    assert place.cached.load(FileKind.PACK, NAME, 0, 10) == CONTENT[:10]
    assert [str(error) for error in place.told] == [f"write {place.base / ID}: no space left on device"]
    assert len(full) == 1
    assert list(place.base.rglob("tmp-*")) == []
    assert set(place.kept.files) == {(kind, NAME) for kind in (FileKind.PACK, *WHOLE)}


def test_a_read_only_cache_is_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.cached.save(FileKind.INDEX, NAME, CONTENT)
    place.kept.save(FileKind.SNAPSHOT, NAME, CONTENT)

    def refuse(*words: object, **named: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("utime", "mkdir", "rename", "unlink"):
        monkeypatch.setattr(cachefolder_module.os, name, refuse)
    real = os.open
    monkeypatch.setattr(
        cachefolder_module.os, "open", lambda path, flags, *mode: refuse() if flags & os.O_CREAT else real(path, flags, *mode)
    )
    storage = place.again()
    assert storage.load(FileKind.INDEX, NAME) == CONTENT
    assert place.calls() == ["save"]
    assert storage.load(FileKind.SNAPSHOT, NAME) == CONTENT
    place.kept.remove(FileKind.INDEX, NAME)
    assert list(storage.list(FileKind.INDEX)) == []
    assert len(place.told) == 1


def test_a_cache_that_is_removed_meanwhile_does_no_harm(place: Place) -> None:
    place.cached.save(FileKind.INDEX, NAME, CONTENT)
    shutil.rmtree(place.base)
    assert place.cached.load(FileKind.INDEX, NAME) == CONTENT
    assert list(place.cached.list(FileKind.INDEX)) == [(NAME, len(CONTENT))]
    place.cached.save(FileKind.SNAPSHOT, NAME, CONTENT)
    assert place.told == []
