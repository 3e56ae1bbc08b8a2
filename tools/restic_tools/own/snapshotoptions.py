"""Options of typer commands that choose snapshots, as `restic_tools.snapshotfilter` has them for restic's."""

from __future__ import annotations

from typing import Annotated

import typer

from restic_format.snapshots import SnapshotFilter
from restic_tools.flagtypes import tag_list
from restic_tools.snapshotfilter import snapshot_filter

MANY = "(can be given several times)"

HostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        "-H",
        metavar="host",
        help=f"show only snapshots of this host {MANY}; an empty name takes the default, $RESTIC_HOST, away",
    ),
]
PathOption = Annotated[
    list[str] | None,
    typer.Option("--path", metavar="path", help=f"show only snapshots that include this absolute path {MANY}"),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="tag[,tag,...]", help=f"show only snapshots that have all of these tags {MANY}"),
]


def chosen(host: list[str] | None, tag: list[str] | None, path: list[str] | None) -> SnapshotFilter:
    """The filter for the three options and ``RESTIC_HOST``."""
    return snapshot_filter(host, [tag_list(given) for given in tag or []], path).absolute()
