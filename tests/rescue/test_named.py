"""Blobs that only trees name come back from elsewhere, and old snapshots stay that have more left than their replacements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from restic_format.rescue.named import Comparing, missing_below, roots
from restic_format.snapshots.find import all_snapshots
from restic_spec.pack import BlobType
from tests.repairing.kit import packs_of_type
from tests.rescue.conftest import Fresh
from tests.rescue.kit import opened
from tests.safety import kit


@pytest.mark.parametrize("kind", ["data", "tree"])
def test_what_no_index_lists_any_more_comes_back(fresh: Fresh, rescue_original: Path, kind: str) -> None:
    repo = fresh()
    for pack in packs_of_type(repo, kind):
        pack.unlink()
    kit.restic(repo, "repair", "index")
    kit.ours(repo, "heal", "--yes", "--donor", str(rescue_original))
    assert "no errors were found" in kit.restic(repo, "check", "--read-data").stdout
    assert len(kit.files_of(repo, "snapshots")) == 2


def test_what_only_trees_name_that_come_back_is_looked_for(fresh: Fresh, rescue_original: Path) -> None:
    repo = fresh()
    for pack in kit.files_of(repo, "data"):
        pack.unlink()
    kit.restic(repo, "repair", "index")
    kit.ours(repo, "heal", "--yes", "--donor", str(rescue_original))
    assert "no errors were found" in kit.restic(repo, "check", "--read-data").stdout


def test_forget_keeps_an_old_snapshot_that_has_more_left(fresh: Fresh, rescue_original: Path) -> None:
    repo = fresh()
    packs = packs_of_type(repo, "data")
    kept = {pack: pack.read_bytes() for pack in packs}
    for pack in packs:
        pack.unlink()
    kit.ours(repo, "heal", "--yes", check=False)
    old = {path.name for path in kit.files_of(rescue_original, "snapshots")}
    assert old < {path.name for path in kit.files_of(repo, "snapshots")}
    packs[0].write_bytes(kept[packs[0]])  # It is found again.
    kit.restic(repo, "repair", "index")
    before = opened(repo)
    before.load_index()
    left = [
        (one, new) for one in all_snapshots(before) for new in all_snapshots(before) if new.snapshot.original == one.id.hex()
    ]
    assert not all(Comparing(before).has_all_of(*pair) for pair in left)
    missing = missing_below(before, roots(one for one, _ in left))
    assert missing and all(key[0] is BlobType.DATA for key in missing)
    told = kit.ours(repo, "heal", "--yes", "--forget", "--json").stdout.splitlines()[-1]
    assert old & {one["old"] for one in json.loads(told)["snapshots"]}
    after = opened(repo)
    after.load_index()
    found = list(all_snapshots(after))
    for one, _ in left:
        assert any(Comparing(after).has_all_of(one, new) for new in found), "what had come back is in no snapshot"
