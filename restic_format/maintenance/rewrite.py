"""Rewriting snapshots: without what patterns exclude, with only what they include, with another host or time.

New trees are stored and in an index before the new snapshot is (ORDER-1), and all of it is read back before the old one goes.
What is not known of snapshots and nodes is kept (SNAP-10, TREE-23).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from restic_format.errors import DamagedFile, ResticFormatError
from restic_format.filter import ExcludeFilter, IncludeFilter
from restic_format.maintenance.restrictions import check_may_remove
from restic_format.repository import Repository
from restic_format.snapshots.change import replace_snapshot
from restic_format.snapshots.find import FoundSnapshot, SnapshotFilter, filter_snapshots
from restic_format.snapshots.rewriter import REMEMBERED, Rewritten, TreeRewriter, TreeRules
from restic_format.work import Cancel, Progress, silent
from restic_spec.ids import parse_id
from restic_spec.snapshot import Snapshot, SnapshotSummary, summary_fields
from restic_spec.tree import DIR, Node

REWRITE_TAG = "rewrite"
"""Tag of a rewritten snapshot that stands beside the one it was made from."""


@dataclass(frozen=True)
class RewriteOptions:
    """What changes. Patterns either exclude or include; paths in a snapshot begin with ``/``."""

    excludes: ExcludeFilter = field(default_factory=ExcludeFilter)
    includes: IncludeFilter = field(default_factory=IncludeFilter)
    hostname: str = ""
    """The new host, where there is one."""
    time: str = ""
    """The new time, RFC 3339, where there is one."""
    summary: bool = False
    """Whether snapshots without a summary get one."""
    forget: bool = False
    """Whether the new snapshot takes the place of the old one; otherwise it gets `REWRITE_TAG`."""
    dry_run: bool = False
    tell_items: bool = False
    """Whether `ItemExcluded` and `ItemIncluded` are told, for every snapshot."""

    @property
    def changes_trees(self) -> bool:
        """Whether trees are gone through."""
        return bool(self.excludes or self.includes or self.summary)

    @property
    def changes_metadata(self) -> bool:
        """Whether every snapshot changes."""
        return bool(self.hostname or self.time)


@dataclass(frozen=True)
class RewritePlan:
    """Which snapshots would be looked at, from `plan_rewrite`."""

    repository: Repository
    snapshots: Sequence[FoundSnapshot]
    options: RewriteOptions


class RewriteStarted(NamedTuple):
    """Told when a snapshot's turn has come."""

    snapshot: FoundSnapshot


class ItemExcluded(NamedTuple):
    """Told of an item that is left out."""

    path: str


class ItemIncluded(NamedTuple):
    """Told of an item that stays because of a pattern: of directories only those that have nothing in them."""

    path: str
    directory: bool


class SnapshotChanged(NamedTuple):
    """Told of a snapshot that has a new form, which is stored as *new_id* unless this is a dry run."""

    old: FoundSnapshot
    new: Snapshot
    new_id: bytes | None
    removed: bool
    """Whether the old one is gone."""


RewriteEvent = RewriteStarted | ItemExcluded | ItemIncluded | SnapshotChanged


class RewriteResult(NamedTuple):
    """What was done, or would be."""

    changed: list[SnapshotChanged]
    unchanged: list[FoundSnapshot]


def plan_rewrite(
    repository: Repository,
    options: RewriteOptions,
    names: Sequence[str] = (),
    wanted: SnapshotFilter | None = None,
    *,
    damaged: Callable[[str, ResticFormatError], None] | None = None,
) -> RewritePlan:
    """Find the snapshots *names* mean, or all *wanted*. One that cannot be found or read goes to *damaged*, or is raised."""
    return RewritePlan(repository, list(filter_snapshots(repository, names, wanted, damaged)), options)


def rewrite(plan: RewritePlan, *, progress: Progress[RewriteEvent] = silent, cancel: Cancel | None = None) -> RewriteResult:
    """Rewrite the snapshots of *plan*; the index must be loaded, and the repository be locked, exclusively for `forget`.

    Raises:
        UsageError: snapshots are to be removed, and the repository is append-only.
        ResticFormatError: the snapshot that `RewriteStarted` told last could not be rewritten; those before it are.
        Interrupted: it was cancelled; likewise.
    """
    if plan.options.forget and not plan.options.dry_run:
        check_may_remove(plan.repository, "rewrite --forget")
    return _Rewrite(plan, progress, cancel or Cancel()).run()


