"""A source that is stored as if it were somewhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.backup import BackupOptions, backup, find_parent
from restic_format.errors import UsageError
from restic_format.repository import Repository
from tests.backup.sources import Restic, files


def test_the_tree_is_restics_of_that_path(restic: Restic, ours: Callable[[], Repository], source: Path) -> None:
    (source.parent / "moved").symlink_to(source.parent)
    restic("backup", str(source))
    repository = ours()
    result = backup(repository, [str(source.parent / "moved" / "s")], BackupOptions(as_path=str(source)))
    snapshots = json.loads(restic("snapshots", "--json"))
    assert [snapshot["paths"] for snapshot in snapshots] == [[str(source)]] * 2
    first, second = (files(repository, snapshot["tree"]) for snapshot in snapshots)
    assert list(first) == list(second) and second[str(source)].subtree is not None
    # Others make files beside ours in the folders above, whose times may have changed between the two.
    for path, node in first.items():
        same = (
            node == second[path]
            if path.startswith(str(source))
            else (node.inode, node.mode) == (second[path].inode, second[path].mode)
        )
        assert same, path
    assert result.summary.stats.data_blobs == 0
    restic("check", "--read-data")


def test_a_path_that_is_not_there(source: Path, repository: Repository) -> None:
    first = backup(repository, ["s"], BackupOptions(as_path="/not/there/x"))
    found = files(repository, first.tree)
    assert "/not/there/x/d/e/four" in found
    above, below = found["/not/there"], found["/not/there/x"]
    assert (above.type, above.inode, above.mtime) == ("dir", 0, found["/not"].mtime) and below.inode == source.stat().st_ino
    parent = find_parent(repository, paths=["/not/there/x"])
    assert parent is not None and parent.id.hex() == first.snapshot_id
    options = BackupOptions(as_path="/not/there/x", parent=parent.snapshot, parent_id=parent.id.hex())
    again = backup(repository, ["s/."], options)
    assert again.tree == first.tree and again.summary.files.unchanged == 4 and not again.summary.stats.tree_blobs


@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize(
    ("target", "as_path", "expected"),
    [
        ("s", "/", ["/d", "/d/e", "/d/e/four", "/d/three", "/one", "/two"]),
        ("s/one", "/deep/file", ["/deep", "/deep/file"]),
        ("s/d", "rel/x", ["/rel", "/rel/x", "/rel/x/e", "/rel/x/e/four", "/rel/x/three"]),
        (".", "/top", ["/top", "/top/s", *(f"/top/s/{p}" for p in ("d", "d/e", "d/e/four", "d/three", "one", "two"))]),
    ],
)
def test_targets(
    source: Path,
    repository: Repository,
    request: pytest.FixtureRequest,
    target: str,
    as_path: str,
    expected: list[str],
    twin: bool,
) -> None:
    if twin:
        request.getfixturevalue("file_by_file")
    result = backup(repository, [target], BackupOptions(as_path=as_path))
    assert sorted(files(repository, result.tree)) == expected
    assert result.summary.errors == 0


def test_one_target_only(source: Path, repository: Repository) -> None:
    with pytest.raises(UsageError):
        backup(repository, ["s/one", "s/two"], BackupOptions(as_path="/x"))
