"""Opening, blobs and files of a repository, and the order in which it writes."""

from __future__ import annotations

import os
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from restic_format.errors import (
    AccessDenied,
    BlobMissing,
    ConfigExists,
    DamagedFile,
    FileUnusable,
    RepositoryNotFound,
    StorageAway,
    StorageError,
    UsageError,
)
from restic_format.repository import Repository
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage
from restic_format.storage.base import Content
from restic_format.storage.faulty import Fail, Truncate, nth
from restic_spec.crypto import OVERHEAD, seal
from restic_spec.errors import HeaderInvalid, IdMismatch, LengthInvalid
from restic_spec.ids import id_of
from restic_spec.keyfile import Kdf
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry, encode_header, encode_length
from restic_spec.snapshot import Snapshot

CHEAP = Kdf(16, 8, 1, b"s" * 64)
POLYNOMIAL = 0x3DA3358B4DC173


def reopen(repo: Repository) -> Repository:
    """The same repository as another process sees it."""
    other = Repository.open(repo.storage, "pw")
    other.load_index()
    return other


def blob(number: int, size: int = 3000) -> bytes:
    """A blob that does not compress."""
    return os.urandom(size - 8) + number.to_bytes(8, "big")


def test_blobs_survive_and_are_stored_once(repo: Repository) -> None:
    writer = repo.writer()
    blobs = [(BlobType.TREE if n % 3 == 0 else BlobType.DATA, blob(n)) for n in range(50)]
    blobs += [(BlobType.DATA, b"text " * 1000), (BlobType.DATA, b"")]
    saved = [writer.save_blob(kind, data) for kind, data in blobs]
    assert not any(result.known for result in saved)
    assert writer.save_blob(*blobs[7]).known, "a blob in flight is not stored again"
    writer.flush()
    assert writer.save_blob(*blobs[7]).known
    for view in (repo, reopen(repo)):
        for (kind, data), result in zip(blobs, saved, strict=True):
            assert result.id == id_of(data)
            assert view.load_blob(kind, result.id) == data
    assert len(reopen(repo).index) == len(blobs)


def test_the_same_bytes_as_tree_and_as_data_are_two_blobs(repo: Repository) -> None:
    writer = repo.writer()
    assert not writer.save_blob(BlobType.TREE, b"same").known
    assert not writer.save_blob(BlobType.DATA, b"same").known


@pytest.mark.clause("PACK-15")
def test_trees_and_data_never_share_a_pack(repo: Repository) -> None:
    writer = repo.writer()
    for number in range(20):
        writer.save_blob(BlobType.TREE if number % 2 else BlobType.DATA, blob(number))
    writer.flush()
    for _, entries in repo.index.by_pack():
        assert len({entry.type for entry in entries}) == 1


@pytest.mark.clause("PACK-18", "PACK-21")
def test_packs_reach_their_size_and_blobs_are_spread_over_open_ones() -> None:
    storage = MemoryStorage()
    repo = Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP, pack_size=4 << 20)
    writer = repo.writer()
    order = [writer.save_blob(BlobType.DATA, blob(number, 100_000)).id for number in range(250)]
    writer.flush()
    sizes = sorted(size for _, size in storage.list(FileKind.PACK))
    assert all(4 << 20 <= size < (4 << 20) + 150_000 for size in sizes[-2:])
    place = {blob_id: location.pack for blob_id in order if (location := repo.index.lookup(BlobType.DATA, blob_id))}
    assert sum(place[a] != place[b] for a, b in pairwise(order)) > 20, "neighbouring chunks must not all be neighbours in packs"


@pytest.mark.parametrize("size", [(4 << 20) - 1, (128 << 20) + 1])
def test_pack_sizes_out_of_bounds_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match="pack size"):
        Repository.init(MemoryStorage(), "pw", kdf=CHEAP, pack_size=size)


