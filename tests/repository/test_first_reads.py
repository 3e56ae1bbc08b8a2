"""What is read while a lock is not certain yet: never relied on, never twice, and the order of snapshots and index is kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restic_format.errors import DamagedFile, Interrupted
from restic_format.repository import Repository
from restic_format.repository.firstreads import FirstReads
from restic_format.storage import MemoryStorage, WrappedStorage
from restic_format.storage.cachefolder import CacheFolder
from restic_format.work import Later
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from tests.repository.conftest import CHEAP, POLYNOMIAL

OLD, NEW = "0" * 64, "1" * 64
BOTH = (FileKind.SNAPSHOT, FileKind.INDEX)


class Watched(WrappedStorage):
    """Far away; says what was listed, and lets somebody store an index and a snapshot between two listings."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())
        self.listed: list[FileKind] = []
        self.loaded: list[str] = []
        self.store_behind = 0
        """After so many listings of the index somebody stores an index and a snapshot that needs it; 0 for never."""
        self._stored = threading.Event()
        self._read = threading.Event()

    lists_at_once = False  # type: ignore[assignment]
    at_hand = False  # type: ignore[assignment]

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """See `Storage`."""
        if kind is FileKind.SNAPSHOT and self.store_behind and self.listed.count(FileKind.SNAPSHOT):
            assert self._stored.wait(20), "the snapshots are listed after the others were stored"
        files = list(self.inner.list(kind))
        self.listed.append(kind)
        if kind is FileKind.INDEX and self.listed.count(kind) == self.store_behind:
            self.inner.save(FileKind.INDEX, NEW, b"index")
            self.inner.save(FileKind.SNAPSHOT, NEW, b"snapshot")
            self._stored.set()
        return iter(files)

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Storage`."""
        self.loaded.append(name)
        return self.inner.load(kind, name, offset, length)


@pytest.fixture
def far() -> Repository:
    """A repository far away with a snapshot and an index."""
    storage = Watched()
    repo = Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    for kind in BOTH:
        storage.inner.save(kind, OLD, b"old")
    storage.listed.clear()
    storage.loaded.clear()
    return repo


def names(repo: Repository, kind: FileKind) -> list[str]:
    return sorted(file_id.hex() for file_id, _ in repo.list(kind))


def begun(repo: Repository) -> FirstReads:
    """First reads that have listed everything."""
    reads = FirstReads(repo, BOTH)
    reads.begin()
    for thread in threading.enumerate():
        if thread.name.startswith("first reads"):
            thread.join(20)
    return reads


def test_what_has_not_changed_is_listed_once_more_and_no_oftener(far: Repository) -> None:
    reads = begun(far)
    far.listed_ahead(reads.settle())
    assert names(far, FileKind.SNAPSHOT) == names(far, FileKind.INDEX) == [OLD]
    assert isinstance(far.storage, Watched)
    assert Counter(far.storage.listed) == dict.fromkeys(BOTH, 2)


@pytest.mark.clause("ORDER-2")
def test_an_index_that_a_new_snapshot_needs_is_listed_with_it(far: Repository) -> None:
    reads = begun(far)
    assert isinstance(far.storage, Watched)
    far.storage.store_behind = 2  # Behind the listing that is made at the same time as that of the snapshots.
    far.listed_ahead(reads.settle())
    assert names(far, FileKind.SNAPSHOT) == [OLD, NEW]
    assert names(far, FileKind.INDEX) == [OLD, NEW]


def test_a_listing_of_before_the_lock_is_not_relied_on(far: Repository) -> None:
    reads = begun(far)
    assert isinstance(far.storage, Watched)
    far.storage.inner.remove(FileKind.INDEX, OLD)
    far.listed_ahead(reads.settle())
    assert names(far, FileKind.INDEX) == []


def test_what_is_listed_ahead_is_forgotten_when_something_changes(far: Repository) -> None:
    far.listed_ahead(begun(far).settle())
    far.save_unpacked(FileKind.SNAPSHOT, b"{}")
    assert len(names(far, FileKind.SNAPSHOT)) == 2


def test_files_are_fetched_into_the_cache_once(far: Repository, tmp_path: Path) -> None:
    assert isinstance(far.storage, Watched)
    watched, stored = far.storage, []
    for kind in BOTH:
        watched.inner.remove(kind, OLD)
        stored += [far.save_unpacked(kind, b"%d" % number).hex() for number in range(5)]
    far.use_cache(CacheFolder(str(tmp_path), far.id))
    begun(far).stop()
    assert sorted(watched.loaded) == sorted(stored)
    for kind in BOTH:
        for file_id, _ in far.list(kind):
            far.load_unpacked(kind, file_id)
    assert len(watched.loaded) == len(stored), "from the cache"


def test_a_lock_that_was_there_a_moment_ago_and_is_gone_does_not_hinder(far: Repository) -> None:
    assert isinstance(far.storage, Watched)
    with far.lock(exclusive=True):
        other = Repository.open(far.storage, "pw")
        listing = list(other.list(FileKind.LOCK))
        other.locks_ahead = Later(lambda: listing)
    with other.lock(exclusive=True, first=BOTH):
        assert len(list(other.list(FileKind.LOCK))) == 1


# The index


@pytest.fixture
def stored(tmp_path: Path) -> Repository:
    """A repository far away with a cache, and blobs in two index files."""
    repo = Repository.init(Watched(), "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    for content in (b"first", b"second"):
        store(repo, content)
    repo.use_cache(CacheFolder(str(tmp_path), repo.id))
    return repo


def store(repo: Repository, content: bytes) -> bytes:
    """Store a blob in an index file of its own; that file's id."""
    writer = repo.writer()
    writer.save_blob(BlobType.DATA, content)
    writer.flush()
    [index] = writer.indexes
    return index


def known(repo: Repository) -> list[bytes]:
    """Which of the blobs are in the index."""
    return [content for content in (b"first", b"second", b"third") if repo.index.has(BlobType.DATA, id_of(content))]


def load_after(repo: Repository, between: Callable[[], object]) -> object:
    """Load the index under a lock, the others having done something *between*; the one that was loaded ahead."""
    reads = FirstReads(repo, BOTH, load_index=True)
    reads.begin()
    assert reads._reading is not None
    ahead = reads._reading.get()
    assert ahead is not None
    between()
    repo.listed_ahead(reads.settle())
    repo.load_index()
    return ahead.blobs


def test_an_index_is_loaded_while_the_lock_is_not_certain(stored: Repository) -> None:
    ahead = load_after(stored, lambda: None)
    assert stored.index is ahead
    assert known(stored) == [b"first", b"second"]


def test_what_others_have_added_meanwhile_is_in_it(stored: Repository) -> None:
    other = Repository.open(stored.past_cache().storage, "pw")
    ahead = load_after(stored, lambda: store(other, b"third"))
    assert stored.index is ahead
    assert known(stored) == [b"first", b"second", b"third"]


def test_what_others_have_removed_meanwhile_is_not(stored: Repository) -> None:
    inner = stored.past_cache().storage

    def remove() -> None:
        name, _ = next(iter(inner.list(FileKind.INDEX)))
        inner.remove(FileKind.INDEX, name)

    ahead = load_after(stored, remove)
    assert stored.index is not ahead
    assert len(known(stored)) == 1


def test_damage_is_told_when_the_index_is_loaded(stored: Repository) -> None:
    stored.past_cache().storage.save(FileKind.INDEX, NEW, b"nonsense")
    reads = FirstReads(stored, BOTH, load_index=True)
    reads.begin()
    stored.listed_ahead(reads.settle())
    with pytest.raises(DamagedFile, match=NEW):
        stored.load_index()


def test_an_interruption_when_the_lock_has_just_become_certain_leaves_none(
    far: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(reads: FirstReads) -> None:
        del reads
        raise Interrupted

    monkeypatch.setattr(FirstReads, "settle", interrupted)
    with pytest.raises(Interrupted), far.lock(first=BOTH):
        pass
    assert not list(far.storage.list(FileKind.LOCK)) and far.before_changes is None
