"""``merge``: one snapshot of several."""

from __future__ import annotations

from time import time_ns
from typing import Annotated

import typer

from restic_tools.exitcodes import Failure
from restic_tools.flagtypes import local_time, tag_list
from restic_tools.gotext import quoted
from restic_tools.own.running import context_of

app = typer.Typer()

_MANY = "(can be given several times)"


@app.command()
def merge(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[snapshotID ...]")] = None,
    command: Annotated[str, typer.Option("--command", help="command line that the new snapshot names")] = "",
    delete: Annotated[bool, typer.Option("--delete", help="remove the merged snapshots when the new one is stored")] = False,
    delete_after: Annotated[
        str,
        typer.Option(
            "--delete-after",
            metavar="duration",
            help="let `forget` remove the new snapshot after this long (like 1y5m7d2h), and not before",
        ),
    ] = "",
    delete_never: Annotated[bool, typer.Option("--delete-never", help="mark the new snapshot never to be removed")] = False,
    description: Annotated[str, typer.Option("--description", help="description of the new snapshot")] = "",
    description_from: Annotated[
        str, typer.Option("--description-from", metavar="file", help="read the description from this file")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="change nothing, only show what would be done")] = False,
    filter_host: Annotated[
        list[str] | None, typer.Option("--filter-host", metavar="host", help=f"merge only snapshots of this host {_MANY}")
    ] = None,
    filter_paths: Annotated[
        list[str] | None,
        typer.Option("--filter-paths", metavar="path", help=f"merge only snapshots that include this absolute path {_MANY}"),
    ] = None,
    filter_tags: Annotated[
        list[str] | None,
        typer.Option(
            "--filter-tags", metavar="tag[,tag,...]", help=f"merge only snapshots that have all of these tags {_MANY}"
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="hostname", help="host of the new snapshot")] = "",
    label: Annotated[str, typer.Option("--label", help="label of the new snapshot")] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="tag[,tag,...]", help=f"tags of the new snapshot {_MANY}"),
    ] = None,
    time: Annotated[
        str, typer.Option("--time", metavar="time", help="time of the new snapshot, for example '2012-11-01 22:08:41'")
    ] = "",
) -> None:
    """Merge snapshots into one new snapshot

    The new snapshot has everything that is in any of the snapshots with these IDs, or of all that match --filter-host,
    --filter-tags and --filter-paths. Where several have an item of the same name, the one with the latest modification time
    stays; directories are merged. The time of the new snapshot is that of the latest one, unless --time is given.

    With --delete the merged snapshots are removed, but for those that are marked not to be removed yet.
    """
    from restic_format.errors import ResticFormatError
    from restic_format.maintenance.merge import MergeOptions, plan_merge
    from restic_format.maintenance.merge import merge as merge_snapshots
    from restic_format.snapshots import SnapshotFilter, filter_snapshots
    from restic_spec import gotime
    from restic_tools.commands.ls import load_index
    from restic_tools.deleteoptions import delete_option
    from restic_tools.messages.merge import SnapshotMerged
    from restic_tools.passwords import read_text_file
    from restic_tools.stages import stoppable

    tools = context_of(ctx)
    out = tools.out
    if description and description_from:
        raise Failure("--description and --description-from are mutually exclusive")
    made = _time(time) if time else None
    options = MergeOptions(
        hostname=host,
        tags=[text for given in tag or [] for text in tag_list(given) if text],
        label=label,
        description=read_text_file(description_from) if description_from else description,
        delete=delete_option(delete_after, made or time_ns(), never=delete_never),
        time="" if made is None else gotime.format_ns(made),
        command=command,
        remove_merged=delete,
        dry_run=dry_run,
    )
    wanted = SnapshotFilter(filter_host or [], [tag_list(given) for given in filter_tags or []], filter_paths or []).absolute()

    def ignored(name: str, error: ResticFormatError) -> None:
        if name in (names or []):
            raise error  # a merge without one of those that were asked for is another one
        out.warn(f"Ignoring {quoted(name)}: {error}")

    with tools.open_repository(lock="exclusive" if delete and not dry_run else "shared", honour_no_lock=False) as repository:
        plan = plan_merge(repository, list(filter_snapshots(repository, names or [], wanted, ignored)), options)
        load_index(tools, repository)
        with stoppable(tools) as cancel:
            result = merge_snapshots(plan, cancel=cancel)
    statistics = result.snapshot.statistics()
    assert statistics is not None
    if tools.options.json:
        out.json(
            SnapshotMerged(
                message_type="summary",
                merged_snapshots=[found.id.hex() for found in plan.snapshots],
                tree=str(result.snapshot.tree),
                total_files_processed=statistics.total_files_processed,
                total_bytes_processed=statistics.total_bytes_processed,
                snapshot_id="" if result.id is None else result.id.hex(),
                removed_snapshots=[found.id.hex() for found in result.removed],
                dry_run=dry_run,
            )
        )
        return
    if result.id is None:
        out.info(f"would merge {len(plan.snapshots)} snapshots: {' '.join(found.short_id for found in plan.snapshots)}")
        return
    out.info(f"merged {len(plan.snapshots)} snapshots")
    out.info(f"saved new snapshot {result.id.hex()[:8]}")
    for found in result.removed:
        out.info(f"removed snapshot {found.short_id}")
    for found in result.kept:
        out.info(f"kept snapshot {found.short_id}, which is marked not to be removed yet")


def _time(text: str) -> int:
    try:
        return local_time(text)
    except ValueError as error:
        raise Failure(f"invalid argument {text!r} for --time: {error}") from None
