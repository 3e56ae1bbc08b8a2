"""Every storage and every wrapper, held to the same contract."""

from __future__ import annotations

import errno
import inspect
import os
from pathlib import Path

import pytest

from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage, Storage, WrappedStorage
from restic_format.storage.base import HeldWriter
from restic_format.storage.cache import CachedStorage
from restic_format.storage.cachefolder import CacheFolder
from restic_format.storage.limited import LimitedStorage, Pace
from restic_format.storage.retrying import RetryingStorage
from restic_format.storage.side import MemorySideFiles
from restic_format.storage.transport import DIRECT
from restic_spec.layout import FileKind
from tests.storage.contract import CONTENT, NAME, StorageContract
from tests.storage.nameless import without_nameless_files


class Plain(Storage):
    """A storage with nothing but what every one must have."""

    location = "nowhere"

    def __init__(self) -> None:
        kept = MemoryStorage()
        self.save, self.load, self.size = kept.save, kept.load, kept.size  # type: ignore[method-assign]
        self.list, self.remove = kept.list, kept.remove  # type: ignore[method-assign]

    def save(self) -> None:  # type: ignore[override]
        raise NotImplementedError

    load = size = list = remove = save  # type: ignore[assignment]


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        made = LocalStorage(tmp_path / "repo")
        made.create()
        return made


class TestLocalWithNames(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        without_nameless_files(monkeypatch)
        made = LocalStorage(tmp_path / "repo")
        made.create()
        return made


class TestLocalWithoutLinks(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        without_nameless_files(monkeypatch)
        monkeypatch.setattr(os, "link", refuse)
        made = LocalStorage(tmp_path / "repo")
        made.create()
        return made


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage()


class TestPlain(StorageContract):
    keeps_side_files = False

    @pytest.fixture
    def storage(self) -> Storage:
        return Plain()


class TestWrapped(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return WrappedStorage(MemoryStorage())


class TestFaulty(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return FaultyStorage(MemoryStorage(), lambda call: None)


class TestRetrying(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return RetryingStorage(MemoryStorage(), DIRECT)


class TestLimited(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return LimitedStorage(MemoryStorage(), Pace(1 << 30), Pace(1 << 30))


class TestCached(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return CachedStorage(MemoryStorage(), CacheFolder(str(tmp_path / "cache"), NAME))


PUBLIC = [name for name in vars(Storage) if not name.startswith("_")]


def test_the_base_of_the_wrappers_passes_everything_on() -> None:
    # What is not overridden would be the default, whatever the wrapped storage can do.
    assert [name for name in PUBLIC if name not in vars(WrappedStorage)] == []


class Noted(Storage):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        object.__setattr__(self, "asked", [])

    def __getattribute__(self, name: str) -> object:
        if name not in PUBLIC:
            return object.__getattribute__(self, name)
        self.asked.append(name)  # type: ignore[attr-defined]
        given = {
            "list": iter(()),
            "strays": iter(()),
            "begin": HeldWriter(lambda name, data: None),
            "side_files": MemorySideFiles(),
        }
        return lambda *words, **named: given.get(name, bytes(3))


Noted.__abstractmethods__ = frozenset()

WRAPPERS = {
    "wrapped": WrappedStorage,
    "limited": lambda inner: LimitedStorage(inner, Pace(1 << 30), Pace(1 << 30)),
    "faulty": lambda inner: FaultyStorage(inner, lambda call: None),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_asks_the_storage_it_wraps(wrapper: str) -> None:
    arguments = {
        "has_place": [FileKind.SNAPSHOT],
        "create": [],
        "save": [FileKind.PACK, NAME, CONTENT],
        "save_new": [FileKind.PACK, NAME, CONTENT],
        "uncreate": [],
        "begin": [FileKind.PACK],
        "load": [FileKind.PACK, NAME],
        "load_into": [FileKind.PACK, NAME, 0, memoryview(bytearray(3))],
        "size": [FileKind.PACK, NAME],
        "exists": [FileKind.PACK, NAME],
        "prepare": [FileKind.PACK, NAME],
        "path": [FileKind.PACK, NAME],
        "written": [FileKind.PACK, NAME],
        "list": [FileKind.PACK],
        "strays": [],
        "load_stray": ["x"],
        "remove": [FileKind.PACK, NAME],
        "side_files": ["quarantine"],
        "remove_unfinished": [0.0, lambda: True],
    }
    properties = [name for name in PUBLIC if isinstance(inspect.getattr_static(Storage, name), property)]
    assert sorted([*arguments, *properties]) == sorted(PUBLIC), "a new method needs arguments here"
    for name in PUBLIC:
        inner = Noted()
        found = getattr(WRAPPERS[wrapper](inner), name)
        if name in arguments:
            found(*arguments[name])
        # A storage that is made to fail keeps what is written until the end, and cuts what is read.
        expected = {("faulty", "begin"): [], ("faulty", "load_into"): ["load"]}.get((wrapper, name), [name])
        assert inner.asked == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_that_a_pack_holds_trees_is_passed_on(wrapper: str) -> None:
    told: list[bool] = []

    class Told(MemoryStorage):
        def save(self, kind: FileKind, name: str, data: object, *, metadata: bool = False) -> None:
            told.append(metadata)

    storage = WRAPPERS[wrapper](Told())
    for metadata in (True, False):
        storage.save(FileKind.PACK, NAME, CONTENT, metadata=metadata)
        storage.begin(FileKind.PACK, metadata=metadata).finish(NAME)
    assert told == [True, True, False, False]
