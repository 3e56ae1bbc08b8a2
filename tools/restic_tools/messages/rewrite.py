"""The messages of ``rewrite``."""

from __future__ import annotations

import msgspec


class SnapshotRewritten(msgspec.Struct, omit_defaults=True):
    """``changed``: one snapshot has a new form."""

    message_type: str
    old_snapshot_id: str
    new_snapshot_id: str = ""
    """Left out in a dry run."""
    old_removed: bool = False


class RewriteSummary(msgspec.Struct):
    """``summary``: the outcome."""

    message_type: str
    changed_snapshots: int
    unchanged_snapshots: int
    dry_run: bool
