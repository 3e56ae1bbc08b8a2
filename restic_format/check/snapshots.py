"""Snapshots: which are to be checked, and which cannot be read."""

from __future__ import annotations

from collections.abc import Callable

from restic_format.check.findings import Code, Finding, ObjectKind, ObjectRef
from restic_format.check.reasons import is_unreadable, load_reason
from restic_format.check.state import Run
from restic_format.errors import SnapshotNotFound, StorageError
from restic_format.snapshots import FoundSnapshot, SnapshotFilter, filter_snapshots
from restic_spec.errors import ResticFormatError
from restic_spec.ids import is_hex_id

Root = tuple[bytes, bytes]
"""A snapshot's id and its root tree's."""


def load_snapshots(run: Run, seen: Callable[[FoundSnapshot], None] | None = None) -> tuple[list[Root], list[Finding]]:
    """Read the snapshots chosen; those that can be walked, and what is wrong with the others.

    *seen* is shown each of the first.
    """
    options = run.options
    faults: list[Finding] = []

    def damaged(name: str, error: ResticFormatError) -> None:
        faults.append(_fault(name, error))

    wanted = SnapshotFilter(hosts=options.hosts, tags=options.tags, paths=options.paths)
    roots: list[Root] = []
    try:
        for found in filter_snapshots(run.repo, options.snapshots, wanted, damaged):
            run.cancel.check()
            name = found.id.hex()
            tree = found.snapshot.tree
            if isinstance(tree, str) and is_hex_id(tree):
                roots.append((found.id, bytes.fromhex(tree)))
                if seen is not None:
                    seen(found)
            else:
                ref = ObjectRef(ObjectKind.SNAPSHOT, name)
                faults.append(Finding(Code.SNAPSHOT_NO_TREE, ref, f"snapshot {name} has no tree"))
    except (StorageError, OSError) as error:
        message = f"cannot list snapshots: {error}"
        faults.append(Finding(Code.LIST_FAILED, ObjectRef(ObjectKind.REPOSITORY), message))
    return roots, faults


def _fault(name: str, error: ResticFormatError) -> Finding:
    ref = ObjectRef(ObjectKind.SNAPSHOT, name)
    if isinstance(error, SnapshotNotFound):
        return Finding(Code.SNAPSHOT_NOT_FOUND, ref, str(error))
    why = load_reason("snapshot", bytes.fromhex(name), error) if is_hex_id(name) else str(error)
    code = Code.SNAPSHOT_UNREADABLE if is_unreadable(error) else Code.SNAPSHOT_DAMAGED
    return Finding(code, ref, f"failed to load snapshot {name[:8]}: {why}", error.clause)
