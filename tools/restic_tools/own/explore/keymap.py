"""What the keys do: one table for the line at the bottom, for the help, and for the screen that listens to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from restic_tools.own.explore.page import Page


class Key(NamedTuple):
    """A key, or several that do the same."""

    names: str
    """As Textual calls them, separated by commas."""
    shown: str
    """As people do."""
    action: str
    """The method ``action_...`` of the screen."""
    short: str
    """What it does, in a word or two, for the line at the bottom; empty for what is not there."""
    long: str
    """What it does, in a line of the help."""
    when: Callable[[Page], bool] = lambda _: True
    """Whether it does something on a page."""


def _can(method: str) -> Callable[[Page], bool]:
    """Whether pages of a kind can do something at all."""
    return lambda page: getattr(type(page), method) is not getattr(Page, method)


def _in_snapshot(page: Page) -> bool:
    return page.snapshot is not None


KEYS: Sequence[Key] = (
    Key("enter,right,l", "Enter", "open", "open", "open what is at the cursor (also Right, l)", lambda page: bool(page.opens)),
    Key(
        "escape,left,backspace,h",
        "Esc",
        "go_back",
        "back",
        "go back (also Left, Backspace, h)",
        lambda page: len(page.model.pages) > 1,
    ),
    Key("space", "Space", "mark", "mark", "mark, or take the mark away", _can("mark")),
    Key("v", "v", "view", "view", "show the content of a file, as text or in hexadecimal", _can("view")),
    Key("slash", "/", "find", "find", "find files of this snapshot by a name or a pattern", _in_snapshot),
    Key("r", "r", "restore", "restore", "restore what is marked, or else what is at the cursor", _can("mark")),
    Key("t", "t", "other", "text/hex", "change between text and hexadecimal", lambda page: page.other() is not None),
    Key("b", "b", "raw", "bytes", "show what is stored, byte by byte", _can("raw")),
    Key("u", "u", "users", "users", "which files of which snapshots have this blob or directory", _can("users")),
    Key("f", "f", "folder", "folder", "go to the directory that this is in", _can("folder")),
    Key("d", "d", "diff", "diff", "what differs between the two marked snapshots", lambda page: page.kind == "snapshots"),
    Key("i", "i", "named", "ID", "find anything by an ID, or its first digits"),
    Key("e", "e", "errors", "", "what went wrong here, in full"),
    Key("m", "m", "marks", "", "what is marked"),
    Key("c", "c", "clear", "", "take all marks away"),
    Key("1", "1", "snapshots", "", "snapshots"),
    Key("2", "2", "packs", "", "packs"),
    Key("3", "3", "indexes", "", "index files"),
    Key("4", "4", "keys", "", "keys"),
    Key("5", "5", "locks", "", "locks"),
    Key("up,k", "Up", "up", "", "one row up (also k)"),
    Key("down,j", "Down", "down", "", "one row down (also j)"),
    Key("pageup,ctrl+b", "PgUp", "page_up", "", "one screen up (also Ctrl-b)"),
    Key("pagedown,ctrl+f", "PgDn", "page_down", "", "one screen down (also Ctrl-f)"),
    Key("home,g", "Home", "top", "", "to the first row (also g)"),
    Key("end,G", "End", "bottom", "", "to the last row (also G)"),
    Key("ctrl+l", "Ctrl-l", "redraw", "", "draw the screen anew"),
    Key("ctrl+z", "Ctrl-z", "suspend_process", "", "go to the shell; `fg` comes back"),
    Key("question_mark,f1", "?", "help", "help", "this help (also F1)"),
    Key("q", "q", "leave", "quit", "quit (also Ctrl-c, everywhere)"),
)
_ALWAYS = 2
"""The keys at the end of the table that are always in the line at the bottom."""


def keys_line(page: Page, width: int) -> str:
    """The keys of a page, as many as fit; those for help and for the end always do."""
    shown = [f"{key.shown} {key.short}" for key in KEYS if key.short and key.when(page)]
    last = "  ".join(shown[-_ALWAYS:])
    line = ""
    for text in shown[:-_ALWAYS]:
        longer = f"{line}{text}  "
        if len(longer) + len(last) > width:
            break
        line = longer
    return line + last


def help_lines() -> list[str]:
    """The help."""
    lines = ["Keys", ""]
    lines += [f"  {key.shown:<7} {key.long}" for key in KEYS]
    lines += [
        "",
        "Snapshots lead to directories, these to files, files to their blobs,",
        "blobs to their packs, and packs to their bytes.",
        "Nothing changes the repository. A restore writes to the directory that",
        "you give.",
    ]
    return lines
