"""Forgetting snapshots: first a plan of what is kept and removed and why, then the removal (ORDER-5, LOCK-13)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from restic_format.errors import FileMissing, KeepsNothing, LockLost, NoPolicy, ResticFormatError
from restic_format.maintenance.policy import Decision, KeepPolicy, Kept, apply_policy, kept_until
from restic_format.maintenance.restrictions import check_may_remove
from restic_format.repository.repository import Repository
from restic_format.snapshots.find import FoundSnapshot, SnapshotFilter, filter_snapshots
from restic_format.snapshots.grouping import HOST, PATHS, Group, group_snapshots
from restic_format.work import Cancel, Progress, WorkerPool, silent
from restic_spec.layout import FileKind
from restic_spec.rustic import DELETE, DeleteMark, delete_mark

BY_HOST_AND_PATHS: Final = frozenset((HOST, PATHS))


class GroupPlan(NamedTuple):
    """What becomes of one group of snapshots."""

    group: Group
    decision: Decision


@dataclass(frozen=True)
class ForgetPlan:
    """Which snapshots `execute` removes."""

    groups: list[GroupPlan]
    """The groups a policy has decided about, in the order of what their snapshots share; none where snapshots were named."""
    remove: list[FoundSnapshot]
    """What is removed."""
    refused: list[Kept] = field(default_factory=list)
    """Named snapshots that say themselves that they must be kept (RUSTIC-8); they are not removed."""

    @property
    def future(self) -> list[FoundSnapshot]:
        """Snapshots from the future, which are kept and were not counted."""
        return [found for plan in self.groups for found in plan.decision.future]


class Removed(NamedTuple):
    """Told by `execute`: a snapshot is removed, or could not be."""

    found: FoundSnapshot
    error: ResticFormatError | None


class ForgetResult(NamedTuple):
    """What `execute` has done."""

    removed: list[FoundSnapshot]
    failed: list[FoundSnapshot]


def plan(
    repo: Repository,
    policy: KeepPolicy | None = None,
    *,
    names: Sequence[str] = (),
    wanted: SnapshotFilter | None = None,
    by: frozenset[str] = BY_HOST_AND_PATHS,
    allow_remove_all: bool = False,
    damaged: Callable[[str, ResticFormatError], None] | None = None,
    now_ns: int | None = None,
) -> ForgetPlan:
    """Plan to remove the snapshots *names* mean, or what *policy* does not keep of each group of those *wanted*.

    Nothing is changed; the exclusive lock that `execute` needs should be held already. *damaged* is told of snapshots that
    cannot be found or read, which are kept; without it that is raised. *now_ns* is the time now unless given.

    Raises:
        NoPolicy: there are neither names nor rules; with *allow_remove_all* a filter stands in for rules.
        KeepsNothing: the policy would remove all snapshots of a group (SNAP-18); only *allow_remove_all* without rules may.
        StorageError: the snapshots cannot be listed.
    """
    wanted = wanted or SnapshotFilter()
    policy = policy or KeepPolicy()
    now_ns = time.time_ns() if now_ns is None else now_ns
    if not names:
        check_policy(policy, wanted, allow_remove_all=allow_remove_all)
    found, marks = _readable(filter_snapshots(repo, names, wanted, damaged, members=(DELETE,)), damaged)
    if names:
        kept = [Kept(item, (kept_until(mark),)) for item in found if (mark := marks.get(item.id)) and mark.must_keep(now_ns)]
        refused = {item.found.id for item in kept}
        return ForgetPlan([], [item for item in found if item.id not in refused], kept)
    groups = []
    for group, members in sorted(group_snapshots(found, by).items(), key=lambda item: _sorting(item[0])):
        decision = apply_policy(members, policy, now_ns)
        if decision.empties and not policy.empty:
            raise KeepsNothing(f'refusing to delete last snapshot of snapshot group "{describe_group(group)}"')
        groups.append(GroupPlan(group, decision))
    return ForgetPlan(groups, [item for _, decision in groups for item in decision.remove])


def check_policy(policy: KeepPolicy, wanted: SnapshotFilter, *, allow_remove_all: bool = False) -> None:
    """Check that something says which snapshots to keep, or else that the filter says which may all be removed.

    Raises:
        NoPolicy: nothing does.
    """
    if policy.empty and not allow_remove_all:
        raise NoPolicy("no policy was specified, no snapshots will be removed")
    if policy.empty and wanted.empty:
        raise NoPolicy("--unsafe-allow-remove-all is not allowed unless a snapshot filter option is specified")


def execute(
    repo: Repository, forget: ForgetPlan, *, progress: Progress[Removed] = silent, cancel: Cancel | None = None
) -> ForgetResult:
    """Remove what *forget* says, under the exclusive lock it was planned with; goes on after a snapshot that stays.

    What only the removed snapshots needed stays until a prune (ORDER-5).

    Raises:
        UsageError: the repository is append-only.
        LockLost: the lock is lost; the others stay.
        Interrupted: *cancel* was set; the others stay.
    """
    check_may_remove(repo, "forget")
    result = ForgetResult([], [])

    def remove() -> None:
        for found in jobs:
            error: ResticFormatError | None = None
            try:
                repo.remove(FileKind.SNAPSHOT, found.id)
            except FileMissing:
                pass  # The aim is reached.
            except LockLost:
                raise
            except ResticFormatError as failure:
                error = failure
            (result.removed if error is None else result.failed).append(found)
            progress(Removed(found, error))

    pool = WorkerPool("forget", repo.storage.connections, remove, cancel=cancel)
    jobs = pool.share(forget.remove)
    with pool:
        pass
    if cancel is not None and len(result.removed) + len(result.failed) < len(forget.remove):
        cancel.check()  # The threads may have ended before anybody looked.
    return result


def describe_group(group: Group) -> str:
    """What the snapshots of a group share, in one line."""
    parts = [f"host {group.hostname}"] if group.hostname else []
    parts += [f"path [{' '.join(group.paths)}]"] if group.paths else []
    parts += [f"tags [{' '.join(group.tags)}]"] if group.tags else []
    return ", ".join(parts)


def _readable(
    snapshots: Iterable[FoundSnapshot], damaged: Callable[[str, ResticFormatError], None] | None
) -> tuple[list[FoundSnapshot], dict[bytes, DeleteMark]]:
    """The snapshots whose marks can be read, and the marks."""
    found: list[FoundSnapshot] = []
    marks: dict[bytes, DeleteMark] = {}
    for item in snapshots:
        try:
            if mark := delete_mark(item.snapshot, f"snapshot {item.short_id}"):
                marks[item.id] = mark
        except ResticFormatError as error:
            if damaged is None:
                raise
            damaged(item.id.hex(), error)
            continue
        found.append(item)
    return found, marks


def _sorting(group: Group) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return group.hostname, group.paths or (), group.tags or ()
