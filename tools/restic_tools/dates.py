"""The dates that ``find --oldest`` and ``--newest`` take: restic's formats, read as Go reads them."""

from __future__ import annotations

import re
import time

from restic_spec import gotime

_CLOCK = r" +(?P<hour>\d{1,2}):(?P<minute>\d\d)"
_SECOND = r":(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?"
_ZONE = r"(?:ChST|MeST|GMT(?:[+-]\d+)?|[+-]\d+|[A-Z]{4}T|[A-Z]{3}T|WITA|[A-Z]{3})"
_OFFSET = r"(?P<sign>[+-])(?P<hours>\d\d)(?P<minutes>\d\d)"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FORMATS = [
    re.compile(date + rest, re.ASCII)
    for date in (r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)", r"(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>\d{4})")
    for rest in ("", _CLOCK, _CLOCK + _SECOND, f"{_CLOCK}{_SECOND} +{_OFFSET}", f"{_CLOCK}{_SECOND} +(?P<zone>{_ZONE})")
] + [
    re.compile(
        rf"(?i:sun|mon|tue|wed|thu|fri|sat) +(?P<name>(?i:{'|'.join(_MONTHS)})) +(?P<day>\d{{1,2}})"
        rf"{_CLOCK}{_SECOND} +{_OFFSET} +{_ZONE} +(?P<year>\d{{4}})",
        re.ASCII,
    )
]
_MOST_HOURS = 23
"""Hours of a zone that is a number."""


def date_ns(text: str) -> int | None:
    """Nanoseconds since the epoch of a date or a date and time: ``2006-01-02 15:04:05``, ``02.01.2006``, with a zone or in the
    local one, and so on. None for no text at all, and for Go's zero time.

    Raises:
        ValueError: it is in none of the formats, or not a date.
    """
    if not text:
        return None
    for form in _FORMATS:
        match = form.fullmatch(text)
        if match is not None and (ns := _ns(match.groupdict())) is not None:
            return None if ns == gotime.parse_ns(gotime.ZERO) else ns
    raise ValueError("unable to parse time")


def _ns(given: dict[str, str | None]) -> int | None:
    """The time that the parts of a text stand for; None where there is no such time."""

    def number(name: str) -> int:
        return int(given.get(name) or 0)

    name = given.get("name")
    month = number("month") if name is None else _MONTHS.index(name.lower()) + 1
    day, hour, minute, second = map(number, ("day", "hour", "minute", "second"))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return None
    days = gotime.days_from_civil(number("year"), month, day)
    if gotime.civil_from_days(days)[2] != day:
        return None
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    offset = _offset(given, seconds)
    if offset is None:
        return None
    return (seconds - offset) * gotime.NS + int((given.get("fraction") or "0")[:9].ljust(9, "0"))


def _offset(given: dict[str, str | None], seconds: int) -> int | None:
    """How far the zone is ahead of UTC, in seconds, at *seconds* of its own clock; None where there is no such zone."""
    if given.get("sign") is not None:
        hours, minutes = int(given["hours"] or 0), int(given["minutes"] or 0)
        if hours > 24 or minutes > 60:
            return None
        return (-1 if given["sign"] == "-" else 1) * (hours * 3600 + minutes * 60)
    zone = given.get("zone")
    if zone is None:
        return local_clock_offset(seconds)
    hours_of_zone = re.search(r"\d+", zone)
    if hours_of_zone is not None and int(hours_of_zone[0]) > _MOST_HOURS:
        return None
    return 0 if zone == "UTC" else _named_offset(zone, seconds)


def local_clock_offset(seconds: int) -> int:
    """How far the local zone is ahead of UTC, in seconds, when its clocks show *seconds* since 1970.

    Of two possible times where clocks are set, the one that Go takes.
    """
    # The zone's offset at that time: close to where it changes, looked up once more.
    return gotime.local_offset(seconds - gotime.local_offset(seconds))


def _named_offset(zone: str, seconds: int) -> int:
    """The offset of the local zone under one of its names. Of any other name nobody knows: it counts as UTC."""
    month = 365 * 86_400 // 12
    known = dict.fromkeys(_zone(seconds + step * month) for step in range(-12, 13))
    offsets = [offset for name, offset in known if name == zone]
    return next((offset for offset in offsets if _zone(seconds - offset)[0] == zone), offsets[0] if offsets else 0)


def _zone(seconds: int) -> tuple[str, int]:
    """What the local zone is called at a time, and how far it is ahead of UTC then, in seconds."""
    try:
        local = time.localtime(seconds)
    except (OverflowError, ValueError, OSError):
        return "", 0
    return local.tm_zone, local.tm_gmtoff
