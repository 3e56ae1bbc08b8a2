"""``snapshots``: list the snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from restic_format.errors import ResticFormatError
from restic_format.snapshots.find import FoundSnapshot, filter_snapshots
from restic_format.snapshots.grouping import (
    HOST,
    PATHS,
    TAGS,
    Group,
    group_snapshots,
    newest_of_each,
    parse_grouping,
)
from restic_format.words import visible
from restic_spec.rustic import DELETE, DESCRIPTION, LABEL
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.gotext import quoted
from restic_tools.messages import encode_message
from restic_tools.messages.snapshots import GroupKey, SnapshotGroup, snapshot_message
from restic_tools.output import encode
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter
from restic_tools.snapshottable import group_heading, snapshot_table

MEMBERS = (LABEL, DESCRIPTION, DELETE)
"""What rustic has beside restic's members, and is shown."""


def snapshots(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[snapshotID ...]", values=("latest",))],
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
    compact: Annotated[bool, Option("--compact", "-c", help="do not show paths")] = False,
    last: Annotated[bool, Option("--last", deprecated="use --latest 1", help="")] = False,
    latest: Annotated[
        int, Option("--latest", metavar="n", help="show only the latest n snapshots of each host and paths, or of each group")
    ] = 0,
    group_by: Annotated[
        frozenset[str] | None,
        Option(
            "--group-by",
            "-g",
            metavar="group",
            parser=parse_grouping,
            values=("host", "paths", "tags", "host,paths", "host,tags", "host,paths,tags"),
            help="group snapshots by host, paths, tags, separated by commas",
        ),
    ] = None,
) -> None:
    """List the snapshots

    With snapshot IDs, only these are listed.
    """
    ctx.approach()
    wanted = snapshot_filter(host, tag, path).absolute()
    latest = 1 if last else latest

    def ignored(name: str, error: ResticFormatError) -> None:
        ctx.out.warn(f"Ignoring {quoted(name)}: {error}")

    with ctx.open_repository(lock="shared", first=("snapshots",)) as repo:
        found = sorted(
            filter_snapshots(repo, names, wanted, ignored, members=MEMBERS), key=lambda item: (item.time_ns, item.id)
        )
        if group_by and TAGS in group_by:
            for item in found:
                item.snapshot.tags.sort(key=encode)  # restic shows them as it compares them
        groups = group_snapshots(found, group_by or frozenset())
        if latest > 0:
            each = group_by or frozenset((HOST, PATHS))
            groups = {group: newest_of_each(members, latest, each) for group, members in groups.items()}
        width = ctx.out.width if ctx.out.stdout_is_terminal else None
    if ctx.options.json:
        ctx.out.write(_json(groups, is_grouped=bool(group_by)))
        return
    for line in _tables(groups, compact=compact, width=width):
        ctx.out.write(encode(visible(line)) + b"\n")


def _tables(groups: dict[Group, list[FoundSnapshot]], *, compact: bool, width: int | None) -> Iterator[str]:
    for group, members in groups.items():
        if heading := group_heading(group):
            yield heading
        yield from snapshot_table(members, compact=compact, width=width).lines()


def _json(groups: dict[Group, list[FoundSnapshot]], *, is_grouped: bool) -> bytes:
    lists = {
        group: [snapshot_message(item, paths=sorted(item.snapshot.path_list())) for item in members]
        for group, members in groups.items()
    }
    if not is_grouped:
        return encode_message([message for members in lists.values() for message in members]) + b"\n"
    result = [
        SnapshotGroup(GroupKey(host, list(paths) if paths else None, list(tags) if tags else None), members)
        for (host, paths, tags), members in lists.items()
    ]
    return encode_message(result) + b"\n"
