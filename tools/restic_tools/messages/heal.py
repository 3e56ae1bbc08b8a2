"""The messages of ``heal``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from restic_format.words import visible
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from restic_format.rescue.diagnosis import Diagnosis
    from restic_format.rescue.heal import Healed
    from restic_format.rescue.plan import HealPlan


class PlannedAction(msgspec.Struct):
    """One step of a plan."""

    action: str
    objects: list[str]
    """What it is about."""
    changes: str
    needs: str
    saves: str
    certainty: str
    """``certain``, ``likely`` or ``attempt``."""


class PlannedFor(msgspec.Struct):
    """A fault, and what it costs; ``diagnose`` tells more."""

    object: str
    message: str
    snapshots: int
    files: int
    dirs: int
    bytes: int
    """Bytes of those files that are not whole."""


class Plan(msgspec.Struct):
    """``plan``: what is wrong, and what will be done."""

    message_type: str
    faults: list[PlannedFor]
    obstacles: list[str]
    """What cannot be read: nothing is changed while there is any."""
    actions: list[PlannedAction]


class BroughtBack(msgspec.Struct):
    """A file or blob that is as it was."""

    kind: str
    id: str
    how: str


class Entrance(msgspec.Struct):
    """``entrance``: what the repository needs to be opened again, where it could not be opened."""

    message_type: str
    files: list[BroughtBack]
    is_new: bool
    """Whether the config is made anew, as the old one cannot be had."""
    foreign_keys: list[str]
    """Keys of another repository, which are set aside."""
    dry_run: bool
    boundaries: int | None
    """Places that were found at which files were cut, where the config is made anew; else null."""
    same_cuts: bool
    """Whether these told the polynomial, so that files will be cut in the same places as before."""


class SnapshotRepaired(msgspec.Struct):
    """A snapshot that has lost something."""

    old: str
    new: str
    """"" where nothing of it is left."""


class PathChanged(msgspec.Struct):
    """What was changed in a repaired snapshot."""

    snapshot: str
    """The old one."""
    path: str
    change: str
    zeros: int
    """Bytes of zeros in place of what is lost."""


class HealSummary(msgspec.Struct):
    """``summary``: what was done, and what a diagnosis says afterwards."""

    message_type: str
    run: str
    """What `heal --undo` takes back; "" where nothing was changed."""
    healthy: bool
    files: list[BroughtBack]
    blobs: list[BroughtBack]
    indexed_packs: int
    salvaged_blobs: int
    lost_blobs: list[str]
    set_aside: list[str]
    snapshots: list[SnapshotRepaired]
    changes: list[PathChanged]
    recovered_snapshot: str
    has_given_up: bool
    """Whether there was not time enough to solve everything (``--budget``)."""
    faults_left: list[PlannedFor]


class Undone(msgspec.Struct):
    """``undone``: a repair was taken back."""

    message_type: str
    run: str
    restored: list[str]
    removed: list[str]
    left: list[str]
    """New packs and index files that stay, as newer snapshots may need them."""


class QuarantineForgotten(msgspec.Struct):
    """``quarantine_forgotten``: what was set aside is dropped."""

    message_type: str
    runs: list[str]
    dry_run: bool


def file_names(files: Iterable[tuple[FileKind, str]]) -> list[str]:
    """Files of the repository as text."""
    return [f"{kind.value}/{name}" if name else kind.value for kind, name in files]


def _faults(found: Diagnosis) -> list[PlannedFor]:
    return [
        PlannedFor(
            str(fault.object),
            visible(fault.message),
            fault.cost.snapshots,
            fault.cost.files,
            fault.cost.dirs,
            fault.cost.bytes,
        )
        for fault in found.faults
    ]


def plan_message(made: HealPlan) -> Plan:
    """A plan as a message."""
    actions = [
        PlannedAction(
            action.kind.value,
            [visible(text) for text in action.objects],
            action.changes,
            action.needs,
            action.saves,
            action.certainty.value,
        )
        for action in made.actions
    ]
    return Plan("plan", _faults(made.diagnosis), [visible(text) for text in made.obstacles], actions)


def result_message(done: Healed) -> HealSummary:
    """What was done as a message."""
    return HealSummary(
        "summary",
        done.run,
        done.is_sound,
        [BroughtBack(file.kind.value, file.name, visible(file.how)) for file in done.files],
        [BroughtBack(kind.value, ident.hex(), visible(how)) for (kind, ident), how in done.blobs],
        done.indexed,
        done.salvaged,
        [ident.hex() for _, ident in done.lost],
        file_names(done.set_aside),
        [SnapshotRepaired(one.old, one.new) for one in done.snapshots],
        [PathChanged(old, visible(event.path), event.change.value, event.zeros) for old, event in done.changes],
        done.recovered,
        done.has_given_up,
        _faults(done.diagnosis),
    )
