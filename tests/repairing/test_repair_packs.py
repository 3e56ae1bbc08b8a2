"""``repair packs``: what is intact in a damaged pack is saved, and the pack goes last."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.errors import ResticFormatError, UsageError
from restic_format.maintenance import repairpacks
from restic_format.repository.lock import remove_locks
from restic_format.storage import FaultyStorage, Storage
from restic_format.storage.faulty import Fail, Fault, Lose, Truncate
from restic_spec.layout import FileKind
from restic_spec.pack import PackEntry
from tests.repairing.conftest import Fresh
from tests.repairing.kit import at, calls, copy_of, in_memory, indexed, inspect, opened, packs_of_type
from tests.safety import kit

Damage = Callable[[Path], None]


def flipped_blob(pack: Path) -> None:
    kit.flip_bit(pack, 1000)


def flipped_header(pack: Path) -> None:
    kit.flip_bit(pack, -20)


def cut_tail(pack: Path) -> None:
    kit.cut(pack, pack.stat().st_size // 2)


def cut_to_nothing(pack: Path) -> None:
    kit.cut(pack, 0)


def salvage(where: Path | Storage, packs: list[bytes]) -> repairpacks.Salvage:
    repository = opened(where)
    with repository.lock(exclusive=True):
        repository.load_index()
        return repairpacks.execute(repairpacks.plan(repository, packs))


def blobs(where: Path | Storage) -> set[tuple[object, bytes]]:
    return {(entry.type, entry.id) for _, entry in indexed(where)}


def in_folder(folder: Path, program: Callable[[Path], list[str]], repo: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    return kit.run(program(repo), cwd=folder)


@pytest.mark.clause("ORDER-3")
@pytest.mark.parametrize("damage", [flipped_blob, flipped_header, cut_tail, cut_to_nothing], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", ["data", "tree"])
def test_same_blobs_as_restic(fresh: Fresh, tmp_path: Path, damage: Damage, kind: str) -> None:
    mine, theirs = fresh(), fresh()
    name = packs_of_type(mine, kind)[-1].name
    for repo in (mine, theirs):
        damage(repo / "data" / name[:2] / name)
    before = (mine / "data" / name[:2] / name).read_bytes()
    in_folder(tmp_path / "mine", lambda repo: kit.ours_command(repo, "repair", "packs", name), mine)
    in_folder(
        tmp_path / "theirs",
        lambda repo: [kit.restic_binary(), "--no-cache", "-r", str(repo), "repair", "packs", name],
        theirs,
    )
    assert blobs(mine) >= blobs(theirs)
    if damage is not cut_to_nothing:  # restic then saves nothing at all, as it cannot find the end of what is missing
        assert blobs(mine) == blobs(theirs)
    assert (tmp_path / "mine" / f"pack-{name}").read_bytes() == before
    assert not (mine / "data" / name[:2] / name).exists()
    kit.restic(mine, "repair", "snapshots", "--forget")
    kit.restic(mine, "check", "--read-data")


def test_what_the_index_does_not_list_is_found_in_the_header(fresh: Fresh) -> None:
    repo = fresh()
    pack = packs_of_type(repo, "data")[-1]
    everything = blobs(repo)
    flipped_blob(pack)
    with_pack = {(entry.type, entry.id) for found, entry in indexed(repo) if found.hex() == pack.name}
    from restic_format.repository.indexwriter import IndexChange, rewrite_index

    rewrite_index(opened(repo), IndexChange(drop={bytes.fromhex(pack.name)}))
    result = salvage(repo, [bytes.fromhex(pack.name)])
    assert len(result.lost) == 1 and result.saved == len(with_pack) - 1
    assert blobs(repo) == everything - {(lost.type, lost.id) for lost in result.lost}


def test_a_blob_with_another_intact_copy_is_not_lost(fresh: Fresh) -> None:
    repo = fresh()
    repository = opened(repo)
    repository.load_index()
    pack = packs_of_type(repo, "data")[-1]
    listed = {entry: found for found, entry in repository.index.entries() if found.hex() == pack.name}
    entry: PackEntry = min(listed, key=lambda one: one.offset)
    writer = repository.writer()
    sealed = repository.packs.read(bytes.fromhex(pack.name), entry.offset, entry.length)
    list(writer.copy_sealed(bytes(sealed), entry.offset, [entry], again=True))
    writer.flush()
    kit.flip_bit(pack, entry.offset + 40)
    assert salvage(repo, [bytes.fromhex(pack.name)]).lost == []
    kit.restic(repo, "check", "--read-data")


@pytest.mark.clause("ORDER-3", "ORDER-4")
def test_when_any_call_fails(fresh: Fresh) -> None:
    repo = fresh()
    pack = packs_of_type(repo, "data")[-1]
    flipped_blob(pack)
    start = in_memory(repo)
    packs = [bytes.fromhex(pack.name)]

    def work(storage: Storage) -> None:
        salvage(storage, packs)

    whole = copy_of(start)
    work(whole)
    right = blobs(whole)
    tried = set()
    for key, number in calls(work, start):
        inner = copy_of(start)
        try:
            work(FaultyStorage(inner, at(key, number, Fail())))
        except ResticFormatError:
            tried.add(key)
        assert right <= blobs(inner), (key, number)
        remove_locks(opened(inner), everything=True)
        if (FileKind.PACK, pack.name) in inner.files:
            work(inner)
        assert blobs(inner) == right, (key, number)
        findings = {finding.object.name for finding in inspect(inner).findings if finding.severity.value == "error"}
        assert pack.name not in findings
    assert {("save", FileKind.PACK), ("save", FileKind.INDEX), ("remove", FileKind.INDEX), ("load", FileKind.PACK)} <= tried


@pytest.mark.clause("ORDER-3")
@pytest.mark.parametrize("fault", [Lose(), Truncate(40)], ids=["lost", "cut"])
@pytest.mark.parametrize("kind", [FileKind.PACK, FileKind.INDEX])
def test_a_storage_that_lies_costs_nothing(fresh: Fresh, kind: FileKind, fault: Fault) -> None:
    repo = fresh()
    pack = packs_of_type(repo, "data")[0]
    flipped_header(pack)
    storage = in_memory(repo)
    before = set(storage.files)
    with pytest.raises(ResticFormatError):
        salvage(FaultyStorage(storage, at(("save", kind), 0, fault)), [bytes.fromhex(pack.name)])
    kept = {FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT}
    assert {key for key in before if key[0] in kept} <= set(storage.files)


def test_copies(fresh: Fresh, tmp_path: Path) -> None:
    """A copy that is there already is not a reason to stop, and nothing is written over."""
    repository = opened(fresh())
    pack, size = next(iter(repository.list(FileKind.PACK)))
    raw = repository.storage.load(FileKind.PACK, pack.hex(), 0, size)
    folder = tmp_path / "copies"
    folder.mkdir()
    first = repairpacks.keep_copy(repository, pack, size, str(folder))
    assert repairpacks.keep_copy(repository, pack, size, str(folder)) == first
    Path(first).write_bytes(b"something of the user's")
    second = repairpacks.keep_copy(repository, pack, size, str(folder))
    os.mkfifo(folder / f"pack-{pack.hex()}.2")
    Path(second).write_bytes(raw[:-1] + b"?")
    third = repairpacks.keep_copy(repository, pack, size, str(folder))
    assert [Path(path).name[len(f"pack-{pack.hex()}") :] for path in (first, second, third)] == ["", ".1", ".3"]
    assert Path(first).read_bytes() == b"something of the user's"
    assert Path(third).read_bytes() == raw


@pytest.mark.parametrize("ids", [[], ["abc"], ["z" * 64], ["0" * 64], ["A" * 64]])
def test_bad_ids(fresh: Fresh, ids: list[str]) -> None:
    repo = fresh()
    before = kit.files_of(repo)
    done = kit.ours(repo, "repair", "packs", *ids, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Fatal: ") and len(done.stderr.splitlines()) == 1
    assert kit.files_of(repo) == before


def test_a_missing_pack_changes_nothing(fresh: Fresh) -> None:
    repo = fresh()
    pack = packs_of_type(repo, "data")[0]
    pack.unlink()
    with pytest.raises(UsageError, match="repair index"):
        salvage(repo, [bytes.fromhex(pack.name)])


def test_json(fresh: Fresh, tmp_path: Path) -> None:
    repo = fresh()
    pack = packs_of_type(repo, "data")[-1]
    flipped_blob(pack)
    done = in_folder(tmp_path / "here", lambda repo: kit.ours_command(repo, "repair", "packs", "--json", pack.name), repo)
    (summary,) = map(json.loads, done.stdout.splitlines())
    assert summary["packs_removed"] == [pack.name] and summary["copies"] == [f"pack-{pack.name}"]
    (lost,) = map(json.loads, done.stderr.splitlines())
    assert (lost["message_type"], lost["pack"], lost["type"]) == ("lost_blob", pack.name, "data")
    assert summary["blobs_lost"] == 1 and summary["blobs_saved"] > 0
