"""What the tests of ways, shares and comparisons have in common: snapshots made by hand, and what is in one."""

from __future__ import annotations

import itertools

import pytest

from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, Walk
from restic_spec.snapshot import Snapshot
from restic_spec.tree import DIR, Node
from tests.restore.kit import Maker

T0 = "2026-01-01T00:00:00Z"
_numbers = itertools.count()


def snapshot(maker: Maker, *entries: Node, tree: bytes | None = None) -> FoundSnapshot:
    """A snapshot of hand-made entries; the index is loaded."""
    root = maker.finish(entries) if tree is None else tree
    maker.writer.flush()
    maker.repo.load_index()
    return FoundSnapshot(next(_numbers).to_bytes(32), Snapshot(time=T0, tree=root.hex()))


def paths_of(repo: Repository, found: FoundSnapshot) -> list[tuple[str, Node]]:
    assert found.snapshot.tree
    walk = Walk(repo, bytes.fromhex(found.snapshot.tree), None, fault=lambda *_: pytest.fail("a fault"))
    paths = []
    for level, node, name in walk:
        paths.append((level.path_of(name), node))
        if node.type == DIR:
            walk.enter(node, name, None)
    return paths
