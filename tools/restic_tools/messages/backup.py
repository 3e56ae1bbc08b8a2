"""The messages of ``backup``."""

from __future__ import annotations

import msgspec


class BackupStatus(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``backup``: how far it is."""

    message_type: str
    seconds_elapsed: int = 0
    seconds_remaining: int = 0
    percent_done: msgspec.Raw
    """0 to 1, by bytes; a Go float."""
    total_files: int = 0
    files_done: int = 0
    total_bytes: int = 0
    bytes_done: int = 0
    error_count: int = 0
    current_files: list[str] = msgspec.field(default_factory=list)


class BackupItem(msgspec.Struct):
    """``backup --verbose``: one item is new, modified or unchanged, or the scan is finished."""

    message_type: str
    action: str
    item: str
    duration: msgspec.Raw
    """Seconds; a Go float."""
    data_size: int = 0
    data_size_in_repo: int = 0
    metadata_size: int = 0
    metadata_size_in_repo: int = 0
    total_files: int = 0


class BackupSummary(msgspec.Struct, omit_defaults=True):
    """``backup``: the outcome."""

    message_type: str
    files_new: int
    files_changed: int
    files_unmodified: int
    dirs_new: int
    dirs_changed: int
    dirs_unmodified: int
    data_blobs: int
    tree_blobs: int
    data_added: int
    data_added_packed: int
    total_files_processed: int
    total_bytes_processed: int
    total_duration: msgspec.Raw
    """Seconds; a Go float."""
    backup_start: str
    backup_end: str
    snapshot_id: str = ""
    dry_run: bool = False
    partial: bool = False
    """Whether the backup was interrupted and the snapshot holds what was done by then; not in restic."""


class VerifyStatus(msgspec.Struct):
    """``backup --verify``: how far reading back is."""

    message_type: str
    """``verify_status``."""
    seconds_elapsed: int
    percent_done: msgspec.Raw
    """0 to 1, of the bytes that are read back; a Go float."""
    total_bytes: int
    bytes_read_back: int
    files_compared: int


class VerifyChanged(msgspec.Struct):
    """``backup --verify``: an item of the source is another one now than the backup has read."""

    message_type: str
    """``verify_changed``."""
    item: str
    reason: str


class VerifySummary(msgspec.Struct):
    """``backup --verify``: the outcome, before the ``summary``."""

    message_type: str
    """``verified``."""
    snapshot_id: str
    """Empty where none was created."""
    files_compared: int
    """With the source; none where it was a stream."""
    bytes_compared: int
    blobs_read_back: int
    bytes_read_back: int
    """As they are stored."""
    items_changed: int
    """Items that have changed in the source since."""
    num_errors: int
    total_duration: msgspec.Raw
    """Seconds; a Go float."""