@pytest.mark.clause("ORDER-1")
def test_packs_come_before_the_index_and_the_index_before_the_snapshot() -> None:
    storage = FaultyStorage(MemoryStorage(), lambda call: None)
    repo = Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    writer = repo.writer()
    storage.calls.clear()
    tree = writer.save_blob(BlobType.TREE, b'{"nodes":[]}\n').id
    writer.save_blob(BlobType.DATA, b"data")
    writer.flush()
    repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree=tree.hex(), paths=["/x"]))
    assert [call.kind for call in storage.calls if call.operation == "save"] == [
        FileKind.PACK,
        FileKind.PACK,
        FileKind.INDEX,
        FileKind.SNAPSHOT,
    ]


@pytest.mark.parametrize("kind", [FileKind.PACK, FileKind.INDEX])
def test_a_failing_storage_is_reported_and_nothing_is_claimed_to_be_safe(kind: FileKind) -> None:
    storage = FaultyStorage(MemoryStorage(), nth("save", 0, Fail("disk full"), kind))
    repo = Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    writer = repo.writer()
    writer.save_blob(BlobType.DATA, blob(1))
    with pytest.raises(StorageError, match="disk full"):
        writer.flush()
    assert len(reopen(repo).index) == 0


def test_what_was_stored_before_a_failure_stays_findable() -> None:
    storage = FaultyStorage(MemoryStorage(), nth("save", 1, Fail("disk full"), FileKind.PACK))
    repo = Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP, pack_size=4 << 20)
    writer = repo.writer()
    with pytest.raises(StorageError, match="disk full"):
        for number in range(30):
            writer.save_blob(BlobType.DATA, blob(number, 1 << 20))
    with pytest.raises(StorageError, match="disk full"):
        writer.abandon()
    assert len(reopen(repo).index) >= 4


@pytest.mark.parametrize("operation", ["begin", "append", "save"])
def test_a_failure_is_not_forgotten(operation: str) -> None:
    """Blobs that were on their way count as known; a second try must not take them for stored."""
    storage = FaultyStorage(MemoryStorage(), nth(operation, 0, Fail("disk full"), FileKind.PACK))
    repo = Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    writer = repo.writer()
    for _ in range(2):
        with pytest.raises(StorageError, match="disk full"):
            writer.save_blob(BlobType.DATA, blob(1))
            writer.flush()
    with pytest.raises(StorageError, match="disk full"):
        writer.flush()
    assert len(reopen(repo).index) == 0


def test_small_last_packs_become_one(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "repo")
    repo = Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    writer = repo.writer()
    blobs = [blob(number) for number in range(40)]
    saved = [writer.save_blob(BlobType.DATA, data) for data in blobs]
    writer.flush()
    [(pack, size)] = storage.list(FileKind.PACK)
    assert id_of(storage.load(FileKind.PACK, pack)) == bytes.fromhex(pack)
    assert size == sum(one.stored for one in saved) + OVERHEAD + 4
    fresh = reopen(repo)
    [(_, entries)] = fresh.index.by_pack()
    assert repo.packs.header(bytes.fromhex(pack), size) == sorted(entries, key=lambda entry: entry.offset)
    assert list(storage.strays()) == []
    assert [fresh.load_blob(BlobType.DATA, one.id) for one in saved] == blobs


@pytest.mark.clause("ORDER-8")
def test_threads_storing_the_same_blobs_store_each_once(repo: Repository) -> None:
    writer = repo.writer()
    blobs = [blob(number) for number in range(200)]
    stored: list[bytes] = []

    def work() -> None:
        stored.extend(result.id for data in blobs if not (result := writer.save_blob(BlobType.DATA, data)).known)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    assert sorted(stored) == sorted(map(id_of, blobs))
    assert len(reopen(repo).index) == len(blobs)


