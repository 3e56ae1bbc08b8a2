"""Writing a page into a file, or to standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_format.systemtext import errno_text
from restic_tools.exitcodes import Failure
from restic_tools.rawoutput import replacement

if TYPE_CHECKING:
    from restic_tools.context import Context


def check_target(ctx: Context, target: str | None) -> None:
    """Refuse, before any work is done, what ``--html`` cannot mean. Raises `Failure`."""
    if target == "-" and ctx.options.json:
        raise Failure("--html - and --json both write to standard output: only one of them can be given")
    if target == "":
        raise Failure("--html needs the name of a file, or - for standard output")
    if target is not None:
        from restic_tools.htmlpage import MISSING, ready

        if not ready():
            raise Failure(MISSING)


def write_page(ctx: Context, page: str, target: str) -> None:
    """Put *page* into the file *target*, whole or not at all; ``-`` is standard output. Raises `Failure`."""
    text = page.encode()
    if target == "-":
        ctx.out.write(text)
        return
    try:
        with replacement(target) as descriptor, open(descriptor, "wb", closefd=False) as file:
            file.write(text)
    except OSError as error:
        raise Failure(f"{target}: cannot write the page: {errno_text(error)}") from error
    ctx.out.info(f"wrote {target}")
