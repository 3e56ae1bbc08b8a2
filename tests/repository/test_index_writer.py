"""Writing and rewriting index files; real programs judge the outcome."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restic_conformance import fixtures
from restic_conformance.vault import quicken
from restic_format.errors import DamagedFile, Interrupted, StorageError
from restic_format.repository import Repository, indexwriter
from restic_format.repository.header import PackRecord
from restic_format.repository.indexwriter import IndexChange, IndexWriter, load_index_file, rewrite_index
from restic_format.repository.lock import remove_locks
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage
from restic_format.storage.faulty import Fail, nth
from restic_format.work import Cancel
from restic_spec.ids import id_of
from restic_spec.index import IndexPack, encode_pack, encode_packs, index_pack
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry
from tests.repository.conftest import CHEAP

PASSWORD = "correct horse"


def filled(storage: MemoryStorage | FaultyStorage, files: int = 4) -> Repository:
    """A repository with so many index files, of a pack each."""
    repo = Repository.init(storage, "pw", kdf=CHEAP)
    for number in range(files):
        writer = repo.writer()
        writer.save(BlobType.DATA, [(id_of(data), data) for data in (b"%d %d" % (number, n) for n in range(5))])
        writer.flush()
    return repo


def listed(repo: Repository) -> tuple[dict[str, IndexPack], dict[str, IndexPack]]:
    """The records of all packs in use, and of those marked."""
    files = [load_index_file(repo, file_id) for file_id, _ in repo.list(FileKind.INDEX)]
    used = [pack for index in files for pack in index.all_packs()]
    marked = [pack for index in files for pack in index.packs_to_delete]
    assert len({pack.id for pack in used}) == len(used), "no pack twice"
    return {pack.id: pack for pack in used}, {pack.id: pack for pack in marked}


def count(repo: Repository) -> int:
    return len(list(repo.list(FileKind.INDEX)))


@pytest.mark.clause("INDEX-11")
def test_files_are_full_before_another_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexwriter, "FULL_BLOBS", 10)
    repo = Repository.init(MemoryStorage(), "pw", kdf=CHEAP)
    writer = IndexWriter(repo)
    packs = [os.urandom(32) for _ in range(7)]
    for pack in packs:
        writer.add(index_pack(pack, [PackEntry(BlobType.DATA, os.urandom(32), 40 * n, 40, None) for n in range(4)]))
    writer.add(IndexPack("ab" * 32, []), marked=True)
    assert len(writer.written) == 2
    writer.flush()
    writer.flush()
    assert {file_id for file_id, _ in repo.list(FileKind.INDEX)} == set(writer.written)
    assert [sum(len(p.blobs) for p in load_index_file(repo, file_id).all_packs()) for file_id in writer.written] == [12, 12, 4]
    used, marked = listed(repo)
    assert (set(used), set(marked)) == ({pack.hex() for pack in packs}, {"ab" * 32})


def test_packs_come_as_their_encoded_records_too() -> None:
    repo = Repository.init(MemoryStorage(), "pw", kdf=CHEAP)
    packs = [index_pack(os.urandom(32), [PackEntry(BlobType.DATA, os.urandom(32), 0, 40, 8)]) for _ in range(4)]
    writer = IndexWriter(repo)
    for number, pack in enumerate(packs):
        record = PackRecord(bytes.fromhex(pack.id), encode_pack(pack), 1)
        writer.add(record if number & 1 else pack, marked=number > 1)
    writer.flush()
    assert listed(repo) == ({pack.id: pack for pack in packs[:2]}, {pack.id: pack for pack in packs[2:]})


def test_records_that_stay_are_written_as_they_were_but_for_what_nobody_knows_and_is_large() -> None:
    repo = Repository.init(MemoryStorage(), "pw", kdf=CHEAP)

    def record(pack: bytes, more: bytes = b"") -> bytes:
        return encode_pack(index_pack(pack, [PackEntry(BlobType.DATA, bytes(32), 0, 40, 8)]))[:-1] + more + b"}"

    one, two, gone = (bytes([number]) * 32 for number in range(1, 4))
    stays = record(one, b',"time":"2024-01-02T03:04:05Z","size":123')
    records = stays, record(two, b',"unknown":"%s"' % (b"x" * 5000)), record(gone)
    repo.save_unpacked(FileKind.INDEX, b'{"packs":[' + b",".join(records) + b"]}\n")
    [written] = rewrite_index(repo, IndexChange(drop={gone}))
    assert repo.load_unpacked(FileKind.INDEX, written) == b'{"packs":[' + stays + b"," + record(two) + b"]}\n"


def test_packs_without_blobs_do_not_add_up_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexwriter, "FULL_BLOBS", 10)
    writer = IndexWriter(Repository.init(MemoryStorage(), "pw", kdf=CHEAP))
    for _ in range(100):
        writer.add(IndexPack(os.urandom(32).hex(), []))
    assert len(writer.written) == 10


def test_nothing_to_do_changes_nothing() -> None:
    storage = FaultyStorage(MemoryStorage(), lambda call: None)
    repo = filled(storage, 1)
    storage.calls.clear()
    assert rewrite_index(repo, IndexChange(drop={bytes(32)})) == []
    assert {call.operation for call in storage.calls} & {"save", "remove"} == set()


@pytest.mark.clause("ORDER-3", "ORDER-4")
def test_packs_are_dropped_replaced_marked_and_unmarked_and_small_files_become_one() -> None:
    storage = FaultyStorage(MemoryStorage(), lambda call: None)
    repo = filled(storage, 5)
    drop, mark, replace, *rest = (bytes.fromhex(pack) for pack in listed(repo)[0])
    record = index_pack(replace, [PackEntry(BlobType.TREE, bytes(32), 0, 50, 10)])
    storage.calls.clear()
    told: list[tuple[int, int]] = []
    change = IndexChange(drop={drop, replace}, mark={mark}, add=[record])
    written = rewrite_index(repo, change, progress=lambda done, total: told.append((done, total)))
    assert [file_id for file_id, _ in repo.list(FileKind.INDEX)] == written and len(written) == 1
    used, marked = listed(repo)
    assert set(used) == {pack.hex() for pack in (replace, *rest)}
    assert used[replace.hex()] == record
    assert list(marked) == [mark.hex()] and marked[mark.hex()].time is not None and len(marked[mark.hex()].blobs) == 5
    steps = [call.operation for call in storage.calls if call.operation in ("save", "remove")]
    assert steps == ["save"] * len(written) + ["remove"] * 5
    assert told[0] == (0, 5) and told[-1] == (5, 5)
    rewrite_index(repo, IndexChange(unmark={mark}))
    assert set(listed(repo)[0]) == {pack.hex() for pack in (replace, mark, *rest)} and listed(repo)[1] == {}


def test_what_an_interrupted_rewriting_left_twice_is_written_once() -> None:
    """Old and new files are there then. Two records of a pack in one file are an error to restic; what differs is kept."""
    repo = filled(MemoryStorage())
    used, _ = listed(repo)
    gone, half, *others = used
    part = msgspec.structs.replace(used[half], blobs=used[half].blobs[:2])
    repo.save_unpacked(FileKind.INDEX, encode_packs([*(used[pack] for pack in others), part]))
    rewrite_index(repo, IndexChange(drop={bytes.fromhex(gone)}))
    files = [load_index_file(repo, file_id) for file_id, _ in repo.list(FileKind.INDEX)]
    records = [pack for index in files for pack in index.all_packs()]
    assert sorted(pack.id for pack in records) == sorted([*others, half, half])
    assert {len(pack.blobs) for pack in records if pack.id == half} == {2, 5}


def test_large_files_that_need_not_change_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexwriter, "_FEW_BLOBS", 5)
    repo = filled(MemoryStorage(), 3)
    before = {file_id for file_id, _ in repo.list(FileKind.INDEX)}
    first, *_ = (bytes.fromhex(pack) for pack in listed(repo)[0])
    rewrite_index(repo, IndexChange(drop={first}))
    assert len({file_id for file_id, _ in repo.list(FileKind.INDEX)} & before) == 2


@pytest.mark.clause("INDEX-9")
def test_what_says_that_it_supersedes_others_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexwriter, "_FEW_BLOBS", 0)
    repo = filled(MemoryStorage(), 0)
    raw = b'{"supersedes":["%s"],"packs":[{"id":"%s","blobs":[]}]}\n' % (b"ab" * 32, b"cd" * 32)
    repo.save_unpacked(FileKind.INDEX, raw)
    rewrite_index(repo, IndexChange())
    assert list(listed(repo)[0]) == ["cd" * 32]
    [file_id] = [file_id for file_id, _ in repo.list(FileKind.INDEX)]
    assert not load_index_file(repo, file_id).supersedes


@pytest.mark.clause("ORDER-3")
@pytest.mark.parametrize("fault", ["save", "damaged", "cancel"])
def test_where_it_fails_no_old_file_is_removed(fault: str) -> None:
    storage = FaultyStorage(MemoryStorage(), lambda call: None)
    repo = filled(storage)
    before = {file_id for file_id, _ in repo.list(FileKind.INDEX)}
    change = IndexChange(drop={bytes.fromhex(pack) for pack in list(listed(repo)[0])[:2]})
    cancel = Cancel()
    expected: type[BaseException] = Interrupted
    if fault == "save":
        storage.plan, expected = nth("save", 0, Fail("disk full"), FileKind.INDEX), StorageError
    elif fault == "damaged":
        memory = storage.inner
        assert isinstance(memory, MemoryStorage)
        memory.files[FileKind.INDEX, max(before).hex()] = b"garbage"
        expected = DamagedFile
    else:
        cancel.set()
    with pytest.raises(expected):
        rewrite_index(repo, change, cancel=cancel)
    assert before <= {file_id for file_id, _ in repo.list(FileKind.INDEX)}
    if fault == "damaged":
        told: list[bytes] = []
        rewrite_index(repo, change, damaged=lambda file_id, error: told.append(file_id))
        assert told == [max(before)]
        assert count(repo) == 1


@pytest.fixture(params=["restic-0.14-v1", "restic-0.14-v2", "restic-0.19-v1", "restic-0.19-v2", "rustic-v2", "duplicates-v2"])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A repository by a real program, with a key that is cheap to open."""
    path = fixtures.unpack(request.param, tmp_path / "unpacked")
    quicken(path, PASSWORD)
    return path


