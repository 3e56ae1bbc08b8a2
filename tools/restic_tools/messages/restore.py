"""The messages of ``restore``."""

from __future__ import annotations

import msgspec


class RestoreStatus(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``restore``: how far it is."""

    message_type: str
    seconds_elapsed: int = 0
    percent_done: msgspec.Raw
    """0 to 1, by bytes; a Go float."""
    total_files: int = 0
    files_restored: int = 0
    files_skipped: int = 0
    files_deleted: int = 0
    total_bytes: int = 0
    bytes_restored: int = 0
    bytes_skipped: int = 0


class RestoreItem(msgspec.Struct):
    """``restore --verbose=2``: one item is restored, updated, unchanged or deleted."""

    message_type: str
    action: str
    item: str
    size: int


class RestoreSummary(msgspec.Struct, omit_defaults=True):
    """``restore``: the outcome."""

    message_type: str
    seconds_elapsed: int = 0
    total_files: int = 0
    files_restored: int = 0
    files_skipped: int = 0
    files_deleted: int = 0
    total_bytes: int = 0
    bytes_restored: int = 0
    bytes_skipped: int = 0
