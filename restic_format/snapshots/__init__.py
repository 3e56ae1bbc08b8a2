"""Snapshots as file systems: which one is meant, and what is in it."""

from restic_format.snapshots.blobcache import BlobCache
from restic_format.snapshots.errors import NodeUnusable, TooDeep, UnsafeName
from restic_format.snapshots.filesystem import DirectoryCache, Entry, SnapshotFileSystem
from restic_format.snapshots.find import (
    FoundSnapshot,
    SnapshotFilter,
    all_snapshots,
    filter_snapshots,
    find_id,
    find_latest,
    find_snapshot,
    split_subfolder,
)
from restic_format.snapshots.paths import list_directory, resolve_subfolder, stat
from restic_format.snapshots.stream import FileStream, open_file
from restic_format.snapshots.walk import Level, Walk, subtree_of

__all__ = [
    "BlobCache",
    "DirectoryCache",
    "Entry",
    "FileStream",
    "FoundSnapshot",
    "Level",
    "NodeUnusable",
    "SnapshotFileSystem",
    "SnapshotFilter",
    "TooDeep",
    "UnsafeName",
    "Walk",
    "all_snapshots",
    "filter_snapshots",
    "find_id",
    "find_latest",
    "find_snapshot",
    "list_directory",
    "open_file",
    "resolve_subfolder",
    "split_subfolder",
    "stat",
    "subtree_of",
]
