"""Compare the help of restic 0.19.1 with ours, command by command and option by option: ``python scripts/compatibility.py``.

The table goes into ``docs/compatibility.md``. Both programs are asked; all that is written here are the reasons for what
differs. A test fails when the table is out of date, and when anything that restic has is missing without a reason.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / part) for part in (".", "spec", "tools")]

RESTIC = ROOT / ".peers" / "restic-0.19" / "restic"
PAGE = ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- commands: begin -->\n", "<!-- commands: end -->\n"

LATER = "not there yet"
LATER_COMMANDS: tuple[str, ...] = ()
"""Commands that come with later work."""

REASONS: dict[tuple[str, str], str] = {}
"""Why an option that restic has is missing, or is another one, by command and option."""

Path_ = tuple[str, ...]


class Option(NamedTuple):
    """An option as a help page shows it."""

    letter: str
    takes_value: bool
    default: str
    """As a value; nothing where the page has words for it."""


class Page(NamedTuple):
    """The help page of a command: its options by name, the exit codes it names, its subcommands."""

    options: dict[str, Option]
    codes: frozenset[int]
    commands: tuple[str, ...]


def read_page(text: str) -> Page:
    """What a help page says; both programs have pages of one shape."""
    flags = re.split(r"^Global Flags:", text, flags=re.MULTILINE)[0]
    options: dict[str, Option] = {}
    found = list(re.finditer(r"^ {2,6}(?:-(\w), )?--([a-z0-9-]+)( \S+)?(?= {2,}|\n)", flags, re.MULTILINE))
    for match, following in zip(found, [*found[1:], None], strict=True):
        rest = flags[match.end() : following.start() if following else len(flags)]
        described = " ".join(rest.split("\n\n")[0].split())
        default = re.search(r'\(default "([^"]*)"\)|\(default ([^:)]*)\)|\(default: ([^)]*)\)', described)
        value = next(filter(None, default.groups()), "") if default else ""
        if match[2] == "help":
            continue
        options[match[2]] = Option(match[1] or "", match[3] is not None, value if re.fullmatch(r"[\w,.%]+", value) else "")
    codes = {int(code) for code in re.findall(r"^(?:Exit status is| {1,4})\s*(\d+)\s", text.split("Flags:")[0], re.MULTILINE)}
    named: list[str] = []
    for block in re.findall(r"^(?:\w+ )+(?:Commands|Options):\n((?:  \S.*\n(?: {4,}.*\n)*)+)", text, re.MULTILINE):
        named += re.findall(r"^  ([a-z][a-z-]*) ", block, re.MULTILINE)
    return Page(options, frozenset(codes), tuple(named))


def restic_page(words: Path_) -> str:
    """A help page of real restic."""
    command = [str(RESTIC), *words, "--help"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def our_page(words: Path_) -> str:
    """A help page of ours."""
    from restic_tools.cli import main

    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(written):
        main([*words, "--help"])
    written.flush()
    raw = written.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


def pages(ask: Callable[[Path_], str], words: Path_ = ()) -> Iterator[tuple[Path_, Page]]:
    """The pages of a program: its own, and those of all commands."""
    page = read_page(ask(words))
    yield words, page
    for name in page.commands:
        yield from pages(ask, (*words, name))


class Row(NamedTuple):
    """One command in both programs."""

    command: str
    there: bool
    same: tuple[str, ...]
    """Options that both have, in the same form."""
    gaps: tuple[str, ...]
    """Options of restic that are missing or have another form, each with the reason, or without one."""
    unexplained: tuple[str, ...]
    ours: tuple[str, ...]
    """Options that restic does not have."""


def compare() -> list[Row]:
    """Every command of either program; the first row is about the options that all commands have."""
    theirs, ours = dict(pages(restic_page)), dict(pages(our_page))
    rows = []
    for words in sorted({*theirs, *ours}):
        their, our = theirs.get(words), ours.get(words)
        if (their or our) and (their or our).commands and words:  # type: ignore[union-attr]
            continue  # a word that only leads to commands
        rows.append(_row(" ".join(words), their, our))
    return rows


def _row(command: str, their: Page | None, our: Page | None) -> Row:
    if our is None:
        later = command in LATER_COMMANDS
        return Row(command, False, (), (LATER,) if later else (), () if later else (f"{command}: missing",), ())
    given = their.options if their is not None else {}
    same, gaps, unexplained = [], [], []
    for name, option in sorted(given.items()):
        problem = _problem(option, our.options.get(name))
        if not problem:
            same.append(_shown(name, option))
        elif reason := REASONS.get((command, name)):
            gaps.append(f"{_shown(name, option)}: {reason}")
        else:
            unexplained.append(f"{command} --{name}: {problem}")
    if their is not None and (missing := their.codes - our.codes):
        unexplained.append(f"{command}: exit codes {sorted(missing)} are not named")
    more = [_shown(name, option) for name, option in sorted(our.options.items()) if name not in given]
    return Row(command, True, tuple(same), tuple(gaps), tuple(unexplained), tuple(more))


def _problem(theirs: Option, ours: Option | None) -> str:
    """What is wrong with our form of an option; nothing where they are alike."""
    if ours is None:
        return "missing"
    if theirs.letter and theirs.letter != ours.letter:
        return f"letter {theirs.letter!r} is {ours.letter!r}"
    if theirs.takes_value != ours.takes_value:
        return "takes a value in one of them only"
    if theirs.default and ours.default and theirs.default != ours.default and theirs.default != "unlimited":
        return f"default {theirs.default!r} is {ours.default!r}"
    return ""


def _shown(name: str, option: Option) -> str:
    return f"`-{option.letter}, --{name}`" if option.letter else f"`--{name}`"


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| command | options as in restic 0.19.1 | missing or different | only here |", "| --- | --- | --- | --- |"]
    for row in rows:
        name = f"`{row.command}`" if row.command else "all commands"
        missing = "; ".join((*row.gaps, *row.unexplained)) or ("" if row.there else LATER)
        cells = (name, ", ".join(row.same), missing, ", ".join(row.ours))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") or " " for cell in cells) + " |")
    return "\n".join(line.replace("|   |", "| |") for line in lines) + "\n"


def page_with(text: str, made: str) -> str:
    """The documentation's page with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main() -> int:
    """Write the table; say what has no reason."""
    rows = compare()
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), table(rows)), encoding="utf-8")
    unexplained = [problem for row in rows for problem in row.unexplained]
    for problem in unexplained:
        print(problem, file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
