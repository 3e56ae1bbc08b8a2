"""``snapshots``: what backups there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from restic_format.errors import ResticFormatError
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, filter_snapshots
from restic_format.words import printable, visible
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.gotext import local_text, zone_text
from restic_tools.messages import GroupKey, SnapshotGroup, encode_message, snapshot_message
from restic_tools.output import encode
from restic_tools.render import Table, bytes_text
from restic_tools.snapshotfilter import HostOption, PathOption, TagOption, snapshot_filter

Key = tuple[str, tuple[str, ...] | None, tuple[str, ...] | None]
"""Host, paths and tags that a group has in common; empty or None where the grouping leaves them out."""

GROUP_WORDS = {"host": "host", "hosts": "host", "path": "paths", "paths": "paths", "tag": "tags", "tags": "tags"}


def group_by_option(text: str) -> frozenset[str]:
    """Read a ``--group-by`` value: ``host``, ``paths`` and ``tags``, separated by commas, or nothing at all."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in GROUP_WORDS:
            raise ValueError(f'unknown grouping option: "{word}"')
    return frozenset(GROUP_WORDS[word] for word in words)


def snapshots(
    ctx: Context,
    names: Annotated[list[str], Argument(metavar="[snapshotID ...]")],
    host: HostOption = None,
    tag: TagOption = None,
    path: PathOption = None,
    compact: Annotated[bool, Option("--compact", "-c", help="leave out the paths")] = False,
    latest: Annotated[
        int, Option("--latest", metavar="n", help="show the newest n for each host with the same paths, or for each group")
    ] = 0,
    group_by: Annotated[
        frozenset[str] | None,
        Option(
            "--group-by",
            "-g",
            metavar="group",
            parser=group_by_option,
            help="one table for each host, paths, tags, or several of these with commas between",
        ),
    ] = None,
) -> None:
    """Show the snapshots

    With snapshot IDs only those are listed.
    """
    wanted = snapshot_filter(host, tag, path).absolute()

    def ignored(name: str, error: ResticFormatError) -> None:
        ctx.out.warn(f'Ignoring "{name}": {error}')

    shown: bytes = b""

    def read(repo: Repository) -> None:
        nonlocal shown
        found = sorted(filter_snapshots(repo, names, wanted, ignored), key=lambda item: (item.time_ns, item.id))
        groups = grouped(found, group_by or frozenset())
        if latest > 0:
            newest = (lambda members: members[-latest:]) if group_by else (lambda members: latest_of_each(members, latest))
            groups = {key: newest(members) for key, members in groups.items()}
        width = ctx.out.width if ctx.out.stdout_is_terminal else None
        if ctx.options.json:
            shown = _json(groups, is_grouped=bool(group_by))
        else:
            shown = encode(visible(_tables(groups, is_grouped=bool(group_by), compact=compact, width=width), block=True))

    # While the lock settles all is made ready.
    with ctx.open_repository(lock="shared", meanwhile=read):
        pass
    ctx.out.write(shown)


def grouped(found: Iterable[FoundSnapshot], by: frozenset[str]) -> dict[Key, list[FoundSnapshot]]:
    """Snapshots by what they have in common, groups in the order of their first member."""
    groups: dict[Key, list[FoundSnapshot]] = {}
    for item in found:
        snapshot = item.snapshot
        key = (
            snapshot.hostname if "host" in by else "",
            tuple(sorted(snapshot.path_list())) if "paths" in by else None,
            tuple(sorted(snapshot.tags)) or None if "tags" in by else None,
        )
        groups.setdefault(key, []).append(item)
    return groups


def latest_of_each(found: Sequence[FoundSnapshot], count: int) -> list[FoundSnapshot]:
    """The newest ``count`` snapshots of each host with the same paths, oldest first."""
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    kept = []
    for item in reversed(found):
        key = (item.snapshot.hostname, tuple(sorted(item.snapshot.path_list())))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= count:
            kept.append(item)
    return kept[::-1]


def group_heading(key: Key) -> str:
    """The line above a group's table."""
    host, paths, tags = key
    parts = [f"host [{printable(host)}]"] if host else []
    if tags is not None:
        parts.append(f"tags [{', '.join(map(printable, tags))}]")
    if paths is not None:
        parts.append(f"paths [{', '.join(map(printable, paths))}]")
    return f"snapshots for ({', '.join(parts)}):" if parts else "snapshots:"


def snapshot_table(found: Sequence[FoundSnapshot], *, compact: bool, width: int | None = None) -> str:
    """The table of ``found``, oldest first; no wider than ``width`` columns if paths can be folded to fit."""
    sizes = [_size_text(item) for item in found]
    with_size = any(sizes)
    headers = ["ID", "Time", "Host", "Tags  "] if compact else ["ID", "Time", "Host      ", "Tags      ", "Paths"]
    table = Table(headers + (["Size"] if with_size else []), width=width, fold=None if compact else 4)
    for item, size in zip(found, sizes, strict=True):
        snapshot = item.snapshot
        cells = [item.short_id, local_text(snapshot.time), printable(snapshot.hostname)]
        cells.append(("\n" if compact else ",").join(map(printable, snapshot.tags)))
        if not compact:
            cells.append("\n".join(map(printable, snapshot.path_list())))
        table.add(cells + ([size] if with_size else []))
    table.spaced = not compact and any(len(item.snapshot.path_list()) > 1 for item in found)
    table.footer = [f"Timestamps shown in {zone_text()}", f"{len(found)} snapshots"]
    return table.text().rstrip("\n")


def _size_text(item: FoundSnapshot) -> str:
    statistics = item.snapshot.statistics()
    return "" if statistics is None else bytes_text(statistics.total_bytes_processed)


def _tables(groups: dict[Key, list[FoundSnapshot]], *, is_grouped: bool, compact: bool, width: int | None) -> str:
    lines = []
    for key, members in groups.items():
        if is_grouped:
            lines.append(group_heading(key))
        lines.append(snapshot_table(members, compact=compact, width=width))
    return "".join(f"{line}\n" for line in lines)


def _json(groups: dict[Key, list[FoundSnapshot]], *, is_grouped: bool) -> bytes:
    lists = {key: [snapshot_message(item) for item in members] for key, members in groups.items()}
    if not is_grouped:
        return encode_message([message for members in lists.values() for message in members]) + b"\n"
    result = [
        SnapshotGroup(GroupKey(host, list(paths) if paths else None, list(tags) if tags else None), lists[host, paths, tags])
        for host, paths, tags in lists
    ]
    return encode_message(result) + b"\n"
