"""Times in a layout of Go's ``time.Format``: the sample time ``Mon Jan 2 15:04:05 -0700 MST 2006`` written as wanted.

What the layout spells like a part of the sample is replaced by that part of the time, everything else is kept.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from restic_spec import gotime

RFC3339 = "2006-01-02T15:04:05Z07:00"
"""The layout of restic's default for names of snapshots."""

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PART = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|0[1-6]|002|15|1|2006|2|_(?=2006)|_2|__2|3|4|5|PM|pm"
    r"|[-Z]07(?::00:00|:00|0000|00)?|[.,](?:0+|9+)(?![0-9])"
)


class Clock(NamedTuple):
    """A time as a layout writes it."""

    ns: int
    """Nanoseconds since the epoch."""
    offset: int
    """Seconds that its zone is ahead of UTC."""
    zone: str
    """The zone's name, "" where it has none."""


def clock_of(text: str) -> Clock:
    """The time that *text*, RFC 3339, says. Its zone has a name if it is UTC, or the local one at that time.

    Raises:
        JsonInvalid: it is not a time.
    """
    ns, offset = gotime.parse(text)
    if text.endswith("Z"):
        return Clock(ns, 0, "UTC")
    seconds = ns // gotime.NS
    if gotime.local_offset(seconds) != offset:
        return Clock(ns, offset, "")
    try:
        return Clock(ns, offset, time.localtime(seconds).tm_zone)
    except (OverflowError, ValueError, OSError):
        return Clock(ns, offset, "")


def format_time(layout: str, clock: Clock) -> str:
    """*clock* in *layout*."""
    seconds, fraction = divmod(clock.ns, gotime.NS)
    days, second_of_day = divmod(seconds + clock.offset, 86400)
    year, month, day = gotime.civil_from_days(days)
    hour, rest = divmod(second_of_day, 3600)
    year_day = days - gotime.days_from_civil(year, 1, 1) + 1
    texts = {
        "January": _MONTHS[month - 1],
        "Jan": _MONTHS[month - 1][:3],
        "1": str(month),
        "01": f"{month:02d}",
        "Monday": _DAYS[(days + 3) % 7],
        "Mon": _DAYS[(days + 3) % 7][:3],
        "2": str(day),
        "_2": f"{day:2d}",
        "02": f"{day:02d}",
        "__2": f"{year_day:3d}",
        "002": f"{year_day:03d}",
        "15": f"{hour:02d}",
        "3": str(hour % 12 or 12),
        "03": f"{hour % 12 or 12:02d}",
        "4": str(rest // 60),
        "04": f"{rest // 60:02d}",
        "5": str(rest % 60),
        "05": f"{rest % 60:02d}",
        "2006": f"{year:04d}",
        "06": f"{max(year, 0) % 100:02d}",
        "PM": "PM" if hour >= 12 else "AM",
        "pm": "pm" if hour >= 12 else "am",
        "MST": clock.zone or _zone("-0700", clock.offset),
        "_": "_",
    }

    def part(match: re.Match[str]) -> str:
        found = match[0]
        if found[0] in "-Z":
            return _zone(found, clock.offset)
        if found[0] in ".,":
            return _fraction(found, fraction)
        return texts[found]

    return _PART.sub(part, layout)


def _zone(form: str, offset: int) -> str:
    if form[0] == "Z" and not offset:
        return "Z"
    minutes = abs(offset) // 60
    colon = ":" if ":" in form else ""
    text = f"{'-' if offset <= -60 else '+'}{minutes // 60:02d}"
    if len(form) > len("-07"):
        text += f"{colon}{minutes % 60:02d}"
    if len(form) > len("-07:00"):
        text += f"{colon}{abs(offset) % 60:02d}"
    return text


def _fraction(form: str, fraction: int) -> str:
    """The fraction of a second: as many digits as *form* has zeros, or nines, of which zeros at the end are dropped."""
    text = f"{form[0]}{fraction:09d}"[: len(form)]
    return text.rstrip("0").rstrip(form[0]) if form[1] == "9" else text
