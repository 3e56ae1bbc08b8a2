"""``repair snapshots``: what is left of a snapshot, whole again; files keep their length."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restic_format.errors import ResticFormatError, UsageError
from restic_format.maintenance.repairindex import execute as mend
from restic_format.maintenance.repairindex import plan as mend_plan
from restic_format.maintenance.repairsnapshots import (
    CHUNK_MAX,
    Change,
    Outcome,
    Repaired,
    SnapshotRepairer,
    fill_holes,
)
from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.repository.lock import remove_locks
from restic_format.snapshots import all_snapshots, open_file, stat
from restic_format.storage import FaultyStorage, MemoryStorage, Storage
from restic_format.storage.faulty import Fail
from restic_spec.config import encode_config
from restic_spec.errors import TreeInvalid
from restic_spec.ids import id_of
from restic_spec.keyfile import SALT_SIZE, Kdf
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import Node, encode_tree
from tests.repairing.conftest import Fresh
from tests.repairing.kit import at, calls, copy_of, in_memory, inspect, opened, packs_of_type
from tests.safety import kit

Damage = Callable[[Path], None]


def lose_all_data(repo: Path) -> None:
    for path in packs_of_type(repo, "data"):
        path.unlink()


def lose_newer_trees(repo: Path) -> None:
    packs_of_type(repo, "tree")[0].unlink()


def lose_trees(repo: Path) -> None:
    for path in packs_of_type(repo, "tree"):
        path.unlink()


def damage_a_tree(repo: Path) -> None:
    kit.flip_bit(packs_of_type(repo, "tree")[-1], 700)


def damage_nothing(repo: Path) -> None:
    """All is well."""


def repair(where: Path | Storage, *, forget: bool = False, dry_run: bool = False) -> tuple[list[Outcome], list[Repaired]]:
    repository = opened(where)
    told: list[Repaired] = []
    with repository.lock(exclusive=True):
        repository.load_index()
        repairer = SnapshotRepairer(repository, forget=forget, dry_run=dry_run, progress=told.append)
        try:
            found = sorted(all_snapshots(repository), key=lambda item: item.time_ns)
            return [repairer.repair(item) for item in found], told
        finally:
            repairer.close()


def snapshots(repo: Path) -> list[dict[str, object]]:
    """What restic says of the snapshots, without their own ids."""
    found = json.loads(kit.restic(repo, "snapshots", "--json").stdout)
    for item in found:
        del item["id"], item["short_id"]
    return sorted(found, key=json.dumps)


def told(text: str) -> list[str]:
    """The lines, in no order: what snapshots share is told once, with the one that comes first."""
    return sorted(re.sub(r"(saved new|removed old|removed empty) snapshot \w+", r"\1", line) for line in text.splitlines())


@pytest.mark.clause("SNAP-7")
@pytest.mark.parametrize(
    "damage", [damage_nothing, lose_all_data, lose_newer_trees, damage_a_tree], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("words", [[], ["--forget"], ["--dry-run"], ["--dry-run", "--forget"]], ids=" ".join)
def test_same_snapshots_as_restic(fresh: Fresh, damage: Damage, words: list[str]) -> None:
    """Where nothing of a file is left, or a whole folder is lost, the new trees are restic's, byte for byte."""
    mine, theirs = fresh(), fresh()
    for repo in (mine, theirs):
        damage(repo)
        mend(mend_plan(opened(repo)))
    ours = kit.ours(mine, "repair", "snapshots", *words)
    real = kit.restic(theirs, "repair", "snapshots", *words)
    if damage is not lose_newer_trees or "--forget" in words:  # restic removes a snapshot without a root in any case
        assert told(ours.stdout) == told(real.stdout)
        assert snapshots(mine) == snapshots(theirs)
    if "--forget" in words and "--dry-run" not in words:
        kit.restic(mine, "check")


@pytest.mark.clause("ORDER-9")
def test_a_snapshot_of_which_nothing_is_left_goes_only_when_asked(fresh: Fresh) -> None:
    """restic removes it in any case; but its trees may come back, as with a disk that was not there."""
    repo = fresh()
    trees = [(path, path.read_bytes()) for path in packs_of_type(repo, "tree")]
    lose_trees(repo)
    mend(mend_plan(opened(repo)))
    outcomes, _ = repair(repo)
    assert [(outcome.empty, outcome.changed, outcome.removed) for outcome in outcomes] == [(True, False, False)] * 2
    done = kit.ours(repo, "repair", "snapshots")
    assert done.stdout.count('dir "/": not readable') == 2 and "no snapshots were modified" in done.stdout
    for path, raw in trees:
        path.write_bytes(raw)
    kit.ours(repo, "repair", "index")
    kit.restic(repo, "check", "--read-data")
    lose_trees(repo)
    mend(mend_plan(opened(repo)))
    assert kit.ours(repo, "repair", "snapshots", "--forget").stdout.count("removed empty snapshot") == 2
    assert kit.files_of(repo, "snapshots") == []


