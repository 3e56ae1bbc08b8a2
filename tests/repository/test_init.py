"""Creating repositories: one of several at once succeeds, and who fails leaves nothing behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import ConfigExists, Interrupted, ResticFormatError, StorageError
from restic_format.repository import Repository, keys
from restic_format.storage import Content, FaultyStorage, LocalStorage, MemoryStorage, Storage
from restic_format.storage.faulty import Call, Fail
from restic_spec.layout import FileKind
from tests.repository.conftest import CHEAP
from tests.storage.nameless import without_nameless_files


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture(params=["memory", "local", "local with names"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Storage]:
    """Gives the same place each time."""
    if request.param == "memory":
        storage = MemoryStorage()
        return lambda: storage
    if request.param == "local with names":
        without_nameless_files(monkeypatch)
    return lambda: LocalStorage(tmp_path / "repo")


@pytest.mark.clause("CONFIG-7")
def test_of_several_at_once_one_succeeds(place: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them have seen that there is neither a config nor a key before the first stores one."""
    count = 4
    barrier, real = threading.Barrier(count), keys.add_key
    results: dict[str, Repository | ResticFormatError] = {}

    def add_key(*arguments: object, **options: object) -> bytes:
        barrier.wait()
        return real(*arguments, **options)  # type: ignore[arg-type]

    def work(password: str) -> None:
        try:
            results[password] = Repository.init(place(), password, kdf=CHEAP)
        except ResticFormatError as error:
            results[password] = error

    monkeypatch.setattr(keys, "add_key", add_key)
    threads = [threading.Thread(target=work, args=(f"password {number}",)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [(password, created)] = [(word, found) for word, found in results.items() if isinstance(found, Repository)]
    for found in results.values():
        assert found is created or (isinstance(found, ConfigExists) and "config file already exists" in str(found))
    assert Repository.open(place(), password).id == created.id
    assert [name for name, _ in place().list(FileKind.KEY)] == [created.key_id.hex()], "no key is left that opens nothing"


@pytest.mark.parametrize("kind", [FileKind.CONFIG, FileKind.KEY])
@pytest.mark.parametrize("there", [None, "folder", "more"])
def test_who_fails_leaves_nothing_behind(kind: FileKind, there: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "above" / "repo"
    if there is not None:
        folder.mkdir(parents=True)
    if there == "more":
        (folder / "index").mkdir()
        (folder / "notes").write_text("not ours")
    before = everything(tmp_path)

    def plan(call: Call) -> Fail | None:
        return Fail() if (call.operation, call.kind) == ("save", kind) else None

    with pytest.raises(StorageError, match="injected fault"):
        Repository.init(FaultyStorage(LocalStorage(folder), plan), "pw", kdf=CHEAP)
    assert everything(tmp_path) == before
    Repository.init(LocalStorage(folder), "pw", kdf=CHEAP)


def test_folders_that_could_be_made_go_when_another_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.mkdir

    def mkdir(path: bytes, mode: int) -> None:
        if path.endswith(b"/data/77"):
            raise OSError(28, "No space left on device")
        real(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(StorageError, match="no space left"):
        Repository.init(LocalStorage(tmp_path / "repo"), "pw", kdf=CHEAP)
    assert everything(tmp_path) == set()


def test_whoever_is_interrupted_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted("interrupted by a signal")

    monkeypatch.setattr(keys, "open_key", interrupted)  # the new key is stored, and tried
    with pytest.raises(Interrupted):
        Repository.init(LocalStorage(tmp_path / "repo"), "pw", kdf=CHEAP)
    assert everything(tmp_path) == set()


def test_a_config_that_was_stored_although_that_failed_keeps_its_key() -> None:
    class Unsure(MemoryStorage):
        def save_new(self, kind: FileKind, name: str, data: Content) -> None:
            super().save_new(kind, name, data)
            raise StorageError("the connection was lost")

    storage = Unsure()
    with pytest.raises(StorageError, match="the connection was lost"):
        Repository.init(storage, "pw", kdf=CHEAP)
    assert Repository.open(storage, "pw").version == 2


def test_nothing_is_taken_back_when_it_cannot_be_told_what_is_there() -> None:
    class Away(MemoryStorage):
        def save_new(self, kind: FileKind, name: str, data: Content) -> None:
            super().save_new(kind, name, data)
            raise StorageError("the connection was lost")

        def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
            if kind is FileKind.CONFIG:
                raise StorageError("no connection")
            return super().load(kind, name, offset, length)

    storage = Away()
    with pytest.raises(StorageError, match="the connection was lost"):
        Repository.init(storage, "pw", kdf=CHEAP)
    opened = MemoryStorage()
    opened.files = storage.files
    assert Repository.open(opened, "pw").version == 2


def test_a_key_that_another_has_gone_on_with_is_put_back() -> None:
    class Racing(MemoryStorage):
        def save_new(self, kind: FileKind, name: str, data: Content) -> None:
            raise StorageError("the connection was lost")

        def remove(self, kind: FileKind, name: str) -> None:
            other = MemoryStorage()
            other.files = self.files
            Repository.init(other, "pw", kdf=CHEAP)
            super().remove(kind, name)

    storage = Racing()
    with pytest.raises(StorageError, match="the connection was lost"):
        Repository.init(storage, "pw", kdf=CHEAP)
    assert Repository.open(storage, "pw").version == 2


def test_who_goes_on_with_a_key_that_is_taken_back_stores_another(repo: Repository) -> None:
    class Racing(MemoryStorage):
        def create(self) -> None:
            self.remove(FileKind.KEY, repo.key_id.hex())

    assert isinstance(repo.storage, MemoryStorage)
    storage = Racing()
    storage.files = repo.storage.files
    storage.remove(FileKind.CONFIG, "")
    created = Repository.init(storage, "pw", kdf=CHEAP)
    assert created.key_id != repo.key_id
    assert Repository.open(storage, "pw").id == created.id
