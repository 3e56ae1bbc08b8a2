"""``unlock``: remove stale locks."""

from __future__ import annotations

from typing import Annotated

from restic_format.repository.lock import remove_locks, remove_unfinished
from restic_tools.context import Context
from restic_tools.declare import Option
from restic_tools.messages.unlock import LocksRemoved


def unlock(
    ctx: Context,
    remove_all: Annotated[bool, Option("--remove-all", help="remove all locks, also those that may still be in use")] = False,
) -> None:
    """Remove stale locks

    A lock is stale when it was not refreshed for half an hour, or when it was made on this host by a process that no longer
    runs. When no lock is left, unfinished files of processes that were killed are removed, too, once they are half an hour old.
    """
    with ctx.open_repository(lock="none") as repo:
        removed = remove_locks(repo, everything=remove_all)
        unfinished = remove_unfinished(repo)
    if ctx.options.json:
        ctx.out.json(LocksRemoved("summary", removed, unfinished))
    if removed:
        ctx.out.info(f"successfully removed {removed} locks")
    if unfinished:
        ctx.out.info(f"successfully removed {unfinished} unfinished files")
