"""``forget``: remove snapshots from the repository."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated

from restic_format.errors import ResticFormatError
from restic_format.maintenance import forget as engine
from restic_format.snapshots.grouping import TAGS, parse_grouping
from restic_format.words import printable
from restic_format.work import Cancel
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import INCOMPLETE, Failure
from restic_tools.gotext import local_text, quoted
from restic_tools.keepoptions import KeepOptions
from restic_tools.messages import encode_message
from restic_tools.messages.forget import ForgetGroup, KeepReason
from restic_tools.messages.snapshots import SnapshotMessage, snapshot_message
from restic_tools.output import NORMAL, VERBOSE
from restic_tools.pruneprint import PruneFlags, prune_options, run_prune
from restic_tools.snapshotfilter import PathOption, PlainHostOption, TagOption, snapshot_filter
from restic_tools.snapshottable import group_heading, snapshot_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restic_format.maintenance.forget import ForgetPlan, GroupPlan, Removed
    from restic_format.repository import Repository
    from restic_format.snapshots import FoundSnapshot

MOST_TOLD = 10
"""How many snapshots from the future are named one by one."""


def forget(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[snapshotID ...]", values=("latest",))],
    keep: KeepOptions,
    unsafe_allow_remove_all: Annotated[
        bool, Option("--unsafe-allow-remove-all", help="allow to remove all snapshots of a group")
    ] = False,
    hostname: Annotated[list[str] | None, Option("--hostname", deprecated="use --host", help="")] = None,
    host: PlainHostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
    compact: Annotated[bool, Option("--compact", "-c", help="do not show paths and reasons")] = False,
    group_by: Annotated[
        frozenset[str],
        Option(
            "--group-by",
            "-g",
            metavar="group",
            parser=parse_grouping,
            values=("host", "paths", "tags", "host,paths", "host,tags", "host,paths,tags"),
            help="group snapshots by host, paths, tags, separated by commas ('' for one group)",
            otherwise="host,paths",
        ),
    ] = engine.BY_HOST_AND_PATHS,
    dry_run: Annotated[bool, Option("--dry-run", "-n", help="remove nothing, only show what would be done")] = False,
    prune: Annotated[bool, Option("--prune", help="run 'prune' afterwards if snapshots were removed")] = False,
    *,
    flags: PruneFlags,
) -> None:
    """Remove snapshots from the repository

    Snapshots are divided into groups by "--group-by", and of each group those are removed that no "--keep-*" option keeps.
    While an option has counted fewer snapshots than it may, it keeps the oldest one of the group, too. With snapshot IDs, only
    these snapshots are removed.

    What is removed is a small file for each snapshot. The data that only these snapshots needed stay until "prune", which runs
    afterwards with "--prune".

    Snapshots whose time lies in the future are named, kept and not counted.
    """
    ctx.approach()
    policy = keep.policy()
    wanted = snapshot_filter([*(hostname or []), *(host or [])] if hostname or host is not None else None, tag, path)
    if ctx.options.no_lock and not dry_run:
        raise Failure("--no-lock is only applicable in combination with --dry-run for forget command")
    # Checked whenever they are given; else nothing of prune need be loaded.
    options = prune_options(ctx, flags) if prune or vars(flags) else None

    def ignored(name: str, error: ResticFormatError) -> None:
        ctx.out.warn(f"Ignoring {quoted(name)}: {error}")

    with ctx.open_repository(lock="none" if ctx.options.no_lock else "exclusive", first=("snapshots",)) as repo:
        if not names:
            engine.check_policy(policy, wanted, allow_remove_all=unsafe_allow_remove_all)
            ctx.out.info(f"Applying Policy: {policy}")
        plan = engine.plan(
            repo,
            policy,
            names=names,
            wanted=wanted,
            by=group_by,
            allow_remove_all=unsafe_allow_remove_all,
            damaged=ignored,
        )
        _tell_kept(ctx, plan)
        if ctx.out.verbosity >= NORMAL and not ctx.options.json:
            for group in plan.groups:
                _print_group(ctx, group, compact=compact, sort_tags=TAGS in group_by)
        failed = _carry_out(ctx, repo, plan, dry_run=dry_run)
        if ctx.options.json and plan.groups:
            ctx.out.write(encode_message([_message(group, sort_tags=TAGS in group_by) for group in plan.groups]) + b"\n")
        if failed:
            raise Failure("failed to remove one or more snapshots", INCOMPLETE, plain=True)
        if prune and options is not None and plan.remove:
            what = "would be removed, running prune dry run" if dry_run else "have been removed, running prune"
            ctx.out.info(f"{len(plan.remove)} snapshots {what}")
            run_prune(ctx, repo, options, dry_run=dry_run, ignore={found.id for found in plan.remove})


def _carry_out(ctx: Context, repo: Repository, plan: ForgetPlan, *, dry_run: bool) -> bool:
    """Remove the snapshots, or say which would be; whether some could not be removed."""
    if not plan.remove:
        return False
    if dry_run:
        short = " ".join(found.short_id for found in sorted(plan.remove, key=lambda found: found.id))
        ctx.out.info(f"Would have removed the following snapshots:\n{{{short}}}\n", block=True)
        return False

    with ctx.counter("files deleted", len(plan.remove)) as counter:

        def told(removed: Removed) -> None:
            name = f"snapshot/{removed.found.id.hex()}"
            if removed.error is None:
                counter.add()
                ctx.out.debug(f"removed {name}")
            else:
                ctx.out.warn(f"unable to remove {name} from the repository: {removed.error}")

        result = engine.execute(repo, plan, progress=told, cancel=Cancel(health=ctx.interrupt.check))
    return bool(result.failed)


def _tell_kept(ctx: Context, plan: ForgetPlan) -> None:
    """Say on standard error what is kept although it was named, and what is from the future."""
    for kept in plan.refused:
        ctx.out.warn(f"snapshot {kept.found.short_id} {kept.matches[0]}, not removed")
    future = plan.future
    for found in future[:MOST_TOLD]:
        when = local_text(found.snapshot.time)
        ctx.out.warn(
            f"snapshot {found.short_id} of {printable(found.snapshot.hostname)} at {when} is from the future: "
            "kept and not counted (see --trust-times)"
        )
    if len(future) > MOST_TOLD:
        ctx.out.warn(f"{len(future) - MOST_TOLD} more snapshots are from the future: kept and not counted")


def _print_group(ctx: Context, plan: GroupPlan, *, compact: bool, sort_tags: bool) -> None:
    group, decision = plan
    heading = group_heading(group)
    if heading and ctx.out.verbosity >= VERBOSE:
        ctx.out.info(heading)
    reasons = {kept.found.id: kept.matches for kept in decision.keep}
    width = ctx.out.width if ctx.out.stdout_is_terminal else None
    for word, found in (("keep", [kept.found for kept in decision.keep]), ("remove", decision.remove)):
        if found:
            why = reasons if word == "keep" else None
            table = snapshot_table(found[::-1], compact=compact, width=width, reasons=why, sort_tags=sort_tags)
            ctx.out.info(f"{word} {len(found)} snapshots:")
            for line in chain(table.lines(), [""]):
                ctx.out.info(line)


def _message(plan: GroupPlan, *, sort_tags: bool) -> ForgetGroup:
    group, decision = plan

    def message(found: FoundSnapshot) -> SnapshotMessage:
        told = snapshot_message(found, paths=sorted(found.snapshot.path_list()))
        told.tags = sorted(told.tags) if sort_tags else told.tags
        return told

    def messages(found: Sequence[FoundSnapshot]) -> list[SnapshotMessage] | None:
        return [message(item) for item in found] or None

    return ForgetGroup(
        list(group.tags) if group.tags else None,
        group.hostname,
        list(group.paths) if group.paths else None,
        messages([kept.found for kept in decision.keep]),
        messages(decision.remove),
        [KeepReason(message(kept.found), list(kept.matches)) for kept in decision.keep] or None,
    )
