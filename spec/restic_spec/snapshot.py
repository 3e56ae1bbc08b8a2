"""Snapshots: a root tree, and when, where, by whom and from what it was made."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from restic_spec import gotime, wire
from restic_spec.errors import JsonInvalid
from restic_spec.ids import is_hex_id


class SnapshotSummary(msgspec.Struct):
    """Statistics of the backup that made a snapshot (SNAP-9; since restic 0.17, DIFF-1; rustic writes more fields)."""

    backup_start: str = gotime.ZERO
    """When the backup began, RFC 3339 (SNAP-9)."""
    backup_end: str = gotime.ZERO
    """When it ended, RFC 3339 (SNAP-9)."""
    files_new: wire.Natural = 0
    """Files that the parent does not have (SNAP-9)."""
    files_changed: wire.Natural = 0
    """Files that are otherwise in the parent (SNAP-9)."""
    files_unmodified: wire.Natural = 0
    """Files that are as in the parent (SNAP-9)."""
    dirs_new: wire.Natural = 0
    """Directories that the parent does not have (SNAP-9)."""
    dirs_changed: wire.Natural = 0
    """Directories that are otherwise in the parent (SNAP-9)."""
    dirs_unmodified: wire.Natural = 0
    """Directories that are as in the parent (SNAP-9)."""
    data_blobs: wire.I64 = 0
    """New data blobs (SNAP-9)."""
    tree_blobs: wire.I64 = 0
    """New tree blobs (SNAP-9)."""
    data_added: wire.Natural = 0
    """Bytes of new blobs before compression (SNAP-9)."""
    data_added_packed: wire.Natural = 0
    """Bytes of new blobs as stored, pack overhead included (SNAP-9)."""
    total_files_processed: wire.Natural = 0
    """Files in the snapshot (SNAP-9)."""
    total_bytes_processed: wire.Natural = 0
    """Bytes of their content (SNAP-9)."""


class Snapshot(wire.Document):
    """The decrypted content of a file in ``snapshots/`` (SNAP-1), fields in stored order (SNAP-2).

    What else stands in it (RUSTIC-3) is kept in ``extra`` (SNAP-10); the order it was read in is not (RUSTIC-6).
    """

    time: str
    """When the backup began, RFC 3339 in the writer's zone (SNAP-3)."""
    parent: str | None = None
    """Snapshot it was compared with (SNAP-6)."""
    tree: str | msgspec.UnsetType | None = msgspec.UNSET
    """Root tree, hexadecimal id (SNAP-4)."""
    paths: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    """Absolute paths that were backed up (SNAP-5)."""
    hostname: str = ""
    """Host that was backed up (SNAP-2)."""
    username: str = ""
    """User who made it (SNAP-2)."""
    uid: wire.U32 = 0
    """Numeric id of that user (SNAP-2)."""
    gid: wire.U32 = 0
    """Numeric id of that user's group (SNAP-2)."""
    excludes: list[str] = msgspec.field(default_factory=list)
    """Exclude patterns that were in force (SNAP-2)."""
    tags: list[str] = msgspec.field(default_factory=list)
    """Words that users give it, to find it by (SNAP-2)."""
    original: str | None = None
    """The first form of this snapshot, where it was changed (SNAP-7)."""
    program_version: str = ""
    """Who wrote it, ``restic 0.19.1`` (SNAP-8)."""
    summary: dict[str, msgspec.Raw] | None = None
    """Statistics of the backup (SNAP-9), as stored, so that other programs' members survive (SNAP-10)."""

    @property
    def time_ns(self) -> int:
        """Nanoseconds since the epoch.

        Raises:
            JsonInvalid: ``time`` is not an RFC 3339 time.
        """
        return gotime.parse_ns(self.time)

    def path_list(self) -> list[str]:
        """The paths, [] where absent or null."""
        return self.paths or []

    def statistics(self, what: str = "summary") -> SnapshotSummary | None:
        """The summary's known fields, None where there is no summary; *what* names the snapshot in the error.

        Raises:
            JsonInvalid: one of them is of another type, which `decode_snapshot` has looked for.
        """
        if self.summary is None:
            return None
        raw = msgspec.json.encode(
            {name: self.summary[name] for name in SnapshotSummary.__struct_fields__ if name in self.summary}
        )
        known: SnapshotSummary = wire.decode_known(_summary_decoder, raw, what, "SNAP-9")
        return known


