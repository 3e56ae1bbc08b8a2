"""The messages of ``copy``."""

from __future__ import annotations

import msgspec


class CopyStatus(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``copy``: how far it is with the blobs of a snapshot."""

    message_type: str
    seconds_elapsed: int = 0
    source_snapshot_id: str = ""
    percent_done: msgspec.Raw
    """0 to 1, by bytes; a Go float."""
    total_packs: int = 0
    packs_done: int = 0
    total_bytes: int = 0
    bytes_done: int = 0


class SnapshotCopiedMessage(msgspec.Struct):
    """``copied`` or ``skipped``: a snapshot that was copied, now or before."""

    message_type: str
    source_snapshot_id: str
    snapshot_id: str
    """Its id in the target."""


class CopySummary(msgspec.Struct):
    """``summary``: the outcome."""

    message_type: str
    snapshots_copied: int
    snapshots_skipped: int
    snapshots_failed: int
    blobs_copied: int
    data_added_packed: int
    """Bytes of new blobs as the target stores them."""
    same_chunker_parameters: bool
    """Whether both repositories cut files at the same places."""
    total_duration: msgspec.Raw
    """Seconds; a Go float."""
