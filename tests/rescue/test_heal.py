"""Healing: every kind of damage, beside real restic; nothing that can be read is lost, and all of it can be undone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from restic_format.errors import StorageError
from restic_format.repository import Repository
from restic_format.snapshots.find import all_snapshots
from restic_format.storage import FaultyStorage, LocalStorage
from restic_format.storage.faulty import Fail, FailLate, nth
from restic_spec.layout import FileKind, path_of
from restic_spec.pack import BlobType
from tests.repairing.kit import copy_of, in_memory, packs_of_type
from tests.rescue.conftest import Fresh
from tests.rescue.kit import content, healed, opened, readable
from tests.safety import kit


def cut_pack(repo: Path) -> None:
    kit.cut(packs_of_type(repo, "data")[-1], -100)


def halve_pack(repo: Path) -> None:
    pack = packs_of_type(repo, "data")[-1]
    kit.cut(pack, pack.stat().st_size // 2)


def flip_header(repo: Path) -> None:
    kit.flip_bit(packs_of_type(repo, "tree")[-1], -20)


def flip_blob(repo: Path) -> None:
    kit.flip_bit(packs_of_type(repo, "data")[-1], 500)


def flip_tree(repo: Path) -> None:
    kit.flip_bit(packs_of_type(repo, "tree")[-1], 40)


def spoil_blob(repo: Path) -> None:
    overwrite(packs_of_type(repo, "data")[-1], 500)


def spoil_tree(repo: Path) -> None:
    overwrite(packs_of_type(repo, "tree")[-1], 40)


def overwrite(path: Path, offset: int) -> None:
    """Put noise in place of 64 bytes, which nothing can solve."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(64))


def remove_pack(repo: Path) -> None:
    packs_of_type(repo, "data")[-1].unlink()


def remove_indexes(repo: Path) -> None:
    for path in kit.files_of(repo, "index"):
        path.unlink()


def flip_index(repo: Path) -> None:
    kit.flip_bit(kit.files_of(repo, "index")[-1], 60)


def swap_snapshots(repo: Path) -> None:
    one, two = kit.files_of(repo, "snapshots")
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


def swap_packs(repo: Path) -> None:
    one, two = packs_of_type(repo, "data")[-2:]
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


def flip_snapshot(repo: Path) -> None:
    kit.flip_bit(kit.files_of(repo, "snapshots")[0], 60)


def remove_snapshot(repo: Path) -> None:
    kit.files_of(repo, "snapshots")[0].unlink()


def spoil_key(repo: Path) -> None:
    (repo / "keys" / ("ab" * 32)).write_bytes(b"{")


def rename_key(repo: Path) -> None:
    (key,) = (repo / "keys").iterdir()
    key.rename(repo / "keys" / ("cd" * 32))


def no_index_and_cut(repo: Path) -> None:
    cut_pack(repo)
    remove_indexes(repo)


def no_index_and_blob(repo: Path) -> None:
    spoil_blob(repo)
    remove_indexes(repo)


def move_pack(repo: Path) -> None:
    pack = packs_of_type(repo, "data")[-1]
    (repo / "data" / "lost and found").mkdir()
    pack.rename(repo / "data" / "lost and found" / "1234.tmp")


def move_config(repo: Path) -> None:
    (repo / "config").rename(repo / "config.bak")


WHOLE = (
    move_pack,
    move_config,
    cut_pack,
    remove_indexes,
    flip_index,
    flip_header,
    swap_snapshots,
    swap_packs,
    flip_snapshot,
    remove_snapshot,
    spoil_key,
    rename_key,
)
"""Damage after which nothing is lost."""
MORE = (cut_pack, flip_index, flip_header, swap_snapshots, remove_snapshot, spoil_key, remove_indexes)
"""Those of them that the damage zoo has in the fast tests, too."""
QUICK = ("--budget", "1")
"""What cannot be solved is given up soon."""
PATIENT = ("--budget", "60")
LOSING = (halve_pack, spoil_blob, spoil_tree, remove_pack, no_index_and_blob)
MORE_LOSING = (halve_pack, spoil_tree, no_index_and_blob)
"""As `MORE`."""


def cases(damages: Sequence[Callable[[Path], None]], slow: Sequence[Callable[[Path], None]]) -> list[object]:
    """Parameters, those in *slow* marked so."""
    return [pytest.param(one, marks=[pytest.mark.slow] if one in slow else [], id=one.__name__) for one in damages]


