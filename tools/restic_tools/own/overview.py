"""``overview``: what a repository holds, as numbers and charts; text, JSON, or a page for a browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from restic_format.snapshots import FoundSnapshot, SnapshotFilter, filter_snapshots
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.htmlpage.writing import check_target, write_page
from restic_tools.own.running import context_of
from restic_tools.own.snapshotoptions import HostOption, PathOption, TagOption, chosen

if TYPE_CHECKING:
    from restic_format.explore.overview import Overview
    from restic_format.repository import Repository

app = typer.Typer()


@app.command()
def overview(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[snapshotID ...]")] = None,
    host: HostOption = None,
    html: Annotated[
        str | None,
        typer.Option("--html", metavar="file", help="write a page for a browser into this file; - is standard output"),
    ] = None,
    path: PathOption = None,
    tag: TagOption = None,
    top: Annotated[int, typer.Option("--top", "-n", metavar="n", help="show the n largest files and directories")] = 10,
) -> None:
    """Show what the repository holds, as numbers and charts

    Format and extensions, keys and their strength, who made snapshots and what they have added, packs and blobs by size, what
    compression and deduplication save, what is not needed, what `prune` would free, index, locks, and what needs most.

    Of packs, blobs, space and `prune` it tells for the whole repository; snapshots, and what is said of their files, can be
    chosen. --html writes one page that opens without a network and holds no secrets, but names and paths from the repository.

    Only index, trees and small files are read. What cannot be read is named, everything else is told.
    """
    tools = context_of(ctx)
    if top < 0:
        raise Failure("--top must not be negative")
    check_target(tools, html)
    wanted = chosen(host, tag, path)
    with tools.open_repository(lock="shared") as repository:
        found = _make(tools, repository, _selection(repository, names or [], wanted), top)
    if html is not None:
        from restic_tools.own.overviewpage import page

        write_page(tools, page(found), html)
    if tools.options.json:
        from restic_tools.messages.overview import overview_message

        tools.out.json(overview_message(found))
    elif html is None:
        from restic_tools.own.overviewtext import show

        show(tools.out, found)
    if found.problem_count:
        raise Failure(f"{found.problem_count} items could not be read, so that numbers are too small: run check")


def _selection(repository: Repository, names: Sequence[str], wanted: SnapshotFilter) -> Callable[[FoundSnapshot], bool] | None:
    """Which snapshots are shown; None for all."""
    if names:
        ids = {found.id for found in filter_snapshots(repository, names, wanted)}
        return lambda found: found.id in ids
    return None if wanted.empty else lambda found: wanted.matches(found.snapshot)


def _make(ctx: Context, repository: Repository, select: Callable[[FoundSnapshot], bool] | None, top: int) -> Overview:
    from restic_format.explore.overview import make_overview
    from restic_format.work import silent
    from restic_tools.stages import StagePrinter, stoppable

    with ExitStack() as stack:
        progress = None
        if ctx.out.stdout_is_terminal:
            progress = stack.enter_context(StagePrinter(ctx, {"index": "", "snapshots": ""}))
        cancel = stack.enter_context(stoppable(ctx))
        return make_overview(repository, select, top=top, is_own=ctx.holds_lock, progress=progress or silent, cancel=cancel)
