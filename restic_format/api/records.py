"""The records of the library's face: what it says of snapshots and of what is in them, and of what an operation has done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from restic_spec import gomode
from restic_spec.tree import DIR, FILE, NODE_TYPES, SYMLINK

if TYPE_CHECKING:
    from restic_format.backup import ItemFailed, Summary
    from restic_format.maintenance.copy import CopyPlan
    from restic_format.maintenance.copy import CopyResult as Copied
    from restic_format.maintenance.forget import ForgetPlan
    from restic_format.maintenance.prune import PruneResult, PruneStatistics
    from restic_format.restore import Failed, RestoreStats
    from restic_format.snapshots import FoundSnapshot
    from restic_spec.errors import ResticFormatError
    from restic_spec.snapshot import SnapshotSummary
    from restic_spec.tree import Node

MOST_FAILURES = 1000
"""Failures of an operation that its result keeps; all are counted, and the progress callback is told of each."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(ns: int, offset: int = 0) -> datetime:
    """The time *ns* nanoseconds after 1970, in a zone *offset* seconds ahead of UTC; the nearest one that `datetime` has."""
    try:
        return (_EPOCH + timedelta(microseconds=ns // 1000)).astimezone(timezone(timedelta(seconds=offset)))
    except (OverflowError, ValueError):
        return (datetime.max if ns > 0 else datetime.min).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot: when, where and from what it was made. Ids are hexadecimal."""

    id: str
    time_ns: int
    """When it was made, in nanoseconds since 1970 (UTC)."""
    utc_offset: int
    """Seconds that the clock of the machine was ahead of UTC."""
    hostname: str
    username: str
    uid: int
    gid: int
    paths: tuple[str, ...]
    """What was backed up."""
    tags: tuple[str, ...]
    excludes: tuple[str, ...]
    """The patterns that were in force."""
    tree: str
    """Id of the root tree, "" where there is none."""
    parent: str | None
    """Id of the snapshot it was compared with."""
    original: str | None
    """Id of the snapshot that this one was made from by a change or a copy."""
    program_version: str
    summary: SnapshotSummary | None
    """The counters of the backup, where it was made by restic 0.17 or newer."""

    @classmethod
    def of(cls, found: FoundSnapshot) -> SnapshotInfo:
        """The public record of a snapshot. Raises `JsonInvalid` where its time is invalid."""
        snapshot = found.snapshot
        ns, offset = found.clock
        return cls(
            found.id.hex(),
            ns,
            offset,
            snapshot.hostname,
            snapshot.username,
            snapshot.uid,
            snapshot.gid,
            tuple(snapshot.path_list()),
            tuple(snapshot.tags),
            tuple(snapshot.excludes),
            snapshot.tree or "",
            snapshot.parent,
            snapshot.original,
            snapshot.program_version,
            snapshot.statistics(f"snapshot {found.short_id}"),
        )

    @property
    def short_id(self) -> str:
        """The first eight digits of the id."""
        return self.id[:8]

    @property
    def time(self) -> datetime:
        """When it was made, in the zone of the machine, to the microsecond."""
        return time_of(self.time_ns, self.utc_offset)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, directory or other item in a snapshot. Times are nanoseconds since 1970."""

    path: str
    """From the root, with ``/`` at its beginning; bytes that are not UTF-8 as lone surrogates (`os.fsencode` gives them)."""
    type: str
    """``file``, ``dir``, ``symlink``, ``dev``, ``chardev``, ``fifo``, ``socket`` or ``irregular``."""
    mode: int
    """As ``st_mode``: type and permissions."""
    size: int
    """Bytes of a file's content, 0 for anything else."""
    mtime_ns: int
    atime_ns: int
    ctime_ns: int
    uid: int
    gid: int
    user: str
    group: str
    inode: int
    links: int
    device: int
    """``st_rdev`` of a device."""
    target: str
    """What a symbolic link names, "" for anything else."""
    xattrs: tuple[tuple[str, bytes], ...]
    """Extended attributes, ACLs among them."""

    @classmethod
    def of(cls, path: str, node: Node) -> Entry:
        """The public record of a node."""
        known = NODE_TYPES.get(node.type)
        return cls(
            path,
            node.type,
            gomode.to_permissions(node.mode) | (known.st_format if known else 0),
            node.size if node.type == FILE else 0,
            node.mtime_ns,
            node.atime_ns,
            node.ctime_ns,
            node.uid or 0,
            node.gid or 0,
            node.user,
            node.group,
            node.inode,
            node.links,
            node.device,
            node.target if node.type == SYMLINK else "",
            tuple((item.name, item.value or b"") for item in node.extended_attributes or ()),
        )

    @property
    def name(self) -> str:
        """The last part of the path, "" for the root."""
        return self.path.rpartition("/")[2]

    @property
    def mtime(self) -> datetime:
        """When it was changed last, in UTC, to the microsecond."""
        return time_of(self.mtime_ns)

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.type == DIR

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.type == FILE

    @property
    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self.type == SYMLINK


class BackupResult(NamedTuple):
    """What came of a backup."""

    snapshot_id: str | None
    """The new snapshot's, which a dry run has not stored; None where nothing has changed and that was to make none."""
    tree: str
    """Id of its root tree."""
    summary: Summary
    """What was counted."""
    failed: tuple[ItemFailed, ...]
    """What could not be backed up as it should be, the first `MOST_FAILURES`."""
    partial: bool = False
    """Whether the backup was cancelled: the snapshot holds what was finished by then (``snapshot_on_interrupt``)."""

    @property
    def ok(self) -> bool:
        """Whether everything was backed up."""
        return not (self.failed or self.summary.errors or self.partial)


class RestoreResult(NamedTuple):
    """What came of a restore."""

    stats: RestoreStats
    """What was counted."""
    verified: int
    """Files that were read back and compared; 0 unless that was asked for."""
    failed: tuple[Failed, ...]
    """What could not be restored, the first `MOST_FAILURES`."""

    @property
    def ok(self) -> bool:
        """Whether everything was restored."""
        return not self.stats.errors


class KeptSnapshot(NamedTuple):
    """A snapshot that a forget keeps."""

    snapshot: SnapshotInfo
    reasons: tuple[str, ...]
    """The rules that keep it, in restic's words: ``last snapshot``, ``daily within 7d``."""


class ForgetDecision(NamedTuple):
    """Which snapshots a forget keeps and removes."""

    keep: tuple[KeptSnapshot, ...]
    """Those that stay, with the reasons; none where snapshots were named, but for those that are marked not to be removed."""
    remove: tuple[SnapshotInfo, ...]
    future: tuple[SnapshotInfo, ...]
    """Those among *keep* that are dated in the future, and were not counted."""

    @classmethod
    def of(cls, plan: ForgetPlan) -> ForgetDecision:
        """What the engine's plan decides."""
        kept = [*plan.refused, *(item for group in plan.groups for item in group.decision.keep)]
        return cls(
            tuple(KeptSnapshot(SnapshotInfo.of(item.found), tuple(item.matches)) for item in kept),
            tuple(map(SnapshotInfo.of, plan.remove)),
            tuple(map(SnapshotInfo.of, plan.future)),
        )


class ForgetResult(NamedTuple):
    """What a forget decided, and did."""

    decision: ForgetDecision
    removed: tuple[SnapshotInfo, ...] = ()
    """Those that are gone; none where the decision was not approved."""
    failed: tuple[SnapshotInfo, ...] = ()
    """Those that could not be removed."""

    @property
    def ok(self) -> bool:
        """Whether everything was removed that was to be."""
        return not self.failed


class PruneRun(NamedTuple):
    """What a prune found, and did."""

    statistics: PruneStatistics
    """What is there, and what is to go."""
    result: PruneResult | None
    """What was done; None where it was not approved."""


class CopiedSnapshot(NamedTuple):
    """A snapshot, and the id of its copy in the other repository."""

    source: SnapshotInfo
    id: str


class UncopiedSnapshot(NamedTuple):
    """A snapshot that could not be copied, and the first reasons."""

    source: SnapshotInfo
    errors: tuple[ResticFormatError, ...]


class CopyResult(NamedTuple):
    """What came of a copy."""

    copied: tuple[CopiedSnapshot, ...]
    skipped: tuple[CopiedSnapshot, ...]
    """Those that had been copied before."""
    failed: tuple[UncopiedSnapshot, ...]
    blobs: int
    """Blobs that are new in the target."""
    size: int
    """Their bytes as they are stored there."""

    @classmethod
    def of(cls, plan: CopyPlan, done: Copied) -> CopyResult:
        """What the engine has done with its plan."""
        return cls(
            tuple(CopiedSnapshot(SnapshotInfo.of(item.source), item.id.hex()) for item in done.copied),
            tuple(CopiedSnapshot(SnapshotInfo.of(item.source), item.copy.id.hex()) for item in plan.skipped),
            tuple(UncopiedSnapshot(SnapshotInfo.of(item.source), tuple(item.errors)) for item in done.failed),
            done.blobs,
            done.size,
        )

    @property
    def ok(self) -> bool:
        """Whether every snapshot is in the target."""
        return not self.failed
