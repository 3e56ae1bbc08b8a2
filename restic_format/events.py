"""What the progress callback of each operation of the library is told: a union for each, and what is in it."""

from restic_format.backup.job import (
    BackupEvent,
    BytesDone,
    FileEnded,
    FilesDone,
    FileStarted,
    ItemDone,
    ItemFailed,
    Totals,
    Warned,
)
from restic_format.check.findings import Finding
from restic_format.check.state import CheckEvent, ReadPlan
from restic_format.maintenance.copy import (
    BatchEnds,
    BlobsCopied,
    BlobsFound,
    CopyEvent,
    CopyStarted,
    PackCopied,
    SnapshotCopied,
    SnapshotFailed,
)
from restic_format.maintenance.forget import Removed
from restic_format.maintenance.prune.records import FileGone, FileStays, PackForgotten, PruneEvent, Unindexed
from restic_format.restore.report import Failed, Item, RestoreEvent
from restic_format.storage.warming import WarmUp
from restic_format.work import Advance, Progress

__all__ = [
    "Advance",
    "BackupEvent",
    "BatchEnds",
    "BlobsCopied",
    "BlobsFound",
    "BytesDone",
    "CheckEvent",
    "CopyEvent",
    "CopyStarted",
    "Failed",
    "FileEnded",
    "FileGone",
    "FileStarted",
    "FileStays",
    "FilesDone",
    "Finding",
    "Item",
    "ItemDone",
    "ItemFailed",
    "PackCopied",
    "PackForgotten",
    "Progress",
    "PruneEvent",
    "ReadPlan",
    "Removed",
    "RestoreEvent",
    "SnapshotCopied",
    "SnapshotFailed",
    "Totals",
    "Unindexed",
    "WarmUp",
    "Warned",
]