@pytest.fixture(params=["restic-0.14", "restic-0.19"])
def restic(request: pytest.FixtureRequest, peer: Callable[[str], Path], real: Path) -> Callable[..., str]:
    """Runs a real restic on it, which must succeed."""

    def run(*arguments: str) -> str:
        command = [str(peer(request.param)), "--no-cache", "--no-lock", "-r", str(real), *arguments]
        env = {**os.environ, "RESTIC_PASSWORD": PASSWORD}
        done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", errors="surrogateescape", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def runs(entries: list[PackEntry]) -> Iterator[list[PackEntry]]:
    """Entries a few at a time."""
    for start in range(0, len(entries), 7):
        yield entries[start : start + 7]


@pytest.mark.clause("ORDER-3", "ORDER-4", "RUSTIC-2", "PACK-15")
def test_a_whole_repository_repacked_and_indexed_anew_is_sound_to_real_programs(real: Path, restic: Callable[..., str]) -> None:
    repo = Repository.open(LocalStorage(real), PASSWORD)
    repo.load_index()
    marked = listed(repo)[1]
    old = dict(repo.index.by_pack())
    before = restic("ls", "latest")
    remove_locks(repo)
    with repo.lock(exclusive=True):
        writer = repo.writer()
        seen: set[tuple[BlobType, bytes]] = set()
        for pack, entries in old.items():
            wanted = [entry for entry in entries if (entry.type, entry.id) not in seen]
            seen.update((entry.type, entry.id) for entry in wanted)
            for some in runs(wanted):
                start = some[0].offset
                data = repo.packs.read(pack, start, some[-1].offset + some[-1].length - start)
                for entry, saved in writer.copy_sealed(data, start, some, again=True):
                    assert not isinstance(saved, Exception), f"{entry}: {saved}"
        writer.flush()
        rewrite_index(repo, IndexChange(drop=set(old)))
        for pack in old:
            repo.remove(FileKind.PACK, pack)
    assert count(repo) == 1
    assert listed(repo)[1] == marked, "with their times and sizes"
    assert not set(listed(repo)[0]) & {pack.hex() for pack in old}
    said = restic("check", "--read-data")
    assert "no errors were found" in said
    assert restic("ls", "latest") == before


