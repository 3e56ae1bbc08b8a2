"""An overview as text: sections of tables and bars, 80 columns wide or as wide as the terminal; colours on a terminal only."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from restic_format.words import printable, visible
from restic_spec import gotime
from restic_tools.output import DEFAULT_WIDTH, Output, encode
from restic_tools.render import bytes_text, cells_wide, shortened

if TYPE_CHECKING:
    from restic_format.explore.overview import Author, LargeItem, Overview, Range, SnapshotFacts

MOST_ROWS = 12
"""Rows of tables of which there can be any number."""
MOST_PERIODS = 24
"""Rows of the growth over time."""
_BAR = 30
_NARROW = 40
_BOLD, _COLOUR, _WARNING, _RESET = "\x1b[1m", "\x1b[36m", "\x1b[31m", "\x1b[0m"


def show(out: Output, overview: Overview) -> None:
    """Print *overview*."""
    page = _Page(out)
    _repository(page, overview)
    _snapshots(page, overview)
    _growth(page, overview.snapshots)
    _space(page, overview)
    _packs(page, overview)
    _blobs(page, overview)
    _files(page, overview)
    _largest(page, "Largest files, by what only they need", overview.largest_files)
    _largest(page, "Largest directories, by what only they need", overview.largest_folders)
    if not overview.paths_complete:
        page.line("there are more paths than were looked at")
    _keys(page, overview)
    _index(page, overview)
    _locks(page, overview)
    _problems(page, overview)


class _Page:
    """Writes lines, which are made fit for a terminal here, and colours around them."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._coloured = out.coloured
        self.width = max(out.width, _NARROW) if out.stdout_is_terminal else DEFAULT_WIDTH
        self._mark = "█" if out.stdout_is_terminal else "#"
        self._first = True

    def heading(self, text: str) -> None:
        """The title of a section."""
        if not self._first:
            self._out.line()
        self._first = False
        self._paint(_BOLD, "", text)

    def line(self, text: str) -> None:
        """A line, indented and cut to fit."""
        self._out.line("  " + shortened(visible(text), self.width - 2))

    def warning(self, text: str) -> None:
        """What is wrong, in as many lines as it takes."""
        for number, line in enumerate(textwrap.wrap(visible(text), self.width - 4)):
            self._paint(_WARNING, "    " if number else "  ", shortened(line, self.width - 4))

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]], right: str = "") -> None:
        """Rows under *headers*, if any; those columns for which *right* has a ``>`` stand at the right."""
        lines = [list(line) for line in ([headers] if headers else [])] + [[visible(cell) for cell in row] for row in rows]
        widths = [max(map(cells_wide, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = []
            for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
                space = " " * (width - cells_wide(cell))
                cells.append(space + cell if right[column : column + 1] == ">" else cell + space)
            self.line("  ".join(cells).rstrip())

    def bars(self, rows: Sequence[tuple[Sequence[str], int]], right: str = "") -> None:
        """Rows of cells, each with a bar for its number beside those of the others."""
        if not rows:
            return
        most = max(number for _, number in rows)
        widths = [max(cells_wide(cells[column]) for cells, _ in rows) for column in range(len(rows[0][0]))]
        room = max(min(_BAR, self.width - 4 - sum(widths) - 2 * len(widths)), 4)
        for cells, number in rows:
            padded = []
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
                space = " " * (width - cells_wide(cell))
                padded.append(space + cell if right[column : column + 1] == ">" else cell + space)
            length = 0 if not number else max(1, round(room * number / most))
            self._paint(_COLOUR, "  " + "  ".join(padded) + "  ", self._mark * length)

    def _paint(self, colour: str, before: str, text: str) -> None:
        if not self._coloured or not text:
            self._out.line((before + text).rstrip())
            return
        self._out.write(encode(visible(before)) + colour.encode() + encode(visible(text)) + _RESET.encode() + b"\n")


def _time(ns: int) -> str:
    return gotime.format_ns(ns)[:19].replace("T", " ")


def _some(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f} : 1" if ratio else "-"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _repository(page: _Page, overview: Overview) -> None:
    found = overview.repository
    page.heading("Repository")
    page.line(f"ID        {found.id}")
    page.line(f"format    version {found.version}")
    level = {None: "", 0: ", no compression"}.get(found.compression, f", compression level {found.compression}")
    page.line(f"settings  {'append-only' if found.append_only else 'as in restic'}{level}")
    if found.hot:
        page.line("kind      hot half of a hot/cold repository: packs with data are elsewhere")
    page.table(
        ["Files", "Count", "Size"],
        [[one.kind, f"{one.count:,}", bytes_text(one.size)] for one in overview.files]
        + [["all", f"{1 + sum(one.count for one in overview.files):,}", bytes_text(overview.space.files)]],
        " >>",
    )
    if found.extensions:
        page.heading("Extensions of the format")
        page.table(
            ["Where", "What", "Of", "Count", "Value"],
            [
                [one.where, printable(one.name), one.program or "?", f"{one.count:,}", printable(one.value)]
                for one in found.extensions[: 2 * MOST_ROWS]
            ],
            "   >",
        )
        if len(found.extensions) > 2 * MOST_ROWS:
            page.line(f"and {_some(len(found.extensions) - 2 * MOST_ROWS, 'other')}")


def _snapshots(page: _Page, overview: Overview) -> None:
    page.heading("Snapshots")
    others = f", {_some(overview.other_snapshots, 'other')} not shown" if overview.other_snapshots else ""
    page.line(_some(len(overview.snapshots), "snapshot") + others)
    if overview.snapshot_ages is None:
        return
    ages = overview.snapshot_ages
    page.line(f"oldest {_time(ages.oldest)}, newest {_time(ages.newest)}")
    rows: list[list[str]] = []
    for title, authors in (("program", overview.programs), ("host", overview.hosts), ("user", overview.users)):
        rows += [_author(title, author) for author in authors[:MOST_ROWS]]
        if len(authors) > MOST_ROWS:
            rows.append(["", "", "", "", f"and {_some(len(authors) - MOST_ROWS, f'other {title}')}"])
    page.table(["By", "Snapshots", "Added", "Last", "Name"], rows, " >>")


def _author(title: str, author: Author) -> list[str]:
    name = printable(author.name) if author.name else "(none)"
    return [title, f"{author.snapshots:,}", bytes_text(author.added), _time(author.last)[:10], name]


class _Period(NamedTuple):
    label: str
    snapshots: int
    added: int


def _growth(page: _Page, snapshots: Sequence[SnapshotFacts]) -> None:
    if not snapshots:
        return
    unit, periods = _periods(snapshots)
    page.heading(f"Growth: bytes added to packs by each {unit}")
    page.bars(
        [
            ([one.label, "" if unit == "snapshot" else f"{one.snapshots:,}", bytes_text(one.added)], one.added)
            for one in periods
        ],
        " >>",
    )
    told = [one.summary_added_packed for one in snapshots if one.summary_added_packed is not None]
    if told:
        page.line(f"{_some(len(told), 'snapshot')} {'says' if len(told) == 1 else 'say'} to have added {bytes_text(sum(told))}")


def _periods(snapshots: Sequence[SnapshotFacts]) -> tuple[str, list[_Period]]:
    """The snapshots one by one, or by days, months or years: the shortest of which there are not too many, without gaps."""
    if len(snapshots) <= MOST_PERIODS // 2:
        return "snapshot", [_Period(f"{_time(one.time)}  {one.id[:8]}", 1, one.added) for one in snapshots]
    dates = [_date(one.time) for one in snapshots]
    unit, name_of, names = _calendar(dates[0], dates[-1])
    counts, added = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    earlier = [0, 0]
    for one, date in zip(snapshots, dates, strict=True):
        name = name_of(date)
        if name in counts:
            counts[name] += 1
            added[name] += one.added
        else:
            earlier = [earlier[0] + 1, earlier[1] + one.added]
    rows = [_Period("earlier", *earlier)] if earlier[0] else []
    return unit, rows + [_Period(name, counts[name], added[name]) for name in names]


def _calendar(first: datetime.date, last: datetime.date) -> tuple[str, Callable[[datetime.date], str], list[str]]:
    """The unit of time, what names it, and the names of all there are between two days."""
    days = last.toordinal() - first.toordinal() + 1
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    if days <= MOST_PERIODS:
        return "day", str, [str(datetime.date.fromordinal(first.toordinal() + day)) for day in range(days)]
    if days <= 7 * (MOST_PERIODS - 1):
        monday = first.toordinal() - first.weekday()
        weeks = range(max(monday, 1), last.toordinal() + 1, 7)
        return "week", _week, [_week(datetime.date.fromordinal(day)) for day in weeks]
    if months <= MOST_PERIODS:
        start = first.year * 12 + first.month - 1
        names = [f"{month // 12:04}-{month % 12 + 1:02}" for month in range(start, start + months)]
        return "month", lambda date: str(date)[:7], names
    years = range(max(first.year, last.year - MOST_PERIODS + 2), last.year + 1)
    return "year", lambda date: str(date)[:4], [f"{year:04}" for year in years]


def _week(date: datetime.date) -> str:
    """The Monday of its week."""
    return f"from {datetime.date.fromordinal(max(date.toordinal() - date.weekday(), 1))}"


def _date(ns: int) -> datetime.date:
    """The day in the local zone; at the ends of the calendar the first or last one."""
    try:
        return datetime.date.fromisoformat(gotime.format_ns(ns)[:10])
    except ValueError:
        return datetime.date.min if ns < 0 else datetime.date.max


def _space(page: _Page, overview: Overview) -> None:
    space = overview.space
    page.heading("Space")
    wasted = space.unused + space.duplicate
    rows = [
        ["files of all snapshots, restored", bytes_text(space.restored), ""],
        ["different data among them", bytes_text(space.referenced_data), f"deduplication {_ratio(space.dedup_ratio)}"],
        ["with directories", bytes_text(space.referenced), ""],
        ["stored for them", bytes_text(space.needed), f"compression {_ratio(space.compression_ratio)}"],
        ["", "", f"together {_ratio(space.total_ratio)}"],
        ["needed by no snapshot", bytes_text(space.unused), _percent(space.unused, space.needed + wasted)],
        ["further copies", bytes_text(space.duplicate), _percent(space.duplicate, space.needed + wasted)],
        ["files no index lists", bytes_text(space.unindexed), ""],
    ]
    if space.marked:
        rows.append(["marked for deletion", bytes_text(space.marked), ""])
    page.table((), rows, " >")
    prune = overview.prune
    if prune is None:
        if not overview.repository.hot:
            page.warning("prune would refuse: see the problems below")
        return
    page.line(
        f"prune would free {bytes_text(prune.freed)}: remove {_some(prune.packs_removed, 'pack')}, "
        f"repack {prune.packs_repacked:,} ({bytes_text(prune.repacked)})"
    )
    page.line(f"it would leave {bytes_text(prune.unused_after)} unused")


def _packs(page: _Page, overview: Overview) -> None:
    page.heading("Packs")
    page.table(
        ["Type", "Count", "Size", "Smallest", "Largest", "Target", "Used"],
        [
            [
                one.type,
                f"{one.count:,}",
                bytes_text(one.size),
                *([bytes_text(one.smallest), bytes_text(one.largest)] if one.count else ["-", "-"]),
                bytes_text(one.target),
                _percent(one.used, one.stored),
            ]
            for one in overview.packs
        ],
        " >>>>>>",
    )
    for one in overview.packs:
        if not one.count:
            continue
        page.heading(f"Packs of {_content(one.type)} by size")
        _ranges(page, one.by_size)
        if any(fill.count for fill in one.by_fill[:-1]):
            page.heading(f"Packs of {_content(one.type)} by how much of them is needed")
            page.bars([([_span(fill), f"{fill.count:,}"], fill.count) for fill in one.by_fill], ">>")


def _content(blob_type: str) -> str:
    return "trees" if blob_type == "tree" else blob_type


def _ranges(page: _Page, ranges: Sequence[Range]) -> None:
    """Sizes by powers of two; each row is named by the least one of the next."""
    page.bars(
        [(["below", _short(one.highest + 1), f"{one.count:,}", bytes_text(one.size)], one.count) for one in ranges], " >>>"
    )


def _short(size: int) -> str:
    """A power of two: ``512 B``, ``4 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size} {unit}"
        size //= 1024
    raise AssertionError("unreachable")


def _span(fill: Range) -> str:
    return f"{fill.lowest} %" if fill.lowest == fill.highest else f"{fill.lowest}-{fill.highest} %"


def _blobs(page: _Page, overview: Overview) -> None:
    page.heading("Blobs, every copy")
    page.table(
        ["Type", "Count", "Content", "In packs", "Ratio", "Uncompressed"],
        [
            [
                one.type,
                f"{one.count:,}",
                bytes_text(one.plain),
                bytes_text(one.stored),
                _ratio(one.plain / one.stored if one.stored else 0),
                f"{one.uncompressed:,}",
            ]
            for one in overview.blobs
        ],
        " >>>>>",
    )
    for one in overview.blobs:
        if one.count:
            page.heading(f"Blobs of {_content(one.type)} by size of the content")
            _ranges(page, one.by_size)


def _files(page: _Page, overview: Overview) -> None:
    if overview.node_types:
        page.heading("Entries in all snapshots, by type")
        page.table(
            ["Type", "Entries", "Size"],
            [[printable(one.type), f"{one.entries:,}", bytes_text(one.size)] for one in overview.node_types[:MOST_ROWS]],
            " >>",
        )
    if overview.types:
        page.heading("Files in all snapshots, by ending")
        page.table(
            ["Entries", "Size", "Stored", "Unique", "Ending"],
            [
                [f"{one.entries:,}", bytes_text(one.size), bytes_text(one.stored), bytes_text(one.unique), _ending(one.type)]
                for one in overview.types[:MOST_ROWS]
            ],
            ">>>>",
        )
        if len(overview.types) > MOST_ROWS:
            page.line(f"and {_some(len(overview.types) - MOST_ROWS, 'other ending')}")


def _ending(ending: str) -> str:
    return printable(f".{ending}") if ending else "(none)"


def _largest(page: _Page, title: str, items: Sequence[LargeItem]) -> None:
    if items:
        page.heading(title)
        sizes = [bytes_text(item.unique) for item in items]
        width = max(map(len, sizes))
        for item, size in zip(items, sizes, strict=True):
            page.line(f"{size.rjust(width)}  {printable(item.path)}")


def _keys(page: _Page, overview: Overview) -> None:
    page.heading("Keys")
    page.table(
        ["", "ID", "Created", "N", "r", "p", "Memory", "Work", "User"],
        [
            [
                "*" if key.current else "",
                key.id[:8],
                "-" if key.created is None else _time(key.created)[:10],
                f"{key.n}",
                f"{key.r}",
                f"{key.p}",
                bytes_text(key.memory),
                f"{key.strength:.2f}",
                _user(key.username, key.hostname) + (", weak" if key.weak else ""),
            ]
            for key in overview.keys
        ],
        "   >>>>>",
    )
    page.line("work 1.00 is that of a key by restic on an ordinary machine: N 32768, r 8, p 5")
    if weak := sum(key.weak for key in overview.keys):
        page.warning(f"{_some(weak, 'key')} can be tried faster than any that restic makes: change the password")


def _user(name: str, host: str) -> str:
    return printable(f"{name}@{host}") if name or host else "(not said)"


def _index(page: _Page, overview: Overview) -> None:
    index = overview.index
    page.heading("Index")
    page.line(
        f"{_some(index.count, 'file')}, {bytes_text(index.size)}, {_some(index.blobs, 'blob')} in {_some(index.packs, 'pack')}"
    )
    if index.marked:
        page.line(f"{_some(index.marked, 'pack')} marked for deletion")
    if index.superseding:
        page.line(f"{_some(index.superseding, 'file')} replaced others")
    if index.files:
        page.table(
            ["ID", "Written", "Size", "Packs", "Blobs"],
            [
                [
                    one.id[:8],
                    "-" if one.written is None else _time(one.written),
                    bytes_text(one.size),
                    f"{one.packs:,}",
                    f"{one.blobs:,}",
                ]
                for one in index.files[:MOST_ROWS]
            ],
            "  >>>",
        )
        if index.count > MOST_ROWS:
            page.line(f"and {_some(index.count - MOST_ROWS, 'other file')}")


def _locks(page: _Page, overview: Overview) -> None:
    page.heading("Locks")
    if not overview.locks:
        page.line("none but that of this command")
        return
    page.table(
        ["ID", "Since", "Age", "Kind", "Holder"],
        [
            [
                one.id[:8],
                _time(one.time),
                _age(one.age),
                ("exclusive" if one.exclusive else "shared") + (", stale" if one.stale else ""),
                _user(one.username, one.hostname) + f", process {one.pid}",
            ]
            for one in overview.locks[:MOST_ROWS]
        ],
        "  >",
    )
    if any(one.stale for one in overview.locks):
        page.warning("stale locks are removed by unlock")


def _age(ns: int) -> str:
    seconds = ns // gotime.NS
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:,} {unit}"
    return f"{seconds} s"


def _problems(page: _Page, overview: Overview) -> None:
    if not overview.problem_count:
        return
    page.heading("Problems")
    for problem in overview.problems[: 2 * MOST_ROWS]:
        page.warning(printable(f"{problem.item}: {problem.what}"))
    if (more := overview.problem_count - 2 * MOST_ROWS) > 0:
        page.line(f"and {_some(more, 'other problem')}: --json lists {len(overview.problems):,}")
