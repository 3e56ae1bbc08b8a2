"""Trees that no snapshot has: what is left of snapshots that are damaged or gone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from restic_format.check.blobs import BlobFault, read_blob
from restic_format.check.state import Run
from restic_format.snapshots.idset import IdSet
from restic_format.snapshots.nodes import NodeReader
from restic_spec.errors import SpecError
from restic_spec.pack import BlobType
from restic_spec.tree import DIR


def count_unreferenced(run: Run, reached: IdSet) -> int:
    """How many trees can be read that are not *reached* from snapshots, and are no directory of another such tree."""
    trees = IdSet()
    for _, entry in run.repo.index.entries():
        if entry.type is BlobType.TREE and entry.id not in reached:
            trees.add(entry.id)
    inside = IdSet()
    for ident in trees:
        run.cancel.check()
        try:
            for child in _children(run, ident):
                inside.add(child)
        except (BlobFault, SpecError):
            inside.add(ident)  # No snapshot can be made of it.
    return sum(ident not in inside for ident in trees)


def _children(run: Run, ident: bytes) -> Iterable[bytes]:
    raw, _ = read_blob(run, BlobType.TREE, ident)
    reader = NodeReader(raw, f"tree {ident.hex()}")
    nodes = itertools.chain.from_iterable(iter(reader.next, []))
    return (bytes.fromhex(node.subtree) for node in nodes if node.type == DIR and node.subtree is not None)
