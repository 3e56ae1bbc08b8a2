"""The messages of ``forget``."""

from __future__ import annotations

import msgspec

from restic_tools.messages.snapshots import SnapshotMessage


class KeepReason(msgspec.Struct):
    """Why a snapshot is kept."""

    snapshot: SnapshotMessage
    matches: list[str]


class ForgetGroup(msgspec.Struct):
    """``forget``: one group of snapshots, newest first; a list is null where there is nothing in it."""

    tags: list[str] | None
    host: str
    paths: list[str] | None
    keep: list[SnapshotMessage] | None
    remove: list[SnapshotMessage] | None
    reasons: list[KeepReason] | None
