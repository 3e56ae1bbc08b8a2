"""``protect``: parity, which brings back lost bytes of a repository's files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from restic_format.words import printable
from restic_tools.access import given_storage, no_repository
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.messages.protect import FileProblem, ProtectCheckSummary, ProtectSummary
from restic_tools.own.running import context_of
from restic_tools.render import bytes_text
from restic_tools.stages import StagePrinter, stoppable

if TYPE_CHECKING:
    from restic_format.rescue.parity import Protected, ProtectionPlan, ProtectionState
    from restic_format.storage import SideFiles, Storage

app = typer.Typer()


@app.command()
def protect(
    ctx: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="make no parity, look whether it is intact and protects every file")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="change nothing, only show what would be done")] = False,
    forget_missing: Annotated[
        bool,
        typer.Option("--forget-missing", help="files that are gone were removed on purpose: drop their parity now"),
    ] = False,
    overhead: Annotated[
        str, typer.Option("--overhead", metavar="percent", help="parity in percent of what it protects, 1 to 100")
    ] = "5",
    renew: Annotated[bool, typer.Option("--renew", help="make all parity anew, also what is there already")] = False,
    to: Annotated[
        str, typer.Option("--to", metavar="directory", help="keep parity in this directory, not in the repository's parity/")
    ] = "",
) -> None:
    """Protect the repository's files with parity

    Makes Reed-Solomon parity of the config, keys, snapshots, index files and packs, in the directory parity/ of the repository,
    which restic and other programs leave alone. With it flipped bits, lost stretches, truncated and lost files can be brought
    back, as long as no more is lost than there is parity. No password is needed.

    Only files that are new since the last run are read, and small groups of files; run it after each backup. Every file is
    verified before: damaged ones are named and left out. Parity of files that are gone, removed by prune or lost, is kept for
    30 days, or until --forget-missing is given.
    """
    from restic_format.rescue.parity import check_protection, plan_protection
    from restic_format.rescue.parity import protect as make_parity
    from restic_format.rescue.parity.planning import KEEP_MISSING

    tools = context_of(ctx)
    share = _share(overhead)
    if check and (dry_run or forget_missing or renew):
        raise Failure("--check cannot be used together with --dry-run, --forget-missing or --renew")
    storage = _repository(tools, lost=check)
    side = _place(storage, to)
    with stoppable(tools) as cancel, StagePrinter(tools, {"parity files made": "", "parity files read": ""}) as progress:
        if check:
            state = check_protection(storage, side, progress=progress, cancel=cancel)
        else:
            now = time.time()
            keep = 0.0 if forget_missing else KEEP_MISSING
            plan = plan_protection(storage, side, overhead=share, keep_missing=keep, renew=renew, now=now, cancel=cancel)
            done = None if dry_run else make_parity(storage, side, plan, now=now, progress=progress, cancel=cancel)
    if check:
        _show_state(tools, state)
    else:
        _show_done(tools, plan, done, forget_missing=forget_missing)


def _share(text: str) -> float:
    """``--overhead`` as a share of 1; the engine says what is too small or too large."""
    digits = text.removesuffix("%")
    if not (digits.isascii() and digits.replace(".", "", 1).isdigit() and len(digits) < 10):
        raise Failure(f"invalid argument {printable(text)!r} for --overhead: not a number of percent")
    return float(digits) / 100


def _repository(ctx: Context, *, lost: bool) -> Storage:
    """The storage that is given, in which there must be a repository; with *lost* its config may be missing."""
    from restic_spec.layout import FileKind

    storage = given_storage(ctx.options, ctx.interrupt.event.is_set)
    if not storage.exists(FileKind.CONFIG, "") and not (lost and any(storage.list(FileKind.PACK))):
        raise no_repository(ctx.options)
    return storage


def _place(storage: Storage, directory: str) -> SideFiles:
    """Where parity is kept."""
    if not directory:
        return storage.side_files("parity")
    from restic_format.storage.locations import parse_location
    from restic_format.storage.side import LocalSideFiles

    location = parse_location(directory)
    if location.scheme != "local":
        raise Failure("--to takes a local directory")
    return LocalSideFiles(location.rest)


def _show_done(ctx: Context, plan: ProtectionPlan, done: Protected | None, *, forget_missing: bool) -> None:
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
            out.warn("If prune or forget removed them, all is well. If not, heal can bring them back for 30 days.")
    if problems:
        raise Failure(f"{len(problems)} files could not be protected: run diagnose")


_SHOWN = 10


def _list(ctx: Context, heading: str, paths: list[str]) -> None:
    ctx.out.warn(heading)
    for path in paths[:_SHOWN]:
        ctx.out.warn(f"  {path}")
    if len(paths) > _SHOWN:
        ctx.out.warn(f"  and {len(paths) - _SHOWN} more")


def _show_state(ctx: Context, state: ProtectionState) -> None:
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
