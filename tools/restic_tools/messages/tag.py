"""The messages of ``tag``."""

from __future__ import annotations

import msgspec


class SnapshotChanged(msgspec.Struct):
    """``tag``: one snapshot was changed and has a new id."""

    message_type: str
    old_snapshot_id: str
    new_snapshot_id: str


class TagSummary(msgspec.Struct):
    """``tag``: the outcome."""

    message_type: str
    changed_snapshots: int
