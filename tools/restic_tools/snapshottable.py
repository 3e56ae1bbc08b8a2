"""Tables of snapshots, in ``snapshots`` and ``forget``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from restic_format.snapshots.find import FoundSnapshot
from restic_format.snapshots.grouping import Group
from restic_format.words import printable
from restic_spec.rustic import LABEL, text_member
from restic_tools.gotext import local_text, zone_text
from restic_tools.render import Table, bytes_text


def group_heading(group: Group) -> str:
    """The line above a group's table; none where the snapshots have nothing in common."""
    parts = [f"host [{printable(group.hostname)}]"] if group.hostname else []
    if group.tags is not None:
        parts.append(f"tags [{', '.join(map(printable, group.tags))}]")
    if group.paths is not None:
        parts.append(f"paths [{', '.join(map(printable, group.paths))}]")
    return f"snapshots for ({', '.join(parts)}):" if parts else ""


def snapshot_table(
    found: Sequence[FoundSnapshot],
    *,
    compact: bool,
    width: int | None = None,
    reasons: Mapping[bytes, Sequence[str]] | None = None,
    sort_tags: bool = False,
) -> Table:
    """The table of snapshots, oldest first; at most ``width`` columns wide where folding paths makes that possible.

    ``reasons``, by id, have a column of their own, but not in a compact table; so have rustic's labels, where there are any.
    """
    sizes = [_size_text(item) for item in found]
    with_size = any(sizes)
    labels = [text_member(item.snapshot, LABEL) for item in found]
    headers = ["ID", "Time", "Host", "Tags  "] if compact else ["ID", "Time", "Host      ", "Tags      "]
    if any(labels):
        headers.insert(3, "Label")
    if not compact:
        headers += ["Paths"] if reasons is None else ["Reasons", "Paths"]
    fold = None if compact else len(headers) - 1
    table = Table(headers + (["Size"] if with_size else []), width=width, fold=fold)
    for item, size, label in zip(found, sizes, labels, strict=True):
        snapshot = item.snapshot
        cells = [item.short_id, local_text(snapshot.time), printable(snapshot.hostname)]
        if any(labels):
            cells.append(printable(label))
        cells.append(("\n" if compact else ",").join(map(printable, sorted(snapshot.tags) if sort_tags else snapshot.tags)))
        if not compact and reasons is not None:
            cells.append("\n".join(map(printable, reasons[item.id])))
        if not compact:
            cells.append("\n".join(map(printable, sorted(snapshot.path_list()))))
        table.add(cells + ([size] if with_size else []))
    table.spaced = not compact and any(len(item.snapshot.path_list()) > 1 for item in found)
    table.footer = [f"Timestamps shown in {zone_text()}", f"{len(found)} snapshots"]
    return table


def _size_text(item: FoundSnapshot) -> str:
    statistics = item.snapshot.statistics()
    return "" if statistics is None else bytes_text(statistics.total_bytes_processed)
