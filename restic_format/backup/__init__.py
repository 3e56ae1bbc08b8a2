"""Backup: a source tree or a stream becomes a snapshot."""

from restic_format.backup.errors import BackupFailed, CommandFailed, NothingToBackUp, SourceError
from restic_format.backup.options import BackupOptions, Change, ItemStats, Progress, Result, Silent, Summary, Totals
from restic_format.backup.run import backup, backup_stream
from restic_format.backup.stream import CommandSource, StreamSource

__all__ = [
    "BackupFailed",
    "BackupOptions",
    "Change",
    "CommandFailed",
    "CommandSource",
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
]
