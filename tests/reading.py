"""Command lines of real restic that only read: without a lock they are told the same, and do not wait 0.2 s for others."""

from __future__ import annotations

from collections.abc import Sequence

READING = frozenset(("cat", "diff", "dump", "find", "list", "ls", "restore", "snapshots", "stats"))
OTHERS = frozenset(
    (
        "backup",
        "cache",
        "check",
        "copy",
        "forget",
        "init",
        "key",
        "migrate",
        "mount",
        "prune",
        "recover",
        "repair",
        "rewrite",
        "tag",
    )
)


def without_lock(words: Sequence[str]) -> list[str]:
    """The words of a command line, with ``--no-lock`` behind a command that only reads; others stay as they are.

    A test that is about locks says ``--no-lock=false``.
    """
    command = next((word for word in words if word in READING | OTHERS), None)
    if command not in READING or "--help" in words or any(word.startswith("--no-lock") for word in words):
        return list(words)
    after = list(words).index(command) + 1
    return [*words[:after], "--no-lock", *words[after:]]
