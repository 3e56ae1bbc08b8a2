"""The help pages: overview, group and command, in the width of the terminal.

The shape is that of restic's pages (``Usage:``, ``Flags:``, ``Global Flags:``), so that people and programs that read those
find their way. On a terminal headings and option names are styled by rich; elsewhere the text is plain.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from restic_tools.about import PROGRAM
from restic_tools.argv import Flag
from restic_tools.exitcodes import MEANINGS
from restic_tools.globaloptions import GLOBAL_FLAGS
from restic_tools.output import Output
from restic_tools.registry import ADVANCED, COMMANDS, DEFAULT, Entry, names_below, subcommands

if TYPE_CHECKING:
    from restic_tools.declare import Declaration

INTRODUCTION = f"""\
{PROGRAM} keeps many revisions of files and directories in an encrypted repository. It reads and writes restic's repositories
and follows restic's command line."""

MAX_WIDTH = 120
"""Wider lines are hard to read."""
NARROW = 24
"""Columns that a description needs beside a name."""


def overview_page() -> str:
    """The page of the program itself."""
    parts: list[RenderableType] = [INTRODUCTION.replace("\n", " "), ""]
    parts.append(_heading("Usage:"))
    parts.append(f"  {PROGRAM} [command]")
    for group in (DEFAULT, ADVANCED):
        rows = _overview_rows(group)
        if rows:
            parts.extend(("", _heading(f"{group}:"), _two_columns(rows)))
    parts.extend(("", _heading("Flags:"), _flag_table([*GLOBAL_FLAGS, _help_flag(PROGRAM)])))
    parts.extend(("", f'Use "{PROGRAM} [command] --help" for more information about a command.'))
    return _render(_console(), parts)


def group_page(path: Sequence[str], summary: str) -> str:
    """The page of words that only lead to subcommands (``key``)."""
    words = " ".join(path)
    parts: list[RenderableType] = [
        summary,
        "",
        _heading("Usage:"),
        f"  {PROGRAM} {words} [command]",
        "",
        _heading("Available Commands:"),
    ]
    parts.append(_two_columns([(entry.path[-1], entry.summary) for entry in subcommands(tuple(path))]))
    parts.extend(("", _heading("Flags:"), _flag_table([_help_flag(words)])))
    parts.extend(("", _heading("Global Flags:"), _flag_table(GLOBAL_FLAGS)))
    parts.extend(("", f'Use "{PROGRAM} {words} [command] --help" for more information about a command.'))
    return _render(_console(), parts)


def command_page(entry: Entry, declaration: Declaration) -> str:
    """The page of one command."""
    words = " ".join(entry.path)
    flags = [flag for flag in declaration.flags if not flag.hidden] + [_help_flag(words)]
    arguments = " ".join(spec.metavar for spec in declaration.arguments)
    usage = f"  {PROGRAM} {words} [flags] {arguments}".rstrip()
    parts: list[RenderableType] = [declaration.summary + "."]
    if declaration.details:
        parts.extend(("", reflowed(declaration.details)))
    parts.extend(("", _heading("Usage:"), usage))
    if below := names_below(entry.path):
        parts.extend(("", _heading("Available Commands:"), _two_columns(sorted(below.items()))))
    parts.extend(("", _heading("Exit codes:"), _two_columns([(f"{code:3d}", MEANINGS[code]) for code in entry.codes])))
    parts.extend(("", _heading("Flags:"), _flag_table(sorted(flags, key=lambda flag: flag.name))))
    parts.extend(("", _heading("Global Flags:"), _flag_table(GLOBAL_FLAGS)))
    return _render(_console(), parts)


def reflowed(text: str) -> str:
    """A docstring's text with the lines of each paragraph joined; indented and short standing lines stay as they are."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.split("\n")
        kept = any(line.startswith((" ", "* ", "- ")) for line in lines)
        paragraphs.append(paragraph if kept else " ".join(lines))
    return "\n\n".join(paragraphs)


def suggestion(path: Sequence[str], word: str) -> str:
    """A hint at what may have been meant by an unknown command, or nothing."""
    names = sorted({entry.path[len(path)] for entry in subcommands(tuple(path))})
    near = difflib.get_close_matches(word, names, n=1)
    return f', did you mean "{near[0]}"?' if near else ""


def _overview_rows(group: str) -> list[tuple[str, str]]:
    wanted = {entry.path[0] for entry in COMMANDS if entry.group == group and not entry.hidden}
    return sorted((name, summary) for name, summary in names_below(()).items() if name in wanted)


def _help_flag(words: str) -> Flag:
    return Flag("help", f"help for {words}", short="h", kind="bool")


def _heading(text: str) -> Text:
    return Text(text, style="bold")


def _two_columns(rows: Sequence[tuple[str, str]]) -> Padding:
    """Names with their descriptions beside them, or below where the page is too narrow for that."""
    room = _width() - max((len(name) for name, _ in rows), default=0) - 4
    table = Table.grid(padding=(0, 2), expand=False)
    table.add_column(no_wrap=room >= NARROW, style="cyan", overflow="fold")
    if room >= NARROW:
        table.add_column(overflow="fold")
    for name, text in rows:
        if room >= NARROW:
            table.add_row(Text(name), Text(text))
        else:
            table.add_row(Text(name))
            table.add_row(Padding(Text(text, style="default"), (0, 0, 0, 8)))
    return Padding(table, (0, 0, 0, 2))


def _flag_table(flags: Sequence[Flag]) -> Padding:
    rows = []
    for flag in flags:
        if not flag.hidden:
            letter = f"-{flag.short}, " if flag.short else "    "
            name = f"--{flag.name}" + (f" {flag.metavar}" if flag.takes_value else "")
            rows.append((letter + name, flag.description))
    return _two_columns(rows)


def _width() -> int:
    return min(Output().width, MAX_WIDTH)


def _console() -> Console:
    out = Output()
    return Console(
        width=_width(),
        force_terminal=out.coloured,
        color_system="standard" if out.coloured else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def _render(console: Console, parts: Sequence[RenderableType]) -> str:
    with console.capture() as capture:
        for part in parts:
            console.print(Text(part) if isinstance(part, str) else part)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