@pytest.mark.clause("TREE-8", "TREE-16")
def test_files_keep_length_and_places(fresh: Fresh, source: Path, tmp_path: Path) -> None:
    repo = fresh()
    repository = opened(repo)
    repository.load_index()
    (newest,) = [found for found in all_snapshots(repository) if found.snapshot.hostname == "second"]
    root = bytes.fromhex(str(newest.snapshot.tree))
    node = stat(repository, root, f"{source}/big")
    assert node is not None and len(node.blobs) > 2
    start = sum(open_length(repository, blob) for blob in node.blobs[:1])
    lost = open_length(repository, node.blobs[1])
    pack = repository.index.lookup(BlobType.DATA, bytes.fromhex(node.blobs[1]))
    assert pack is not None
    damaged = repo / "data" / pack.pack.hex()[:2] / pack.pack.hex()
    kit.flip_bit(damaged, pack.offset + 100)
    (tmp_path / "here").mkdir()
    kit.run(kit.ours_command(repo, "repair", "packs", pack.pack.hex()), cwd=tmp_path / "here")
    done = kit.ours(repo, "repair", "snapshots", "--forget")
    assert f'file "{source}/big": removed missing content, {lost} bytes of it are zeros now' in done.stdout
    kit.restic(repo, "check", "--read-data")
    kit.restic(repo, "restore", "latest", "--target", str(tmp_path / "out"))
    before, after = (source / "big").read_bytes(), Path(f"{tmp_path}/out{source}/big").read_bytes()
    assert after == before[:start] + bytes(lost) + before[start + lost :]
    assert "no snapshots were modified" in kit.ours(repo, "repair", "snapshots").stdout
    assert "no snapshots were modified" in kit.restic(repo, "repair", "snapshots").stdout


def open_length(repository: Repository, blob: str) -> int:
    return len(repository.load_blob(BlobType.DATA, bytes.fromhex(blob)))


def test_a_dry_run_changes_nothing(fresh: Fresh) -> None:
    repo = fresh()
    packs_of_type(repo, "data")[-1].unlink()
    mend(mend_plan(opened(repo)))
    before = {path: path.read_bytes() for path in kit.files_of(repo)}
    outcomes, _ = repair(repo, dry_run=True, forget=True)
    assert all(outcome.changed and outcome.new is None for outcome in outcomes)
    assert {path: path.read_bytes() for path in kit.files_of(repo)} == before


@pytest.mark.clause("ORDER-1", "ORDER-9")
@pytest.mark.parametrize("forget", [False, True], ids=["", "forget"])
def test_when_any_call_fails(fresh: Fresh, forget: bool) -> None:
    repo = fresh()
    packs_of_type(repo, "data")[-1].unlink()
    mend(mend_plan(opened(repo)))
    start = in_memory(repo)
    origins = {name for kind, name in start.files if kind is FileKind.SNAPSHOT}
    failed = set()
    for key, number in calls(lambda storage: repair(storage, forget=forget), start):
        inner = copy_of(start)
        try:
            repair(FaultyStorage(inner, at(key, number, Fail())), forget=forget)
        except ResticFormatError:
            failed.add(key)
        remove_locks(opened(inner), everything=True)
        assert lineage(inner) >= origins, (key, number)
        repair(inner, forget=True)
        assert lineage(inner) >= origins
        assert inspect(inner, read_data=False).ok, (key, number)
    assert {("save", FileKind.PACK), ("save", FileKind.INDEX), ("save", FileKind.SNAPSHOT)} <= failed
    assert (("remove", FileKind.SNAPSHOT) in failed) is forget


def lineage(where: Path | Storage) -> set[str]:
    """Ids of the snapshots that are there, and of those that they stand for."""
    found = list(all_snapshots(opened(where)))
    return {item.id.hex() for item in found} | {item.snapshot.original or "" for item in found}


@pytest.mark.clause("RUSTIC-1")
def test_an_append_only_repository_forgets_nothing(fresh: Fresh) -> None:
    storage = in_memory(fresh())
    repository = opened(storage)
    plaintext = encode_config(repository.config)[:-1] + b',"append_only":true}'
    storage.files[FileKind.CONFIG, ""] = make_cipher(repository.master_key).seal(plaintext)
    with pytest.raises(UsageError, match="append-only"):
        repair(storage, forget=True)
    repair(storage)


# Trees made by hand


@pytest.fixture
def empty() -> Repository:
    return Repository.init(MemoryStorage(), kit.PASSWORD, kdf=Kdf(2, 1, 1, bytes(SALT_SIZE)))