@pytest.mark.clause("PACK-16")
def test_an_intact_copy_is_found_behind_a_damaged_one() -> None:
    storage = MemoryStorage()
    data = blob(1)
    first = Repository.init(storage, "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    second = Repository.open(storage, "pw")
    for repo in (first, second):
        writer = repo.writer()
        writer.save_blob(BlobType.DATA, data)
        writer.flush()
    packs = [name for name, _ in storage.list(FileKind.PACK)]
    assert len(packs) == 2
    for victim in packs:
        intact = storage.files[FileKind.PACK, victim]
        storage.files[FileKind.PACK, victim] = b"\0" * len(intact)
        assert reopen(first).load_blob(BlobType.DATA, id_of(data)) == data
        storage.files[FileKind.PACK, victim] = intact
    for victim in packs:
        storage.files[FileKind.PACK, victim] = b"\0" * 5000
    with pytest.raises(DamagedFile, match=id_of(data).hex()[:8]):
        reopen(first).load_blob(BlobType.DATA, id_of(data))


def test_reading_a_pack_goes_on_past_a_damaged_blob(repo: Repository) -> None:
    writer = repo.writer()
    ids = [writer.save_blob(BlobType.DATA, blob(number)).id for number in range(10)]
    writer.flush()
    [(pack, entries)] = [(pack, entries) for pack, entries in repo.index.by_pack()]
    assert {entry.id for entry in entries} == set(ids)
    storage = repo.storage
    assert isinstance(storage, MemoryStorage)
    raw = bytearray(storage.files[FileKind.PACK, pack.hex()])
    raw[entries[4].offset + 100] ^= 1
    storage.files[FileKind.PACK, pack.hex()] = bytes(raw)
    results = {entry: data if isinstance(data, Exception) else bytes(data) for entry, data in repo.packs.blobs(pack, entries)}
    assert [entry for entry in entries if not isinstance(results[entry], bytes)] == [entries[4]]
    assert repo.packs.header(pack, len(raw)) == entries


@pytest.mark.clause("PACK-9")
def test_a_compressed_entry_in_a_header_of_version_1_is_refused(repo: Repository) -> None:
    entry = PackEntry(BlobType.DATA, b"\x01" * 32, 0, 40, 100)
    header = seal(repo.master_key, encode_header([entry]))
    tail = header + encode_length(len(header))
    if repo.version == 1:
        with pytest.raises(HeaderInvalid) as caught:
            repo.packs.open_header(tail, 40 + len(tail))
        assert caught.value.clause == "PACK-9"
    else:
        assert repo.packs.open_header(tail, 40 + len(tail)) == [entry]


@pytest.mark.clause("PACK-11")
def test_a_header_that_reaches_into_the_blobs_is_refused_as_one_of_another_size(repo: Repository) -> None:
    header = seal(repo.master_key, encode_header([PackEntry(BlobType.DATA, b"\x01" * 32, 0, 40, None)]))
    with pytest.raises(HeaderInvalid, match="overlaps the blobs") as caught:
        repo.packs.open_header(header[-20:] + encode_length(len(header)), 40 + len(header) + 4)
    assert caught.value.clause == "PACK-11"


def test_unknown_blobs_are_named(repo: Repository) -> None:
    with pytest.raises(BlobMissing, match="ab" * 32):
        repo.load_blob(BlobType.DATA, b"\xab" * 32)


@pytest.mark.clause("PACK-12", "PACK-13", "PACK-14", "PACK-22")
def test_a_wrong_length_is_no_damage_of_the_blob_and_another_id_is(repo: Repository) -> None:
    writer = repo.writer()
    if repo.version == 1:
        return
    data = bytes(1 << 20)
    writer.save_blob(BlobType.DATA, data)
    writer.flush()
    [(pack, [entry])] = repo.index.by_pack()
    sealed = repo.storage.load(FileKind.PACK, pack.hex(), entry.offset, entry.length)
    for stated in (len(data), len(data) - 1, 10, len(data) + 1, 0xFFFFFFFF):
        lying = entry._replace(uncompressed_length=stated)
        assert repo.coder.open(lying, sealed) == data
        assert [type(error) for _, error in repo.coder.verify_many(sealed, entry.offset, [lying], repo.coder.pack_hash())] == [
            LengthInvalid
        ] * (stated != len(data))
        with pytest.raises((IdMismatch, LengthInvalid)):
            repo.coder.open(lying._replace(id=bytes(32)), sealed)


class NoLargeReads(MemoryStorage):
    """Takes a large read for a fault."""

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        assert length is None or length < 1 << 29
        return super().load(kind, name, offset, length)


@pytest.mark.clause("PACK-14")
@pytest.mark.parametrize("uncompressed_length", [None, 1000])
def test_no_memory_is_taken_for_a_blob_over_the_bound(uncompressed_length: int | None) -> None:
    repo = Repository.init(NoLargeReads(), "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    writer = repo.writer()
    blob_id = writer.save_blob(BlobType.DATA, blob(1)).id
    writer.flush()
    [(pack, [good])] = repo.index.by_pack()
    huge = PackEntry(BlobType.TREE, bytes(32), good.length, 3_500_000_000, uncompressed_length)
    repo.index.add_pack(pack, [huge])
    with pytest.raises(DamagedFile, match=r"over the bound.*PACK-14"):
        repo.load_blob(BlobType.TREE, huge.id)
    found = {
        entry: data if isinstance(data, Exception) else id_of(data) for entry, data in repo.packs.blobs(pack, [good, huge])
    }
    assert isinstance(found[huge], LengthInvalid)
    assert found[good] == blob_id


@pytest.mark.clause("CONFIG-7")
def test_init_refuses_to_write_over_a_repository(repo: Repository) -> None:
    with pytest.raises(ConfigExists, match="config file already exists"):
        Repository.init(repo.storage, "pw", kdf=CHEAP)
    repo.storage.remove(FileKind.CONFIG, "")
    with pytest.raises(ConfigExists, match="keys that this password does not open"):
        Repository.init(repo.storage, "another", kdf=CHEAP)
    repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree="00" * 32, paths=[]))
    with pytest.raises(ConfigExists, match="its config is missing"):
        Repository.init(repo.storage, "pw", kdf=CHEAP)


