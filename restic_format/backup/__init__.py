"""Backup: a source tree or a stream becomes a snapshot."""

from restic_format.backup.errors import BackupFailed, CommandFailed, NothingToBackUp, SourceError
from restic_format.backup.filelists import existing_targets, pattern_targets, raw_targets, read_list, verbatim_targets
from restic_format.backup.job import BackupOptions, Change, ItemStats, Progress, Result, Silent, Summary, Totals
from restic_format.backup.parent import DEFAULT_GROUPING, find_parent
from restic_format.backup.run import backup, backup_stream, stored_summary
from restic_format.backup.stream import CommandSource, StreamSource

__all__ = [
    "BackupFailed",
    "BackupOptions",
    "Change",
    "CommandFailed",
    "CommandSource",
    "DEFAULT_GROUPING",
    "ItemStats",
    "NothingToBackUp",
    "Progress",
    "Result",
    "Silent",
    "SourceError",
    "StreamSource",
    "Summary",
    "Totals",
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
