"""Which ignore file git's user has for all repositories: what ``core.excludesFile`` says, by default ``git/ignore``."""

from __future__ import annotations

import os
import re

MOST_BYTES = 1 << 20
"""Bytes of a configuration file that are read."""

_SECTION = re.compile(r'\s*\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')
_VARIABLE = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?", re.DOTALL)
_PIECE = re.compile(r'"((?:[^"\\]|\\.)*)"|\\(.)|([^"\\#;]+)|[#;].*')


def git_user_file() -> str:
    """The path of the file, which need not exist; empty where there is none."""
    home = os.environ.get("HOME", "")
    config = os.environ.get("XDG_CONFIG_HOME", "") or (f"{home}/.config" if home else "")
    named = None
    files = [f"{config}/git/config" if config else "", f"{home}/.gitconfig" if home else ""]
    for path in ["/etc/gitconfig", *([os.environ["GIT_CONFIG_GLOBAL"]] if "GIT_CONFIG_GLOBAL" in os.environ else files)]:
        found = _excludes_file(path) if path else None
        named = named if found is None else found
    if named is None:
        return f"{config}/git/ignore" if config else ""
    return os.path.expanduser(named) if named.startswith("~") else named


def _excludes_file(path: str) -> str | None:
    """What a configuration file says; None where it says nothing, or cannot be read."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            text = file.read(MOST_BYTES)
    except (OSError, ValueError):
        return None
    found = None
    in_core = False
    for line in re.sub(r"\\\r?\n", "", text).split("\n"):
        section = _SECTION.match(line)
        if section is not None:
            in_core = section[1].lower() == "core" and section[2] is None
            line = line[section.end() :]
        variable = _VARIABLE.fullmatch(line)
        if in_core and variable is not None and variable[1].lower() == "excludesfile":
            found = _value(variable[2] or "")
    return found


_ESCAPES = {"t": "\t", "n": "\n", "b": "\b"}


def _value(text: str) -> str:
    """A value without its quotes, escapes and comment, and without space around it that no quotes are around."""
    value, kept = "", 0
    for quoted, escaped, plain in _PIECE.findall(text):
        value += re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), quoted)
        value += _ESCAPES.get(escaped, escaped) + (plain if value else plain.lstrip())
        kept = len(value.rstrip() if plain else value) if quoted or escaped or plain.strip() else kept
    return value[:kept]
