"""What `heal` shows: the plan before anything is done, and the result; for somebody who is afraid for their data."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from restic_format.check import Code
from restic_format.rescue.plan import Certainty
from restic_format.words import visible
from restic_tools.about import PROGRAM
from restic_tools.own.diagnosing.text import cost, title, verdict
from restic_tools.render import bytes_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restic_format.rescue.diagnosis import Fault
    from restic_format.rescue.heal import Healed
    from restic_format.rescue.plan import HealPlan
    from restic_tools.context import Context

Thing = TypeVar("Thing")

CERTAINTY = {
    Certainty.CERTAIN: "sure to help",
    Certainty.LIKELY: "likely to help",
    Certainty.ATTEMPT: "worth a try",
}
_NOT_THERE = frozenset((Code.BLOB_MISSING, Code.TREE_MISSING))
_MOST_SHOWN = 20
"""Objects of one action, faults, and lines of one kind in a result, that are shown without --verbose."""


def show_plan(ctx: Context, made: HealPlan, *, was_used: bool) -> None:
    """Print what is wrong and what will be done. *was_used*: something was done already, to find that out."""
    from restic_tools.messages.heal import plan_message

    if ctx.options.json:
        ctx.out.json(plan_message(made))
        return
    out = ctx.out
    if made.is_healthy:
        out.line("nothing else needs to be healed" if was_used else "nothing needs to be healed")
        return
    out.line()
    for line in verdict(made.diagnosis):
        out.line(visible(line))
    _show_faults(ctx, made.diagnosis.faults, "What is wrong")
    if made.obstacles:
        _section(ctx, "What cannot be read", made.obstacles)
        return
    out.line()
    out.line(f"What can be done ({len(made.actions)})")
    for number, action in enumerate(made.actions, 1):
        out.line(f"  {number}. {action.kind.value} ({CERTAINTY[action.certainty]}): {action.changes}")
        out.line(f"     saves: {action.saves}")
        out.line(f"     needs: {action.needs}")
        for text in _some(ctx, action.objects):
            out.line(f"     {visible(text)}")
        _more(ctx, len(action.objects))
    out.line()
    out.line(f"Nothing is deleted: what is replaced or set aside is kept, and `{PROGRAM} heal --undo` brings it back.")


def show_result(ctx: Context, done: Healed, *, forget: bool) -> None:
    """Print what was done, what is lost, and what to do next."""
    from restic_tools.messages.heal import result_message

    if ctx.options.json:
        ctx.out.json(result_message(done))
        return
    _section(ctx, "What was done", _done(done))
    _section(ctx, "What is lost", _lost(done))
    out = ctx.out
    out.line()
    if done.is_sound:
        out.line("the repository is healthy: everything was read again, and no error found")
    else:
        for line in verdict(done.diagnosis):
            out.line(visible(line))
        missing = [fault for fault in done.diagnosis.faults if fault.findings[0].code in _NOT_THERE]
        others = [fault for fault in done.diagnosis.faults if fault.findings[0].code not in _NOT_THERE]
        _show_faults(ctx, others, "What is still wrong")
        if missing and done.snapshots:
            out.line()
            parts = f"{len(missing)} parts of files or folders"
            out.line(f"The old snapshots still name what is lost ({parts}); the new ones do without.")
        else:
            _show_faults(ctx, missing, "What is not there any more")
    steps = _next_steps(done, forget=forget)
    if steps:
        out.line()
        out.line("What to do now")
        for number, step in enumerate(steps, 1):
            out.line(f"  {number}. {step}")


def _done(done: Healed) -> list[str]:
    lines = [f"brought back {file.kind.value}/{file.name}: {file.how}" for file in done.files]
    if done.indexed:
        lines.append(f"entered {done.indexed} packs into the index")
    if done.salvaged:
        lines.append(f"saved {done.salvaged} intact blobs of damaged packs")
    lines += [f"brought back {kind.value} blob {ident.hex()}: {how}" for (kind, ident), how in done.blobs]
    lines += [f"set aside {file_kind.value}/{name}" for file_kind, name in done.set_aside]
    for rewritten in done.snapshots:
        new = f"what is left of it is in the new snapshot {rewritten.new[:8]}" if rewritten.new else "nothing of it is left"
        lines.append(f"snapshot {rewritten.old[:8]}: {new}")
    if done.recovered:
        lines.append(f"saved snapshot {done.recovered[:8]} with the directories that no other one has")
    return lines


def _lost(done: Healed) -> list[str]:
    lines = [
        f"snapshot {old[:8]}: {event.path}: {event.change.value}" + (f" ({bytes_text(event.zeros)})" if event.zeros else "")
        for old, event in done.changes
    ]
    return lines + [f"{kind.value} blob {ident.hex()}" for kind, ident in done.lost]


def _next_steps(done: Healed, *, forget: bool) -> list[str]:
    steps = []
    if done.has_given_up and (done.lost or not done.is_sound):
        steps.append(
            "there was no time to try everything that may solve damage: what is damaged is set aside now, so take this back "
            f"first, `{PROGRAM} heal --undo`, and then run `{PROGRAM} heal` with a larger --budget (seconds)"
        )
    if done.lost or done.changes:
        steps.append(
            "back up the same files again: what is there as it was is stored once more, and all snapshots have it then"
        )
    if done.snapshots and not forget and not done.is_sound:
        steps.append("the old snapshots still name what is lost: `heal --forget` sets them aside, the new ones stay")
    if done.run:
        steps.append(
            f"restore something and look at it; `{PROGRAM} heal --undo` takes all of this back (run {done.run}), "
            f"`{PROGRAM} heal --forget-quarantine` drops what was set aside"
        )
    return steps


def _show_faults(ctx: Context, faults: Sequence[Fault], heading: str) -> None:
    if not faults:
        return
    ctx.out.line()
    ctx.out.line(f"{heading} ({len(faults)})")
    for number, fault in enumerate(_some(ctx, faults), 1):
        ctx.out.line(f"  {number}. {visible(title(fault))}")
        ctx.out.line(f"     it costs: {visible(cost(fault))}")
    _more(ctx, len(faults))


def _section(ctx: Context, heading: str, texts: Sequence[str]) -> None:
    if not texts:
        return
    ctx.out.line()
    ctx.out.line(f"{heading} ({len(texts)})")
    for text in _some(ctx, texts):
        ctx.out.line(f"  {visible(text)}")
    _more(ctx, len(texts))


def _some(ctx: Context, things: Sequence[Thing]) -> Sequence[Thing]:
    return things if ctx.out.verbosity > 1 else things[:_MOST_SHOWN]


def _more(ctx: Context, count: int) -> None:
    if count > _MOST_SHOWN and ctx.out.verbosity <= 1:
        ctx.out.line(f"     and {count - _MOST_SHOWN} more (shown with --verbose)")
