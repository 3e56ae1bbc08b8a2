"""Snapshots: a root tree, and when, where, by whom and from what it was made."""

from __future__ import annotations

import msgspec

from restic_spec import gotime, wire


class SnapshotSummary(msgspec.Struct, omit_defaults=True):
    """Statistics of the backup that made a snapshot (SNAP-9; since restic 0.17, DIFF-1; rustic writes more fields)."""

    backup_start: str
    """RFC 3339."""
    backup_end: str
    """RFC 3339."""
    files_new: int
    files_changed: int
    files_unmodified: int
    dirs_new: int
    dirs_changed: int
    dirs_unmodified: int
    data_blobs: int
    """New data blobs."""
    tree_blobs: int
    """New tree blobs."""
    data_added: int
    """Bytes of new blobs before compression."""
    data_added_packed: int
    """Bytes of new blobs as stored, pack overhead included."""
    total_files_processed: int
    total_bytes_processed: int


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
    username: str = ""
    uid: wire.U32 = 0
    gid: wire.U32 = 0
    excludes: list[str] = msgspec.field(default_factory=list)
    """Exclude patterns that were in force."""
    tags: list[str] = msgspec.field(default_factory=list)
    original: str | None = None
    """The first form of this snapshot, where it was changed (SNAP-7)."""
    program_version: str = ""
    """Who wrote it, ``restic 0.19.1`` (SNAP-8)."""
    summary: dict[str, msgspec.Raw] | None = None
    """`SnapshotSummary` as stored, so that other programs' fields survive."""

    @property
    def time_ns(self) -> int:
        """Nanoseconds since the epoch.

        Raises:
            JsonInvalid: ``time`` is no RFC 3339 time.
        """
        return gotime.parse_ns(self.time)

    def path_list(self) -> list[str]:
        """The paths, [] where absent or null."""
        return self.paths or []

    def statistics(self) -> SnapshotSummary | None:
        """The summary's known fields, None where there is none or it lacks some."""
        if self.summary is None:
            return None
        try:
            return msgspec.json.decode(msgspec.json.encode(self.summary), type=SnapshotSummary)
        except msgspec.MsgspecError:
            return None


def summary_fields(summary: SnapshotSummary) -> dict[str, msgspec.Raw]:
    """*summary* in the form `Snapshot.summary` holds."""
    return msgspec.json.decode(msgspec.json.encode(summary), type=dict[str, msgspec.Raw])


def decode_snapshot(raw: bytes, what: str = "snapshot") -> Snapshot:
    """Parse a snapshot.

    Raises:
        JsonInvalid: not of this schema.
    """
    snapshot = wire.decode(Snapshot, raw, what, "SNAP-1")
    wire.check_raw(snapshot.summary or {}, what)
    return snapshot


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The plaintext to store for *snapshot*."""
    return wire.encode(snapshot)
