"""The command ``prune`` beside restic's: what it accepts and refuses, what it says, and how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_conformance.peers import find_rustic
from restic_format.maintenance import prune
from restic_format.repository import Repository
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from tests.maintenance.kit import add_snapshot, contents, generate, open_repo
from tests.maintenance.test_configure import made as append_only
from tests.restore.kit import Maker, cheap_repo, ours, restic, run
from tests.safety.kit import copy_repository, cut, files_of, flip_bit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("prune") / "repo", 77).folder


@pytest.mark.parametrize(
    "words",
    [
        "--max-unused 120%",
        "--max-unused -5%",
        "--max-unused abc",
        "--max-unused abc%",
        "--max-unused=",
        "--max-unused 5x",
        "--max-unused -1k",
        "--max-unused 9999999T",
        "--max-unused 99999999999999999999",
        "--max-repack-size= --repack-smaller-than 0",
        "--repack-smaller-than -1x",
        "--repack-smaller-than 500M",
        "--unsafe-recover-no-free-space abc",
        "--repack-uncompressed --compression off",
        "--no-lock",
        "-o local.connections=1",
        "--json --max-unused -5%",
    ],
)
def test_what_is_refused_is_refused_in_restics_words(words: str, made: Path, peer: Callable[[str], Path]) -> None:
    before = files_of(made)
    told, theirs = ours(made, "prune", *words.split(" ")), restic(peer("restic-0.19"), made, "prune", *words.split(" "))
    assert told.returncode == theirs.returncode == 1
    assert told.stderr.replace(b"Fatal: ", b"") == theirs.stderr.replace(b"Fatal: ", b"")
    assert files_of(made) == before


def test_other_numbers_are_refused_with_the_name_of_the_option(made: Path) -> None:
    for option, value in (("--max-repack-size", "-1k"), ("--max-repack-size", "abc"), ("--keep-delete", "-1s")):
        told = ours(made, "prune", "--dry-run", f"{option}={value}")
        assert told.returncode == 1 and option.encode() in told.stderr, told


def test_options_are_restics_and_two_more(peer: Callable[[str], Path], made: Path) -> None:
    def options(text: bytes) -> set[bytes]:
        flags = text.split(b"Global")[0].split(b"Flags:")[-1].split(b"Options:")[-1]
        return {word.strip(b",:") for line in flags.splitlines() for word in line.split() if word.startswith(b"--")}

    theirs = options(restic(peer("restic-0.19"), made, "prune", "--help").stdout)
    assert options(ours(made, "prune", "--help").stdout) - theirs == {b"--lock-free", b"--keep-delete"}
    assert not theirs - options(ours(made, "prune", "--help").stdout)
    old = ours(made, "prune", "--dry-run", "--repack-small")
    assert old.returncode == 0 and b"deprecated" in old.stderr


def data_pack(folder: Path, needed: bool) -> Path:
    """A pack of data of which something, or nothing, is needed."""
    plan = prune.plan(open_repo(folder))
    for pack in open_repo(folder).index.packs():
        if {entry.type for entry in pack.entries()} == {BlobType.DATA} and (pack.id in plan.remove) != needed:
            return folder / "data" / pack.id.hex()[:2] / pack.id.hex()
    raise AssertionError("none")


def hurt_missing(folder: Path) -> None:
    data_pack(folder, needed=True).unlink()


def hurt_size(folder: Path) -> None:
    cut(data_pack(folder, needed=True), -1)


def hurt_index(folder: Path) -> None:
    flip_bit(files_of(folder, "index")[0], 40)


def hurt_snapshot(folder: Path) -> None:
    flip_bit(files_of(folder, "snapshots")[0], 40)


def hurt_no_index(folder: Path) -> None:
    for path in files_of(folder, "index"):
        path.unlink()


def hurt_tree(folder: Path) -> None:
    repo = open_repo(folder)
    tree = repo.load_snapshot(next(repo.list(FileKind.SNAPSHOT))[0]).tree
    assert isinstance(tree, str)
    for place in repo.index.lookup_all(BlobType.TREE, bytes.fromhex(tree)):
        flip_bit(folder / "data" / place.pack.hex()[:2] / place.pack.hex(), place.offset + 20)


def hurt_blob(folder: Path) -> None:
    repo = open_repo(folder)
    made = Maker(repo)
    tree = made.tree([made.node("f", "file", 0o644, size=1, content=["ab" * 32])])
    made.writer.flush()
    repo.save_snapshot(Snapshot(time="2026-02-01T00:00:00Z", tree=tree.hex(), paths=["/"], hostname="h"))


@pytest.mark.clause("ORDER-10")
@pytest.mark.parametrize(
    ("hurt", "says"),
    [
        (hurt_missing, b"packs from index missing in repo"),
        (hurt_size, b"pack size does not match calculated size from index; run repair index"),
        (hurt_index, b"run repair index"),
        (hurt_snapshot, b"back from a copy of the repository, or remove it if there is none"),
        (hurt_no_index, b"failed finding blobs"),
        (hurt_tree, b"failed finding blobs"),
        (hurt_blob, b"index is not complete"),
    ],
)
def test_damage_is_named_with_what_repairs_it_and_nothing_is_removed(
    hurt: Callable[[Path], None], says: bytes, made: Path, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    folder = copy_repository(made, tmp_path / "repo")
    hurt(folder)
    before = files_of(folder)
    for words in ([], ["--json"], ["--lock-free"], ["--max-repack-size", "0"]):
        told = ours(folder, "prune", *words)
        assert told.returncode == 1 and says in told.stderr and b"Traceback" not in told.stderr, told
        assert files_of(folder) == before
    assert restic(peer("restic-0.19"), folder, "prune").returncode == 1, "restic refuses, too"


def test_a_damaged_blob_stops_it_before_anything_is_removed(made: Path, tmp_path: Path) -> None:
    """It is found when it is to be moved; what was stored by then stays. Another copy that is intact is as good."""
    folder = copy_repository(made, tmp_path / "repo")
    plan = prune.plan(open_repo(folder), prune.PruneOptions(max_unused=prune.MaxUnused(bytes=0)))
    assert plan.kept is not None
    ids = plan.repository.index.pack_ids()
    pack, entry = next(
        (pack, plan.kept.entries(ids.index(pack))[0]) for pack in plan.repack if plan.kept.entries(ids.index(pack))
    )
    path = folder / "data" / pack.hex()[:2] / pack.hex()
    flip_bit(path, entry.offset + 20)
    before = set(files_of(folder))
    if len(plan.repository.index.lookup_all(entry.type, entry.id)) == 1 and entry.type is BlobType.DATA:
        told = ours(folder, "prune", "--max-unused", "0")
        assert told.returncode == 1 and b"nothing that is needed was removed: run repair packs" in told.stderr, told
        unreferenced = {folder / "data" / name.hex()[:2] / name.hex() for name in plan.unreferenced}
        assert before - set(files_of(folder)) <= unreferenced
    flip_bit(path, entry.offset + 20)
    repo = open_repo(folder)
    data = repo.load_blob(entry.type, entry.id)
    again = Repository.open(repo.storage, "pw").writer()
    again.save(entry.type, [(entry.id, data)])
    again.flush()
    expected = contents(folder)
    copies = open_repo(folder).index.lookup_all(entry.type, entry.id)
    chosen = prune.plan(open_repo(folder), prune.PruneOptions(max_unused=prune.MaxUnused(bytes=0)))
    assert len(copies) > 1
    for place in copies[:1]:
        flip_bit(folder / "data" / place.pack.hex()[:2] / place.pack.hex(), place.offset + 20)
    done = ours(folder, "prune", "--max-unused", "0")
    assert done.returncode == 0, (done, chosen.statistics)
    assert contents(folder) == expected


def test_what_is_told_in_json(made: Path, tmp_path: Path) -> None:
    """One message, the plan and what came of it; of a dry run the same plan."""
    folder = copy_repository(made, tmp_path / "repo")
    words = ("prune", "--max-unused", "0", "--repack-smaller-than", "1b", "--json")
    dry = ours(folder, *words, "--dry-run")
    done = ours(folder, *words)
    planned, did = json.loads(dry.stdout), json.loads(done.stdout)
    assert planned["message_type"] == did["message_type"] == "summary" and (planned["dry_run"], did["dry_run"]) == (True, False)
    for part in ("blobs", "size", "packs"):
        assert planned[part] == did[part]
    packs = did["packs"]
    assert did["files_removed"] == packs["repack"] + packs["remove"] + packs["unref"] and planned["files_removed"] == 0
    again = json.loads(ours(folder, *words).stdout)
    assert (
        again["files_removed"] == 0
        and again["blobs"]["total"] == did["blobs"]["total"] - did["blobs"]["remove"] - did["blobs"]["repackrm"]
    )


def test_the_unsafe_recovery_does_what_restics_does(made: Path, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    folder = copy_repository(made, tmp_path / "repo")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    expected = contents(folder)
    words = ["prune", "--unsafe-recover-no-free-space", open_repo(folder).id]
    told, theirs = ours(folder, *words), restic(peer("restic-0.19"), other, *words)
    assert told.returncode == theirs.returncode == 0
    assert contents(folder) == contents(other) == expected
    assert restic(peer("restic-0.19"), folder, "check", "--read-data").returncode == 0


def test_missing_packs_that_nobody_needs_leave_the_index(made: Path, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    folder = copy_repository(made, tmp_path / "repo")
    gone = data_pack(folder, needed=False)
    gone.unlink()
    told = ours(folder, "prune", "--max-unused", "unlimited")
    assert told.returncode == 0 and f"will forget missing pack file {gone.name}".encode() in told.stderr
    assert not open_repo(folder).index.has_pack(bytes.fromhex(gone.name))
    assert restic(peer("restic-0.19"), folder, "check").returncode == 0


def test_rustic_and_we_understand_each_others_marks(tmp_path: Path, project_root: Path, peer: Callable[[str], Path]) -> None:
    """rustic marks, and we remove; we mark, and rustic removes; each unmarks what is needed again. rustic takes part where it
    was built (``peers --rustic``, which takes many minutes).
    """
    program = find_rustic(project_root / ".peers")
    pairs = [("ours", "ours")] if program is None else [("ours", "ours"), ("ours", "rustic"), ("rustic", "ours")]

    def rustic(folder: Path, *words: str) -> bytes:
        command = [str(program), "-r", str(folder), "--password", "pw", "--no-cache", "--no-progress", *words]
        done = run(command)
        assert done.returncode == 0, done
        return done.stderr + done.stdout

    prune_words = ("prune", "--max-unused", "0%", "--max-repack", "unlimited")
    for marks, removes in pairs:
        folder = generate(tmp_path / f"{marks}-{removes}", 78, duplicates=False).folder
        backup = open_repo(folder)
        old = add_snapshot(Maker(backup), {"again": b"needed " * 100})
        expected = contents(folder)
        backup.remove(FileKind.SNAPSHOT, old)
        if marks == "ours":
            assert ours(folder, "prune", "--lock-free", "--max-unused", "0").returncode == 0
        else:
            rustic(folder, *prune_words, "--keep-pack", "0s")
        assert open_repo(folder).index.marked
        late = add_snapshot(Maker(backup), {"again": b"needed " * 100})
        expected[late] = expected.pop(old)
        if removes == "ours":
            done = ours(folder, "prune", "--lock-free", "--keep-delete", "0s", "--max-unused", "0")
            assert done.returncode == 0, done
        else:
            rustic(folder, *prune_words, "--keep-pack", "0s", "--keep-delete", "0s")
            rustic(folder, "check", "--read-data")
        assert contents(folder) == expected
        assert restic(peer("restic-0.19"), folder, "check", "--read-data").returncode == 0


def test_an_empty_repository(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    folder = cheap_repo(tmp_path / "repo")
    told, theirs = ours(folder, "prune", "-n"), restic(peer("restic-0.19"), folder, "prune", "-n")
    assert told.returncode == theirs.returncode == 0
    assert told.stdout == theirs.stdout.replace(b"warning: running prune without a cache, this may be very slow!\n", b"")
    add_snapshot(Maker(open_repo(folder)), {"f": b"f"})
    open_repo(folder).remove(FileKind.SNAPSHOT, next(open_repo(folder).list(FileKind.SNAPSHOT))[0])
    assert ours(folder, "prune").returncode == 0
    assert files_of(folder, "data") == []
    assert restic(peer("restic-0.19"), folder, "check").returncode == 0


@pytest.mark.parametrize("words", [["prune"], ["prune", "--lock-free"], ["forget", "--keep-last", "1", "--prune"]])
def test_without_the_folder_of_snapshots_nothing_counts_as_unused(words: list[str], made: Path, tmp_path: Path) -> None:
    folder = copy_repository(made, tmp_path / "repo")
    (folder / "snapshots").rename(tmp_path / "away")
    before = files_of(folder)
    told = ours(folder, *words)
    assert files_of(folder) == before
    if words[0] == "prune":
        assert told.returncode == 1
        assert b"the folder of the snapshots is missing" in told.stderr


def test_an_append_only_repository_keeps_everything() -> None:
    storage = append_only(append_only=True)
    repo = Repository.open(storage, "pw")
    with repo.lock(exclusive=True):
        plan = prune.plan(repo)
        with pytest.raises(prune.PruneRefused, match="append-only"):
            prune.execute(plan)
