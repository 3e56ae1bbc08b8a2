"""An object on the screen, or as JSON: what it is, its regions, what is wrong with it."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator

from restic_format.inspect.facts import facts
from restic_format.inspect.objects import Inspected
from restic_format.inspect.target import ObjectKind
from restic_format.words import visible
from restic_spec.regions import Finding
from restic_tools.context import Context
from restic_tools.output import encode
from restic_tools.own.inspecting import jsonform
from restic_tools.own.inspecting.hexview import HexView
from restic_tools.own.inspecting.selection import Selection
from restic_tools.own.inspecting.tree import Style, TreeView
from restic_tools.own.inspecting.values import COLOURED, PLAIN, escaped

_AT_ONCE = 500
"""Lines that are written together."""
_LABEL = 10
_LEAST = 30
"""Columns into which words are fitted at the least."""
_SHOWN = 20
"""Findings that are listed at the end, unless all are asked for."""


def write_json(ctx: Context, selection: Selection) -> bool:
    """Write the message; whether nothing is wrong."""
    sound = True

    def findings() -> Iterator[Finding]:
        nonlocal sound
        for finding in selection.inspected.findings():
            sound = sound and is_sound((finding,))
            yield finding

    for piece in jsonform.message(selection, findings()):
        ctx.out.json_text(piece)
    return sound


def is_sound(found: Iterable[Finding]) -> bool:
    """Whether none of *found* is an error."""
    return all(finding.severity != "error" for finding in found)


def write_text(ctx: Context, selection: Selection, *, hexadecimal: bool, everything: bool) -> bool:
    """Write the page for people; whether nothing is wrong."""
    inspected = selection.inspected
    found = list(inspected.findings())
    by_region: dict[str, list[Finding]] = defaultdict(list)
    for finding in found:
        by_region[finding.region].append(finding)
    ink = COLOURED if ctx.out.coloured else PLAIN
    width = ctx.out.width if ctx.out.stdout_is_terminal else None
    style = Style(ink, width, fold=not everything)
    view = (HexView if hexadecimal else TreeView)(selection, by_region, style)
    _write(ctx, _head(inspected, style))
    _write(ctx, view.lines())
    _write(ctx, _end(inspected, found, style))
    return is_sound(found)


def _write(ctx: Context, lines: Iterator[str]) -> None:
    """Lines in which nothing acts on a terminal but colours."""
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) == _AT_ONCE:
            ctx.out.write(encode("\n".join(held) + "\n"))
            held.clear()
    if held:
        ctx.out.write(encode("\n".join(held) + "\n"))


def _head(inspected: Inspected, style: Style) -> Iterator[str]:
    """What it is."""
    ink = style.ink
    kind = "" if inspected.name == inspected.kind.value else f"{inspected.kind.value} "
    yield f"{ink.strong}{kind}{escaped(inspected.name)}{ink.end}"
    state = "opened" if inspected.opened else "not opened"
    shown = [("size", f"{inspected.size:,} bytes, sealed, {state}"), *facts(inspected)]
    shown += [("note", note) for note in inspected.notes]
    for label, text in shown:
        yield from _wrapped(f"  {label:<{_LABEL}}  ", escaped(text), style)
    yield ""


def _wrapped(start: str, text: str, style: Style) -> Iterator[str]:
    """*text* behind *start*, in lines that end with words where they must fit into a terminal."""
    if style.width is None:
        yield start + text
        return
    room = max(style.width - len(start), _LEAST)
    for number, line in enumerate(textwrap.wrap(text, room, break_on_hyphens=False) or [""]):
        yield (" " * len(start) if number else start) + line


def _end(inspected: Inspected, found: list[Finding], style: Style) -> Iterator[str]:
    """What is wrong."""
    ink = style.ink
    yield ""
    if not found:
        yield from _wrapped("", _verdict(inspected), style)
        return
    yield f"{ink.bad}{len(found):,} {'thing is' if len(found) == 1 else 'things are'} wrong:{ink.end}"
    shown = found[:_SHOWN] if style.fold else found
    for finding in shown:
        where = escaped(finding.region) or "the file"
        warning = "" if finding.severity == "error" else f" ({finding.severity})"
        yield from _wrapped("  ", f"{where}: {visible(finding.what)} [{finding.clause}]{warning}", style)
    if len(found) > len(shown):
        yield f"  and {len(found) - len(shown):,} more (--all)"


def _verdict(inspected: Inspected) -> str:
    if not inspected.opened:
        name = "its bytes fit its name; " if inspected.named else ""
        return f"nothing is wrong as far as can be told: {name}what is sealed was not opened, and not verified"
    if inspected.kind is ObjectKind.PACK:
        return "nothing is wrong: every blob was opened and fits its id"
    return "nothing is wrong"
