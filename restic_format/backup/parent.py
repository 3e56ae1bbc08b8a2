"""Which snapshot a backup is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from restic_format.errors import SnapshotNotFound
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, SnapshotFilter, find_snapshot

DEFAULT_GROUPING = frozenset({"host", "paths"})


def find_parent(
    repository: Repository,
    *,
    name: str = "",
    group_by: frozenset[str] = DEFAULT_GROUPING,
    hostname: str = "",
    paths: Sequence[str] = (),
    tags: Sequence[str] = (),
    not_after_ns: int | None = None,
) -> FoundSnapshot | None:
    """The snapshot called *name*, or else the latest one of the same group; None where there is none.

    *group_by* holds ``host``, ``paths`` and ``tags``: what a snapshot must share with the new one.

    Raises:
        SnapshotNotFound: *name* is given and means no snapshot.
        DamagedFile: a snapshot cannot be read.
    """
    wanted = SnapshotFilter(
        hosts=[hostname] if "host" in group_by else (),
        tags=[list(tags)] if "tags" in group_by and tags else (),
        paths=list(paths) if "paths" in group_by else (),
        before_ns=not_after_ns,
    )
    try:
        found, _ = find_snapshot(repository, name or "latest", wanted)
    except SnapshotNotFound:
        if name:
            raise
        return None
    return found
