"""The widget that shows the rows of a page: it asks for those in view, however many there are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from restic_format.words import visible
from restic_tools.own.explore.page import Column, Page

GUTTER = 2
"""Columns before each row, for its mark."""
_LAST = 8
"""Columns of the screen that the last cell of a row has at least, if it has no width of its own: a name, mostly."""
_SPARE = 20
"""Width of cells that can be left out for that, but not the first one."""
_CHARACTERS = 8
"""Characters that are written for a column of the screen at most: a letter, and marks on it."""
_BOLD = Style(bold=True)
_DIM = Style(dim=True)
_MARKED = Style(bold=True, color="yellow")
_CURSOR = Style(reverse=True)


class RowList(Widget, can_focus=True):
    """The rows of a page in view."""

    class Opened(Message):
        """A row was clicked that has the cursor already."""

    page: Page | None = None

    def show(self, page: Page) -> None:
        """Show another page."""
        self.page = page
        self.follow()

    @property
    def rows(self) -> int:
        """Rows that fit."""
        return max(self.size.height, 1)

    def move(self, cursor: int) -> None:
        """Put the cursor on a row, or the nearest one there is."""
        page = self.page
        if page is None:
            return
        page.cursor = max(0, min(cursor, len(page) - 1))
        self.follow()

    def follow(self) -> None:
        """Bring the cursor into view, and draw anew."""
        page = self.page
        if page is not None:
            page.top = max(0, min(page.top, len(page) - self.rows), page.cursor - self.rows + 1)
            page.top = min(page.top, page.cursor)
        self.refresh()

    def on_resize(self) -> None:
        """Keep the cursor in view."""
        self.follow()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move down."""
        event.stop()
        if self.page is not None:
            self.move(self.page.cursor + 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move up."""
        event.stop()
        if self.page is not None:
            self.move(self.page.cursor - 3)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a row, or open it."""
        page = self.page
        if page is None or page.top + event.y >= len(page):
            return
        if page.top + event.y == page.cursor:
            self.post_message(self.Opened())
        else:
            self.move(page.top + event.y)

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.size.width
        base = self.rich_style
        page = self.page
        if page is None:
            return Strip.blank(width, base)
        number = page.top + y
        if number >= len(page):
            text = ""
            if y == 0:
                text = (page.empty if not page.trouble else "") if page.complete else "loading ..."
            return Strip([Segment(set_cell_size(" " * GUTTER + text, width), base + _DIM)])
        marked = False
        try:
            mark = page.mark(number)
            marked = mark is not None and page.model.selection.has(mark)
            line = row_text(page.columns, page.cells(number), width)
        except Exception as error:  # noqa: BLE001 - a row that cannot be shown is no reason to end
            line = set_cell_size(f"  cannot be shown: {safe(str(error))}", width)
        style = base
        if marked:
            line = "*" + line[1:]
            style += _MARKED
        if number == page.cursor:
            style += _CURSOR
        return Strip([Segment(line, style)])


def row_text(columns: Sequence[Column], cells: Sequence[str], width: int) -> str:
    """A line of exactly *width* columns. Where these are too few for the last cell, some of those before it are left out."""
    shown = list(zip(columns, cells, strict=True))
    while sum(column.width + 1 for column, _ in shown) + GUTTER + _LAST > width and not columns[-1].width:
        spare = next((number for number in range(len(shown) - 2, 0, -1) if shown[number][0].width <= _SPARE), 0)
        if not spare:
            break
        del shown[spare]
    fixed = sum(column.width + 1 for column, _ in shown)
    texts = []
    for column, cell in shown:
        room = column.width or max(width - GUTTER - fixed, 1)
        cell = clipped(safe(cell), room)
        size = cell_len(cell)
        if size > room:
            # Of what is cut off, a sign remains.
            cell = set_cell_size(cell, room - 1) + ">" if room > 1 else set_cell_size(cell, room)
        elif column.right:
            cell = " " * (room - size) + cell
        else:
            cell += " " * (room - size)
        texts.append(cell)
    return set_cell_size(" " * GUTTER + " ".join(texts), width)


def clipped(text: str, width: int) -> str:
    """A text, but at most so much of it as *width* columns can need: characters without a width of their own have no end."""
    most = _CHARACTERS * (width + 1)
    return text if len(text) <= most else text[:most] + ">"


def safe(text: str) -> str:
    """The last look at a text before it goes to the terminal: nothing in it acts there, all of it can be encoded."""
    return visible(text).encode("utf-8", "backslashreplace").decode()
