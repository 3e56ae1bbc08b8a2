"""What the explorer shows at a time: a list of any length with what can be done in it. Pages know nothing of the screen.

A page is filled by one thread, and its rows are asked for by another one, which only gets what is there already: only those in
view, and at once. What needs the storage is `load`, `fetch`, `open` and what they call; they run in threads of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from restic_format.words import printable, visible
from restic_tools.gotext import local_text
from restic_tools.render import bytes_text

if TYPE_CHECKING:
    from restic_format.explore.browse import Mark
    from restic_format.snapshots import FoundSnapshot
    from restic_format.work import Cancel
    from restic_tools.own.explore.model import Model

MOST_ROWS = 200_000
"""Rows of a list that is found by searching; what comes after them is not shown."""
MOST_TOLD = 100
"""Errors of a page that are told in full."""
SHORT_ID = 8


class Column(NamedTuple):
    """One column of a list."""

    title: str
    width: int
    """In characters, 0 for all that is left."""
    right: bool = False
    """Whether texts stand at its right end."""


class Page:
    """A list: its columns, rows, and where they lead. This one is empty; see the module for what runs in which thread."""

    kind: ClassVar[str] = "page"
    """What the page shows, a word for its help."""
    opens: ClassVar[str] = "open"
    """What the Enter key does, in a word; empty for nothing."""
    columns: Sequence[Column] = (Column("", 0),)
    empty: ClassVar[str] = "nothing here"
    """What is said where there are no rows."""

    def __init__(self, model: Model, title: str) -> None:
        self.model = model
        self.title = title
        """One line, safe for a terminal."""
        self.complete = False
        """Whether all rows are there."""
        self.trouble = ""
        """The last thing that went wrong, one line."""
        self.troubles = 0
        """How many things went wrong."""
        self.told: list[str] = []
        """The last ones of them."""
        self.note = ""
        """Something else to know, one line."""
        self.cursor = 0
        self.top = 0
        """The row at the cursor, and the first one in view: kept here, so that they are found again on the way back."""
        self.snapshot: FoundSnapshot | None = None
        """The snapshot that the page is about, in which a search searches."""

    def __len__(self) -> int:
        return 0

    @property
    def held(self) -> int:
        """Rows that are in memory."""
        return len(self)

    def cells(self, number: int) -> Sequence[str]:
        """The texts of a row, one for each column, safe for a terminal."""
        raise IndexError(number)

    def details(self, number: int) -> Sequence[str]:
        """A few lines about a row, safe for a terminal."""
        del number
        return ()

    def load(self, cancel: Cancel) -> None:
        """Fill the list. Raises what goes wrong; the rows before that stay."""

    def lacks(self, first: int, count: int) -> bool:
        """Whether some of these rows have to be fetched before they can be shown."""
        del first, count
        return False

    def fetch(self, first: int, count: int) -> None:
        """Fetch these rows."""

    def open(self, number: int) -> Page | None:
        """What is behind a row, None for nothing."""

    def view(self, number: int) -> Page | None:
        """The content of the file at a row, None where it is none."""

    def raw(self, number: int) -> Page | None:
        """What is at a row, byte by byte, None where it is nothing that is stored."""

    def users(self, number: int) -> Page | None:
        """Where snapshots have what is at a row, None where they cannot have it."""

    def folder(self, number: int) -> Page | None:
        """The directory that the file at a row is in, None where there is none."""

    def other(self) -> Page | None:
        """The same content shown the other way, as text or in hexadecimal; None where there is no other way."""

    def mark(self, number: int) -> Mark | None:
        """What is marked when the row is marked, None where it cannot be."""

    def tell(self, item: str, error: Exception) -> None:
        """Note that something about *item* went wrong; the rest goes on."""
        self.troubles += 1
        self.trouble = visible(f"{printable(item)}: {error}" if item else str(error))
        self.told = [*self.told[1 - MOST_TOLD :], self.trouble]


def time_text(ns: int | None) -> str:
    """A time in the local zone, without fractions of a second."""
    from restic_spec import gotime

    return "" if ns is None else local_text(gotime.format_ns(ns))


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 byte``, ``2,000 bytes``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size_text(count: int) -> str:
    """A number of bytes in twelve characters at most."""
    return bytes_text(count)


def share_text(part: int, whole: int) -> str:
    """How many times smaller *part* is than *whole*."""
    return f"{whole / part:.2f}x" if part else ""