@pytest.mark.parametrize("damage", cases(WHOLE, MORE))
def test_what_is_there_comes_back(fresh: Fresh, damage: Callable[[Path], None]) -> None:
    repo = fresh()
    everything = readable(repo)
    damage(repo)
    before = read_all(repo)
    done = kit.ours(repo, "heal", "--yes", *(PATIENT if damage.__name__.startswith("flip") else QUICK))
    assert "the repository is healthy" in done.stdout
    kit.restic(repo, "check", "--read-data")
    assert everything <= readable(repo)
    assert "nothing needs to be healed" in kit.ours(repo, "heal", "--yes", *QUICK).stdout
    kit.ours(repo, "heal", "--undo", "--yes")
    assert read_all(repo) == before and not (repo / "quarantine").exists()


@pytest.mark.parametrize("damage", cases(LOSING, MORE_LOSING))
def test_what_is_left_is_saved(fresh: Fresh, damage: Callable[[Path], None], tmp_path: Path) -> None:
    repo = fresh()
    shutil.copytree(repo, tmp_path / "before")
    damage(repo)
    before = content(repo)
    could_be_read = readable(repo)
    done = kit.ours(repo, "heal", "--yes", *QUICK, "--json", "--forget", check=False)
    plan, summary = map(json.loads, done.stdout.splitlines())
    assert plan["message_type"] == "plan" and summary["message_type"] == "summary"
    assert done.returncode == 0 and summary["healthy"] and summary["snapshots"]
    kit.restic(repo, "check", "--read-data")
    assert could_be_read <= readable(repo)
    # What was changed is said, and everything else restores as before.
    changed = {change["path"] for change in summary["changes"]}
    for name, folder in (("before", tmp_path / "before"), ("after", repo)):
        kit.restic(folder, "restore", "latest", "--host", "second", "--target", str(tmp_path / f"restored-{name}"))
    for path in kit.files_of(tmp_path / "restored-before"):
        told = "/" + str(path.relative_to(tmp_path / "restored-before"))
        mine = tmp_path / "restored-after" / told[1:]
        if path.is_symlink():
            assert mine.readlink() == path.readlink()
        elif not any(told == one or told.startswith(one + "/") for one in changed):
            assert mine.read_bytes() == path.read_bytes(), told
        elif (
            told in changed
            and mine.exists()
            and any(change["zeros"] for change in summary["changes"] if change["path"] == told)
        ):
            assert mine.stat().st_size == path.stat().st_size
    kit.ours(repo, "heal", "--undo", "--yes")
    assert content(repo) == before


def test_damaged_snapshots_stay_beside_the_repaired_ones_and_are_not_repaired_again(fresh: Fresh) -> None:
    repo = fresh()
    remove_pack(repo)
    old = {path.name for path in kit.files_of(repo, "snapshots")}
    done = kit.ours(repo, "heal", "--yes", *QUICK, check=False)
    assert done.returncode == 1 and "something is lost for good" in done.stderr
    once = {path.name for path in kit.files_of(repo, "snapshots")}
    assert old < once
    kit.ours(repo, "heal", "--yes", *QUICK, check=False)
    assert {path.name for path in kit.files_of(repo, "snapshots")} == once
    kit.ours(repo, "heal", "--yes", *QUICK, "--forget")
    assert {path.name for path in kit.files_of(repo, "snapshots")} == once - old
    kit.restic(repo, "check", "--read-data")


def test_nothing_is_changed_without_consent(fresh: Fresh, tmp_path: Path) -> None:
    repo = fresh()
    flip_blob(repo)
    before = content(repo)
    plan = kit.ours(repo, "heal", "--dry-run")
    assert "salvage packs (likely to help)" in plan.stdout and content(repo) == before
    refused = kit.ours(repo, "heal", check=False)
    assert refused.returncode == 1 and "nothing was changed: run the command again with --yes" in refused.stderr
    assert content(repo) == before and not (repo / "quarantine").exists()
    told = kit.ours(repo, "heal", "--json", check=False)
    assert json.loads(told.stdout)["message_type"] == "plan" and json.loads(told.stderr)["message_type"] == "exit_error"
    assert content(repo) == before


