"""The writer of blobs: dry runs, and blobs moved from pack to pack as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from restic_format.errors import UsageError
from restic_format.repository import Repository, SavedBlob
from restic_format.repository.cipher import Buffer
from restic_format.repository.coder import Coder
from restic_format.repository.packer import Packer
from restic_format.storage import Content, MemoryStorage
from restic_spec.crypto import seal
from restic_spec.errors import IdMismatch, MacInvalid, SpecError
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry
from tests.repository.conftest import CHEAP

TEXT = b"text that shrinks " * 200
RANDOM = os.urandom(2000)


def new(version: int = 2, compression: str = "auto") -> Repository:
    """An empty repository with a key of its own."""
    return Repository.init(MemoryStorage(), "pw", version=version, kdf=CHEAP, compression=compression)


def store(repo: Repository, *blobs: tuple[BlobType, bytes]) -> None:
    """Save and flush."""
    writer = repo.writer()
    for kind, data in blobs:
        writer.save(kind, [(id_of(data), data)])
    writer.flush()


def packs(repo: Repository) -> dict[bytes, list[PackEntry]]:
    """What the packs say themselves."""
    return {pack: repo.packs.header(pack, size) for pack, size in repo.list(FileKind.PACK)}


def move(source: Repository, target: Repository, **how: bool) -> dict[PackEntry, SavedBlob | SpecError]:
    """All blobs of *source*, pack by pack."""
    writer = target.writer()
    found = {}
    for pack, entries in packs(source).items():
        data = source.storage.load(FileKind.PACK, pack.hex(), 0, sum(entry.length for entry in entries))
        found.update(writer.copy_sealed(data, 0, entries, source=source.coder, **how))
    writer.flush()
    return found


def test_no_more_blobs_are_moved_together_than_a_header_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = new(), new()
    store(source, *((kind, b"%d" % number) for number in range(10) for kind in BlobType))
    together = []
    add = Packer.add_sealed

    def spy(packer: Packer, entries: Sequence[PackEntry], pieces: Sequence[Buffer]) -> None:
        together.append(len(entries))
        assert len({entry.type for entry in entries}) == 1
        assert sum(map(len, pieces)) == sum(entry.length for entry in entries)
        add(packer, entries, pieces)

    monkeypatch.setattr(Packer, "add_sealed", spy)
    monkeypatch.setattr("restic_format.repository.writer.GROUP_COUNT", 4)
    moved = move(source, target)
    assert len(moved) == 20 and sorted(together) == [2, 2, 4, 4, 4, 4]
    assert all(target.index.has(entry.type, entry.id) for entry in moved)


def test_a_dry_run_says_what_would_be_stored_and_stores_nothing() -> None:
    blobs = [(BlobType.DATA, RANDOM), (BlobType.TREE, TEXT), (BlobType.DATA, TEXT), (BlobType.DATA, RANDOM)]
    dry, wet = new(), new()
    store(dry, (BlobType.DATA, b"known"))
    store(wet, (BlobType.DATA, b"known"))
    before = dict(dry.storage.files)  # type: ignore[attr-defined]
    dry.before_changes = lambda: pytest.fail("a dry run changes something")
    dry.pack_size = 1000  # so that packs get full on the way
    said = []
    for repo, writer in ((dry, dry.writer(dry_run=True)), (wet, wet.writer())):
        saved = [one for kind, data in [*blobs, (BlobType.DATA, b"known")] for one in writer.save(kind, [(id_of(data), data)])]
        assert [one.known for one in saved] == [False, False, False, True, True]
        assert writer.has(BlobType.DATA, id_of(TEXT)) and not writer.has(BlobType.TREE, id_of(RANDOM))
        writer.flush()
        assert writer.has(BlobType.DATA, id_of(TEXT))
        assert repo.index.has(BlobType.DATA, id_of(TEXT)) is (repo is wet)
        said.append(saved)
    assert said[0] == said[1], "zstd and the overhead are the same"
    assert dry.storage.files == before  # type: ignore[attr-defined]


def test_packs_with_trees_are_said_to_hold_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    repo = new()
    said: dict[bytes, bool] = {}
    save = repo.storage.save

    def noting(kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        if kind is FileKind.PACK:
            said[bytes.fromhex(name)] = metadata
        save(kind, name, data, metadata=metadata)

    monkeypatch.setattr(repo.storage, "save", noting)
    store(repo, (BlobType.DATA, TEXT), (BlobType.TREE, TEXT))
    assert said == {pack: entries[0].type is BlobType.TREE for pack, entries in packs(repo).items()}
    assert sorted(said.values()) == [False, True]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("end", ["abandon", "discard"])
def test_a_writer_that_was_given_up_stores_nothing_more(end: str, dry_run: bool) -> None:
    repo = new()
    writer = repo.writer(dry_run=dry_run)
    writer.save(BlobType.DATA, [(id_of(TEXT), TEXT)])
    getattr(writer, end)()
    with pytest.raises(UsageError, match="given up"):
        writer.save(BlobType.DATA, [(id_of(RANDOM), RANDOM)])
    with pytest.raises(UsageError, match="given up"):
        writer.flush()
    assert packs(repo) == {}
    store(repo, (BlobType.DATA, TEXT))
    assert len(packs(repo)) == 1, "another writer goes on"


@pytest.mark.clause("PACK-1", "ORDER-4")
def test_within_a_repository_sealed_bytes_are_moved_as_they_are() -> None:
    repo = new()
    store(repo, (BlobType.DATA, TEXT), (BlobType.DATA, RANDOM), (BlobType.TREE, TEXT))
    before = packs(repo)
    assert all(isinstance(one, SavedBlob) and one.known for one in move(repo, repo).values()), "nothing to do"
    assert packs(repo) == before
    repo.coder.cipher.seal = lambda plaintext: pytest.fail("sealed again")  # type: ignore[method-assign]
    with pytest.raises(pytest.fail.Exception):
        move(repo, repo, again=True)  # the header of the new pack is the only thing that is sealed
    del repo.coder.cipher.seal
    for one in move(repo, repo, again=True).values():
        assert isinstance(one, SavedBlob) and not one.known
    after = packs(repo)
    assert len(after) > len(before)

    def sealed(pack: bytes, entry: PackEntry) -> tuple[object, ...]:
        return entry.type, entry.id, entry.uncompressed_length, repo.storage.load(FileKind.PACK, pack.hex(), *entry[2:4])

    old = {sealed(pack, entry) for pack in before for entry in before[pack]}
    assert {sealed(pack, entry) for pack in after for entry in after[pack]} == old


@pytest.mark.parametrize("compression", ["auto", "off"])
@pytest.mark.parametrize(("old", "new_version"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_another_repository_gets_the_same_blobs_under_its_key(old: int, new_version: int, compression: str) -> None:
    source, target = new(old), new(new_version, compression)
    blobs = [(BlobType.DATA, TEXT), (BlobType.DATA, RANDOM), (BlobType.TREE, TEXT), (BlobType.DATA, b"")]
    store(source, *blobs)
    assert {(entry.type, one.length) for entry, one in move(source, target).items() if isinstance(one, SavedBlob)} == {
        (kind, len(data)) for kind, data in blobs
    }
    again = Repository.open(target.storage, "pw")
    again.load_index()
    for kind, data in blobs:
        assert again.load_blob(kind, id_of(data)) == data
    compressed = {(e.type, e.id) for entries in packs(target).values() for e in entries if e.uncompressed_length is not None}
    if new_version == 1:
        assert compressed == set()
    else:
        assert (BlobType.TREE, id_of(TEXT)) in compressed
        # What was compressed stays so, and what was not is left alone unless it is to be compressed again.
        assert ((BlobType.DATA, id_of(TEXT)) in compressed) is (old == 2)


@pytest.mark.parametrize("compression", ["auto", "off"])
def test_recompressing(compression: str) -> None:
    repo = new(1)
    store(repo, (BlobType.DATA, TEXT), (BlobType.DATA, RANDOM), (BlobType.DATA, b""))
    target = new(2, compression)
    move(repo, target, recompress=True)
    compressed = {e.id for entries in packs(target).values() for e in entries if e.uncompressed_length is not None}
    assert compressed == ({id_of(TEXT)} if compression == "auto" else set())


def sealed_blob(coder: Coder, plain: bytes, blob_id: bytes, stated: int | None) -> tuple[PackEntry, bytes]:
    """A compressed blob that may lie."""
    sealed = seal(coder.cipher.key, zstandard.compress(plain))
    return PackEntry(BlobType.DATA, blob_id, 0, len(sealed), stated), sealed


@pytest.mark.clause("PACK-13", "PACK-22")
def test_damaged_blobs_are_not_moved_and_wrong_lengths_are_put_right() -> None:
    repo = new()
    writer = repo.writer()
    good, sealed = sealed_blob(repo.coder, TEXT, id_of(TEXT), len(TEXT))
    cases = {
        "flipped": (good, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        "other id": (good._replace(id=bytes(32)), sealed),
        "short": (good, sealed[:-1]),
        "lies": (good._replace(uncompressed_length=7), sealed),
    }
    found = {}
    for name, (entry, data) in cases.items():
        [(said, found[name])] = writer.copy_sealed(data, 0, [entry])
        assert said == entry
    assert isinstance(found["flipped"], MacInvalid)
    assert isinstance(found["other id"], IdMismatch)
    assert isinstance(found["short"], SpecError)
    assert isinstance(found["lies"], SavedBlob)
    writer.flush()
    [[entry]] = packs(repo).values()
    assert (entry.id, entry.uncompressed_length) == (id_of(TEXT), len(TEXT))


@given(st.lists(st.tuples(st.sampled_from(BlobType), st.binary(max_size=300)), min_size=1, max_size=20, unique=True))
def test_whatever_is_moved_reads_the_same(blobs: list[tuple[BlobType, bytes]]) -> None:
    source, target = new(), new()
    store(source, *blobs)
    move(source, target)
    forms = [{entry[:2] + entry[3:] for entries in packs(repo).values() for entry in entries} for repo in (source, target)]
    assert forms[0] == forms[1]
    for kind, data in blobs:
        assert target.load_blob(kind, id_of(data)) == data
