"""Recovering trees that no snapshot names any more: a new snapshot in which each of them is a directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from restic_format import __version__
from restic_format.errors import ResticFormatError
from restic_format.repository import Repository
from restic_format.repository.keys import current_host, current_user
from restic_format.snapshots.find import all_snapshots
from restic_format.snapshots.used import find_unreferenced
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec import gotime
from restic_spec.pack import BlobType
from restic_spec.snapshot import Snapshot
from restic_spec.tree import DIR, NODE_TYPES, Node, encode_tree

SNAPSHOTS, TREES = "snapshots", "trees loaded"
"""The stages that `Advance` names."""

PATH, TAG = "/recover", "recovered"
"""Path and tag of the new snapshot, as restic gives them."""

_NAME_DIGITS = 8
"""Digits of a tree's id in the name of its directory, if they tell it from the others."""


@dataclass
class RecoveryPlan:
    """What could be recovered."""

    repository: Repository
    roots: list[bytes] = field(default_factory=list)
    """Trees that are part of no other tree and of no snapshot, sorted."""
    damaged_trees: dict[bytes, ResticFormatError] = field(default_factory=dict)
    damaged_snapshots: dict[bytes, ResticFormatError] = field(default_factory=dict)
    """Snapshots that cannot be read: what they name counts as named by none."""


def plan(repository: Repository, *, progress: Progress[Advance] = silent, cancel: Cancel | None = None) -> RecoveryPlan:
    """Find the trees that no snapshot names. The index must be loaded and complete (see `repairindex`); nothing changes.

    Raises:
        StorageError: the snapshots cannot be listed.
        Interrupted: it was cancelled.
    """
    made = RecoveryPlan(repository)

    def named() -> Iterator[bytes]:
        progress(Advance(SNAPSHOTS, 0, 0))
        for found in all_snapshots(repository, made.damaged_snapshots.__setitem__):
            if isinstance(found.snapshot.tree, str):
                yield bytes.fromhex(found.snapshot.tree)

    made.roots = find_unreferenced(
        repository,
        named(),
        damaged=made.damaged_trees.__setitem__,
        progress=lambda done, total: progress(Advance(TREES, done, total)),
        cancel=cancel,
    )
    return made


def execute(
    made: RecoveryPlan,
    *,
    hostname: str | None = None,
    now: Callable[[], int] = time.time_ns,
    program_version: str | None = None,
) -> bytes | None:
    """Store a snapshot that has every tree of the plan as a directory; its id, None where there is no tree.

    *hostname* is this machine's unless given, *now* gives nanoseconds since the epoch, and *program_version* is what the
    snapshot says made it.

    Raises:
        ResticFormatError: something could not be stored; nothing is lost.
    """
    if not made.roots:
        return None
    repository = made.repository
    time_text = gotime.format_ns(now())
    writer = repository.writer()
    try:
        tree = writer.save_blob(BlobType.TREE, encode_tree(_directories(made.roots, time_text))).id
        writer.flush()
    except BaseException:
        writer.discard()
        raise
    user = current_user()
    return repository.save_snapshot(
        Snapshot(
            time=time_text,
            tree=tree.hex(),
            paths=[PATH],
            hostname=current_host() if hostname is None else hostname,
            username=user.name,
            uid=user.uid,
            gid=user.gid,
            tags=[TAG],
            program_version=program_version or f"restic-format {__version__}",
        )
    )


def _directories(roots: Sequence[bytes], time_text: str) -> list[Node]:
    """Nodes for the trees *roots*, which are sorted, so that their names are in order, too (TREE-4)."""
    names = [root.hex() for root in roots]
    digits = _NAME_DIGITS
    while len({name[:digits] for name in names}) < len(names):
        digits *= 2
    mode = NODE_TYPES[DIR].mode | 0o755
    return [
        Node(
            quoted=name[:digits],
            type=DIR,
            mode=mode,
            mtime=time_text,
            atime=time_text,
            ctime=time_text,
            uid=0,
            gid=0,
            content=None,
            subtree=name,
        )
        for name in names
    ]
