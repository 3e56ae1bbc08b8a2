"""The messages of ``merge``."""

from __future__ import annotations

import msgspec


class SnapshotMerged(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``summary``: the new snapshot, and what it was made from."""

    message_type: str
    merged_snapshots: list[str]
    """Ids, the oldest first."""
    tree: str
    total_files_processed: int
    total_bytes_processed: int
    snapshot_id: str = ""
    """Left out in a dry run."""
    removed_snapshots: list[str] = msgspec.field(default_factory=list)
    dry_run: bool = False
