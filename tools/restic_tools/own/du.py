"""``du``: what snapshots, directories and types of files cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from restic_format.errors import ResticFormatError
from restic_format.snapshots import FoundSnapshot, SnapshotFilter, all_snapshots, filter_snapshots, find_snapshot
from restic_format.words import printable
from restic_tools.commands.ls import load_index
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.gotext import local_text
from restic_tools.messages import ErrorText, ObjectError
from restic_tools.messages.du import CostMessage, CostsMessage, StoredMessage
from restic_tools.own.running import context_of
from restic_tools.own.snapshotoptions import HostOption, PathOption, TagOption, chosen
from restic_tools.render import Table, bytes_text

if TYPE_CHECKING:
    from restic_format.explore.cost import Cost, Stored
    from restic_format.repository import Repository
    from restic_format.work import Advance, Cancel

app = typer.Typer()


class Key(StrEnum):
    """What rows are sorted by."""

    NAME = "name"
    SIZE = "size"
    STORED = "stored"
    UNIQUE = "unique"
    SHARED = "shared"
    FREED = "freed"


class Row(NamedTuple):
    """One row of the table, or message."""

    cells: list[str]
    """What it is, in columns."""
    cost: Cost
    message: CostMessage
    above: int = -1
    """The row it is in, -1 for none."""


class Page(NamedTuple):
    """All that is shown."""

    by: str
    headers: list[str]
    rows: list[Row]
    whole: str
    """What the last line is about."""
    total: Cost
    repository: Stored


@app.command()
def du(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[snapshotID[:dir] ...]")] = None,
    by_type: Annotated[bool, typer.Option("--by-type", help="what files cost by what their names end with")] = False,
    depth: Annotated[int, typer.Option("--depth", "-d", metavar="n", help="show directories down to this depth")] = 1,
    host: HostOption = None,
    path: PathOption = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="reverse the order")] = False,
    sort: Annotated[
        Key | None,
        typer.Option("--sort", "-s", metavar="key", help="sort by name, size, stored, unique, shared or freed, largest first"),
    ] = None,
    tag: TagOption = None,
    top: Annotated[int, typer.Option("--top", "-n", metavar="n", help="show only the first n rows, of each directory")] = 0,
) -> None:
    """Show what snapshots, directories and types of files cost

    Without arguments, and with several snapshots, each snapshot has a row; with one snapshot each directory in it, or in a
    directory of it, down to --depth. With --by-type each type of files in these snapshots has a row.

    Size is that of the files as they are restored. The others are bytes in packs: Stored of all that is needed, Unique of what
    no other row needs, Shared of what another one needs, too. Freed is what nothing else in the repository needs: what `prune
    --max-unused 0` frees when the row is gone.

    Only the index and the trees are read, no files.
    """
    tools = context_of(ctx)
    if depth < 0 or top < 0:
        raise Failure("--depth and --top must not be negative")
    asked = names or []
    wanted = chosen(host, tag, path)
    faults = _Faults(tools)
    with tools.open_repository(lock="shared") as repository:
        load_index(tools, repository)
        page = _count(tools, repository, asked, wanted, faults, by_type=by_type, depth=depth)
    order = _order(page, sort or (Key.STORED if by_type else Key.NAME), reverse=reverse, top=top)
    if tools.options.json:
        tools.out.json(_message(page, order))
    else:
        _show(tools, page, order)
    if faults.count:
        raise Failure(f"{faults.count} items could not be counted, so that numbers are too small: run check")


class _Faults:
    """Is told what cannot be counted, and says it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.count = 0

    def __call__(self, item: str, error: ResticFormatError) -> None:
        """Tell of an item."""
        self.count += 1
        if self._ctx.options.json:
            self._ctx.out.json_error(ObjectError("error", ErrorText(str(error)), "du", item))
        else:
            self._ctx.out.warn(f"ignoring error for {item}: {error}")


def _count(
    ctx: Context,
    repository: Repository,
    names: Sequence[str],
    wanted: SnapshotFilter,
    faults: _Faults,
    *,
    by_type: bool,
    depth: int,
) -> Page:
    from restic_tools.stages import stoppable

    folder = ""
    every = sorted(
        all_snapshots(repository, lambda snapshot_id, error: faults(f"snapshot {snapshot_id.hex()}", error)), key=_age
    )
    if len(names) == 1:
        found, folder = find_snapshot(repository, names[0], wanted)
        shown = [found]
    elif names:
        shown = list(filter_snapshots(repository, names, wanted))
    else:
        shown = [item for item in every if wanted.matches(item.snapshot)]
    ids = {item.id for item in shown}
    others = [item for item in every if item.id not in ids]
    with ExitStack() as stack:
        cancel = stack.enter_context(stoppable(ctx))
        counter = None
        if ctx.out.stdout_is_terminal:
            counter = stack.enter_context(ctx.counter("snapshots read", len(shown) + len(others)))

        def progress(event: Advance) -> None:
            if counter is not None:
                counter.done = event.done

        call = _Call(repository, others, faults, progress, cancel)
        if by_type:
            return _types(call, shown, folder)
        return _folders(call, shown[0], folder, depth) if len(names) == 1 else _snapshots(call, shown)


class _Call(NamedTuple):
    """What every count needs."""

    repository: Repository
    others: list[FoundSnapshot]
    faults: _Faults
    progress: Callable[[Advance], None]
    cancel: Cancel


