"""The messages of ``repair``, ``recover`` and ``migrate``. restic has none for them: it writes lines for people."""

from __future__ import annotations

import msgspec


class DamagedObject(msgspec.Struct):
    """An object that cannot be used, and why."""

    id: str
    reason: str


class RepairIndexSummary(msgspec.Struct):
    """``repair index``: the outcome. Packs and indexes are named by their ids."""

    message_type: str
    read_all_packs: bool
    indexes_damaged: list[DamagedObject]
    """Index files that could not be used and are replaced."""
    packs_added: list[str]
    """Packs that no index listed."""
    packs_resized: list[str]
    """Packs that were not as the index said."""
    packs_missing: list[str]
    """Packs that are gone and have left the index."""
    packs_skipped: list[DamagedObject]
    """Packs without a header that can be used; they were left alone."""
    packs_unreadable: list[DamagedObject]
    """Packs that the storage could not read."""
    packs_indexed: int
    """Packs whose headers have been read and are in the index now."""
    indexes_written: list[str]


class LostBlobMessage(msgspec.Struct):
    """``repair packs``: a blob that could not be saved."""

    message_type: str
    type: str
    id: str
    pack: str
    reason: str


class RepairPacksSummary(msgspec.Struct):
    """``repair packs``: the outcome."""

    message_type: str
    copies: list[str]
    """Copies of the damaged packs in the current folder."""
    blobs_saved: int
    blobs_lost: int
    packs_removed: list[str]
    packs_left: list[DamagedObject]
    """Packs that are not needed any more and could not be removed."""


class RecoverSummary(msgspec.Struct):
    """``recover``: the outcome; ``snapshot_id`` is empty where nothing was to be recovered."""

    message_type: str
    trees_damaged: list[DamagedObject]
    snapshots_damaged: list[DamagedObject]
    roots: list[str]
    """Trees that the new snapshot has as directories."""
    snapshot_id: str


class AvailableMigration(msgspec.Struct):
    """``migrate``: a migration that can be applied."""

    message_type: str
    name: str
    description: str


class MigrationResult(msgspec.Struct):
    """``migrate``: what became of a migration: ``success``, ``failed``, ``refused`` or ``unknown``, and why."""

    message_type: str
    name: str
    result: str
    reason: str


class RepairedItem(msgspec.Struct):
    """``repair snapshots``: something that is changed in a snapshot.

    ``change`` is what became of it: ``zeros`` (missing content replaced by so many zeros), ``cut`` (missing content removed),
    ``size`` (corrected), ``node_removed``, ``sorted`` (the nodes of a folder), ``emptied`` (a folder) or ``unreadable`` (the
    whole snapshot).
    """

    message_type: str
    snapshot_id: str
    path: str
    change: str
    zeros: int
    reason: str


class RepairedSnapshot(msgspec.Struct):
    """``repair snapshots``: a snapshot that is replaced, or would be; without a new one ``new_snapshot_id`` is empty."""

    message_type: str
    old_snapshot_id: str
    new_snapshot_id: str
    removed: bool


class RepairSnapshotsSummary(msgspec.Struct):
    """``repair snapshots``: the outcome."""

    message_type: str
    changed_snapshots: int
    dry_run: bool
