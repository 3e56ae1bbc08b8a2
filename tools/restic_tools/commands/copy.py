"""``copy``: copy snapshots from one repository to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from restic_tools.context import Context
from restic_tools.declare import Argument
from restic_tools.exitcodes import Failure
from restic_tools.gotext import quoted
from restic_tools.secondary import SecondaryRepository
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

if TYPE_CHECKING:
    from restic_format.errors import ResticFormatError
    from restic_format.repository import Repository


def copy(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[snapshotID ...]", values=("latest",))],
    second: SecondaryRepository,
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
) -> None:
    """Copy snapshots from one repository to another

    Copies the snapshots with these IDs, or all that match --host, --tag and --path, from the repository --from-repo to the
    repository --repo. Snapshots that were copied before are left out. The "original" of a copy is the ID of the snapshot it
    was made from, or that one's "original".

    All data of the snapshots is read and written, because the repositories have different keys. Files are not cut into
    blobs anew: data that was backed up into both repositories takes its space twice in the target, unless the two have the
    same chunker parameters ("init --copy-chunker-params").

    A snapshot with missing or damaged parts is not copied; the others are, and the exit code is 1.
    """
    other = second.options(ctx.options)
    source_options, target_options = (other, ctx.options) if second.is_source else (ctx.options, other)
    wanted = snapshot_filter(host, tag, path)
    from restic_format.maintenance.copy import copy as copy_snapshots
    from restic_format.maintenance.copy import plan_copy
    from restic_format.work import Cancel
    from restic_tools.commands.ls import load_index
    from restic_tools.copyprint import CopyPrinter

    def ignored(_: Repository, name: str, error: ResticFormatError) -> None:
        ctx.out.warn(f"Ignoring {quoted(name)}: {error}")

    with (
        ctx.open_repository(lock="shared", options=source_options) as source,
        ctx.open_repository(lock="shared", options=target_options, honour_no_lock=False) as target,
    ):
        plan = plan_copy(source, target, names, wanted.absolute(), damaged=ignored)
        load_index(ctx, source)
        load_index(ctx, target)

        def health() -> None:
            ctx.interrupt.check()
            ctx.check_lock()

        with ctx.interrupt.deferred(), CopyPrinter(ctx) as printer:
            printer.skipped(plan)
            if plan.snapshots and not plan.same_chunks:
                ctx.out.info(
                    "the repositories have different chunker parameters: what is backed up into both takes its space twice"
                )
            result = copy_snapshots(plan, progress=printer, cancel=Cancel(health=health))
            printer.summary(plan, result)
    if result.failed:
        raise Failure(f"{len(result.failed)} of {len(plan.snapshots)} snapshots could not be copied")