class _Rewrite:
    """One run of `rewrite`."""

    def __init__(self, plan: RewritePlan, progress: Progress[RewriteEvent], cancel: Cancel) -> None:
        self._repository, self._plan, self._options = plan.repository, plan, plan.options
        self._progress = progress
        self._cancel = cancel
        self._writer = plan.repository.writer(dry_run=plan.options.dry_run)
        rules = TreeRules(node=self._node, keep_empty=self._keep_empty)
        remembered = 0 if plan.options.tell_items else REMEMBERED
        self._trees = TreeRewriter(plan.repository, self._writer, rules, remembered=remembered, cancel=cancel)

    def run(self) -> RewriteResult:
        """Rewrite one snapshot after the other."""
        result = RewriteResult([], [])
        try:
            for found in self._plan.snapshots:
                self._cancel.check()
                self._progress(RewriteStarted(found))
                new = self._new_form(found)
                if new is None:
                    result.unchanged.append(found)
                    continue
                changed = self._store(found, new)
                result.changed.append(changed)
                self._progress(changed)
        except BaseException:
            self._writer.discard()
            raise
        return result

    def _new_form(self, found: FoundSnapshot) -> Snapshot | None:
        """The snapshot as it would be; None where nothing changes."""
        options = self._options
        # Read again, with what is not known of it (SNAP-10).
        snapshot = self._repository.load_snapshot(found.id)
        if not snapshot.tree:
            raise DamagedFile(f"snapshot {found.short_id} has no tree")
        changed = options.changes_metadata
        if options.changes_trees:
            rewritten = self._trees.rewrite(parse_id(snapshot.tree))
            if rewritten.tree is None:
                return None  # No pattern includes anything: restic leaves such a snapshot as it is.
            changed = changed or rewritten.tree.hex() != snapshot.tree
            changed = _count(snapshot, rewritten, found.short_id) or changed
            snapshot.tree = rewritten.tree.hex()
        if not changed:
            return None
        snapshot.original = found.id.hex()
        if not options.forget and REWRITE_TAG not in snapshot.tags:
            snapshot.tags.append(REWRITE_TAG)
        snapshot.time = options.time or snapshot.time
        snapshot.hostname = options.hostname or snapshot.hostname
        return snapshot

    def _store(self, found: FoundSnapshot, new: Snapshot) -> SnapshotChanged:
        if self._options.dry_run:
            return SnapshotChanged(found, new, None, removed=False)
        self._writer.flush()
        self._cancel.check()
        forget = self._options.forget
        if forget:
            self._writer.read_back(self._cancel)
        new_id = replace_snapshot(self._repository, found.id, new) if forget else self._repository.save_snapshot(new)
        return SnapshotChanged(found, new, new_id, removed=forget)

    def _node(self, path: str, node: Node) -> Node | None:
        if self._options.includes:
            if node.type == DIR:
                return node
            if not self._options.includes.selects_file(path):
                return None
            if self._options.tell_items:
                self._progress(ItemIncluded(path, directory=False))
            return node
        if not self._options.excludes.rejects(path):
            return node
        if self._options.tell_items:
            self._progress(ItemExcluded(path))
        return None

    def _keep_empty(self, path: str) -> bool:
        if not self._options.includes:
            return True
        keep, _ = self._options.includes.selects(path)
        if keep and self._options.tell_items:
            self._progress(ItemIncluded(path, directory=True))
        return keep


def _count(snapshot: Snapshot, rewritten: Rewritten, name: str) -> bool:
    """Put what a snapshot holds now into its summary, everything else of which stays; whether that changes it."""
    counted = {"total_files_processed": rewritten.files, "total_bytes_processed": rewritten.size}
    known = snapshot.statistics(f"snapshot {name}")
    if known is not None and all(getattr(known, member) == value for member, value in counted.items()):
        return False
    if snapshot.summary is None:
        snapshot.summary = summary_fields(SnapshotSummary())
    for member, value in counted.items():
        snapshot.summary[member] = msgspec.Raw(str(value).encode())
    return True