@pytest.mark.clause("CONFIG-7", "ORDER-7")
def test_init_goes_on_with_what_an_interrupted_one_has_left(repo: Repository) -> None:
    repo.storage.remove(FileKind.CONFIG, "")
    again = Repository.init(repo.storage, "pw", kdf=CHEAP)
    assert (again.key_id, again.id != repo.id) == (repo.key_id, True)
    assert [name for name, _ in repo.storage.list(FileKind.KEY)] == [repo.key_id.hex()]
    assert Repository.open(repo.storage, "pw").id == again.id


@pytest.mark.clause("CONFIG-7")
def test_init_notices_a_config_that_is_not_stored_whole() -> None:
    storage = MemoryStorage()
    with pytest.raises(DamagedFile, match="not what was stored"):
        Repository.init(FaultyStorage(storage, nth("save", 0, Truncate(30), FileKind.CONFIG)), "pw", kdf=CHEAP)
    Repository.init(storage, "pw", kdf=CHEAP)


@pytest.mark.clause("CONFIG-7")
def test_init_leaves_the_config_of_another_alone_where_a_storage_replaces_files() -> None:
    class Late(MemoryStorage):
        """Another init comes in between."""

        def save_new(self, kind: FileKind, name: str, data: Content) -> None:
            super().save_new(kind, name, data)
            other = MemoryStorage()
            Repository.init(other, "other", kdf=CHEAP)
            self.files.update(other.files)

    storage = Late()
    with pytest.raises(ConfigExists):
        Repository.init(storage, "pw", kdf=CHEAP)
    Repository.open(storage, "other")
    assert len(list(storage.list(FileKind.KEY))) == 1


def test_no_repository_is_not_a_wrong_password() -> None:
    with pytest.raises(RepositoryNotFound, match="Is there a repository"):
        Repository.open(MemoryStorage(), "pw")


