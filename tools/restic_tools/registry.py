"""Which commands exist, where each lives, and the one line the overview shows.

Only this table is read to find a command; its module is imported when it is called.
"""

from __future__ import annotations

DEFAULT, ADVANCED = "Available Commands", "Advanced Commands"


class Entry:
    """One command: the words that call it, ``module:function``, the overview's line and group."""

    __slots__ = ("function", "group", "hidden", "module", "path", "summary")

    def __init__(self, words: str, target: str, summary: str, *, group: str = DEFAULT, hidden: bool = False) -> None:
        self.path = tuple(words.split())
        module, _, self.function = target.partition(":")
        self.module = f"restic_tools.commands.{module}"
        self.summary = summary
        self.group = group
        self.hidden = hidden


COMMANDS: tuple[Entry, ...] = (
    Entry("backup", "backup:backup", "Create a new backup of files and/or directories"),
    Entry("cat", "cat:cat", "Print internal objects to stdout"),
    Entry("check", "check:check", "Check the repository for errors"),
    Entry("generate", "generate:generate", "Generate shell completion files"),
    Entry("help", "help:help_command", "Help about any command"),
    Entry("init", "init:init", "Initialize a new repository"),
    Entry("key add", "key:key_add", "Add a new key (password) to the repository"),
    Entry("key list", "key:key_list", "List keys (passwords)"),
    Entry("key passwd", "key:key_passwd", "Change the password: add a new key, remove the old one"),
    Entry("key remove", "key:key_remove", "Remove a key (password) from the repository"),
    Entry("list", "list:list_objects", "List objects in the repository"),
    Entry("ls", "ls:ls", "List files in a snapshot"),
    Entry("restore", "restore:restore", "Extract the data from a snapshot"),
    Entry("snapshots", "snapshots:snapshots", "List all snapshots"),
    Entry("unlock", "unlock:unlock", "Remove locks that other processes left behind"),
    Entry("version", "version:version", "Print version information"),
)

GROUPS = {"key": "Manage keys (passwords)"}
"""Words that only lead to subcommands, with the overview's line."""

BY_PATH = {entry.path: entry for entry in COMMANDS}
PREFIXES = {entry.path[:length] for entry in COMMANDS for length in range(1, len(entry.path) + 1)}


def is_known(path: tuple[str, ...]) -> bool:
    """Whether these words name a command or the beginning of one."""
    return path in PREFIXES


def subcommands(path: tuple[str, ...]) -> list[Entry]:
    """The commands below a group, hidden ones left out."""
    return [entry for entry in COMMANDS if entry.path[: len(path)] == path and len(entry.path) > len(path) and not entry.hidden]
