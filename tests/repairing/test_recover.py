"""``recover``: a snapshot of everything that no snapshot names any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from restic_format.errors import ResticFormatError
from restic_format.maintenance import recover
from restic_format.repository.lock import remove_locks
from restic_format.snapshots import all_snapshots
from restic_format.storage import FaultyStorage, Storage
from restic_format.storage.faulty import Fail
from restic_spec.layout import FileKind
from restic_spec.tree import check_order
from tests.repairing.conftest import Fresh
from tests.repairing.kit import at, calls, copy_of, in_memory, inspect, opened, packs_of_type
from tests.safety import kit


def forget_all(repo: Path) -> None:
    for path in kit.files_of(repo, "snapshots"):
        path.unlink()


def run(where: Path | Storage) -> tuple[recover.RecoveryPlan, bytes | None]:
    repository = opened(where)
    with repository.lock(exclusive=True):
        repository.load_index()
        made = recover.plan(repository)
        return made, recover.execute(made, hostname="here")


@pytest.mark.clause("TREE-4")
def test_several_trees_become_one_snapshot(fresh: Fresh, source: Path, tmp_path: Path) -> None:
    repo = fresh()
    forget_all(repo)
    done = kit.ours(repo, "recover")
    assert "found 2 unreferenced roots" in done.stdout and "saved new snapshot" in done.stdout
    kit.restic(repo, "check", "--read-data")
    (snapshot,) = json.loads(kit.restic(repo, "snapshots", "--json").stdout)
    assert snapshot["paths"] == ["/recover"] and snapshot["tags"] == ["recovered"]
    kit.restic(repo, "restore", "latest", "--target", str(tmp_path / "out"))
    restored = sorted((tmp_path / "out").iterdir())
    assert len(restored) == 2
    same = [kit.run(["diff", "-r", str(source), f"{folder}{source}"], check=False).returncode for folder in restored]
    assert 0 in same, "the second backup is the source as it is now"
    again = kit.ours(repo, "recover")
    assert "found 0 unreferenced roots" in again.stdout and "no snapshot to write." in again.stdout


def test_restic_agrees_about_what_is_left(fresh: Fresh) -> None:
    mine, theirs = fresh(), fresh()
    for repo in (mine, theirs):
        kit.files_of(repo, "snapshots")[0].unlink()
    ours, real = kit.ours(mine, "recover", "-v"), kit.restic(theirs, "recover", "-v")

    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith(("[0", "saved new"))]

    assert lines(ours.stdout) == lines(real.stdout)
    for repo in (mine, theirs):
        kit.restic(repo, "check")
    trees = [kit.restic(repo, "ls", "latest").stdout.splitlines()[1:] for repo in (mine, theirs)]
    assert trees[0] == trees[1]


def test_what_cannot_be_read_is_told_and_gone_past(fresh: Fresh) -> None:
    repo = fresh()
    first, second = kit.files_of(repo, "snapshots")
    kit.cut(first, 20)
    kit.flip_bit(second, 30)
    kit.flip_bit(packs_of_type(repo, "tree")[-1], 10)
    made, saved = run(repo)
    assert len(made.damaged_snapshots) == 2 and len(made.damaged_trees) == 1
    assert saved is not None and not set(made.roots) & made.damaged_trees.keys()
    repository = opened(repo)
    tree = str(repository.load_snapshot(saved).tree)
    repository.load_index()
    nodes = list(check_order(repository.load_tree(bytes.fromhex(tree))))
    assert [node.subtree for node in nodes] == [root.hex() for root in made.roots]
    done = kit.ours(repo, "recover", "--json")
    (summary,) = map(json.loads, done.stdout.splitlines())
    assert summary["snapshot_id"] == "" and len(summary["snapshots_damaged"]) == 2 and len(summary["trees_damaged"]) == 1


def test_the_index_is_made_complete_first(fresh: Fresh) -> None:
    repo = fresh()
    forget_all(repo)
    for path in kit.files_of(repo, "index"):
        path.unlink()
    kit.ours(repo, "recover")
    kit.restic(repo, "check", "--read-data")
    assert len(list(all_snapshots(opened(repo)))) == 1


@pytest.mark.clause("TREE-4", "TREE-6")
def test_directories_whose_trees_begin_alike_have_different_names() -> None:
    roots = sorted(bytes([7]) * 4 + bytes([number]) * 28 for number in range(3))
    nodes = recover._directories(roots, "2024-02-03T04:05:06Z")
    assert len(list(check_order(nodes))) == 3
    assert {len(node.quoted) for node in nodes} == {16}
    assert recover._directories(roots[:1], "2024-02-03T04:05:06Z")[0].quoted == "07070707"


def test_when_any_call_fails(fresh: Fresh) -> None:
    repo = fresh()
    forget_all(repo)
    start = in_memory(repo)
    failed = set()
    for key, number in calls(run, start):
        inner = copy_of(start)
        try:
            run(FaultyStorage(inner, at(key, number, Fail())))
        except ResticFormatError:
            failed.add(key)
        remove_locks(opened(inner), everything=True)
        assert start.files.keys() - {key for key in start.files if key[0] is FileKind.LOCK} <= inner.files.keys()
        run(inner)
        assert inspect(inner, read_data=False).ok, (key, number)
        assert list(all_snapshots(opened(inner)))
    assert {("save", FileKind.PACK), ("save", FileKind.INDEX), ("save", FileKind.SNAPSHOT)} <= failed
