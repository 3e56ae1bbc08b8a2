"""Snapshots as messages, in ``snapshots`` and ``ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from restic_spec.rustic import DELETE, DESCRIPTION, LABEL, text_member
from restic_spec.snapshot import Snapshot, SnapshotSummary
from restic_tools.gotext import canonical

if TYPE_CHECKING:
    from restic_format.snapshots import FoundSnapshot


class SnapshotMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One snapshot, in ``snapshots`` (with its ids) and ``ls`` (with its message type as well)."""

    time: str
    parent: str | None = None
    tree: str | None
    paths: list[str] | None
    hostname: str = ""
    username: str = ""
    uid: int = 0
    gid: int = 0
    excludes: list[str] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    original: str | None = None
    program_version: str = ""
    summary: SnapshotSummary | None = None
    label: str = ""
    """rustic's, as the next two (RUSTIC-3); only in ``snapshots``."""
    description: str = ""
    delete: msgspec.Raw | None = None
    id: str = ""
    short_id: str = ""
    message_type: str = ""
    struct_type: str = ""


class GroupKey(msgspec.Struct):
    """What the snapshots of a group have in common."""

    hostname: str
    paths: list[str] | None
    tags: list[str] | None


class SnapshotGroup(msgspec.Struct):
    """``snapshots --group-by``: one group."""

    group_key: GroupKey
    snapshots: list[SnapshotMessage]


def snapshot_message(
    found: FoundSnapshot, *, tree: str | None = None, kind: str = "", paths: list[str] | None = None
) -> SnapshotMessage:
    """A snapshot as a message. *tree* stands in for its root tree (``snapshot:subfolder``), *paths* for its paths.

    *kind* is the message type.
    """
    message = snapshot_fields(found.snapshot)
    message.tree = tree or message.tree
    message.paths = paths or message.paths
    message.id = found.id.hex()
    message.short_id = found.short_id
    message.message_type = message.struct_type = kind
    return message


def snapshot_fields(snapshot: Snapshot) -> SnapshotMessage:
    """A snapshot's own fields, as restic writes them after reading them."""
    summary = snapshot.statistics()
    if summary is not None:
        summary.backup_start, summary.backup_end = canonical(summary.backup_start), canonical(summary.backup_end)
    return SnapshotMessage(
        time=canonical(snapshot.time),
        parent=snapshot.parent,
        tree=snapshot.tree or None,
        paths=snapshot.paths if snapshot.paths is not msgspec.UNSET else None,
        hostname=snapshot.hostname,
        username=snapshot.username,
        uid=snapshot.uid,
        gid=snapshot.gid,
        excludes=snapshot.excludes,
        tags=snapshot.tags,
        original=snapshot.original,
        program_version=snapshot.program_version,
        summary=summary,
        label=text_member(snapshot, LABEL),
        description=text_member(snapshot, DESCRIPTION),
        delete=snapshot.extra.get(DELETE),
    )
