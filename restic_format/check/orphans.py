"""Trees that no snapshot has, and a repository without snapshots: what is there that could be made into snapshots again?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from restic_format.check.blobs import BlobFault, Trouble, read_blob
from restic_format.check.findings import REPAIR_INDEX, Code, Finding, ObjectKind, ObjectRef
from restic_format.check.headers import add_unlisted
from restic_format.check.state import Run
from restic_format.snapshots.idset import IdSet
from restic_format.snapshots.nodes import NodeReader
from restic_spec.errors import SpecError
from restic_spec.pack import BlobType
from restic_spec.tree import DIR

_INTERRUPTED = "a first backup was interrupted, or the index and the snapshots are lost, but no directory tree is there"
_GO_ON = "the next backup uses what is in the packs after `repair index`; prune would remove them"


def look_for_roots(run: Run) -> None:
    """Where there is no snapshot, but packs are: say whether they hold trees that snapshots may have named."""
    if not run.file_sizes:
        return
    indexed = len(run.repo.index) > 0
    if not indexed:
        add_unlisted(run)

    def unreadable(ident: bytes, fault: BlobFault) -> None:
        ref = ObjectRef(ObjectKind.TREE, ident.hex(), fault.pack.hex())
        run.add(Finding(Code.TREE_UNREADABLE, ref, fault.what, fault.clause))

    roots = count_roots(run, unreadable=unreadable)
    count = len(run.file_sizes)
    ref = ObjectRef(ObjectKind.REPOSITORY)
    trees = f"{roots} directory trees that are part of no other tree"
    if roots and not indexed:
        message = f"there are {count} packs with {trees}, but no index and no snapshot"
        run.add(Finding(Code.INDEX_NONE, ref, message))
    elif roots:
        run.add(Finding(Code.SNAPSHOTS_GONE, ref, f"there are {trees}, but no snapshot"))
    elif not indexed and not run.report.unreadable:
        message = f"there are {count} packs, but no index and no snapshot"
        number = run.add(Finding(Code.SNAPSHOTS_GONE, ref, message))
        run.set_remedy(number, _INTERRUPTED, (REPAIR_INDEX,), _GO_ON)


def count_roots(run: Run, reached: IdSet | None = None, unreadable: Callable[[bytes, BlobFault], None] | None = None) -> int:
    """How many trees can be read that are not *reached* from snapshots, and are no directory of another such tree. Those that
    the storage does not give back go to *unreadable*.
    """
    trees = IdSet()
    for _pack, entry in run.repo.index.entries():
        if entry.type is BlobType.TREE and (reached is None or entry.id not in reached):
            trees.add(entry.id)
    inside = IdSet()
    for ident in trees:
        run.cancel.check()
        try:
            for child in _children(run, ident):
                inside.add(child)
        except (BlobFault, SpecError) as error:
            inside.add(ident)  # No snapshot can be made of it.
            if unreadable is not None and isinstance(error, BlobFault) and error.trouble is Trouble.UNREADABLE:
                unreadable(ident, error)
    return sum(ident not in inside for ident in trees)


def _children(run: Run, ident: bytes) -> Iterable[bytes]:
    raw, _bad = read_blob(run, BlobType.TREE, ident)
    known = run.repo.index.check_tree(raw)
    if known is not None:
        return known
    reader = NodeReader(raw, f"tree {ident.hex()}")
    nodes = itertools.chain.from_iterable(iter(reader.next, []))
    return (bytes.fromhex(node.subtree) for node in nodes if node.type == DIR and node.subtree is not None)
