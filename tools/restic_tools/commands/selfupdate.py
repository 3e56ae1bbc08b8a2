"""``self-update``: say how this program is updated."""

from __future__ import annotations

from typing import Annotated

from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure


def self_update(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="")],
    output: Annotated[str, Option("--output", metavar="path", help="accepted, but without effect")] = "",
) -> None:
    """Say how to update this program

    It does not replace itself: whatever installed it knows how to update it.
    """
    del ctx, words, output
    raise Failure(
        "restic-format does not update itself; update it with what installed it, for example "
        "`pip install --upgrade restic-format`, `pipx upgrade restic-format` or your system's package manager"
    )
