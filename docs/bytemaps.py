"""Byte maps: a binary form drawn as boxes, its parts from left to right and what is inside of a part in a row below it.

Names, sizes, clauses and nesting are those of the declarations; nothing is drawn to scale. A map is one ``<svg>`` with its text
as text and its colours from the page, to be put into a page as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import Any, NamedTuple

from forms import Form, Part, branches, documents, parts

from restic_spec import binary

WIDTH = 720
_ROW, _GAP, _CAPTION, _INDENT = 62, 12, 22, 28
_NARROW, _PADDING = 7.4, 18
"""Width of a character of the font, and of what is beside the text in a box."""

Link = Callable[[str], str]
"""The address of a clause (``PACK-3``) or of a document (``Snapshot``), from the page that shows the map."""


class _Box(NamedTuple):
    name: str
    extent: str
    clause: str
    meaning: str
    style: str
    wanted: float


class _Row(NamedTuple):
    """A form: its boxes, and by the number of a box what is in it, each with the words that say how one gets there."""

    boxes: list[_Box]
    inside: list[tuple[int, str, _Row]]


def draw(form: Form, link: Link) -> str:
    """The map of *form* as SVG."""
    row = _struct(form.declaration)
    shapes: list[str] = []
    height = _draw(row, 0.0, 4.0, link, shapes)
    name = f"map-{form.name}"
    return (
        f'<svg class="bytemap" viewBox="0 0 {WIDTH} {height:g}" xmlns="http://www.w3.org/2000/svg" role="group" '
        f'aria-labelledby="{name}-title {name}-desc">\n<title id="{name}-title">Byte map: {escape(form.title)}</title>\n'
        f'<desc id="{name}-desc">{escape(_told(row))}</desc>\n' + "\n".join(shapes) + "\n</svg>"
    )


def _struct(declaration: Any) -> _Row:
    """The row of a struct, and the rows below it."""
    found = list(parts(declaration))
    boxes = [_box(part) for part in found]
    inside: list[tuple[int, str, _Row]] = []
    for number, part in enumerate(found):
        inside += ((number, words, row) for words, row in _inside(part))
    return _Row(boxes, inside)


def _box(part: Part) -> _Box:
    style, extent = "fixed" if part.size is not None else "rest", part.extent
    if part.how == "document" and documents(part.inner):
        style, extent = "document", _names(part.inner)
    text = max(len(part.name), len(extent), len(part.clause))
    return _Box(part.name, extent, part.clause, part.meaning, style, text * _NARROW + _PADDING)


def _names(declaration: Any) -> str:
    return " or ".join(one.__name__ for one in documents(declaration))


def _inside(part: Part) -> Iterator[tuple[str, _Row]]:
    """What is in *part*, opened step by step."""
    if part.how == "sealed":
        found = [_box(one) for one in parts(binary.SEALED)]
        ciphertext = next(number for number, box in enumerate(found) if box.style == "rest")
        yield (
            f"{part.name}: a sealed message",
            _Row(found, [(ciphertext, *step) for step in _opened(part.inner, "decrypted")]),
        )
    elif part.each is not None:
        yield "one after the other", _many("entry", (0, "each entry", _struct(part.each)))
    elif part.listed:
        yield f"{part.name}: one for each of {part.listed}", _many("blob")
    elif part.how == "frame" and part.inner is not None:
        yield from _opened(part.inner, "decompressed")


def _opened(declaration: Any, how: str) -> Iterator[tuple[str, _Row]]:
    choice = branches(declaration)
    for number, branch in enumerate(choice):
        words = how if len(choice) == 1 else (f"{how}, either", f"{how}, or")[number]
        if documents(branch):
            yield words, _Row([_Box("document", _names(branch), "", "", "document", 0)], [])
        else:
            yield words, _struct(branch)


def _many(what: str, *inside: tuple[int, str, _Row]) -> _Row:
    """Any number of the same, one after the other; *inside* is what is in the first of them."""
    boxes = [_Box(name, "", "", "", style, 90) for name, style in ((f"{what} 0", "rest"), (f"{what} 1", "rest"), ("…", "more"))]
    return _Row([*boxes, _Box(f"the last {what}", "", "", "", "rest", 130)], list(inside))


def _draw(row: _Row, left: float, top: float, link: Link, shapes: list[str]) -> float:
    """Add the shapes of *row* with its top edge at *top*; the place below it and all that is in it."""
    width = WIDTH - left - 1
    spare = width - sum(box.wanted for box in row.boxes)
    growing = [number for number, box in enumerate(row.boxes) if box.style != "fixed"] or list(range(len(row.boxes)))
    edges = [left + 0.5]
    for number, box in enumerate(row.boxes):
        edges.append(edges[-1] + box.wanted + (spare / len(growing) if number in growing else 0))
    for number, box in enumerate(row.boxes):
        shapes.append(_shape(box, edges[number], top, edges[number + 1] - edges[number], link))
    bottom = top + _ROW
    for position, (number, words, below) in enumerate(row.inside):
        start, end = edges[number], edges[number + 1]
        inner = left + (_INDENT if len({one for one, _, _ in row.inside}) > 1 or below.boxes[0].name == "entry 0" else 0)
        head = bottom + _GAP + _CAPTION
        if position == 0:
            corners = f"{start:.1f},{bottom:g} {end:.1f},{bottom:g} {WIDTH - 0.5},{head:g} {inner + 0.5:g},{head:g}"
            shapes.append(f'<polygon class="zoom" points="{corners}"/>')
        shapes.append(f'<text class="step" x="{inner + 8:g}" y="{head - 7:g}">{escape(words)}</text>')
        bottom = _draw(below, inner, head, link, shapes)
    return bottom + (4 if not row.inside else 0)


def _shape(box: _Box, x: float, y: float, width: float, link: Link) -> str:
    middle = x + width / 2
    lines = [("name", box.name, ""), ("extent", box.extent, ""), ("clause", box.clause, box.clause)]
    shown = [line for line in lines if line[1]]
    first = y + _ROW / 2 + 4.5 - 8.5 * (len(shown) - 1)
    texts = []
    for number, (style, text, clause) in enumerate(shown):
        inner = _linked(text, link) if box.style == "document" and style == "extent" else escape(text)
        label = f'<text class="{style}" x="{middle:.1f}" y="{first + 17 * number:.1f}">{inner}</text>'
        texts.append(f'<a href="{escape(link(clause))}">{label}</a>' if clause else label)
    tip = f"<title>{escape(box.name)}: {escape(box.meaning)}</title>" if box.meaning else ""
    return (
        f'<g class="box {box.style}">{tip}<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{_ROW}"/>{"".join(texts)}</g>'
    )


def _linked(names: str, link: Link) -> str:
    """The names of documents, each a link."""
    spans = " or ".join(f'<a href="{escape(link(name))}"><tspan>{name}</tspan></a>' for name in names.split(" or "))
    return f"JSON: {spans}"


def _told(row: _Row) -> str:
    """The map in words."""
    said = [
        f"{box.name} ({box.extent}): {box.meaning}" if box.meaning else f"{box.name} {box.extent}".strip() for box in row.boxes
    ]
    text = "; ".join(said) + "."
    for number, words, below in row.inside:
        text += f" In {row.boxes[number].name}, {words}: {_told(below)}"
    return text
