"""Opened blobs that are shared: one fetch however many ask, ranges for neighbours, bounded memory, errors for who asks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from restic_format.errors import BlobMissing, DamagedFile, StorageError
from restic_format.repository import Repository
from restic_format.snapshots import BlobCache
from restic_format.storage import FaultyStorage, MemoryStorage
from restic_format.storage.faulty import Call
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from tests.restore.kit import PASSWORD, Maker, memory_repo


class Stored:
    """Blobs of one pack, and the requests for packs since."""

    def __init__(self, blobs: list[bytes], on_call: Callable[[Call], None] | None = None) -> None:
        self.inner = MemoryStorage()
        maker = Maker(memory_repo(self.inner))
        self.ids = [bytes.fromhex(maker.blob(blob)) for blob in blobs]
        maker.writer.flush()
        self.loads: list[Call] = []

        def called(call: Call) -> None:
            if call.kind is FileKind.PACK:
                self.loads.append(call)
                if on_call is not None:
                    on_call(call)

        self.repo = Repository.open(FaultyStorage(self.inner, called), PASSWORD)
        self.repo.load_index()


def settled(cache: BlobCache) -> None:
    """Wait until nothing is being fetched."""
    end = time.monotonic() + 30
    while cache._fetches:
        assert time.monotonic() < end
        time.sleep(0.001)


def together(count: int, action: Callable[[], bytes]) -> list[bytes | Exception]:
    """What *count* threads get that do the same at once."""
    results: list[bytes | Exception] = []

    def run() -> None:
        try:
            results.append(action())
        except Exception as error:  # noqa: BLE001
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def slowly(_: Call) -> None:
    time.sleep(0.05)


def test_a_blob_is_fetched_once_however_many_ask() -> None:
    stored = Stored([b"x" * 1000], slowly)
    with BlobCache(stored.repo) as cache:
        assert together(8, lambda: cache.get(stored.ids[0])) == [b"x" * 1000] * 8
        assert cache.get(stored.ids[0]) == b"x" * 1000
        assert len(stored.loads) == 1


def test_who_asks_for_what_is_fetched_ahead_waits_for_that() -> None:
    blobs = [bytes([number]) * 1000 for number in range(8)]
    stored = Stored(blobs, slowly)
    with BlobCache(stored.repo, workers=1) as cache:
        assert cache.ahead(stored.ids) == 8
        assert together(4, lambda: b"".join(map(cache.get, stored.ids))) == [b"".join(blobs)] * 4
        assert len(stored.loads) == 1
        assert cache.ahead(stored.ids) == 8
        settled(cache)
        assert len(stored.loads) == 1


def test_neighbours_are_one_range_in_any_order() -> None:
    blobs = [random.randbytes(50_000) for _ in range(60)]
    stored = Stored(blobs)
    shuffled = random.sample(stored.ids, len(blobs))
    with BlobCache(stored.repo) as cache:
        assert cache.ahead(iter(shuffled)) == 60
        settled(cache)
        assert len(stored.loads) == 1
        assert [cache.get(blob_id) for blob_id in stored.ids] == blobs
        assert len(stored.loads) == 1


def test_what_was_fetched_ahead_takes_half_of_the_room() -> None:
    blobs = [random.randbytes(1000) for _ in range(100)]
    stored = Stored(blobs)
    with BlobCache(stored.repo, limit=20_000) as cache:
        assert cache.ahead(stored.ids) == 10
        settled(cache)
        assert cache.ahead(stored.ids[20:]) == 0
        assert cache.size == 10_000
        # What is read, or not needed any more, makes room.
        cache.get(stored.ids[0])
        cache.unneeded(stored.ids[1:4])
        assert cache.ahead(stored.ids[20:]) == 4
        settled(cache)
        for blob_id, blob in zip(stored.ids, blobs, strict=True):
            assert cache.get(blob_id) == blob
            assert cache.size <= 20_000
        # Those used last are there, and nothing is taken for unread any more.
        before = len(stored.loads)
        assert [cache.get(blob_id) for blob_id in stored.ids[80:]] == blobs[80:]
        assert len(stored.loads) == before and cache._ahead == 0 and not cache._unread


def test_one_blob_is_kept_however_small_the_room() -> None:
    stored = Stored([b"a" * 1000, b"b" * 1000])
    with BlobCache(stored.repo, limit=1) as cache:
        assert cache.ahead(stored.ids) == 0
        assert cache.get(stored.ids[0]) + cache.get(stored.ids[0]) == b"a" * 2000
        assert len(stored.loads) == 1
        assert cache.get(stored.ids[1]) == b"b" * 1000 and cache.size == 1000


def test_an_error_is_for_those_who_wait_and_not_remembered() -> None:
    failing = True

    def call(_: Call) -> None:
        if failing:
            time.sleep(0.05)
            raise StorageError("away")

    stored = Stored([b"a" * 1000, b"b" * 1000], call)
    with BlobCache(stored.repo) as cache:
        results = together(6, lambda: cache.get(stored.ids[0]))
        assert all(isinstance(result, StorageError) for result in results) and len(results) == 6
        assert cache.ahead(stored.ids) == 2
        settled(cache)
        assert cache.size == 0 and cache._ahead == 0
        failing = False
        assert [cache.get(blob_id) for blob_id in stored.ids] == [b"a" * 1000, b"b" * 1000]
        with pytest.raises(BlobMissing):
            cache.get(id_of(b"nowhere"))
        assert cache.ahead([id_of(b"nowhere"), stored.ids[0]]) == 2


def test_a_damaged_blob_hurts_nobody_else() -> None:
    blobs = [bytes([number]) * 1000 for number in range(5)]
    stored = Stored(blobs)
    where = stored.repo.index.lookup_all(stored.repo.index.by_pack().__next__()[1][0].type, stored.ids[2])[0]
    raw = bytearray(stored.inner.files[FileKind.PACK, where.pack.hex()])
    raw[where.offset + 20] ^= 1
    stored.inner.files[FileKind.PACK, where.pack.hex()] = bytes(raw)
    with BlobCache(stored.repo) as cache:
        assert cache.ahead(stored.ids) == 5
        for number, blob_id in enumerate(stored.ids):
            if number == 2:
                for _ in range(2):
                    with pytest.raises(DamagedFile):
                        cache.get(blob_id)
            else:
                assert cache.get(blob_id) == blobs[number]


def test_threads_end_when_there_is_nothing_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restic_format.snapshots.blobcache._LINGER", 0.01)
    stored = Stored([bytes([number]) * 1000 for number in range(5)])
    cache = BlobCache(stored.repo)
    for _ in range(3):
        assert cache.ahead(stored.ids) == 5
        settled(cache)
        end = time.monotonic() + 30
        while cache._threads:
            assert time.monotonic() < end
            time.sleep(0.001)
        assert cache._idle == 0
        for blob_id in stored.ids:
            cache.get(blob_id)
    cache.close()


def test_after_close_nothing_is_kept_and_nobody_hangs() -> None:
    stored = Stored([random.randbytes(1000) for _ in range(50)], slowly)
    cache = BlobCache(stored.repo, workers=1)
    cache.ahead(stored.ids[:10])
    cache.close()
    assert not cache._threads and cache.size == 0 and cache._ahead == 0
    assert cache.ahead(stored.ids) == 0
    assert len(cache.get(stored.ids[0])) == 1000 and cache.size == 0
    cache.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_storage_that_fails_now_and_then(seed: int) -> None:
    """Everybody gets the right blob or the error, nobody waits for ever, and what is counted stays right."""
    chance, turn = random.Random(seed), threading.Lock()

    def call(_: Call) -> None:
        with turn:
            fails = chance.random() < 0.4
        if fails:
            raise StorageError("away")

    rng = random.Random(seed)
    blobs = [rng.randbytes(rng.choice([10, 3000, 40_000])) for _ in range(60)]
    stored = Stored(blobs, call)
    wrong: list[object] = []
    failed = 0

    def read(number: int) -> None:
        nonlocal failed
        own = random.Random(100 * seed + number)
        for _ in range(80):
            first = own.randrange(len(blobs))
            if own.random() < 0.3:
                cache.ahead(stored.ids[first : first + own.randrange(20)])
            if own.random() < 0.1:
                cache.unneeded(stored.ids[first : first + 5])
            try:
                if cache.get(stored.ids[first]) != blobs[first]:
                    wrong.append(first)
            except StorageError:
                failed += 1
            except BaseException as error:  # noqa: BLE001
                wrong.append(error)

    with BlobCache(stored.repo, limit=150_000, workers=2) as cache:
        threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads) and not wrong and failed
        settled(cache)
        assert cache.size == sum(map(len, cache._kept.values())) <= 150_000
        assert cache._ahead == sum(len(cache._kept[blob]) for blob in cache._unread)


def test_a_system_without_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    blobs = [bytes([number]) * 1000 for number in range(5)]
    stored = Stored(blobs)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with BlobCache(stored.repo) as cache:
        assert cache.ahead(stored.ids) == 5
        assert [cache.get(blob_id) for blob_id in stored.ids] == blobs and len(stored.loads) == 1
