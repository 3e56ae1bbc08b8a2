"""``repair index``: the same index as restic's after the same damage; and nothing is lost on the way."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import DamagedFile, ResticFormatError, StorageError, UsageError
from restic_format.maintenance import repairindex
from restic_format.repository import Repository, loading
from restic_format.repository.cipher import make_cipher
from restic_format.repository.indexwriter import IndexChange, rewrite_index
from restic_format.repository.lock import remove_locks
from restic_format.storage import FaultyStorage, LocalStorage, Storage
from restic_format.storage.faulty import Call, Fail, Fault, Lose, Truncate
from restic_spec.config import encode_config
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_spec.pack import encode_length
from tests.repairing.conftest import Fresh
from tests.repairing.kit import at, calls, copy_of, in_memory, indexed, inspect, opened, packs_of_type
from tests.safety import kit

Damage = Callable[[Path], None]


def nothing(repo: Path) -> None:
    """No damage."""


def no_index(repo: Path) -> None:
    for path in kit.files_of(repo, "index"):
        path.unlink()


def lost_index(repo: Path) -> None:
    kit.files_of(repo, "index")[-1].unlink()


def cut_index(repo: Path) -> None:
    kit.cut(kit.files_of(repo, "index")[-1], 50)


def flipped_index(repo: Path) -> None:
    kit.flip_bit(kit.files_of(repo, "index")[0], 60)


def lost_pack(repo: Path) -> None:
    packs_of_type(repo, "data")[0].unlink()


def cut_pack(repo: Path) -> None:
    kit.cut(packs_of_type(repo, "data")[-1], -30)


def cut_pack_without_index(repo: Path) -> None:
    cut_pack(repo)
    no_index(repo)


def flipped_header_without_index(repo: Path) -> None:
    kit.flip_bit(packs_of_type(repo, "tree")[0], -20)
    no_index(repo)


DAMAGES = [
    nothing,
    no_index,
    lost_index,
    cut_index,
    flipped_index,
    lost_pack,
    cut_pack,
    cut_pack_without_index,
    flipped_header_without_index,
]


def repair(where: Path | Storage, *, read_all: bool = False) -> repairindex.IndexRepair:
    repository = opened(where)
    with repository.lock(exclusive=True):
        return repairindex.execute(repairindex.plan(repository, read_all=read_all))


@pytest.mark.clause("INDEX-7", "INDEX-8")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("read_all", [False, True], ids=["", "all"])
def test_same_index_as_restic(fresh: Fresh, damage: Damage, read_all: bool) -> None:
    mine, theirs = fresh(), fresh()
    damage(mine)
    damage(theirs)
    repair(mine, read_all=read_all)
    kit.restic(theirs, "repair", "index", *(["--read-all-packs"] if read_all else []))
    assert indexed(mine) == indexed(theirs)
    assert len(kit.files_of(mine, "index")) <= len(kit.files_of(theirs, "index"))
    judged = [kit.restic(repo, "check", "--read-data", check=False) for repo in (mine, theirs)]
    assert judged[0].returncode == judged[1].returncode
    assert sorted(judged[0].stderr.splitlines()) == sorted(judged[1].stderr.splitlines())


@pytest.mark.parametrize("program", ["restic-0.14", "restic-0.18"])
@pytest.mark.parametrize("version", [1, 2])
def test_older_programs_agree(tmp_path: Path, source: Path, peer: Callable[[str], Path], program: str, version: int) -> None:
    repo = kit.make_repository(tmp_path / "repo", kit.grow_source(tmp_path / "src", files=1, size=50_000), version=version)
    no_index(repo)
    repair(repo)
    kit.run([str(peer(program)), "--no-cache", "-r", str(repo), "check", "--read-data"])


def test_a_header_that_is_damaged_costs_nothing_while_the_index_is_intact(fresh: Fresh) -> None:
    repo = fresh()
    before = indexed(repo)
    pack = packs_of_type(repo, "data")[-1]
    kit.flip_bit(pack, -20)
    result = repair(repo, read_all=True)
    assert set(result.skipped) == {bytes.fromhex(pack.name)}
    assert indexed(repo) == before, "restic drops the pack's blobs from the index here"


@pytest.mark.clause("PACK-11")
def test_a_header_that_does_not_account_for_the_pack_is_not_believed(fresh: Fresh) -> None:
    """restic enters all its blobs, each at a place where it is not."""
    repo = fresh()
    path = packs_of_type(repo, "data")[0]
    path.write_bytes(path.read_bytes()[1:])
    result = repair(repo)
    assert set(result.skipped) == {bytes.fromhex(path.name)}
    assert bytes.fromhex(path.name) not in {pack for pack, _ in indexed(repo)}


@pytest.mark.clause("ORDER-3", "ORDER-4")
@pytest.mark.parametrize("read_all", [False, True], ids=["", "all"])
def test_when_any_call_fails(fresh: Fresh, read_all: bool) -> None:
    repo = fresh()
    lost_pack(repo)
    cut_index(repo)
    start = in_memory(repo)
    known = indexed_blobs(start)

    def work(storage: Storage) -> None:
        repair(storage, read_all=read_all)

    whole = copy_of(start)
    work(whole)
    right = indexed(whole)
    tried = set()
    for key, number in calls(work, start):
        inner = copy_of(start)
        try:
            work(FaultyStorage(inner, at(key, number, Fail())))
        except ResticFormatError:
            tried.add(key)
        assert known & {(pack, entry) for pack, entry in right} <= indexed_blobs(inner), (key, number)
        remove_locks(opened(inner), everything=True)
        work(inner)
        assert indexed(inner) == right, (key, number)
    assert {("save", FileKind.INDEX), ("remove", FileKind.INDEX), ("list", FileKind.PACK), ("load", FileKind.INDEX)} <= tried


def indexed_blobs(storage: Storage) -> set[tuple[bytes, object]]:
    """What the index files that can be read list."""
    repository = opened(storage)
    repository.load_index(damaged=lambda file_id, error: None)
    return set(repository.index.entries())


@pytest.mark.clause("ORDER-4")
@pytest.mark.parametrize("fault", [Lose(), Truncate(40)], ids=["lost", "cut"])
def test_a_storage_that_lies_about_a_new_index_costs_no_old_one(fresh: Fresh, fault: Fault) -> None:
    repo = fresh()
    lost_index(repo)
    storage = in_memory(repo)
    before = {name for kind, name in storage.files if kind is FileKind.INDEX}
    with pytest.raises(ResticFormatError):
        repair(FaultyStorage(storage, at(("save", FileKind.INDEX), 0, fault)), read_all=True)
    assert before <= {name for kind, name in storage.files if kind is FileKind.INDEX}


def test_an_index_that_is_damaged_only_on_the_second_reading_stays(fresh: Fresh) -> None:
    """Its packs have not been read: without it they would not be listed any more."""
    repo = fresh()
    lost_pack(repo)
    storage = in_memory(repo)
    loads = 0

    def plan(call: Call) -> Fault | None:
        nonlocal loads
        loads += (call.operation, call.kind) == ("load", FileKind.INDEX)
        return Truncate(10) if loads > len(kit.files_of(repo, "index")) and call.kind is FileKind.INDEX else None

    files = dict(storage.files)
    with pytest.raises(DamagedFile):
        repair(FaultyStorage(storage, plan))
    assert {key for key in files if key[0] is FileKind.INDEX} <= set(storage.files)


def test_a_damaged_index_is_noticed_whatever_the_cache_has(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = fresh()
    monkeypatch.setattr(loading, "WORTH_ROWS", 1)
    for _ in range(2):
        cached = Repository.open(LocalStorage(repo), kit.PASSWORD, cache_folder=str(tmp_path / "cache"))
        cached.load_index()
    right = indexed(repo)
    assert any((tmp_path / "cache").rglob("*")) is cached.index.can_dump
    damaged = kit.files_of(repo, "index")[-1]
    cut_index(repo)
    made = repairindex.plan(cached)
    assert set(made.damaged) == {bytes.fromhex(damaged.name)}
    repairindex.execute(made)
    assert indexed(repo) == right and not damaged.exists()


def test_what_the_storage_cannot_read_is_not_taken_for_damaged(fresh: Fresh) -> None:
    repo = fresh()
    storage = in_memory(repo)
    before = indexed(storage)
    pack = bytes.fromhex(packs_of_type(repo, "data")[0].name)

    def plan(call: Call) -> Fault | None:
        return Fail() if (call.kind, call.name) == (FileKind.PACK, pack.hex()) and call.operation == "load" else None

    result = repair(FaultyStorage(storage, plan), read_all=True)
    assert set(result.unreadable) == {pack} and not result.skipped
    assert indexed(storage) == before
    with pytest.raises(StorageError):
        repair(FaultyStorage(storage, at(("load", FileKind.INDEX), 0, Fail())))
    assert indexed(storage) == before


@pytest.mark.clause("RUSTIC-2")
@pytest.mark.parametrize("read_all", [False, True], ids=["", "all"])
def test_marked_packs_stay_marked(fresh: Fresh, read_all: bool) -> None:
    repo = fresh()
    marked, gone = (bytes.fromhex(path.name) for path in packs_of_type(repo, "data")[:2])
    repository = opened(repo)
    rewrite_index(repository, IndexChange(mark={marked, gone}))
    repository.load_index()
    since = repository.index.marked[marked]
    (repo / "data" / gone.hex()[:2] / gone.hex()).unlink()
    repair(repo, read_all=read_all)
    repository.load_index()
    assert repository.index.marked == {marked: since}
    assert not repository.index.has_pack(marked)


@pytest.mark.clause("RUSTIC-1")
@pytest.mark.parametrize("member", ["is_hot", "append_only"])
def test_a_config_that_forbids_it_is_heeded(fresh: Fresh, member: str) -> None:
    storage = in_memory(fresh())
    repository = opened(storage)
    plaintext = encode_config(repository.config)[:-1] + f',"{member}":true}}'.encode()
    storage.files[FileKind.CONFIG, ""] = make_cipher(repository.master_key).seal(plaintext)
    before = dict(storage.files)
    with pytest.raises(UsageError, match="hot" if member == "is_hot" else "append-only"):
        repair(storage)
    assert {kind_name for kind_name in before if kind_name[0] is not FileKind.LOCK} <= set(storage.files)


def hostile_packs(repository: Repository) -> list[bytes]:
    """Files that are no packs, with the names they would have."""
    cipher = make_cipher(repository.master_key)

    def with_header(entries: bytes, *, blobs: int = 100, length: int | None = None) -> bytes:
        sealed = cipher.seal(entries)
        return bytes(blobs) + sealed + encode_length(len(sealed) if length is None else length)

    def entry(kind: int, length: int) -> bytes:
        return bytes([kind]) + length.to_bytes(4, "little") + bytes(32)

    return [
        b"",
        b"\0\0\0",
        os.urandom(5000),
        with_header(b""),
        with_header(entry(0, 100), length=0xFFFFFFFF),
        with_header(entry(0, 100), length=16 << 20),
        with_header(entry(0, 0xFFFFFFFF)),
        with_header(entry(0, 99)),
        with_header(entry(9, 100)),
        with_header(entry(0, 100)[:-1]),
        with_header(entry(0, 0) * 20000, blobs=0),
        with_header(b"\x02" + (100).to_bytes(4, "little") + (0xFFFFFFFF).to_bytes(4, "little") + bytes(31)),
    ]


@pytest.mark.clause("PACK-4", "PACK-11")
def test_hostile_packs_are_named_and_left_alone(fresh: Fresh) -> None:
    storage = in_memory(fresh())
    right = indexed(storage)
    names = []
    for raw in hostile_packs(opened(storage)):
        names.append(id_of(raw))
        storage.files[FileKind.PACK, names[-1].hex()] = raw
    for kind, name in list(storage.files):
        if kind is FileKind.INDEX:
            del storage.files[kind, name]
    result = repair(storage)
    assert set(result.skipped) == set(names)
    assert indexed(storage) == right
    assert all((FileKind.PACK, name.hex()) in storage.files for name in names)


def test_memory_of_a_plan_and_what_it_says(fresh: Fresh) -> None:
    repo = fresh()
    cut_pack(repo)
    lost_index(repo)
    repository = opened(repo)
    with repository.lock(exclusive=True):
        made = repairindex.plan(repository)
        before = kit.files_of(repo)
        assert set(made.reading) == made.unlisted.keys() | made.resized.keys()
        assert kit.files_of(repo) == before, "a plan changes nothing"


def normal(text: str) -> list[str]:
    return [re.sub(r"\[\d:\d\d\]", "[]", line) for line in text.splitlines()]


@pytest.mark.parametrize("words", [["repair", "index"], ["repair", "index", "--read-all-packs"], ["rebuild-index"]])
def test_it_says_what_restic_says(fresh: Fresh, words: list[str]) -> None:
    mine, theirs = fresh(), fresh()
    lost_pack(mine)
    lost_pack(theirs)
    ours, real = kit.ours(mine, *words), kit.restic(theirs, *words)
    counted = re.compile(r"\d+ / \d+ indexes processed| 0 indexes processed")
    assert [counted.sub("N", line) for line in normal(ours.stdout) if "processed" not in line] == [
        line for line in normal(real.stdout) if "processed" not in line
    ]
    if "--read-all-packs" not in words:  # restic then tells every pack as if it were new, and none that is gone
        assert ours.stderr == real.stderr


def test_json(fresh: Fresh) -> None:
    repo = fresh()
    pack = packs_of_type(repo, "data")[0].name
    lost_pack(repo)
    cut_index(repo)
    done = kit.ours(repo, "repair", "index", "--json")
    (message,) = map(json.loads, done.stdout.splitlines())
    assert message["message_type"] == "summary"
    assert message["packs_missing"] == [pack] or pack not in {entry[0].hex() for entry in indexed(repo)}
    assert len(message["indexes_damaged"]) == 1
    assert {json.loads(line)["message_type"] for line in done.stderr.splitlines()} == {"error"}
    assert sorted(path.name for path in kit.files_of(repo, "index")) == sorted(message["indexes_written"])


def test_a_lock_of_somebody_else_is_heeded(fresh: Fresh) -> None:
    repo = fresh()
    repository = opened(repo)
    with repository.lock():
        assert kit.ours(repo, "repair", "index", check=False).returncode == 11
    assert inspect(repo).ok