def test_what_cannot_be_read_is_left_alone(fresh: Fresh) -> None:
    storage = in_memory(fresh())
    index = next(storage.list(FileKind.INDEX))[0]
    before = dict(storage.files)
    faulty = FaultyStorage(storage, lambda call: Fail("I/O error") if (call.operation, call.name) == ("load", index) else None)
    from restic_format.rescue.plan import make_plan

    made = make_plan(opened(faulty))
    assert made.obstacles and index in made.obstacles[0]
    assert storage.files == before


def test_what_only_has_the_name_of_a_pack_hinders_nothing(fresh: Fresh) -> None:
    """Without an index, a copy of a pack in a folder where no program looks for it: the rest is healed nevertheless."""
    repo = fresh()
    before = readable(repo)
    pack = packs_of_type(repo, "data")[-1]
    shutil.copy(pack, pack.parent / ("cd" * 32 if pack.name.startswith("ab") else "ab" * 32))
    remove_indexes(repo)
    _, done = healed(repo)
    assert done.is_sound and readable(repo) >= before
    again, _ = healed(repo)
    assert again.is_healthy


def test_the_quarantine_can_be_elsewhere_and_be_forgotten(fresh: Fresh, tmp_path: Path) -> None:
    repo, kept = fresh(), tmp_path / "kept"
    spoil_blob(repo)
    before = content(repo)
    kit.ours(repo, "heal", "--yes", *QUICK, "--quarantine", str(kept), "--forget")
    assert not (repo / "quarantine").exists() and list(kept.rglob("journal-*"))
    assert "there is no repair to undo" in kit.ours(repo, "heal", "--undo", "--yes").stdout
    kit.ours(repo, "heal", "--undo", "--yes", "--quarantine", str(kept))
    assert content(repo) == before
    kit.ours(repo, "heal", "--yes", *QUICK, "--forget")
    told = json.loads(kit.ours(repo, "heal", "--forget-quarantine", "--yes", "--json").stdout)
    assert len(told["runs"]) == 1 and not (repo / "quarantine").exists()
    kit.restic(repo, "check", "--read-data")


def test_locks_that_nobody_holds_are_set_aside(fresh: Fresh) -> None:
    repo = fresh()
    (repo / "locks" / ("ef" * 32)).write_bytes(os.urandom(150))
    flip_index(repo)
    before = content(repo)
    refused = kit.ours(repo, "heal", check=False)
    assert refused.returncode == 1 and content(repo) == before
    kit.ours(repo, "heal", "--yes", *QUICK)
    kit.restic(repo, "check", "--read-data")
    kit.ours(repo, "heal", "--undo", "--yes")
    assert content(repo) == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--undo", "--forget-quarantine"], "cannot be used together"),
        (["20261126T000000-abcdef"], "goes with --undo or --forget-quarantine only"),
        (["--undo", "nothing", "--yes"], "there is nothing to undo"),
    ],
)
def test_wrong_lines(fresh: Fresh, words: list[str], text: str) -> None:
    done = kit.ours(fresh(), "heal", *words, check=False)
    assert done.returncode == 1 and text in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("damage", cases((no_index_and_blob, cut_pack, flip_snapshot), (cut_pack,)))
@pytest.mark.parametrize("fault", [Fail(), FailLate()], ids=["before", "after"])
def test_whatever_fails_healing_begins_again(fresh: Fresh, damage: Callable[[Path], None], fault: Fail | FailLate) -> None:
    """Each kind of call that changes something fails, the first and the last: nothing is lost, and the next run ends."""
    repo = fresh()
    damage(repo)
    start = in_memory(repo)
    could_be_read = readable(copy_of(start))
    quiet = FaultyStorage(copy_of(start), lambda call: None)
    _, calm = healed(quiet, forget=True)
    assert calm.is_sound
    changing = ("save", "remove", "side save", "begin")
    seen = [(call.operation, call.kind) for call in quiet.calls if call.operation in changing]
    for key in sorted(set(seen), key=str):
        for number in {0 if isinstance(fault, Fail) else seen.count(key) - 1}:
            storage = copy_of(start)
            try:
                healed(FaultyStorage(storage, nth(key[0], number, fault, key[1])), forget=True)
            except StorageError:
                for name, _ in list(storage.list(FileKind.LOCK)):
                    storage.remove(FileKind.LOCK, name)
            assert could_be_read <= readable(storage), (key, number)
            _, done = healed(storage, forget=True)
            assert done.is_sound, (key, number)
            if damage is not flip_snapshot:  # The snapshot with lost trees says when it was made.
                assert readable(quiet) <= readable(storage), (key, number)


