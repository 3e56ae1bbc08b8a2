"""A repository without snapshots: what is there that could be made into snapshots again?"""

from __future__ import annotations

from restic_format.check.blobs import BlobFault, read_blob
from restic_format.check.findings import REPAIR_INDEX, Code, Finding, ObjectKind, ObjectRef
from restic_format.check.headers import add_unlisted
from restic_format.check.idset import IdSet
from restic_format.check.state import Run
from restic_spec.errors import SpecError
from restic_spec.ids import is_hex_id
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, decode_tree

_INTERRUPTED = "a first backup was interrupted, or the index and the snapshots are lost, but no directory tree is there"
_GO_ON = "the next backup uses what is in the packs after `repair index`; prune would remove them"


def look_for_roots(run: Run) -> None:
    """Where there is no snapshot, but packs are: say whether they hold trees that snapshots may have named."""
    if not run.file_sizes:
        return
    indexed = len(run.repo.index) > 0
    if not indexed:
        add_unlisted(run)
    roots = _count_roots(run)
    count = len(run.file_sizes)
    ref = ObjectRef(ObjectKind.REPOSITORY)
    trees = f"{roots} directory trees that are part of no other tree"
    if roots and not indexed:
        message = f"there are {count} packs with {trees}, but no index and no snapshot"
        run.add(Finding(Code.INDEX_NONE, ref, message))
    elif roots:
        run.add(Finding(Code.SNAPSHOTS_GONE, ref, f"there are {trees}, but no snapshot"))
    elif not indexed:
        message = f"there are {count} packs, but no index and no snapshot"
        number = run.add(Finding(Code.SNAPSHOTS_GONE, ref, message))
        run.set_remedy(number, _INTERRUPTED, (REPAIR_INDEX,), _GO_ON)


def _count_roots(run: Run) -> int:
    """How many trees can be read and are no directory of another tree."""
    trees = IdSet()
    for _pack, entry in run.repo.index.entries():
        if entry.type is BlobType.TREE:
            trees.add(entry.id)
    inside = IdSet()
    readable = 0
    for ident in trees:
        run.check_interrupt()
        try:
            children = _children(run, ident)
        except (BlobFault, SpecError):
            inside.add(ident)  # No snapshot can be made of it.
            continue
        readable += 1
        for child in children:
            inside.add(child)
    return sum(ident not in inside for ident in trees) if readable else 0


def _children(run: Run, ident: bytes) -> list[bytes]:
    raw, _bad = read_blob(run, BlobType.TREE, ident)
    known = run.repo.index.check_tree(raw)
    if known is not None:
        return known
    nodes = decode_tree(raw, f"tree {ident.hex()}")
    return [bytes.fromhex(n.subtree) for n in nodes if n.type == DIR and n.subtree is not None and is_hex_id(n.subtree)]