_summary_decoder = msgspec.json.Decoder(SnapshotSummary)
_NUMBERS = [name for name in SnapshotSummary.__struct_fields__ if not name.startswith("backup_")]


def summary_fields(summary: SnapshotSummary) -> dict[str, msgspec.Raw]:
    """*summary* in the form `Snapshot.summary` holds."""
    return msgspec.json.decode(msgspec.json.encode(summary), type=dict[str, msgspec.Raw])


class OwnMembers(msgspec.Struct, omit_defaults=True):
    """This program's member of a snapshot."""

    partial: bool = False
    """Whether the backup was interrupted, and this is what it has finished (SNAP-21)."""


PARTIAL = "partial"
"""The member, and the tag, of a snapshot whose backup was interrupted (SNAP-21)."""


def is_partial(snapshot: Snapshot) -> bool:
    """Whether *snapshot*, read with the member `PARTIAL`, is what an interrupted backup has finished (SNAP-21)."""
    raw = snapshot.extra.get(PARTIAL)
    return raw is not None and bytes(raw) == b"true"


MAX_MEMBER = 4096
"""Bytes that one of the undeclared members may take that are kept by name."""


def decode_snapshot(
    raw: bytes, what: str = "snapshot", *, keep_unknown: bool = True, members: Collection[str] = ()
) -> Snapshot:
    """Parse a snapshot. With *keep_unknown* undeclared members are kept, as whoever writes it again must (SNAP-10); without,
    nothing of *raw* is, however large they are, but those that *members* names.

    Raises:
        JsonInvalid: not of this schema, an invalid id or time, one of *members* beyond `MAX_MEMBER`, but for `PARTIAL`, which
            then says nothing (SNAP-21).
    """
    snapshot = wire.decode(Snapshot, raw, what, "SNAP-1", keep_unknown=keep_unknown)
    gotime.check(snapshot.time, what, "SNAP-3")
    _check_ids(snapshot, what)
    if snapshot.summary is not None:
        summary = _checked_summary(snapshot, what)
        if keep_unknown:
            wire.check_raw(snapshot.summary, what)
        else:
            snapshot.summary = summary_fields(summary)
    if not keep_unknown and any(_may_have(raw, name) for name in members):
        fields = wire.raw_members(raw, what, "SNAP-1")
        if len(bytes(fields.get(PARTIAL, b""))) > MAX_MEMBER:
            del fields[PARTIAL]  # another program's, which does not make the snapshot unusable
        for name in members:
            if len(bytes(fields.get(name, b""))) > MAX_MEMBER:
                raise JsonInvalid(f"member {name!r} is larger than any", object=what, clause="RUSTIC-3")
        snapshot.keep_extra(fields, what, members)
    return snapshot


def _may_have(raw: bytes, name: str) -> bool:
    """Whether *raw* may have a member *name*, which could be written with escapes."""
    return b"\\" in raw or f'"{name}"'.encode() in raw


def _check_ids(snapshot: Snapshot, what: str) -> None:
    for name, value, clause in (
        ("tree", snapshot.tree, "SNAP-4"),
        ("parent", snapshot.parent, "SNAP-6"),
        ("original", snapshot.original, "SNAP-7"),
    ):
        if isinstance(value, str) and not is_hex_id(value):
            raise JsonInvalid(f"{name} {value[:80]!r} is not an id", object=what, clause=clause)


def _checked_summary(snapshot: Snapshot, what: str) -> SnapshotSummary:
    summary = snapshot.statistics(what)
    assert summary is not None
    for time in (summary.backup_start, summary.backup_end):
        gotime.check(time, what, "SNAP-9")
    wire.check_naturals(what, "SNAP-9", *(value for name in _NUMBERS if (value := getattr(summary, name)) > 0))
    return summary


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The plaintext to store for *snapshot*."""
    return wire.encode(snapshot)
