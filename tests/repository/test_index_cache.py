"""The sealed cache of the index: used when it fits, never when it does not."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.native.table import _table
from restic_format.repository import Repository, indexcache, loading
from restic_format.repository import index as index_module
from restic_format.repository.index import BlobIndex
from restic_format.storage import MemoryStorage
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

CHEAP = Kdf(16, 8, 1, b"s" * 64)


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table that can be cached, also where the others run without native parts."""
    for name in ("BlobTable", "DecodedIndex", "decode_index"):
        monkeypatch.setattr(index_module, name, getattr(_table, name))


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> MemoryStorage:
    """A repository with three index files whose cache is worth writing."""
    monkeypatch.setattr(loading, "WORTH_ROWS", 1)
    storage = MemoryStorage()
    repo = Repository.init(storage, "pw", kdf=CHEAP)
    writer = repo.writer()
    for batch in range(3):
        for number in range(50):
            writer.save_blob(BlobType.DATA, b"%d %d" % (batch, number))
        writer.flush()
    return storage


def load(storage: MemoryStorage, folder: Path) -> tuple[Repository, list[str]]:
    """Open with the cache; also the index files that were read."""
    repo = Repository.open(storage, "pw", cache_folder=str(folder))
    read: list[str] = []
    real = repo.load_unpacked

    def load_unpacked(kind: FileKind, file_id: bytes) -> bytes:
        if kind is FileKind.INDEX:
            read.append(file_id.hex())
        return real(kind, file_id)

    repo.load_unpacked = load_unpacked  # type: ignore[method-assign]
    repo.load_index()
    return repo, read


def content(index: BlobIndex) -> set[object]:
    return set(index.entries())


def cache_file(folder: Path) -> Path:
    [path] = folder.glob("*/restic-format-index")
    return path


@pytest.mark.clause("CACHE-4")
def test_the_second_time_no_index_file_is_read(storage: MemoryStorage, tmp_path: Path) -> None:
    first, read = load(storage, tmp_path)
    assert len(read) == 3
    assert cache_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert b"Signature: 8a477f597d28d172789f06886806bc55" in (tmp_path / "CACHEDIR.TAG").read_bytes()
    second, read = load(storage, tmp_path)
    assert read == []
    assert content(second.index) == content(first.index)
    assert all(second.load_blob(entry.type, entry.id) for _, entry in second.index.entries())


def test_new_index_files_are_added(storage: MemoryStorage, tmp_path: Path) -> None:
    load(storage, tmp_path)
    writer = Repository.open(storage, "pw").writer()
    added = writer.save_blob(BlobType.DATA, b"new").id
    writer.flush()
    repo, read = load(storage, tmp_path)
    assert len(read) == 1
    assert repo.load_blob(BlobType.DATA, added) == b"new"
    assert load(storage, tmp_path)[1] == []


def test_a_cache_of_index_files_that_are_gone_is_not_used(storage: MemoryStorage, tmp_path: Path) -> None:
    load(storage, tmp_path)
    gone = next(storage.list(FileKind.INDEX))[0]
    storage.remove(FileKind.INDEX, gone)
    repo, read = load(storage, tmp_path)
    assert len(read) == 2
    assert len(repo.index) == 100


@pytest.mark.parametrize("where", [0, 30, 200, 1500, -40, -1])
@pytest.mark.parametrize("damage", ["flip", "cut", "extend"])
def test_a_damaged_cache_is_not_used(storage: MemoryStorage, tmp_path: Path, where: int, damage: str) -> None:
    intact, _ = load(storage, tmp_path)
    path = cache_file(tmp_path)
    raw = bytearray(path.read_bytes())
    if damage == "flip":
        raw[where] ^= 1
    elif damage == "cut":
        del raw[where:]
    else:
        raw += raw[where:][:100] or b"x"
    path.write_bytes(raw)
    repo, read = load(storage, tmp_path)
    assert len(read) == 3
    assert content(repo.index) == content(intact.index)


def test_another_repositorys_cache_is_not_used(storage: MemoryStorage, tmp_path: Path) -> None:
    load(storage, tmp_path)
    other = MemoryStorage()
    Repository.init(other, "pw", kdf=CHEAP)
    for name in [name for name, _ in storage.list(FileKind.INDEX)]:
        other.save(FileKind.INDEX, name, storage.load(FileKind.INDEX, name))
    mine = Repository.open(other, "pw", cache_folder=str(tmp_path))
    os.renames(cache_file(tmp_path), tmp_path / mine.id / "restic-format-index")
    assert mine._index_cache is not None
    assert mine._index_cache.load({bytes.fromhex(name) for name, _ in other.list(FileKind.INDEX)}) is None


