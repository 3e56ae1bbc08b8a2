"""Times as Go writes them: RFC 3339 with up to nine fractional digits, trailing zeros dropped.

A time is an integer here: nanoseconds since 1970-01-01T00:00:00Z, of any size. Python's ``datetime`` cannot stand in for
it: it has microseconds only, and no year 0.
"""

from __future__ import annotations

import re
import time

from restic_spec.errors import JsonInvalid

NS = 1_000_000_000
ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time, written where a time was never set (TREE-11)."""

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
CANONICAL = re.compile(
    r"\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{0,8}[1-9])?(?:Z|[+-](?!00:00)(?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
"""Nearly every time there is, as Go writes it: to be told quickly."""
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a date in the proleptic Gregorian calendar; *month* and *day* count from 1."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Inverse of `days_from_civil`."""
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    month = month_index + 3 if month_index < 10 else month_index - 9
    return era * 400 + year_of_era + (month <= 2), month, day_of_year - (153 * month_index + 2) // 5 + 1


def local_offset(seconds: int) -> int:
    """Offset of the local zone from UTC in seconds at a time given in seconds since the epoch."""
    try:
        return time.localtime(seconds).tm_gmtoff
    except (OverflowError, ValueError, OSError):
        return 0


def format_ns(ns: int, offset: int | None = None) -> str:
    """Write a time the way restic stores it (GOJSON-8, TREE-11).

    *offset* is the zone's offset from UTC in seconds; by default the local zone's at that time. A year outside 0..9999 is
    moved to the nearest of the two, everything else kept.
    """
    seconds, fraction = divmod(ns, NS)
    if offset is None:
        offset = local_offset(seconds)
    days, second_of_day = divmod(seconds + offset, 86400)
    year, month, day = civil_from_days(days)
    if not 0 <= year <= 9999:
        # A 29 February of a leap year rolls over to 1 March in year 9999, as Go's AddDate does.
        moved = days_from_civil(min(max(year, 0), 9999), month, day)
        year, month, day = civil_from_days(moved)
    hour, rest = divmod(second_of_day, 3600)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{rest // 60:02d}:{rest % 60:02d}{digits}{format_offset(offset)}"


def format_offset(offset: int) -> str:
    """``Z`` or ``±hh:mm``; Go truncates seconds of an offset towards zero, and then has no sign for less than a minute."""
    minutes = abs(offset) // 60
    if offset == 0:
        return "Z"
    return f"{'-' if offset <= -60 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def parse(text: str) -> tuple[int, int]:
    """Nanoseconds since the epoch, and the offset of the zone in seconds, of an RFC 3339 time.

    Raises:
        JsonInvalid: *text* is not such a time.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise JsonInvalid(f"{text[:60]!r} is not an RFC 3339 time", clause="GOJSON-8")
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
    in_month = 1 <= month <= 12 and 1 <= day <= _DAYS_IN_MONTH[month - 1]
    if not (in_month and hour < 24 and minute < 60 and second < 60):
        raise JsonInvalid(f"{text[:60]!r} is not an RFC 3339 time", clause="GOJSON-8")
    days = days_from_civil(year, month, day)
    if day > 28 and civil_from_days(days)[2] != day:
        raise JsonInvalid(f"{text[:60]!r} is not a date", clause="GOJSON-8")
    zone = match[8]
    offset = 0
    if zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        offset = -offset if zone[0] == "-" else offset
    fraction = int((match[7] or "0")[:9].ljust(9, "0"))
    seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * NS + fraction, offset


def is_canonical(text: str) -> bool:
    """Whether *text* is surely a time that Go would write in the same way again; false for a 29 February."""
    return CANONICAL.fullmatch(text) is not None


def canonical(text: str) -> str:
    """A time as Go would write it again.

    Raises:
        JsonInvalid: *text* is not a time.
    """
    return text if is_canonical(text) else format_ns(*parse(text))


def check(text: str, what: str, clause: str) -> None:
    """Check that *text*, the time that *what* names, is one (GOJSON-8).

    Raises:
        JsonInvalid: it is not; *clause* is the rule that says that it must be.
    """
    if not is_canonical(text):
        try:
            parse(text)
        except JsonInvalid as error:
            raise JsonInvalid(error.what, object=what, clause=clause) from None


def parse_ns(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time (see `parse`)."""
    return parse(text)[0]
