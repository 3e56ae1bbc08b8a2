"""Snapshots as file systems: which one is meant, and what is in it."""

from restic_format.snapshots.find import (
    FoundSnapshot,
    SnapshotFilter,
    all_snapshots,
    filter_snapshots,
    find_id,
    find_latest,
    find_snapshot,
    resolve_subfolder,
    split_subfolder,
)

__all__ = [
    "FoundSnapshot",
    "SnapshotFilter",
    "all_snapshots",
    "filter_snapshots",
    "find_id",
    "find_latest",
    "find_snapshot",
    "resolve_subfolder",
    "split_subfolder",
]
