"""What ``protect`` and ``backup --protect`` tell of parity that was made, and of what is not protected."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from restic_format.words import printable
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.messages.protect import FileProblem, ProtectCheckSummary, ProtectSummary
from restic_tools.render import bytes_text
from restic_tools.stages import StagePrinter

if TYPE_CHECKING:
    from restic_format.rescue.parity import Protected, ProtectionPlan, ProtectionState
    from restic_format.storage import Storage
    from restic_format.work import Cancel

STAGES = {"parity files made": "", "parity files read": ""}


def protect_new(ctx: Context, storage: Storage, cancel: Cancel) -> None:
    """Bring the parity that a repository keeps up to date, and tell of it."""
    from restic_format.rescue.parity import plan_protection, protect

    side = storage.side_files("parity")
    now = time.time()
    with StagePrinter(ctx, STAGES) as progress:
        plan = plan_protection(storage, side, now=now, cancel=cancel)
        done = protect(storage, side, plan, now=now, progress=progress, cancel=cancel)
    show_done(ctx, plan, done, forget_missing=False)


def show_done(ctx: Context, plan: ProtectionPlan, done: Protected | None, *, forget_missing: bool) -> None:
    """Say what was done, or in a dry run would be. Raises `Failure` where a file is not protected."""
    out = ctx.out
    problems = [] if done is None else [(item.member.path, item.why) for item in done.unprotected]
    missing = [] if forget_missing else [member.path for member in plan.missing]
    if ctx.options.json:
        for path, why in problems:
            out.json(FileProblem(problem="unprotected", file=path, text=why))
        for path in missing:
            out.json(FileProblem(problem="missing", file=path, text=""))
        out.json(
            ProtectSummary(
                files_new=len(plan.new),
                bytes_read=plan.to_read,
                parity_files_made=len(plan.groups if done is None else done.made),
                parity_files_removed=len(plan.replaced) if done is None else done.removed,
                files_protected=0 if done is None else done.files,
                bytes_protected=0 if done is None else done.bytes,
                parity_bytes=0 if done is None else done.parity_bytes,
                files_unprotected=len(problems),
                files_missing=len(missing),
                dry_run=done is None,
            )
        )
    else:
        if done is None:
            out.info(
                f"would make {len(plan.groups)} parity files: {len(plan.new)} files are new, "
                f"{bytes_text(plan.to_read)} would be read"
            )
        else:
            out.info(
                f"{len(plan.new)} new files, {bytes_text(plan.to_read)} read, {len(done.made)} parity files made, "
                f"{done.removed} removed"
            )
            out.info(f"protected: {done.files} files, {bytes_text(done.bytes)}, by {bytes_text(done.parity_bytes)} of parity")
        for path, why in problems:
            out.warn(f"not protected: {printable(path)}: {printable(why)}")
        if missing:
            _list(ctx, f"{len(missing)} files that have parity are gone:", missing)
            if CONFIG in missing:
                out.warn("Only `migrate` changes the config. If you did not run it, the config is damaged: run diagnose.")
            out.warn("If prune or forget removed them, all is well. If not, heal can bring them back for 30 days.")
    if problems:
        raise Failure(f"{len(problems)} files could not be protected: run diagnose")


_SHOWN = 10
CONFIG = "config"
"""The path of a file that no program removes."""


def _list(ctx: Context, heading: str, paths: list[str]) -> None:
    ctx.out.warn(heading)
    for path in paths[:_SHOWN]:
        ctx.out.warn(f"  {path}")
    if len(paths) > _SHOWN:
        ctx.out.warn(f"  and {len(paths) - _SHOWN} more")


def show_state(ctx: Context, state: ProtectionState) -> None:
    """Say how well the repository is protected. Raises `Failure` where it is not."""
    out = ctx.out
    unprotected = [member.path for member in state.unprotected]
    missing = [member.path for member in state.missing]
    if ctx.options.json:
        for fault in state.faults:
            out.json(FileProblem(problem="parity", file=fault.name, text=fault.why))
        for problem, paths in (("unprotected", unprotected), ("missing", missing)):
            for path in paths:
                out.json(FileProblem(problem=problem, file=path, text=""))
        out.json(
            ProtectCheckSummary(
                parity_files=state.parity_files,
                parity_bytes=state.parity_bytes,
                files_protected=state.protected,
                files_unprotected=len(unprotected),
                files_missing=len(missing),
                parity_files_damaged=len(state.faults),
            )
        )
    else:
        out.info(f"{state.parity_files} parity files, {bytes_text(state.parity_bytes)}: {state.protected} files are protected")
        for fault in state.faults:
            out.warn(f"{printable(fault.name)}: {printable(fault.why)}; run protect --renew")
        if unprotected:
            _list(ctx, f"{len(unprotected)} files have no parity, run protect:", unprotected)
        if missing:
            _list(ctx, f"{len(missing)} files that have parity are gone, removed or lost:", missing)
    if state.faults or unprotected:
        raise Failure("not everything is protected")
    if not ctx.options.json and not missing:
        out.info("all parity is intact")
