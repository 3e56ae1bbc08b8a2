"""Making parity as it is planned: new parity is stored before any is removed."""

from __future__ import annotations

from typing import NamedTuple

from restic_format.rescue.parity.making import Unusable, make_group
from restic_format.rescue.parity.planning import ProtectionPlan, present_files
from restic_format.rescue.parity.store import Kept, mark, remove_group
from restic_format.storage import SideFiles, Storage
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.parity import Member


class Unprotected(NamedTuple):
    """A file that could not be protected."""

    member: Member
    why: str


class Protected(NamedTuple):
    """What was done."""

    made: list[Kept]
    removed: int
    """Parity files."""
    unprotected: list[Unprotected]
    files: int
    """Files that have parity now."""
    bytes: int
    parity_bytes: int
    """Bytes of all parity files."""


def protect(
    storage: Storage,
    side: SideFiles,
    plan: ProtectionPlan,
    *,
    now: float,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> Protected:
    """Make parity as *plan* says, in the folder *side* (PARITY-10). Running again goes on where this was stopped.

    *now* is in seconds since the epoch. A file that is damaged or cannot be read is left out and named; the parity it has is
    not removed. One that somebody removes meanwhile is left out.

    Raises:
        StorageError: parity cannot be stored.
        Interrupted: it was cancelled.
    """
    made: list[Kept] = []
    unprotected: list[Unprotected] = []
    lost: set[Member] = set()
    """Files of which there is no new parity: what they have stays."""
    for number, group in enumerate(plan.groups, 1):
        members = list(group)
        while members:
            try:
                made.append(make_group(storage, side, members, plan.overhead, cancel))
                break
            except Unusable as error:
                if not error.is_gone:  # else somebody has removed it just now
                    unprotected.append(Unprotected(error.member, error.what))
                lost.add(error.member)
                members.remove(error.member)
        progress(Advance("parity files made", number, len(plan.groups)))
    covered = {member for kept in (*made, *plan.kept) for member in kept.description.members}
    names = {kept.name for kept in made}
    present = set(present_files(storage)) if plan.replaced else set()
    for kept in plan.marked:
        mark(side, kept.name, now)
    removed, left = 0, []
    for old in plan.replaced:
        if old.name in names:
            continue
        if all(member in covered or (member not in present and member not in lost) for member in old.description.members):
            if cancel is not None:
                cancel.check()
            remove_group(side, old.name)
            removed += 1
        else:
            left.append(old)
    every = [*made, *plan.kept, *plan.waiting, *left]
    files = {member for kept in every for member in kept.description.members} - {*plan.missing, *plan.damaged}
    total = sum(member.size for member in files)
    return Protected(made, removed, unprotected, len(files), total, sum(kept.size for kept in every))
