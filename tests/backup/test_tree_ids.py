"""The strongest check: for the same source our trees are restic's, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.backup import BackupOptions, backup
from restic_format.repository import Repository
from restic_format.snapshots import find_snapshot
from tests.backup.conftest import leave_out_native_parts
from tests.backup.sources import Restic, make_labelled_tree, make_strange_tree

OpenRepository = Callable[[], Repository]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    make_strange_tree(root)
    # Below a relative target nobody else changes anything: absolute paths lead through folders that other programs use.
    monkeypatch.chdir(root)
    return root


@pytest.mark.clause(
    "TREE-1",
    "TREE-3",
    "TREE-4",
    "TREE-5",
    "TREE-8",
    "TREE-10",
    "TREE-11",
    "TREE-13",
    "TREE-17",
    "TREE-18",
    "TREE-19",
    "TREE-21",
)
def test_strange_tree_has_restics_id(source: Path, restic: Restic, ours: OpenRepository) -> None:
    theirs = restic.backup(".", cwd=source)
    result = backup(ours(), ["."], BackupOptions(hostname="h"))
    assert result.tree == theirs["tree"]
    assert result.summary.errors == 0
    assert result.summary.stats.data_blobs == result.summary.stats.tree_blobs == 0


@pytest.mark.usefixtures("file_by_file")
def test_looking_file_by_file_gives_the_same(source: Path, restic: Restic, ours: OpenRepository) -> None:
    theirs = restic.backup(".", cwd=source)
    assert backup(ours(), ["."]).tree == theirs["tree"]


@pytest.mark.clause("TREE-18", "TREE-19")
@pytest.mark.parametrize("native", [True, False], ids=["native", "file by file"])
def test_attributes_of_new_and_of_unchanged_files(
    native: bool, tmp_path: Path, restic: Restic, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "labelled"
    root.mkdir()
    labelled = make_labelled_tree(root)
    monkeypatch.chdir(root)
    if not native:
        leave_out_native_parts(monkeypatch)
    theirs = restic.backup(".", cwd=root)
    first = backup(repository, ["."])
    assert first.tree == theirs["tree"]
    for number, path in enumerate(labelled):
        if number % 5 == 0:
            os.setxattr(path, "user.number", b"another")
        elif number % 5 == 1:
            os.removexattr(path, "user.number")
    # Nothing is read again, for attributes are not looked at for that; but those that are there now are stored.
    theirs = restic.backup("--ignore-ctime", ".", cwd=root)
    parent = find_snapshot(repository, "latest")[0].snapshot
    second = backup(repository, ["."], BackupOptions(ignore_ctime=True, parent=parent, parent_id=first.snapshot_id))
    assert second.tree == theirs["tree"] != first.tree
    assert first.summary.errors == second.summary.errors == 0
    assert second.summary.files.total == second.summary.files.unchanged == sum(path.is_file() for path in labelled)


@pytest.mark.clause("TREE-12")
def test_access_times(source: Path, restic: Restic, ours: OpenRepository) -> None:
    # The first reading of a symlink sets its access time.
    restic.backup("--with-atime", ".", cwd=source)
    theirs = restic.backup("--with-atime", ".", cwd=source)
    assert backup(ours(), ["."], BackupOptions(with_atime=True)).tree == theirs["tree"]


@pytest.mark.clause("TREE-11", "GOJSON-8")
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu", "Africa/Monrovia"])
def test_zones(zone: str, source: Path, restic: Restic, ours: OpenRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    theirs = restic.backup("times", cwd=source, TZ=zone)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert backup(ours(), ["times"]).tree == theirs["tree"]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.clause("TREE-15")
def test_device_ids_only_for_hard_links(source: Path, restic: Restic, ours: OpenRepository) -> None:
    theirs = restic.backup(".", cwd=source, RESTIC_FEATURES="device-id-for-hardlinks=true")
    assert backup(ours(), ["."], BackupOptions(device_id_for_hardlinks=True)).tree == theirs["tree"]


TARGETS: list[list[str]] = [
    ["."],
    ["a"],
    ["a/b"],
    ["./a//b/"],
    ["a/b", "c"],
    ["a", "a/b"],
    ["a/b", "a"],
    ["../work/a"],
    ["../work"],
    ["..", "a"],
    ["a", "../other/a"],
    ["../other/a", "a", "./a"],
    ["a/b", "../other/a/b"],
    ["a/link-to-dir/inner"],
    ["a/link-to-dir"],
    ["file", "c/../a"],
    ["c", "c/deep/x", "a/b"],
]


@pytest.mark.clause("SNAP-4", "SNAP-5")
@pytest.mark.parametrize("targets", TARGETS, ids=" ".join)
def test_top_of_the_tree(
    targets: list[str], tmp_path: Path, restic: Restic, ours: OpenRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "place" / "work"
    for name in ("work/a/b", "work/a/target", "work/c/deep", "other/a/b"):
        (tmp_path / "place" / name).mkdir(parents=True)
    for name in ("work/a/b/one", "work/a/target/inner", "work/c/deep/x", "other/a/b/two", "work/file"):
        (tmp_path / "place" / name).write_text(name)
    os.symlink("target", work / "a" / "link-to-dir")
    theirs = restic.backup(*targets, cwd=work)
    monkeypatch.chdir(work)
    result = backup(ours(), targets)
    assert result.tree == theirs["tree"]
    assert result.snapshot_id is not None
    assert restic.snapshot(result.snapshot_id)["paths"] == theirs["paths"]


def test_large_files_keep_the_order_of_their_chunks(
    tmp_path: Path, restic: Restic, ours: OpenRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that several workers share has its chunks in order."""
    import random

    (tmp_path / "big").write_bytes(random.Random(7).randbytes(70_000_000))
    theirs = restic.backup("big", cwd=tmp_path)
    monkeypatch.chdir(tmp_path)
    assert backup(ours(), ["big"], BackupOptions(read_concurrency=5)).tree == theirs["tree"]