def test_good_indexes_stay(fresh: Fresh) -> None:
    repo = fresh()
    indexes = kit.files_of(repo, "index")
    kit.flip_bit(indexes[0], 60)
    storage = LocalStorage(repo)
    _, done = healed(storage)
    assert done.is_sound and done.indexed
    assert set(readable(repo)) and len(kit.files_of(repo, "index")) <= len(indexes)


def remove_config(repo: Path) -> None:
    (repo / "config").unlink()


def spoil_config(repo: Path) -> None:
    (repo / "config").chmod(0o600)
    (repo / "config").write_bytes(os.urandom(155))


def empty_config(repo: Path) -> None:
    kit.cut(repo / "config", 0)


@pytest.mark.parametrize(("damage", "version"), [(remove_config, 1), (spoil_config, 2), (empty_config, 2)])
def test_a_config_is_made_anew_from_a_key(
    tmp_path: Path, rescue_source: Path, damage: Callable[[Path], None], version: int
) -> None:
    repo = kit.make_repository(tmp_path / "repo", rescue_source, version=version)
    for path in kit.files_of(repo):
        path.chmod(0o600)
    old = json.loads(kit.restic(repo, "cat", "config").stdout)
    damage(repo)
    flip_index(repo)
    before = read_all(repo)
    told = kit.ours(repo, "heal", "--dry-run")
    assert "made anew from a key" in told.stdout and read_all(repo) == before
    entrance, plan, summary = map(json.loads, kit.ours(repo, "heal", "--yes", *QUICK, "--json").stdout.splitlines())
    assert (entrance["is_new"], plan["message_type"], summary["healthy"]) == (True, "plan", True)
    new = json.loads(kit.restic(repo, "cat", "config").stdout)
    assert new["version"] == old["version"] == version and new["id"] != old["id"]
    kit.restic(repo, "check", "--read-data")
    kit.restic(repo, "backup", "-q", str(rescue_source / "a"))


def test_a_config_that_was_made_anew_is_undone_with_the_rest(fresh: Fresh) -> None:
    repo = fresh()
    remove_config(repo)
    flip_index(repo)
    before = read_all(repo)
    kit.ours(repo, "heal", "--yes", *QUICK)
    kit.ours(repo, "heal", "--undo", "--yes")
    assert read_all(repo) == before


def test_a_config_with_one_bit_turned_is_as_it_was(fresh: Fresh) -> None:
    repo = fresh()
    good = (repo / "config").read_bytes()
    kit.flip_bit(repo / "config", 70)
    done = kit.ours(repo, "heal", "--yes", *PATIENT)
    assert "solved through the MAC" in done.stdout and (repo / "config").read_bytes() == good


def test_a_key_with_one_byte_wrong_is_as_it_was(fresh: Fresh) -> None:
    repo = fresh()
    (key,) = (repo / "keys").iterdir()
    good = key.read_bytes()
    kit.flip_bit(key, good.index(b'"data"') + 20, 1)
    kit.ours(repo, "heal", "--yes", *PATIENT)
    assert key.read_bytes() == good
    kit.restic(repo, "check", "--read-data")


def test_a_wrong_password_repairs_nothing(fresh: Fresh) -> None:
    repo = fresh()
    remove_config(repo)
    before = read_all(repo)
    words = kit.ours_command(repo, "heal", "--yes", "--budget", "1")
    done = kit.run(words, env=kit.environment(RESTIC_PASSWORD="wrong"), check=False)
    assert done.returncode == 12 and read_all(repo) == before


def test_blobs_with_one_bit_turned_are_solved(fresh: Fresh) -> None:
    repo = fresh()
    good = content(repo)
    flip_blob(repo)
    flip_tree(repo)
    flip_snapshot(repo)
    done = kit.ours(repo, "heal", "--yes", *PATIENT)
    told = [line for line in done.stdout.splitlines() if "  brought back " in line]
    assert len(told) == 3 and all("solved through the MAC" in line for line in told)
    assert content(repo) == good


