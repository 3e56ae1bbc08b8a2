"""Formatting of numbers, times and tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from restic_format.words import visible

MAX_COLUMN = 1000
"""Widest column; a cell that is wider pushes the rest of its line to the right, and not of every line."""
MIN_FOLDED = 10
"""Columns below which folding a column would make it unreadable; then the terminal wraps the lines."""

UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def bytes_text(count: float) -> str:
    """A number of bytes: ``17 B``, ``1.500 KiB``, ``2.000 GiB`` (three decimals, units of 1024)."""
    if abs(count) < 1024:
        return f"{int(count)} B"
    value = float(count)
    for unit in UNITS:
        value /= 1024
        if abs(value) < 1024 or unit == UNITS[-1]:
            return f"{value:.3f} {unit}"
    raise AssertionError("unreachable")


def seconds_text(seconds: float) -> str:
    """A length of time as a clock shows it: ``0:05``, ``1:02:03``."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent_text(done: float, total: float) -> str:
    """A share as ``12.34%``, or an empty text when the total is 0."""
    if total <= 0:
        return ""
    return f"{min(100.0, 100.0 * done / total):.2f}%"


def shortened(text: str, width: int) -> str:
    """A line that fits: the middle of a longer one is left out."""
    if cells_wide(text) <= width:
        return text
    from rich.cells import set_cell_size

    if width < 8:
        return set_cell_size(text, max(0, width))
    head = (width - 1) // 2
    return set_cell_size(text, head).rstrip() + "…" + _tail(text, width - 1 - head)


def _tail(text: str, width: int) -> str:
    start = len(text)
    used = 0
    while start > 0:
        used += cells_wide(text[start - 1])
        if used > width:
            break
        start -= 1
    return text[start:]


class Table:
    """A plain table: columns as wide as their content, cells may hold several lines.

    Its shape is restic's (header, rule, rows, rule, footer), because people read it and simple scripts cut it by columns.
    With ``width``, the column number ``fold`` is folded so that the table fits into that many columns of a terminal.
    """

    def __init__(self, headers: Sequence[str], *, width: int | None = None, fold: int | None = None) -> None:
        self.headers = list(headers)
        self.rows: list[list[list[str]]] = []
        self.footer: list[str] = []
        self.spaced = False
        self._width = width
        self._fold = fold

    def add(self, cells: Iterable[str]) -> None:
        """Add a row; line breaks inside a cell start new lines of that cell."""
        self.rows.append([[visible(line) for line in cell.split("\n")] for cell in cells])

    def text(self) -> str:
        """The whole table, every line ended."""
        return "".join(f"{line}\n" for line in self.lines())

    def lines(self) -> Iterator[str]:
        """The table line by line: together they can be far larger than the cells."""
        widths = self._fold_to_fit(self._widths())
        rule = "-" * _total(widths)
        yield self._line(self.headers, widths)
        yield rule
        for number, row in enumerate(self.rows):
            if number and self.spaced:
                yield ""
            for line in range(max((len(lines) for lines in row), default=0)):
                yield self._line([lines[line] if line < len(lines) else "" for lines in row], widths)
        yield rule
        yield from self.footer

    def _widths(self) -> list[int]:
        widths = [cells_wide(header) for header in self.headers]
        for row in self.rows:
            for column, lines in enumerate(row):
                for line in lines:
                    if (width := min(cells_wide(line), MAX_COLUMN)) > widths[column]:
                        widths[column] = width
        return widths

    def _fold_to_fit(self, widths: list[int]) -> list[int]:
        if self._width is None or self._fold is None or _total(widths) <= self._width:
            return widths
        # Headers are wider than need be for looks only.
        self.headers = [header.rstrip() for header in self.headers]
        widths = self._widths()
        room = self._width - (_total(widths) - widths[self._fold])
        if widths[self._fold] <= room or room < MIN_FOLDED:
            return widths
        from rich.cells import chop_cells

        for row in self.rows:
            row[self._fold] = [part for line in row[self._fold] for part in (chop_cells(line, room) or [""])]
        return self._widths()

    @staticmethod
    def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
        return "  ".join([cell + " " * (width - cells_wide(cell)) for cell, width in zip(cells, widths, strict=True)]).rstrip()


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def cells_wide(text: str) -> int:
    """Columns of printable text."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # here: most text is plain, and it takes ten milliseconds

    return cell_len(text)
