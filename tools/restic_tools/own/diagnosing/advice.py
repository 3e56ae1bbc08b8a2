"""What to do after a diagnosis, in an order in which nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_format.check.advice import steps
from restic_format.check.findings import MAKE_READABLE, WITHOUT_KEY
from restic_format.rescue.diagnosis.records import Origin
from restic_tools.about import PROGRAM
from restic_tools.registry import is_known

if TYPE_CHECKING:
    from restic_format.rescue.diagnosis import Diagnosis

_DO_NOTHING_ELSE = (
    "run no prune, forget or repair of any program before that; where there is room, copy the repository as it is"
)


def next_steps(found: Diagnosis) -> list[str]:
    """What to do, in order; nothing where all is well."""
    if found.healthy:
        return []
    if any(fault.origin is Origin.UNREADABLE for fault in found.faults):
        return [MAKE_READABLE]
    if not found.opened and found.trouble is not None:
        return [_DO_NOTHING_ELSE, WITHOUT_KEY]
    if is_known(("heal",)):
        return [_DO_NOTHING_ELSE, f"`{PROGRAM} heal --dry-run` shows what it would do, `{PROGRAM} heal` does it"]
    findings = [finding for fault in found.faults if fault.origin is not Origin.LEFT_BEHIND for finding in fault.findings]
    told = [f"`{PROGRAM} {step.text}`" if step.is_command else step.text for step in steps(findings)]
    return [_DO_NOTHING_ELSE, *told]