def test_the_size_of_a_copied_index_stays_within_bounds() -> None:
    """However small the packs are, there are few files."""
    repo = filled(MemoryStorage(), 30)
    rewrite_index(repo, IndexChange())
    assert count(repo) == 1
    source = random.Random(3)
    drop = {bytes.fromhex(pack) for pack in source.sample(sorted(listed(repo)[0]), 10)}
    rewrite_index(repo, IndexChange(drop=drop))
    assert count(repo) == 1
    assert len(listed(repo)[0]) == 20


@given(st.data())
@settings(max_examples=30)
def test_any_change_gives_what_it_says(data: st.DataObject) -> None:
    """Against a model: what is in use, and what is marked, by pack."""
    repo = filled(MemoryStorage(), 6)
    packs = sorted(bytes.fromhex(pack) for pack in listed(repo)[0])
    some = st.sets(st.sampled_from(packs))
    used, marked = set(packs), set[bytes]()
    for _ in range(data.draw(st.integers(1, 3))):
        drop, mark, unmark = data.draw(some), data.draw(some), data.draw(some)
        back = data.draw(some) - used - marked
        before = {file_id for file_id, _ in repo.list(FileKind.INDEX)}
        added = [IndexPack(pack.hex(), []) for pack in sorted(back)]
        written = rewrite_index(repo, IndexChange(drop=drop, mark=mark, unmark=unmark, add=added))
        used, marked = (
            {pack for pack in used if pack not in drop and pack not in mark} | (marked & unmark) - drop | back,
            {pack for pack in marked if pack not in drop and pack not in unmark} | (used & mark) - drop,
        )
        found = listed(repo)
        assert {bytes.fromhex(pack) for pack in found[0]} == used
        assert {bytes.fromhex(pack) for pack in found[1]} == marked
        after = {file_id for file_id, _ in repo.list(FileKind.INDEX)}
        assert after - before == set(written)
