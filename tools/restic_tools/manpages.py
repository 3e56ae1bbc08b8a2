"""Manual pages in roff, one for the program and one for each command, from the same declarations as the help."""

from __future__ import annotations

from collections.abc import Sequence

from restic_tools.about import PROGRAM, program_version
from restic_tools.argv import Flag
from restic_tools.exitcodes import MEANINGS
from restic_tools.globaloptions import GLOBAL_FLAGS
from restic_tools.registry import COMMANDS


def manual_pages() -> dict[str, str]:
    """Every page's text by file name."""
    from restic_tools.cli import load
    from restic_tools.helppages import INTRODUCTION

    visible = [entry for entry in COMMANDS if not entry.hidden]
    pages = {}
    for entry in visible:
        declaration = load(entry)
        arguments = " ".join(spec.metavar for spec in declaration.arguments)
        pages[f"{'-'.join((PROGRAM, *entry.path))}.1"] = _page(
            " ".join((PROGRAM, *entry.path)),
            declaration.summary,
            f"[flags] {arguments}".rstrip(),
            declaration.details,
            [flag for flag in declaration.flags if not flag.hidden],
            [PROGRAM],
            entry.codes,
        )
    summary = "many revisions of files in an encrypted repository"
    others = ["-".join((PROGRAM, *entry.path)) for entry in visible]
    pages[f"{PROGRAM}.1"] = _page(PROGRAM, summary, "[command]", INTRODUCTION, [], others)
    return pages


def _page(
    command: str,
    summary: str,
    synopsis: str,
    details: str,
    flags: Sequence[Flag],
    see_also: Sequence[str],
    codes: Sequence[int] = (),
) -> str:
    name = command.replace(" ", "-")
    lines = [f'.TH "{name.upper()}" "1" "" "{PROGRAM} {program_version()}" "User Commands"']
    lines += [".SH NAME", f"{_escape(name)} \\- {_escape(summary)}"]
    lines += [".SH SYNOPSIS", f"\\fB{_escape(command)}\\fP {_escape(synopsis)}"]
    if details:
        lines += [".SH DESCRIPTION", *_paragraphs(details)]
    if flags:
        lines += [".SH OPTIONS", *_flag_lines(flags)]
    lines += [".SH GLOBAL OPTIONS", *_flag_lines(GLOBAL_FLAGS)]
    if codes:
        lines += [".SH EXIT STATUS", *(line for code in codes for line in (".TP", f"\\fB{code}\\fP", MEANINGS[code]))]
    lines += [".SH SEE ALSO", _escape(", ".join(f"{page}(1)" for page in see_also))]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += [".PP", *(_escape(line) for line in paragraph.split("\n"))]
    return lines


def _flag_lines(flags: Sequence[Flag]) -> list[str]:
    lines = []
    for flag in flags:
        value = f"=\\fI{_escape(flag.metavar)}\\fP" if flag.takes_value else ""
        lines += [".TP", f"\\fB{_escape(flag.shown)}\\fP{value}", _escape(flag.description)]
    return lines


def _escape(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
