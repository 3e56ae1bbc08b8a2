"""An object as a tree of regions, a line for each: where it is, its name and value, the clause and what it means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from restic_spec.regions import Document, Finding, Region
from restic_tools.own.inspecting.selection import Selection, is_between, parts_of
from restic_tools.own.inspecting.values import Ink, columns, cut, folded, label_of, meaning_of, summary

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

FORMS = {"opened": "decrypted", "expanded": "decompressed", "decoded": "decoded from base64"}


class Style(NamedTuple):
    """How lines look."""

    ink: Ink
    width: int | None
    """Columns to fit into; None for no bound."""
    fold: bool
    """Whether of many parts only the first ones are shown."""


class TreeView:
    """The lines of one object. *findings* are those of its regions, by name."""

    def __init__(self, selection: Selection, findings: Mapping[str, Sequence[Finding]], style: Style) -> None:
        self._selection = selection
        self._findings = findings
        self._style = style
        self._offset = max(len(str(selection.inspected.size)), 6)

    def lines(self) -> Iterator[str]:
        """The tree; nothing in it acts on a terminal but the colours that were asked for."""
        ink = self._style.ink
        head = f"{'offset':>{self._offset}} {'length':>{self._offset}}  {'region':<{_NAME}} value"
        yield f"{ink.faint}{head}{ink.end}"
        above = "" if self._selection.region is None else self._selection.region.region.name
        yield from self._regions(self._selection.top, 1, 0, above, secret=self._selection.secret)

    def _regions(self, regions: Iterable[Region], level: int, indent: int, above: str, *, secret: bool) -> Iterator[str]:
        shown = (region for region in regions if not is_between(region))
        if not self._style.fold:
            for region in shown:
                yield from self._region(region, level, indent, above, secret=secret)
            return
        first = list(islice(shown, FOLDED + 1))
        many = len(first) > FOLDED
        for region in first[:_FIRST] if many else first:
            yield from self._region(region, level, indent, above, secret=secret)
        if many:
            yield from self._left_out(first[_FIRST:], shown, indent)

    def _left_out(self, held: Sequence[Region], others: Iterator[Region], indent: int) -> Iterator[str]:
        """What is not shown: how many, and those of them in which something is wrong."""
        count, hurt = 0, 0
        for regions in (held, others):
            for region in regions:
                count += 1
                hurt += region.name in self._findings
        example = label_of(held[0], "")
        wrong = f", something is wrong with {hurt:,} of them" if hurt else ""
        yield self._placed("", "", indent, f"… {count:,} more{wrong} (--all shows them, --region '{example}' one)")

    def _region(self, region: Region, level: int, indent: int, above: str, *, secret: bool) -> Iterator[str]:
        deeper = level < self._selection.depth
        parts = parts_of(region) if deeper else None
        content = region.content if deeper else None
        value = summary(region, has_parts=parts is not None or content is not None, secret=secret)
        yield from self._line(region, indent, above, value)
        for finding in self._findings.get(region.name, ()):
            yield self._placed("", "", indent + 1, f"! {finding.what} [{finding.clause}]", bad=True)
        if parts is not None:
            yield from self._regions(parts, level + 1, indent + 1, region.name, secret=secret)
        if content is not None:
            yield from self._content(region, content, level + 1, indent + 1, secret=secret)

    def _content(self, region: Region, content: Document, level: int, indent: int, *, secret: bool) -> Iterator[str]:
        secret = secret or self._selection.hides(content)
        note = " (the master key: --show-secrets shows it)" if secret and self._selection.hides(content) else ""
        yield self._placed("", "", indent, f"{FORMS[content.form]}, {content.size:,} bytes{note}:")
        yield from self._regions(content.regions(), level, indent + 1, region.name, secret=secret)

    def _placed(self, offset: str, length: str, indent: int, text: str, *, bad: bool = False) -> str:
        """A line that is no region's."""
        ink, width = self._style.ink, self._style.width
        start = f"{offset:>{self._offset}} {length:>{self._offset}}  {'  ' * indent}"
        if width is not None and not bad:
            text = cut(text, max(width - len(start), _LEAST))
        return f"{start}{ink.bad if bad else ink.faint}{text}{ink.end}"

    def _line(self, region: Region, indent: int, above: str, value: str) -> Iterator[str]:
        ink, width = self._style.ink, self._style.width
        label = "  " * indent + label_of(region, above)
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
