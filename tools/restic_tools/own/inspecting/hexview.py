"""An object as bytes with the names of its regions beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from restic_spec.regions import Document, Finding, Region
from restic_tools.own.inspecting.selection import Selection, is_between, parts_of
from restic_tools.own.inspecting.tree import FOLDED, FORMS, Style, hurt_regions
from restic_tools.own.inspecting.values import cut, escaped, summary

_ROW = 16
_NARROW_ROW = 8
_WIDE = 112
"""Columns from which on rows have sixteen bytes, where there is a terminal."""
_WHOLE = 64
"""Bytes of a region that are shown whole; of more the first and the last ones are."""
_ENDS = 32
_PRINTABLE = bytes(code if 0x20 <= code < 0x7F else ord(".") for code in range(256))


class HexView:
    """The lines of one object. *findings* are those of its regions, by name."""

    def __init__(self, selection: Selection, findings: Mapping[str, Sequence[Finding]], style: Style) -> None:
        self._selection = selection
        self._findings = findings
        self._hurt = hurt_regions(findings)
        self._style = style
        self._row = _ROW if style.width is None or style.width >= _WIDE else _NARROW_ROW
        self._digits = max(len(f"{selection.inspected.size:x}"), 6)

    def lines(self) -> Iterator[str]:
        """The dump; offsets are hexadecimal. Nothing in it acts on a terminal but the colours that were asked for."""
        yield from self._regions(self._selection.top, 1, secret=self._selection.secret)

    def _regions(self, regions: Iterable[Region], level: int, *, secret: bool) -> Iterator[str]:
        ink = self._style.ink
        shown = left = 0
        for region in regions:
            # In a long list the first parts are shown.
            if self._style.fold and shown >= FOLDED and (region.name not in self._hurt or shown >= 2 * FOLDED):
                left += not is_between(region)
                continue
            shown += not is_between(region)
            yield from self._region(region, level, secret=secret)
        if left:
            yield f"{ink.faint}{'':>{self._digits}}  … {left:,} more (--all shows them){ink.end}"

    def _region(self, region: Region, level: int, *, secret: bool) -> Iterator[str]:
        deeper = level < self._selection.depth
        parts = parts_of(region) if deeper else None
        content = region.content if deeper else None
        ink = self._style.ink
        if parts is None:
            yield from self._bytes(region, has_parts=content is not None, secret=secret)
        for finding in self._findings.get(region.name, ()):
            yield f"{'':>{self._digits}}  {ink.bad}! {escaped(region.name)}: {finding.what} [{finding.clause}]{ink.end}"
        if parts is not None:
            yield from self._regions(parts, level + 1, secret=secret)
        if content is not None:
            yield from self._content(region, content, level + 1, secret=secret)

    def _content(self, region: Region, content: Document, level: int, *, secret: bool) -> Iterator[str]:
        ink = self._style.ink
        yield f"{ink.strong}{escaped(region.name)} {FORMS[content.form]}, {content.size:,} bytes:{ink.end}"
        yield from self._regions(content.regions(), level, secret=secret or self._selection.hides(content))
        yield f"{ink.strong}end of what is in {escaped(region.name)}{ink.end}"

    def _bytes(self, region: Region, *, has_parts: bool, secret: bool) -> Iterator[str]:
        raw, ink = region.raw, self._style.ink
        value = "" if is_between(region) else summary(region, has_parts=has_parts, secret=secret)
        beside = f"{escaped(region.name)}{' = ' if value else ''}{value}  {region.clause}"
        whole = not self._style.fold or region.length <= _WHOLE
        end = region.length if whole else _ENDS
        for at in range(0, max(end, 1), self._row):
            yield self._line(region.offset + at, raw[at : min(at + self._row, end)], "" if at else beside, secret=secret)
        if not whole:
            last = region.length - _ENDS // 2
            yield f"{'':>{self._digits}}  {ink.faint}… {last - _ENDS:,} bytes … (--all shows them){ink.end}"
            for at in range(last, region.length, self._row):
                yield self._line(region.offset + at, raw[at : at + self._row], "", secret=secret)

    def _line(self, offset: int, data: memoryview, beside: str, *, secret: bool) -> str:
        ink, row = self._style.ink, bytes(data)
        digits = " ".join(["··"] * len(row)) if secret else row.hex(" ")
        text = "·" * len(row) if secret else row.translate(_PRINTABLE).decode("ascii")
        start = f"{offset:0{self._digits}x}  {digits:<{3 * self._row - 1}}  {text:<{self._row}}  "
        if self._style.width is not None:
            beside = cut(beside, max(self._style.width - len(start), 8))
        return f"{ink.faint}{start}{ink.end}{ink.name}{beside}{ink.end}".rstrip()
