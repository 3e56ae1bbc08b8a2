"""``options``: print the extended options."""

from __future__ import annotations

from typing import Annotated

from restic_format.storage.extended import EXTENDED_OPTIONS
from restic_tools.context import Context
from restic_tools.declare import Argument
from restic_tools.messages import encode_message
from restic_tools.messages.features import ExtendedOption


def options(ctx: Context, words: Annotated[list[str], Argument(metavar="")]) -> None:
    """Print the extended options

    They are set with -o name=value. Those of storages that are not used are accepted, without effect.
    """
    del words
    if ctx.options.json:
        listed = [ExtendedOption(item.name, item.description) for item in EXTENDED_OPTIONS]
        ctx.out.write(encode_message(listed) + b"\n")
        return
    width = max(len(item.name) for item in EXTENDED_OPTIONS)
    ctx.out.line("All Extended Options:")
    for item in EXTENDED_OPTIONS:
        ctx.out.line(f"  {item.name:{width}}  {item.description}")