def _age(found: FoundSnapshot) -> tuple[int, bytes]:
    return found.time_ns, found.id


def _snapshots(call: _Call, shown: list[FoundSnapshot]) -> Page:
    from restic_format.explore.cost import snapshot_costs

    repository, others, damaged, progress, cancel = call
    costs = snapshot_costs(repository, shown, others, damaged=damaged, progress=progress, cancel=cancel)
    rows = []
    for found, cost in costs.rows:
        snapshot = found.snapshot
        cells = [found.short_id, local_text(snapshot.time), printable(snapshot.hostname)]
        cells.append("\n".join(map(printable, snapshot.path_list())))
        message = CostMessage(
            id=found.id.hex(),
            time=snapshot.time,
            hostname=snapshot.hostname,
            paths=snapshot.path_list(),
            tags=snapshot.tags,
        )
        rows.append(Row(cells, cost, message))
    return Page("snapshot", ["ID", "Time", "Host", "Paths"], rows, f"{len(rows)} snapshots", costs.total, costs.repository)


def _folders(call: _Call, found: FoundSnapshot, folder: str, depth: int) -> Page:
    from restic_format.explore.cost import folder_costs

    repository, others, damaged, progress, cancel = call
    costs = folder_costs(repository, found, folder, others, depth=depth, damaged=damaged, progress=progress, cancel=cancel)
    first, *below = costs.rows
    rows = []
    for row in below:
        name = row.path if row.depth == 1 else "  " * (row.depth - 1) + row.path.rpartition("/")[2]
        rows.append(Row([printable(name)], row.cost, CostMessage(path=row.path, depth=row.depth), row.above - 1))
    return Page("directory", ["Directory"], rows, printable(first.path), first.cost, costs.repository)


def _types(call: _Call, shown: list[FoundSnapshot], folder: str) -> Page:
    from restic_format.explore.cost import TREES, type_costs

    repository, others, damaged, progress, cancel = call
    costs = type_costs(repository, shown, folder, others, damaged=damaged, progress=progress, cancel=cancel)
    rows = []
    for kind, cost in costs.rows:
        if kind == TREES:
            rows.append(Row(["(directories)"], cost, CostMessage(blob_type="tree")))
        else:
            rows.append(Row([printable(f".{kind}") if kind else "(none)"], cost, CostMessage(type=kind, blob_type="data")))
    return Page("type", ["Type"], rows, f"{len(rows)} types", costs.total, costs.repository)


def _order(page: Page, sort: Key, *, reverse: bool, top: int) -> list[Row]:
    """The rows in their order: those of each directory together, after it."""
    below: dict[int, list[int]] = {}
    for number, row in enumerate(page.rows):
        below.setdefault(row.above, []).append(number)
    for numbers in below.values():
        if sort is Key.NAME:
            if page.by == "type":  # the others are in order: of time, or of names
                numbers.sort(key=lambda number: page.rows[number].cells)
        else:
            numbers.sort(key=lambda number: -int(getattr(page.rows[number].cost, sort.value)))
        if reverse:
            numbers.reverse()
        if top:
            del numbers[top:]
    return [page.rows[number] for number in _walk(below)]


def _walk(below: dict[int, list[int]]) -> Iterator[int]:
    waiting = below.get(-1, [])[::-1]
    while waiting:
        number = waiting.pop()
        yield number
        waiting += below.get(number, [])[::-1]


def _numbers(cost: Cost) -> list[int]:
    return [cost.size, cost.stored, cost.unique, cost.shared, cost.freed]


def _message(page: Page, rows: list[Row]) -> CostsMessage:
    for row in rows:
        _fill(row.message, row.cost)
    total = CostMessage()
    _fill(total, page.total)
    found = page.repository
    stored = StoredMessage(found.all, found.needed, found.unneeded)
    return CostsMessage(page.by, [row.message for row in rows], total, stored)


def _fill(message: CostMessage, cost: Cost) -> None:
    message.entries = cost.entries
    message.size, message.stored, message.unique, message.shared, message.freed = _numbers(cost)


def _show(ctx: Context, page: Page, rows: list[Row]) -> None:
    headers = ["Size", "Stored", "Unique", "Shared", "Freed"]
    lines = [[bytes_text(number) for number in _numbers(cost)] for cost in [*(row.cost for row in rows), page.total]]
    widths = [max(len(line[column]) for line in [headers, *lines]) for column in range(len(headers))]

    def right(texts: Sequence[str]) -> list[str]:
        return [text.rjust(width) for text, width in zip(texts, widths, strict=True)]

    width = ctx.out.width if ctx.out.stdout_is_terminal else None
    table = Table([*right(headers), *page.headers], width=width, fold=len(headers) + len(page.headers) - 1)
    for row, line in zip(rows, lines, strict=False):
        table.add([*right(line), *row.cells])
    hidden = len(page.rows) - len(rows)
    table.footer = ["  ".join([*right(lines[-1]), page.whole]) + (f", {hidden} rows not shown" if hidden else "")]
    for text in table.lines():
        ctx.out.line(text)
    found = page.repository
    ctx.out.line(
        f"in the repository: {bytes_text(found.all)} stored, {bytes_text(found.needed)} needed by snapshots, "
        f"{bytes_text(found.unneeded)} not needed"
    )