def snapshot_of(repository: Repository, raw: bytes, *blobs: bytes) -> bytes:
    """A snapshot whose root tree is *raw*, in which data blobs are stored; its id."""
    writer = repository.writer()
    tree = writer.save_blob(BlobType.TREE, raw).id
    writer.save(BlobType.DATA, [(id_of(blob), blob) for blob in blobs])
    writer.flush()
    return repository.save_snapshot(Snapshot("2024-02-03T04:05:06Z", tree=tree.hex(), paths=["/x"], tags=["kept"]))


def file(name: str, size: int, *content: bytes) -> Node:
    return Node(name, "file", mode=0o644, uid=0, gid=0, size=size, content=[id_of(blob).hex() for blob in content])


def content(repository: Repository, snapshot: bytes, name: str) -> bytes:
    repository.load_index()
    node = stat(repository, bytes.fromhex(str(repository.load_snapshot(snapshot).tree)), name)
    assert node is not None
    read = open_file(repository, node).read()
    assert len(read) == node.size
    return read


@pytest.mark.clause("SNAP-10", "TREE-23")
def test_what_is_unknown_survives(empty: Repository) -> None:
    ids = [id_of(blob).hex() for blob in (b"one", b"lost", b"two")]
    names = ",".join(f'"{ident}"' for ident in ids)
    raw = f'{{"nodes":[{{"name":"f","type":"file","size":10,"content":[{names}],"mine":[1]}}]}}\n'.encode()
    snapshot_of(empty, raw, b"one", b"two")
    (outcome,), _ = repair(empty.storage)
    assert outcome.new is not None
    assert content(empty, outcome.new, "f") == b"one\0\0\0\0two"
    assert b'"mine":[1]' in empty.load_blob(BlobType.TREE, bytes.fromhex(str(empty.load_snapshot(outcome.new).tree)))
    assert empty.load_snapshot(outcome.new).tags == ["kept", "repaired"]


def test_a_length_that_one_file_tells_helps_another(empty: Repository) -> None:
    nodes = [file("a", 7, b"one", b"gone"), file("b", 16, b"gone", b"one", b"gone", b"other")]
    snapshot_of(empty, encode_tree(nodes), b"one")
    (outcome,), changes = repair(empty.storage)
    assert outcome.new is not None
    assert content(empty, outcome.new, "b") == bytes(4) + b"one" + bytes(9)
    assert [change.zeros for change in changes] == [4, 13]


@pytest.mark.clause("TREE-16")
@pytest.mark.parametrize("size", [2, 3, 4 << 40, (1 << 63) - 1])
def test_a_size_that_cannot_be_right_makes_no_hole(empty: Repository, size: int) -> None:
    snapshot_of(empty, encode_tree([file("a", size, b"one", b"gone")]), b"one")
    (outcome,), (change,) = repair(empty.storage)
    assert outcome.new is not None and change.change is Change.CUT
    assert content(empty, outcome.new, "a") == b"one"


def test_wrong_sizes_are_put_right_as_restic_does(empty: Repository) -> None:
    snapshot_of(empty, encode_tree([file("a", 99, b"one")]), b"one")
    (outcome,), (change,) = repair(empty.storage)
    assert change.change is Change.SIZE and outcome.new is not None
    assert content(empty, outcome.new, "a") == b"one"


@pytest.mark.clause("TREE-8")
def test_a_file_without_a_list_of_its_content_gets_an_empty_one(empty: Repository) -> None:
    snapshot_of(empty, b'{"nodes":[{"name":"a","type":"file","content":null}]}\n')
    (outcome,), changes = repair(empty.storage, forget=True)
    assert outcome.new is not None and changes == []
    empty.load_index()
    assert b'"content":[]' in empty.load_blob(BlobType.TREE, bytes.fromhex(str(empty.load_snapshot(outcome.new).tree)))
    assert inspect(empty.storage).ok


def test_nodes_that_are_none_go_and_the_rest_stays(empty: Repository) -> None:
    bad = '{"name":"b","type":"file","content":["xyz"]}'
    odd = '{"name":"c","type":"irregular"}'
    empty_folder = '{"name":"d","type":"dir"}'
    good = '{"name":"e","type":"fifo"}'
    snapshot_of(empty, f'{{"nodes":[{bad},{odd},{empty_folder},{good}]}}\n'.encode())
    (outcome,), changes = repair(empty.storage)
    assert [change.change for change in changes] == [Change.NODE_REMOVED, Change.NODE_REMOVED, Change.EMPTIED]
    assert outcome.new is not None
    empty.load_index()
    tree = empty.load_tree(bytes.fromhex(str(empty.load_snapshot(outcome.new).tree)))
    assert [node.name for node in tree] == ["d", "e"]
    assert inspect(empty.storage).ok or {finding.code.name for finding in inspect(empty.storage).findings}


