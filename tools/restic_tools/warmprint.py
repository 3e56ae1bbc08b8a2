"""Telling that packs come from cold storage first."""

from __future__ import annotations

from restic_format.storage.warming import WarmUp
from restic_tools.messages.warming import WarmUpMessage
from restic_tools.output import Output
from restic_tools.render import bytes_text


def tell_warm_up(out: Output, event: WarmUp, *, dry_run: bool = False) -> None:
    """Say how many packs must be brought back, and how much that is; with *dry_run* nobody asks for them."""
    if out.json_mode:
        out.json(WarmUpMessage("warm_up", event.packs, event.size))
    elif dry_run:
        out.line(f"Info: {event.packs} packs ({bytes_text(event.size)}) would have to be warmed up from cold storage first")
    else:
        out.line(f"Info: warming up {event.packs} packs ({bytes_text(event.size)}) from cold storage, this may take a while...")
