"""What is to be protected: new files, groups that are too small, groups whose files are gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from restic_format.errors import FileMissing, UsageError
from restic_format.rescue.parity.making import DEFAULT_OVERHEAD, config_member, group_limit, most_in_group
from restic_format.rescue.parity.store import Kept, kept_groups, marks
from restic_format.storage import SideFiles, Storage
from restic_format.work import Cancel
from restic_spec.layout import FileKind
from restic_spec.parity import MAX_MEMBERS, PROTECTED, Member

LEAST_OVERHEAD, MOST_OVERHEAD = 0.01, 1.0

KEEP_MISSING = 30 * 86400.0
"""Seconds for which parity of files that are gone is kept."""

_GROWTH = 4
"""A group is made anew with new files while it has less than so many times their bytes: each byte is read a few times, ever."""
_OTHERS_LIMIT = 128 << 20
"""Bytes of files in a group that are no packs."""


@dataclass
class ProtectionPlan:
    """What `protect` will do."""

    overhead: float
    groups: list[tuple[Member, ...]] = field(default_factory=list)
    """Groups that get a parity file each."""
    replaced: list[Kept] = field(default_factory=list)
    """Groups whose parity is removed when all of their files that are still there are in another one."""
    kept: list[Kept] = field(default_factory=list)
    """Groups that stay as they are."""
    waiting: list[Kept] = field(default_factory=list)
    """Groups some of whose files are gone or damaged: their parity is not counted on. That of files that are gone is removed
    later."""
    marked: list[Kept] = field(default_factory=list)
    """Those of them that are seen for the first time."""
    new: list[Member] = field(default_factory=list)
    """Files without parity."""
    missing: list[Member] = field(default_factory=list)
    """Files with parity that are no longer there."""
    damaged: list[Member] = field(default_factory=list)
    """Files with parity that have another size now."""

    @property
    def to_read(self) -> int:
        """Bytes that are read."""
        return sum(member.size for group in self.groups for member in group)


def present_files(storage: Storage) -> list[Member]:
    """Every file of a repository that parity is made of (PARITY-1). Raises `StorageError`."""
    found = []
    for kind in PROTECTED:
        if kind is FileKind.CONFIG:
            try:
                found.append(config_member(storage))
            except FileMissing:
                continue
        else:
            found += [Member(kind, bytes.fromhex(name), size) for name, size in storage.list(kind)]
    return found


def plan_protection(
    storage: Storage,
    side: SideFiles,
    *,
    overhead: float = DEFAULT_OVERHEAD,
    keep_missing: float = KEEP_MISSING,
    renew: bool = False,
    now: float,
    cancel: Cancel | None = None,
) -> ProtectionPlan:
    """What is to be done so that every file of the repository is protected; nothing is changed.

    Files that are gone may have been removed, or lost: their parity stays for *keep_missing* seconds after that was first seen
    (PARITY-10); 0 says that they were removed. The others in their groups get new parity at once. That of a file that is there
    with another size stays, for it is damaged. *overhead* is for new parity; with *renew* all of it is made anew, but what is
    needed for files that are gone or damaged stays, too. *now* is in seconds since the epoch.

    Raises:
        UsageError: an overhead that is too small or too large.
        StorageError: repository or parity cannot be listed.
        Interrupted: it was cancelled.
    """
    if not LEAST_OVERHEAD <= overhead <= MOST_OVERHEAD:
        raise UsageError(f"parity can be from {LEAST_OVERHEAD:.0%} to {MOST_OVERHEAD:.0%} of what it protects")
    plan = ProtectionPlan(overhead)
    present = set(present_files(storage))
    since = marks(side)
    named = {member.path for member in present if member.kind is not FileKind.CONFIG}  # another config may be a newer one
    covered: set[Member] = set()
    missing: set[Member] = set()
    damaged: set[Member] = set()
    for kept in kept_groups(side, cancel):
        absent = {member for member in kept.description.members if member not in present}
        resized = {member for member in absent if member.path in named}
        missing |= absent - resized
        damaged |= resized
        if not absent and (renew or kept.is_cut):
            plan.replaced.append(kept)
        elif not absent:
            plan.kept.append(kept)
            covered.update(kept.description.members)
        elif resized:
            plan.waiting.append(kept)
        elif now - since.get(kept.name, now) >= keep_missing:
            plan.replaced.append(kept)
        else:
            plan.waiting.append(kept)
            if kept.name not in since:
                plan.marked.append(kept)
    plan.missing = sorted(missing, key=_order)
    plan.damaged = sorted(damaged, key=_order)
    held = {member for kept in (*plan.replaced, *plan.waiting) for member in kept.description.members}
    plan.new = sorted(present - covered - held, key=_order)
    todo = sorted(present - covered, key=_order)
    for packs in (False, True):
        mine = [member for member in todo if (member.kind is FileKind.PACK) is packs]
        mine = _absorb(plan, mine, present, packs=packs)
        largest = max((member.size for member in mine), default=0)
        limit = group_limit(largest, overhead) if packs else _OTHERS_LIMIT
        most = most_in_group(overhead) if packs else 2 * _OTHERS_LIMIT
        plan.groups += _divide(mine, limit, most)
    return plan


def _order(member: Member) -> tuple[int, bytes]:
    return PROTECTED.index(member.kind), member.id


def _absorb(plan: ProtectionPlan, members: list[Member], present: set[Member], *, packs: bool) -> list[Member]:
    """*members*, with those of groups that are small beside them, which are replaced."""
    total = sum(member.size for member in members)
    limit = group_limit(0, plan.overhead) if packs else _OTHERS_LIMIT
    mine = [kept for kept in plan.kept if (kept.description.members[0].kind is FileKind.PACK) is packs]
    for kept in sorted(mine, key=lambda kept: kept.bytes):
        if kept.bytes > min(_GROWTH * total, limit // 2):
            break
        if all(member in present for member in kept.description.members):
            plan.kept.remove(kept)
            plan.replaced.append(kept)
            members = [*members, *kept.description.members]
            total += kept.bytes
    return sorted(set(members), key=_order)


def _divide(members: Sequence[Member], limit: int, most: int) -> Iterable[tuple[Member, ...]]:
    """Groups of about the same size: of at least *limit* bytes, where there is so much, and of about *most* at most."""
    every = sum(member.size for member in members)
    count = max(1, every // limit, -(-every // most))
    share = max(1, -(-every // count))
    group: list[Member] = []
    total = number = 0
    for member in members:
        group.append(member)
        total += member.size
        if total >= share * (number + 1) or len(group) == MAX_MEMBERS:
            yield tuple(group)
            group, number = [], total // share
    if group:
        yield tuple(group)