def test_damage_is_told_apart_by_layer(repo: Repository) -> None:
    storage = repo.storage
    assert isinstance(storage, MemoryStorage)
    snapshot_id = repo.save_snapshot(Snapshot(time="2026-01-01T00:00:00Z", tree="00" * 32, paths=[]))
    raw = storage.files[FileKind.SNAPSHOT, snapshot_id.hex()]
    storage.files[FileKind.SNAPSHOT, snapshot_id.hex()] = raw[:-1] + bytes([raw[-1] ^ 1])
    with pytest.raises(DamagedFile) as rotten:
        repo.load_snapshot(snapshot_id)
    assert rotten.value.cause is not None
    assert rotten.value.cause.layer == "id-mismatch"
    wrong_before_hashing = raw[:-1] + bytes([raw[-1] ^ 1])
    name = id_of(wrong_before_hashing)
    storage.files[FileKind.SNAPSHOT, name.hex()] = wrong_before_hashing
    with pytest.raises(DamagedFile) as corrupted:
        repo.load_snapshot(name)
    assert corrupted.value.cause is not None
    assert corrupted.value.cause.layer == "mac-invalid"


def test_incompressible_data_are_stored_plainly_and_trees_never_are() -> None:
    repo = Repository.init(MemoryStorage(), "pw", polynomial=POLYNOMIAL, kdf=CHEAP)
    writer = repo.writer()
    data = blob(1)
    saved = writer.save_blob(BlobType.DATA, data)
    tree = writer.save_blob(BlobType.TREE, b"x")
    writer.flush()
    found = repo.index.lookup(BlobType.DATA, saved.id)
    assert found is not None
    assert found.uncompressed_length is None
    assert found.length == len(data) + OVERHEAD
    found = repo.index.lookup(BlobType.TREE, tree.id)
    assert found is not None
    assert found.uncompressed_length == 1


def test_what_the_storage_does_not_give_is_not_called_damaged() -> None:
    """Of a blob that cannot be read nothing is known; one whose pack is gone or cut short is lost."""
    storage = MemoryStorage()
    repo = Repository.init(storage, "pw", kdf=CHEAP)
    writer = repo.writer()
    content = b"content"
    ident = id_of(content)
    writer.save_blob(BlobType.DATA, content)
    writer.flush()
    for failure, expected in ((AccessDenied, AccessDenied), (StorageAway, StorageAway), (FileUnusable, DamagedFile)):

        def fail(*_arguments: object, failure: type[StorageError] = failure) -> bytes:
            raise failure("open x: no")

        repo.storage.load = fail  # type: ignore[method-assign]
        with pytest.raises(expected, match=r"data blob .* in pack .*open x: no") as caught:
            repo.load_blob(BlobType.DATA, ident)
        assert type(caught.value) is expected and caught.value.pack


def test_a_copy_that_may_be_good_counts_more_than_damaged_ones() -> None:
    storage = MemoryStorage()
    repo = Repository.init(storage, "pw", kdf=CHEAP)
    content = b"content"
    ident = id_of(content)
    others = Repository.open(storage, "pw")
    for each in (repo, others):
        each.load_index()
    for each in (repo, others):
        writer = each.writer()
        writer.save_blob(BlobType.DATA, content)
        writer.flush()
    packs = [name for name, _ in storage.list(FileKind.PACK)]
    assert len(packs) == 2
    for away in packs:
        fresh = Repository.open(storage, "pw")
        fresh.load_index()
        load = storage.load

        def fail(
            kind: FileKind, name: str, offset: int = 0, length: int | None = None, *, away: str = away, load: Any = load
        ) -> bytes:
            if name == away:
                raise AccessDenied("open x: no")
            return bytes(len(load(kind, name, offset, length)))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage, "load", fail)
            with pytest.raises(AccessDenied) as caught:
                fresh.load_blob(BlobType.DATA, ident)
        assert caught.value.pack.hex() == away