@pytest.mark.clause("TREE-4")
@pytest.mark.parametrize("count", [3, 9000])
def test_nodes_out_of_order_are_put_in_order_and_none_is_lost(empty: Repository, count: int) -> None:
    names = [f"{number:05}" for number in range(count)]
    mixed = [names[-1], *names[:-1]]
    nodes = [f'{{"name":"{name}","type":"fifo","x":"{name}"}}' for name in mixed]
    nodes.insert(1, '{"name":"b/c","type":"fifo"}')
    inner = f'{{"nodes":[{",".join(nodes)}],"extra":1}}\n'.encode()
    writer = empty.writer()
    folder = writer.save_blob(BlobType.TREE, inner).id
    writer.flush()
    later = '{"name":"a","type":"fifo"}'
    outer = f'{{"nodes":[{{"name":"d","type":"dir","subtree":"{folder.hex()}"}},{later}]}}\n'
    snapshot_of(empty, outer.encode())
    (outcome,), changes = repair(empty.storage, forget=True)
    assert [change.change for change in changes] == [Change.NODE_REMOVED, Change.SORTED, Change.SORTED]
    assert outcome.new is not None and outcome.removed
    empty.load_index()
    root = empty.load_tree(bytes.fromhex(str(empty.load_snapshot(outcome.new).tree)))
    assert [node.name for node in root] == ["a", "d"]
    raw = empty.load_blob(BlobType.TREE, bytes.fromhex(str(next(node.subtree for node in root if node.subtree))))
    assert raw.endswith(b'],"extra":1}\n'), "what is not known stays"
    found = json.loads(raw)["nodes"]
    assert [node["name"] for node in found] == [node["x"] for node in found] == names
    assert inspect(empty.storage).ok


def test_a_name_that_stands_twice_is_left_as_it_is(empty: Repository) -> None:
    twice = '{"name":"b","type":"fifo"},{"name":"a","type":"fifo"},{"name":"b","type":"symlink","linktarget":"x"}'
    snapshot_of(empty, f'{{"nodes":[{twice}]}}\n'.encode())
    assert isinstance(empty.storage, MemoryStorage)
    before = dict(empty.storage.files)
    with pytest.raises(TreeInvalid, match="'b' stands twice"):
        repair(empty.storage, forget=True)
    assert empty.storage.files == before


Lengths = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 50)), min_size=1, max_size=12)


@given(Lengths, st.sets(st.sampled_from("abcdef")))
def test_holes_are_never_wrong(pieces: list[tuple[str, int]], lost: set[str]) -> None:
    """Either nothing is filled in, or every blob that is left stays where it was and the file has its length."""
    real: dict[str, int] = {}
    blobs = [blob for blob, _ in pieces]
    for blob, length in pieces:
        real.setdefault(blob, length)
    lengths = [None if blob in lost else real[blob] for blob in blobs]
    size = sum(real[blob] for blob in blobs)
    known: dict[str, int] = {}
    holes = fill_holes(blobs, lengths, size, CHUNK_MAX, known)
    assert all(hole == 0 for hole, length in zip(holes, lengths, strict=True) if length is not None)
    assert all(real[blob] == length for blob, length in known.items())
    if any(holes):
        place = was = 0
        for blob, length, hole in zip(blobs, lengths, holes, strict=True):
            assert length is None or place == was, "what is left has moved"
            place += hole if length is None else length
            was += real[blob]
        assert place == size
    elif lost & set(blobs) and not lost >= set(blobs):
        runs = re.findall("x+", "".join("x" if blob in lost else "." for blob in blobs))
        assert len(runs) > 1 and len(lost & set(blobs)) > 1, "the length could be told"


def test_json(fresh: Fresh) -> None:
    repo = fresh()
    packs_of_type(repo, "data")[-1].unlink()
    mend(mend_plan(opened(repo)))
    messages = [json.loads(line) for line in kit.ours(repo, "repair", "snapshots", "--json").stdout.splitlines()]
    assert {message["message_type"] for message in messages[:-1]} == {"repaired", "changed"}
    assert messages[-1] == {"message_type": "summary", "changed_snapshots": 2, "dry_run": False}
    changed = [message for message in messages if message["message_type"] == "changed"]
    assert all(message["new_snapshot_id"] and not message["removed"] for message in changed)


def test_filters_and_ids_that_fit_nothing(fresh: Fresh) -> None:
    mine, theirs = fresh(), fresh()
    for words in (["--host", "nobody"], ["nosuch"], ["latest:src"], ["--tag", "x"], ["--path", "/nowhere"]):
        ours, real = kit.ours(mine, "repair", "snapshots", *words), kit.restic(theirs, "repair", "snapshots", *words)
        assert (ours.stdout, ours.stderr) == (real.stdout, real.stderr), words