def test_a_folder_that_cannot_be_written_does_no_harm(storage: MemoryStorage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    repo, read = load(storage, tmp_path / "file")
    assert len(read) == 3
    assert len(repo.index) == 150


@pytest.mark.parametrize("working", [0, 1, 2, 40])
def test_a_cache_that_cannot_be_written_to_its_end_is_not_kept(
    working: int, storage: MemoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def pwrite(descriptor: int, data: memoryview, place: int) -> int:
        if next(calls) >= working:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data[:50], place)

    real = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(indexcache, "_PIECE", 100)
        patch.setattr(os, "pwrite", pwrite)
        repo, _ = load(storage, tmp_path)
    assert next(calls) > working
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
    assert len(repo.index) == 150
    _, read = load(storage, tmp_path)
    assert len(read) == 3


def test_what_is_written_in_parts_is_read_as_a_whole(
    storage: MemoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    monkeypatch.setattr(indexcache, "_PIECE", 100)
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, place: real(descriptor, data[:70], place))
    first, _ = load(storage, tmp_path)
    second, read = load(storage, tmp_path)
    assert read == []
    assert content(second.index) == content(first.index)


def filled(copies: bool) -> tuple[_table.BlobTable, list[memoryview]]:
    """A table of three rows and two packs that is not adopted yet, and its memory: a contradiction."""
    made = _table.BlobTable.allocate(3, 16, copies, 2, bytes(40))
    parts = made.parts(3, 2)
    for part in parts:
        part[:] = bytes(len(part))
    parts[9][:] = b"p" * 32 + b"q" * 32
    return made, parts


def test_columns_that_contradict_each_other_are_refused() -> None:
    seed = bytes(40)
    with pytest.raises(ValueError, match="rows and slots"):
        _table.BlobTable.allocate(10, 12, False, 1, seed)
    with pytest.raises(ValueError, match="rows and slots"):
        _table.BlobTable.allocate(13, 16, False, 1, seed)  # a search would hardly find an empty slot
    with pytest.raises(ValueError, match="40 bytes"):
        _table.BlobTable.allocate(1, 16, False, 1, seed[1:])
    changes: list[Callable[[list[memoryview]], object]] = [
        lambda parts: parts[7].__setitem__(2, 0),  # a row that no slot knows
        lambda parts: parts[7].__setitem__(3, 1),  # more slots in use than rows
        lambda parts: parts[6].cast("I").__setitem__(0, 3),  # a row that is not there
        lambda parts: parts[1].__setitem__(1, 2),  # a type that there is not
        lambda parts: parts[2].cast("I").__setitem__(1, 2),  # a pack that is not there
        lambda parts: parts[9].__setitem__(slice(0, 32), b"q" * 32),  # the same pack twice
        lambda parts: parts[10].__setitem__(1, 2),  # a flag that there is not
    ]
    for change in (*changes, None):
        made, parts = filled(copies=False)
        parts[6].cast("I")[0:3] = memoryview(array("I", [0, 1, 2]))
        parts[7][:3] = b"\1\1\1"
        if change is None:
            made.adopt(3, 2)
            assert len(made) == 3
            assert made.pack_number(b"q" * 32) == 1
        else:
            change(parts)
            with pytest.raises(ValueError, match="contradict"):
                made.adopt(3, 2)


def test_copies_that_lead_nowhere_are_refused_or_end() -> None:
    for following in ([1, 3, 0], [1, 0, 0]):
        made, parts = filled(copies=True)
        parts[6].cast("I")[0], parts[7][0] = 2, 1
        parts[8].cast("I")[0:3] = memoryview(array("I", following))
        if 3 in following:
            with pytest.raises(ValueError, match="contradict"):
                made.adopt(3, 2)
        else:  # the last one is never reached
            made.adopt(3, 2)
            assert len(made.copies(0, bytes(32))) == 3


def test_a_cache_knows_the_copies(storage: MemoryStorage, tmp_path: Path) -> None:
    for name in [name for name, _ in storage.list(FileKind.INDEX)]:
        again = Repository.open(storage, "pw")
        again.save_unpacked(FileKind.INDEX, again.load_unpacked(FileKind.INDEX, bytes.fromhex(name)))
    first, _ = load(storage, tmp_path)
    second, read = load(storage, tmp_path)
    assert not read
    assert len(second.index) == 300
    entries = [entry for _, entry in first.index.entries()]
    assert all(second.index.lookup_all(e.type, e.id) == first.index.lookup_all(e.type, e.id) for e in entries)
