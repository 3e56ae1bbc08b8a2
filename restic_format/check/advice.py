"""What to do about the findings of a check: steps in an order in which nothing is lost.

Each finding knows what helps against it. What several of them ask for is put together here, as one command may take away what
another one needs: ``repair index`` forgets a pack whose header is damaged, which ``repair packs`` would have saved with the
help of the old index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from restic_format.check.findings import (
    RECOVER,
    REPAIR_INDEX_READING,
    REPAIR_SNAPSHOTS,
    Code,
    Finding,
    Severity,
)

UNREADABLE_CODES = frozenset(
    (
        Code.KEY_UNREADABLE,
        Code.LOCK_UNREADABLE,
        Code.LIST_FAILED,
        Code.INDEX_UNREADABLE,
        Code.SNAPSHOT_UNREADABLE,
        Code.TREE_UNREADABLE,
        Code.BLOB_UNREADABLE,
        Code.PACK_UNREADABLE,
        Code.PACK_UNSTEADY,
        Code.PACKS_GONE,
    )
)
"""What is not damage: the storage does not give back, or not reliably, what may well be intact. A command that works with a
part of the repository would take the rest for lost."""

HIDING_CODES = frozenset(
    (Code.LIST_FAILED, Code.INDEX_UNREADABLE, Code.TREE_UNREADABLE, Code.PACK_UNREADABLE, Code.PACK_UNSTEADY, Code.PACKS_GONE)
)
"""Where one of these is found, something that is not found may be in what could not be read."""

LOSING_CODES = frozenset((Code.PACK_MISSING, Code.TREE_MISSING, Code.BLOB_MISSING))
"""Something was not found."""

NOTHING_KNOWN = "it was not found, but not everything could be read: nothing is known to be lost"
"""The effect of one of `LOSING_CODES` then."""

_HINTED = frozenset((Code.PACK_MIXED, Code.PACK_UNINDEXED, Code.INDEX_DUPLICATE_PACK))
"""Warnings that need no repair."""

_REPAIR_PACKS = "repair packs "
_ORDER = ("unlock", _REPAIR_PACKS, "repair index", "forget", RECOVER, REPAIR_SNAPSHOTS)
_BACK_UP = "back up the same files again: what is still there as it was is stored anew, and need not be given up"


class Step(NamedTuple):
    """One thing to do: a command line without the program's name, or a sentence."""

    text: str
    is_command: bool


def steps(findings: Iterable[Finding]) -> list[Step]:
    """What to do about *findings* of a report, in this order; nothing where they need nothing.

    Where something cannot be read, no finding of the report asks for a command: see `UNREADABLE_CODES`.
    """
    wanted = [f for f in findings if f.severity is not Severity.NOTE and f.code not in _HINTED]
    commands = list(dict.fromkeys(command for finding in wanted for command in finding.repair))
    by_hand = _by_hand(wanted)
    packs = [command.removeprefix(_REPAIR_PACKS) for command in commands if command.startswith(_REPAIR_PACKS)]
    indexes = list(dict.fromkeys(f.object.name for f in wanted if f.code is Code.INDEX_DAMAGED))
    if packs and indexes:
        # `repair packs` loads the index first, and `repair index` would forget the packs.
        names = " and ".join(f"index/{name}" for name in indexes)
        by_hand.append(f"move {names} out of the repository: `repair packs` does not begin while it is there")
    found = [Step(text, is_command=False) for text in by_hand]
    for command in _in_order(commands, packs):
        if command == REPAIR_SNAPSHOTS:
            found.append(Step(_BACK_UP, is_command=False))
        found.append(Step(command, is_command=True))
    return found


def _by_hand(findings: Sequence[Finding]) -> list[str]:
    """The findings' own advice; what is said of several objects is said once."""
    objects: dict[str, list[str]] = {}
    for finding in findings:
        if finding.advice_template:
            objects.setdefault(finding.advice_template, []).append(finding.object.name)
    return [
        template.replace("ID", name)
        for template, names in objects.items()
        for name in (dict.fromkeys(names) if "ID" in template else [""])
    ]


def _in_order(commands: Sequence[str], packs: Sequence[str]) -> list[str]:
    ordered = []
    for beginning in _ORDER:
        group = [command for command in commands if command.startswith(beginning)]
        if beginning == _REPAIR_PACKS and packs:
            group = [_REPAIR_PACKS + " ".join(packs)]
        elif REPAIR_INDEX_READING in group:
            group = [REPAIR_INDEX_READING]
        ordered += group
    return ordered
