"""An object as a tree of regions, a line for each: where it is, its name and value, the clause and what it means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple

from restic_spec.regions import Document, Finding, Region
from restic_tools.own.inspecting.selection import Selection, is_between, parts_of
from restic_tools.own.inspecting.values import Ink, columns, cut, escaped, folded, label_of, meaning_of, summary

FOLDED = 24
"""Parts of one region that are shown; of more only the first ones are."""
_FIRST = 10
_NAME = 22
"""Columns of a name, with its indentation; longer ones push the rest of the line."""
_VALUE = 36
"""The same of a value, where there is no terminal to fit into."""
_CLAUSE = 9
_SAID = 40
"""Columns that clause and meaning should have."""
_LEAST = 16
"""Columns below which a meaning is left out, and a value is not folded."""

_STEP = re.compile(r"[.\[:]")
"""What a part's name begins with, behind that of what it is in."""

FORMS = {"opened": "decrypted", "expanded": "decompressed", "decoded": "decoded from base64"}


class Style(NamedTuple):
    """How lines look."""

    ink: Ink
    width: int | None
    """Columns to fit into; None for no bound."""
    fold: bool
    """Whether of many parts only the first ones are shown."""


class _Place(NamedTuple):
    """Where in the tree a line is."""

    level: int
    indent: int
    above: str
    """Name of the region that it is in."""
    secret: bool
    """Whether it is in a master key that is not to be shown."""


class TreeView:
    """The lines of one object. *findings* are those of its regions, by name."""

    def __init__(self, selection: Selection, findings: Mapping[str, Sequence[Finding]], style: Style) -> None:
        self._selection = selection
        self._findings = findings
        self._hurt = hurt_regions(findings)
        self._style = style
        self._offset = max(len(str(selection.inspected.size)), 6)

    def lines(self) -> Iterator[str]:
        """The tree; nothing in it acts on a terminal but the colours that were asked for."""
        ink = self._style.ink
        head = f"{'offset':>{self._offset}} {'length':>{self._offset}}  {'region':<{_NAME}} value"
        yield f"{ink.faint}{head}{ink.end}"
        above = "" if self._selection.region is None else self._selection.region.region.name
        yield from self._regions(self._selection.top, _Place(1, 0, above, self._selection.secret))

    def _regions(self, regions: Iterable[Region], place: _Place) -> Iterator[str]:
        shown = (region for region in regions if not is_between(region))
        if not self._style.fold:
            for region in shown:
                yield from self._region(region, place)
            return
        first = list(islice(shown, FOLDED + 1))
        many = len(first) > FOLDED
        for region in first[:_FIRST] if many else first:
            yield from self._region(region, place)
        if many:
            yield from self._left_out(first[_FIRST:], shown, place)

    def _left_out(self, held: Sequence[Region], others: Iterator[Region], place: _Place) -> Iterator[str]:
        """Of the parts that are not shown how many they are; those in which something is wrong are shown, up to a bound."""
        count = hurt = 0
        example = held[0].name
        for region in chain(held, others):
            if region.name in self._hurt and hurt < _FIRST:
                if count:
                    yield self._more(count, place)
                yield from self._region(region, place)
                count, hurt = 0, hurt + 1
            else:
                count += 1
        if count:
            yield self._more(count, place, f" (--all shows them, --region '{escaped(example)}' one)")

    def _more(self, count: int, place: _Place, how: str = "") -> str:
        return self._placed(place.indent, f"… {count:,} more{how}")

    def _region(self, region: Region, place: _Place) -> Iterator[str]:
        deeper = place.level < self._selection.depth
        parts = parts_of(region) if deeper else None
        content = region.content if deeper else None
        closed = parts is None and content is None
        yield from self._line(region, place, summary(region, has_parts=not closed, secret=place.secret))
        found = self._findings.get(region.name, ())
        for finding in found:
            yield self._placed(place.indent + 1, f"! {finding.what} [{finding.clause}]", bad=True)
        if closed and not found and region.name in self._hurt:
            yield self._placed(place.indent + 1, "! something in it is wrong, see below", bad=True)
        below = _Place(place.level + 1, place.indent + 1, region.name, place.secret)
        if parts is not None:
            yield from self._regions(parts, below)
        if content is not None:
            yield from self._content(content, below)

    def _content(self, content: Document, place: _Place) -> Iterator[str]:
        secret = self._selection.hides(content)
        note = " (the master key: --show-secrets shows it)" if secret else ""
        yield self._placed(place.indent, f"{FORMS[content.form]}, {content.size:,} bytes{note}:")
        inside = place._replace(indent=place.indent + 1, secret=place.secret or secret)
        yield from self._regions(content.regions(), inside)

    def _placed(self, indent: int, text: str, *, bad: bool = False) -> str:
        """A line that is no region's."""
        ink, width = self._style.ink, self._style.width
        start = " " * (2 * self._offset + 3 + 2 * indent)
        if width is not None and not bad:
            text = cut(text, max(width - len(start), _LEAST))
        return f"{start}{ink.bad if bad else ink.faint}{text}{ink.end}"

    def _line(self, region: Region, place: _Place, value: str) -> Iterator[str]:
        ink, width = self._style.ink, self._style.width
        label = "  " * place.indent + label_of(region, place.above)
        label += " " * (_NAME - columns(label))
        start = f"{region.offset:>{self._offset}} {region.length:>{self._offset}}  "
        used = len(start) + columns(label) + 1
        values = [value]
        if width is not None:
            room = max(width - used, _LEAST)
            values = folded(value, room)[: 3 if self._style.fold else None]
            if len(values) == 3 and self._style.fold and columns(value) > 3 * room:
                values[-1] = cut(values[-1] + "…", room)
        last = f"{region.clause:<{_CLAUSE}} {'' if value == region.meaning else meaning_of(region)}".rstrip()
        begin = f"{ink.faint}{start}{ink.end}{ink.name}{label}{ink.end} "
        for number, text in enumerate(values):
            tail = ""
            if number == len(values) - 1:
                tail = self._tail(text, last, used)
            yield f"{begin if number == 0 else ' ' * used}{text}{tail}".rstrip()

    def _tail(self, value: str, text: str, used: int) -> str:
        """Clause and meaning, behind a value, as far as there is room."""
        ink, width = self._style.ink, self._style.width
        column = _VALUE if width is None else min(_VALUE, max(width - used - _SAID, 0))
        space = " " * (max(column - columns(value), 0) + (2 if column or value else 0))
        if width is not None:
            room = width - used - columns(value) - len(space)
            if room < _CLAUSE:
                return ""
            text = cut(text, room)
        return f"{space}{ink.faint}{text}{ink.end}"


def hurt_regions(findings: Iterable[str]) -> set[str]:
    """The names of the regions in which, or in parts of which, something is wrong."""
    return {name[:end] for name in findings for end in [*(found.start() for found in _STEP.finditer(name)), len(name)]}
