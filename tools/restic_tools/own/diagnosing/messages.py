"""A diagnosis as messages, written one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from restic_tools.messages.diagnose import (
    CostMessage,
    DiagnosisSummary,
    FaultMessage,
    NoteMessage,
    PathMessage,
    RangeMessage,
    SnapshotMessage,
)
from restic_tools.own.diagnosing.advice import next_steps

if TYPE_CHECKING:
    from restic_format.rescue.diagnosis import DamagedPath, Diagnosis, Fault, SnapshotState
    from restic_tools.output import Output


def write_messages(out: Output, found: Diagnosis) -> None:
    """Write all messages of a diagnosis."""
    for message in messages(found):
        out.json(message)


def messages(found: Diagnosis) -> Iterator[msgspec.Struct]:
    """The messages of a diagnosis, in order."""
    for number, fault in enumerate(found.faults, 1):
        yield _fault(number, fault)
    for number, path in enumerate(found.paths, 1):
        yield _path(number, path)
    for state in found.snapshots:
        yield _snapshot(state)
    for note in found.notes:
        yield NoteMessage("note", note.code.value, note.object.kind.value, note.object.name, note.message)
    yield DiagnosisSummary(
        "summary",
        found.healthy,
        found.opened,
        "" if found.trouble is None else str(found.trouble),
        len(found.faults),
        found.paths_total,
        len(found.snapshots),
        sum(state.whole for state in found.snapshots),
        found.unreferenced,
        len(found.missing),
        len(found.copies),
        len(found.unindexed),
        len(found.wrong_packs),
        found.packs,
        found.packs_read,
        found.bytes_read,
        found.incomplete,
        next_steps(found),
    )


def _fault(number: int, fault: Fault) -> FaultMessage:
    cost = fault.cost
    return FaultMessage(
        "fault",
        number,
        fault.findings[0].code.value,
        fault.object.kind.value,
        fault.object.name,
        fault.message,
        fault.origin.value,
        fault.why,
        [means.value for means in fault.means],
        CostMessage(cost.snapshots, cost.files, cost.dirs, cost.bytes, cost.hope.value),
        [finding.message for finding in fault.findings],
    )


def _path(number: int, path: DamagedPath) -> PathMessage:
    ranges = [RangeMessage(part.start, part.end, part.hope.value, part.exact) for part in path.ranges]
    kind: str = "dir" if path.is_dir else "file"
    faults = [fault + 1 for fault in path.faults]
    return PathMessage("path", number, path.path, kind, path.size, path.hope.value, ranges, faults)  # type: ignore[arg-type]


def _snapshot(state: SnapshotState) -> SnapshotMessage:
    counts = state.counts
    return SnapshotMessage(
        "snapshot",
        state.id.hex(),
        state.time,
        state.hostname,
        list(state.paths),
        list(state.tags),
        state.whole,
        None if counts is None else counts.files,
        None if counts is None else counts.bytes,
        None if counts is None else counts.found,
        None if counts is None else counts.hidden,
        None if counts is None else counts.damaged,
        None if counts is None else counts.lost,
        None if counts is None else counts.dirs_found,
        None if counts is None else counts.dirs,
        [number + 1 for number in state.damaged],
    )
