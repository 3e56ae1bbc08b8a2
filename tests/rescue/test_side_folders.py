"""Files of this program in folders of a repository: no other program takes notice of them."""

from __future__ import annotations

import shutil

import pytest

from restic_format.storage import LocalStorage
from restic_spec.layout import SIDE_FOLDERS
from tests.rescue.conftest import Fresh
from tests.safety import kit


@pytest.mark.clause("LAYOUT-12")
def test_restic_does_not_see_them(fresh: Fresh) -> None:
    repo = fresh()
    before = {name: kit.restic(repo, "list", name).stdout for name in ("packs", "index", "snapshots", "keys")}
    some_pack = kit.files_of(repo, "data")[0]
    for folder in SIDE_FOLDERS:
        (repo / folder / "data" / some_pack.name[:2]).mkdir(parents=True)
        shutil.copy(some_pack, repo / folder / "data" / some_pack.name[:2] / some_pack.name)
        LocalStorage(repo).side_files(folder).save(f"snapshots/{some_pack.name}", b"garbage")
    told = kit.restic(repo, "check", "--read-data")
    assert "no errors were found" in told.stdout and "unexpected" not in told.stdout + told.stderr
    kit.restic(repo, "prune")
    kit.restic(repo, "unlock", "--remove-all")
    assert {name: kit.restic(repo, "list", name).stdout for name in ("snapshots", "keys")} == {
        name: before[name] for name in ("snapshots", "keys")
    }
    for folder in SIDE_FOLDERS:
        assert len(list(LocalStorage(repo).side_files(folder).list())) == 2
    assert list(LocalStorage(repo).strays()) == []
