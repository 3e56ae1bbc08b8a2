"""Reports as one HTML file: sections of tables, bars, figures and notices in a frame that opens offline.

The file asks nothing of any network and runs no script: its content security policy forbids both, and its numbers are tables.
All texts are escaped in one place, by the template engine, after what would turn the direction of writing or cannot be shown
was made visible.

Needs the extra ``html``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from restic_format.words import visible

if TYPE_CHECKING:
    import jinja2

    from restic_tools.htmlpage.plots import Drawn

LONGEST = 2000
"""Characters of one text that are shown: names in a repository can be of any length, and stand in many rows."""
Tone = Literal["", "good", "warn", "bad"]
MISSING = "a page as HTML needs more packages: pip install 'restic-format[html]'"
"""What to say when the extra is not installed, see `ready`."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A number that is looked at first."""

    label: str
    value: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A number in a table with a bar behind it: *share* of the cell's width, from 0 to 1."""

    text: str
    share: float

    @property
    def width(self) -> str:
        """The bar's width in per cent."""
        return f"{min(1.0, max(0.0, self.share)) * 100:.2f}"


@dataclass(frozen=True, slots=True)
class Mark:
    """A short word in a table that stands out."""

    text: str
    tone: Tone = ""


Cell = str | Bar | Mark


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    kind: Literal["text", "path", "time", "number", "code", "long", "bar"] = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table; a *folded* one is opened by whoever wants to see it, and is printed."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a whole."""

    label: str
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What a whole is made of, as one bar and the numbers."""

    caption: str
    parts: Sequence[Part]
    kind: ClassVar[str] = "parts"

    @property
    def stretches(self) -> list[tuple[float, float]]:
        """Where each part begins and how long it is, in per cent; what there is at all can be seen."""
        total = sum(part.value for part in self.parts)
        seen = [max(part.value * 100 / total, 0.4) if part.value else 0.0 for part in self.parts]
        scale = 100 / sum(seen) if total else 0.0
        found, at = [], 0.0
        for share in seen:
            found.append((round(at, 2), round(share * scale, 2)))
            at += share * scale
        return found


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with what it shows in a sentence, which is also read out, and the table of its numbers."""

    caption: str
    description: str
    plot: Drawn
    legend: Sequence[str] = ()
    """Names of the plot's colours, in order."""
    table: Table | None = None
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence or two that must be seen."""

    title: str
    text: str
    tone: Tone = "warn"
    kind: ClassVar[str] = "notice"


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of the page."""

    id: str
    title: str
    text: str
    blocks: Sequence[Table | Parts | Figure | Notice]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole page."""

    title: str
    lead: str
    """One or two sentences under the title."""
    notices: Sequence[Notice]
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    footer: str


def ready() -> bool:
    """Whether the extra ``html`` is installed."""
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("jinja2", "vl_convert"))


def render(report: Report) -> str:
    """The page as HTML, encodable as UTF-8."""
    style = (files(__package__) / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return str(_environment().get_template("page.html").render(report=report, style=style, style_hash=digest))


def shown(value: Any) -> Any:
    """A text of the repository's without what acts on the text around it: controls and bidirectional marks are escaped.

    Bytes that are not UTF-8 (surrogates) become ``\\xNN``, what is longer than `LONGEST` is cut. Anything but plain text stays
    as it is.
    """
    if type(value) is not str:
        return value
    if len(value) > LONGEST:
        value = f"{value[:LONGEST]}…"
    return "".join(
        f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else "\ufffd" if "\ud800" <= char <= "\udfff" else char
        for char in visible(value, block=True)
    )


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        finalize=shown,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("restic_tools", "htmlpage"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["trusted"] = jinja2.filters.do_mark_safe
    return environment
