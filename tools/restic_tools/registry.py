"""The table of commands: where each is implemented, and its line in the overview.

Only this table is read to find a command; its module is imported when it is called.
"""

from __future__ import annotations

DEFAULT, ADVANCED = "Available Commands", "Advanced Commands"


class Entry:
    """One command: the words that call it, ``module:function``, the overview's line and group."""

    __slots__ = ("codes", "function", "group", "hidden", "module", "own", "path", "shows", "summary")

    def __init__(
        self,
        words: str,
        target: str,
        summary: str,
        *,
        group: str = DEFAULT,
        hidden: bool = False,
        shows: bool = False,
        own: bool = False,
        codes: tuple[int, ...] = (0, 1, 10, 11, 12, 130),
    ) -> None:
        self.path = tuple(words.split())
        module, _, self.function = target.partition(":")
        self.module = f"restic_tools.{'own' if own else 'commands'}.{module}"
        self.own = own
        """Whether restic does not have it: a typer app, see ``restic_tools.own``."""
        self.summary = summary
        self.group = group
        self.hidden = hidden
        self.shows = shows
        """Whether it does nothing but write to standard output: it ends when that fails. Others go on with their work."""
        self.codes = codes
        """The exit codes it can end with."""


COMMANDS: list[Entry] = [
    Entry("backup", "backup:backup", "Back up files and directories into a new snapshot", codes=(0, 1, 3, 10, 11, 12, 130)),
    Entry("cache", "cache:cache", "List and remove local caches", codes=(0, 1)),
    Entry("cat", "cat:cat", "Print an object of the repository", shows=True),
    Entry("check", "check:check", "Check the repository for errors"),
    Entry("config", "config:app", "Change settings that live in the repository", group=ADVANCED, own=True),
    Entry("copy", "copy:copy", "Copy snapshots from one repository to another"),
    Entry(
        "diagnose",
        "diagnose:app",
        "Show what is damaged, what that costs and what may help",
        own=True,
        shows=True,
        codes=(0, 1, 10, 12, 130),
    ),
    Entry(
        "diagnose merge",
        "diagnose:merge_app",
        "Put together what shares of a diagnosis have read",
        own=True,
        shows=True,
        codes=(0, 1, 10, 12, 130),
    ),
    Entry("diff", "diff:diff", "Show differences between two snapshots", shows=True),
    Entry("du", "du:app", "Show what snapshots, directories and types of files cost", own=True, shows=True),
    Entry("dump", "dump:dump", "Print a backed-up file to stdout", shows=True),
    Entry("explore", "explore:app", "Look around in a repository on a terminal", own=True),
    Entry("find", "find:find", "Find files and directories, or blobs, trees and packs", shows=True),
    Entry("forget", "forget:forget", "Remove snapshots from the repository", codes=(0, 1, 3, 10, 11, 12, 130)),
    Entry("features", "features:features", "Print the feature flags", group=ADVANCED, codes=(0, 1), shows=True),
    Entry("generate", "generate:generate", "Generate shell completions and manual pages", codes=(0, 1), shows=True),
    Entry("heal", "heal:app", "Repair a damaged repository", own=True),
    Entry("help", "help:help_command", "Show the help of any command", codes=(0, 1), shows=True),
    Entry("init", "init:init", "Create a new repository"),
    Entry(
        "inspect",
        "inspect:app",
        "Explain every byte of a file or object of a repository",
        own=True,
        shows=True,
        codes=(0, 1, 2, 10, 12, 130),
    ),
    Entry("key add", "key:key_add", "Add a new key (password) to the repository"),
    Entry("key list", "key:key_list", "List the keys (passwords)", shows=True),
    Entry("key passwd", "key:key_passwd", "Change the password: add a new key and remove the current one"),
    Entry("key remove", "key:key_remove", "Remove a key (password) from the repository"),
    Entry("list", "list:list_objects", "List objects in the repository", shows=True),
    Entry("ls", "ls:ls", "List the files in a snapshot", shows=True),
    Entry("merge", "merge:app", "Merge snapshots into one new snapshot", own=True),
    Entry("migrate", "migrate:migrate", "Apply migrations"),
    Entry("mount", "mount:mount", "Mount the repository"),
    Entry("overview", "overview:app", "Show what the repository holds, as numbers and charts", own=True, shows=True),
    Entry("protect", "protect:app", "Protect the repository's files with parity", own=True, codes=(0, 1, 10, 130)),
    Entry("prune", "prune:prune", "Remove unneeded data from the repository"),
    Entry("rebuild-index", "repair:rebuild_index", "Build a new index", hidden=True),
    Entry("recover", "recover:recover", "Recover data from the repository not referenced by snapshots"),
    Entry("repair index", "repair:repair_index", "Build a new index"),
    Entry("repair packs", "repair:repair_packs", "Salvage damaged pack files"),
    Entry("repair snapshots", "repair_snapshots:repair_snapshots", "Repair snapshots"),
    Entry("options", "options:options", "Print the extended options", group=ADVANCED, codes=(0, 1), shows=True),
    Entry("repo-info", "repositoryinfo:app", "Show what the repository holds, in numbers", group=ADVANCED, own=True),
    Entry("repoinfo", "repositoryinfo:app", "Show what the repository holds, in numbers", hidden=True, own=True),
    Entry("restore", "restore:restore", "Restore files from a snapshot"),
    Entry("rewrite", "rewrite:rewrite", "Create new snapshots from existing ones, without unwanted files"),
    Entry("self-update", "selfupdate:self_update", "Say how to update this program", group=ADVANCED, codes=(1,)),
    Entry("serve", "serve:app", "Serve repositories to restic over HTTP", own=True, codes=(0, 1)),
    Entry("show-config", "config:shown", "Show the settings that live in the repository", group=ADVANCED, own=True),
    Entry("snapshots", "snapshots:snapshots", "List the snapshots", shows=True),
    Entry("stats", "stats:stats", "Count what is in snapshots", shows=True),
    Entry("tag", "tag:tag_command", "Change the tags of snapshots"),
    Entry("unlock", "unlock:unlock", "Remove stale locks"),
    Entry("version", "version:version", "Show the version", codes=(0, 1), shows=True),
]

GROUPS = {"key": "Manage keys (passwords)", "repair": "Repair the repository"}
"""Words that only lead to subcommands, with the overview's line."""

BY_PATH = {entry.path: entry for entry in COMMANDS}
PREFIXES = {entry.path[:length] for entry in COMMANDS for length in range(1, len(entry.path) + 1)}


def is_known(path: tuple[str, ...]) -> bool:
    """Whether these words name a command or the beginning of one."""
    return path in PREFIXES


def names_below(path: tuple[str, ...]) -> dict[str, str]:
    """The words that may follow *path*, hidden commands left out, each with its line in the overview."""
    names: dict[str, str] = {}
    for entry in subcommands(path):
        names.setdefault(entry.path[len(path)], entry.summary)
    return names if path else names | GROUPS


def subcommands(path: tuple[str, ...]) -> list[Entry]:
    """The commands below a group, hidden ones left out."""
    return [entry for entry in COMMANDS if entry.path[: len(path)] == path and len(entry.path) > len(path) and not entry.hidden]
