"""Backup: a source tree or a stream becomes a snapshot."""

from restic_format.backup.errors import BackupFailed, CommandFailed, NothingToBackUp, SourceError
from restic_format.backup.filelists import existing_targets, pattern_targets, raw_targets, read_list, verbatim_targets
from restic_format.backup.job import (
    BackupEvent,
    BackupOptions,
    BytesDone,
    Change,
    FileEnded,
    FilesDone,
    FileStarted,
    ItemDone,
    ItemFailed,
    ItemStats,
    Result,
    Summary,
    Totals,
    Warned,
)
from restic_format.backup.parent import DEFAULT_GROUPING, find_parent
from restic_format.backup.run import backup, backup_stream, stored_summary
from restic_format.backup.stream import CommandSource, StreamSource

__all__ = [
    "BackupEvent",
    "BackupFailed",
    "BackupOptions",
    "BytesDone",
    "Change",
    "CommandFailed",
    "CommandSource",
    "DEFAULT_GROUPING",
    "FileEnded",
    "FileStarted",
    "FilesDone",
    "ItemDone",
    "ItemFailed",
    "ItemStats",
    "NothingToBackUp",
    "Result",
    "SourceError",
    "StreamSource",
    "Summary",
    "Totals",
    "Warned",
    "backup",
    "backup_stream",
    "existing_targets",
    "find_parent",
    "pattern_targets",
    "raw_targets",
    "read_list",
    "stored_summary",
    "verbatim_targets",
]
