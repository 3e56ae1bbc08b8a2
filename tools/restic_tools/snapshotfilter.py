"""The options that choose snapshots, shared by every command that has them."""

from __future__ import annotations

from typing import Annotated

from restic_format.snapshots import SnapshotFilter
from restic_tools.declare import Option
from restic_tools.environment import variable
from restic_tools.flagtypes import tag_list

_MANY = "(can be given several times)"


def _host_option(*names: str) -> Option:
    return Option(
        *names,
        metavar="host",
        variable="RESTIC_HOST",
        help=f"only consider snapshots of this host {_MANY}; an empty name takes the default away",
    )


HostOption = Annotated[list[str] | None, _host_option("--host", "-H")]
PlainHostOption = Annotated[list[str] | None, _host_option("--host")]
"""The same for commands whose ``-H`` is another option."""
TagOption = Annotated[
    list[list[str]] | None,
    Option(
        "--tag", metavar="tag[,tag,...]", parser=tag_list, help=f"only consider snapshots that have all of these tags {_MANY}"
    ),
]
PathOption = Annotated[
    list[str] | None,
    Option("--path", metavar="path", help=f"only consider snapshots that include this absolute path {_MANY}"),
]


def snapshot_filter(host: list[str] | None, tag: list[list[str]] | None, path: list[str] | None) -> SnapshotFilter:
    """The filter for the three options and ``RESTIC_HOST``."""
    if host is None:
        default = variable("RESTIC_HOST")
        host = [default] if default else []
    hosts = [] if host == [""] else host
    return SnapshotFilter(hosts=hosts, tags=tag or [], paths=path or [])