def trees_of(repository: Repository, tree: str) -> Iterator[str]:
    """A tree and all below it, those further down first."""
    for node in json.loads(repository.load_blob(BlobType.TREE, bytes.fromhex(tree)))["nodes"]:
        if node["type"] == "dir":
            yield from trees_of(repository, node["subtree"])
    yield tree


def test_trees_of_a_lost_snapshot_that_were_damaged_too_are_recovered(fresh: Fresh) -> None:
    repo = fresh()
    repository = opened(repo)
    repository.load_index()
    (gone, lost), (_, left) = (
        (one.id.hex(), list(trees_of(repository, str(one.snapshot.tree)))) for one in all_snapshots(repository)
    )
    below = next(tree for tree in lost[:-1] if tree not in left)
    (repo / path_of(FileKind.SNAPSHOT, gone)).unlink()
    place = repository.index.lookup(BlobType.TREE, bytes.fromhex(below))
    assert place is not None
    kit.flip_bit(repo / path_of(FileKind.PACK, place.pack.hex()), place.offset + 20)
    kit.ours(repo, "heal", "--yes", *PATIENT)
    assert "recovered" in kit.restic(repo, "snapshots").stdout


def read_all(repo: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(repo)): path.read_bytes() for path in kit.files_of(repo)}


def add_foreign_key(repo: Path, tmp_path: Path) -> Path:
    """A key of another repository with the same password, by a name that comes first."""
    other = tmp_path / "other"
    kit.restic(other, "init", "-q")
    (key,) = (other / "keys").iterdir()
    shutil.copy(key, repo / "keys" / key.name)
    return other


def test_a_key_of_another_repository_is_set_aside(fresh: Fresh, tmp_path: Path) -> None:
    repo = fresh()
    mine = {path.name for path in (repo / "keys").iterdir()}
    add_foreign_key(repo, tmp_path)
    before = read_all(repo)
    done = kit.ours(repo, "heal", "--yes", *QUICK)
    assert "the repository is healthy" in done.stdout
    assert {path.name for path in (repo / "keys").iterdir()} == mine
    kit.restic(repo, "check", "--read-data")
    kit.ours(repo, "heal", "--undo", "--yes")
    assert read_all(repo) == before


def test_an_init_over_a_repository_is_put_right(fresh: Fresh, tmp_path: Path) -> None:
    """Config and key are new ones: whoever believes them takes all that is there for damaged."""
    repo = fresh()
    mine = {path.name for path in (repo / "keys").iterdir()}
    everything = readable(repo)
    other = add_foreign_key(repo, tmp_path)
    (repo / "config").unlink()
    shutil.copy(other / "config", repo / "config")
    before = read_all(repo)
    done = kit.ours(repo, "heal", "--yes", *QUICK)
    assert "are of another repository" in done.stdout and "the repository is healthy" in done.stdout
    assert {path.name for path in (repo / "keys").iterdir()} == mine and everything <= readable(repo)
    kit.restic(repo, "check", "--read-data")
    kit.ours(repo, "heal", "--undo", "--yes")
    assert read_all(repo) == before
    # Without the old key nothing opens the rest, and nothing is taken for damaged.
    repo = fresh()
    (repo / "config").unlink()
    for path in (repo / "keys").iterdir():
        path.unlink()
    for name in ("config", *(str(path.relative_to(other)) for path in (other / "keys").iterdir())):
        shutil.copy(other / name, repo / name)
    alone = read_all(repo)
    refused = kit.ours(repo, "heal", "--yes", *QUICK, check=False)
    assert refused.returncode == 1 and "of another repository" in refused.stderr and read_all(repo) == alone


def test_without_any_key_it_says_what_is_needed(fresh: Fresh) -> None:
    repo = fresh()
    for path in (repo / "keys").iterdir():
        path.unlink()
    done = kit.ours(repo, "heal", "--yes", check=False)
    assert done.returncode == 1 and "there is no key in the repository" in done.stderr and "Traceback" not in done.stderr


def test_the_password_is_asked_for_once(fresh: Fresh) -> None:
    repo = fresh()
    flip_index(repo)
    words = kit.ours_command(repo, "heal", "--yes", *QUICK)
    environment = {name: value for name, value in kit.environment().items() if name != "RESTIC_PASSWORD"}
    done = kit.run(words, env=environment, input=kit.PASSWORD + "\n", check=False)
    assert done.returncode == 0 and "the repository is healthy" in done.stdout
