"""Times in text output, in the local zone, the way restic prints them."""

from __future__ import annotations

import os
import time

from restic_format.words import printable
from restic_spec import gotime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from restic_format.snapshots import FoundSnapshot


def quoted(text: str) -> str:
    """*text* as Go's ``%q`` has it."""
    from restic_spec.gojson import quote

    return f'"{quote(text)}"'


def local_text(text: str) -> str:
    """An RFC 3339 time as ``2006-01-02 15:04:05`` in the local zone."""
    return gotime.format_ns(gotime.parse_ns(text))[:19].replace("T", " ")


def full_text(text: str) -> str:
    """An RFC 3339 time in its own zone with all digits: ``2006-01-02 15:04:05.123456789 +0100 CET``.

    The zone has a name only if it is the local one or UTC.
    """
    ns, offset = gotime.parse(text)
    stamp = gotime.format_ns(ns, offset)
    date, _, rest = stamp.partition("T")
    clock = rest.rstrip("Z") if offset == 0 else rest[:-6]
    minutes = abs(offset) // 60
    number = f"{'-' if offset < 0 else '+'}{minutes // 60:02d}{minutes % 60:02d}"
    seconds = ns // gotime.NS
    local = gotime.local_offset(seconds) == offset
    name = time.localtime(seconds).tm_zone if local else ("UTC" if offset == 0 else number)
    return f"{date} {clock} {number} {name}"


def snapshot_line(found: FoundSnapshot) -> str:
    """A snapshot in a line: ``snapshot 40dc1520 of [/home] at 2006-01-02 15:04:05 +0000 UTC by user@host``."""
    snapshot = found.snapshot
    paths = " ".join(map(printable, snapshot.path_list()))
    owner = f"{printable(snapshot.username)}@{printable(snapshot.hostname)}"
    return f"snapshot {found.short_id} of [{paths}] at {full_text(snapshot.time)} by {owner}"


def canonical(text: str | None) -> str:
    """An RFC 3339 time as Go would write it again; Go's zero time for none."""
    return gotime.ZERO if text is None else gotime.canonical(text)


def zone_text() -> str:
    """The zone of `local_text` as restic names it: the value of ``TZ``, or ``local time`` where that is not set."""
    name = os.environ.get("TZ")
    if name is None:
        return "local time"
    return name.removeprefix(":") or "UTC"
