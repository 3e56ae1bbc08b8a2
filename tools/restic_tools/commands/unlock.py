"""``unlock``: remove locks that nobody holds any more."""

from __future__ import annotations

from typing import Annotated

from restic_format.repository.lock import remove_locks, remove_unfinished
from restic_tools.context import Context
from restic_tools.declare import Option


def unlock(
    ctx: Context,
    remove_all: Annotated[bool, Option("--remove-all", help="remove also the locks that somebody may still hold")] = False,
) -> None:
    """Remove locks that other processes left behind

    A lock is stale when it was not renewed for half an hour, or when its process on this host is gone. If no lock is left,
    files that killed processes have not finished are removed as well, once they are half an hour old.
    """
    with ctx.open_repository(lock="none") as repo:
        removed = remove_locks(repo, everything=remove_all)
        unfinished = remove_unfinished(repo)
    if removed:
        ctx.out.info(f"successfully removed {removed} locks")
    if unfinished:
        ctx.out.info(f"successfully removed {unfinished} unfinished files")
