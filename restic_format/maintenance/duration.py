"""Durations in restic's notation, ``1y5m7d3h``, and the time so long before another."""

from __future__ import annotations

from typing import NamedTuple

from restic_format.words import WHITE_SPACE
from restic_spec import gotime

_MOST = (1 << 63) - 1
_UNITS = {"y": "years", "m": "months", "d": "days", "h": "hours"}


class Moment(NamedTuple):
    """A time with the clock that it was read from."""

    ns: int
    """Nanoseconds since the epoch."""
    offset: int = 0
    """Seconds from UTC that the clock was ahead."""
    is_utc: bool = True
    """Whether the clock showed UTC, not a zone with the same offset."""

    @classmethod
    def of(cls, text: str) -> Moment:
        """The time that *text* says by RFC 3339."""
        return cls(*gotime.parse(text), text.endswith("Z"))


class Duration(NamedTuple):
    """A length of time by the calendar; all zero is none."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __str__(self) -> str:
        return "".join(f"{value}{unit}" for value, unit in zip(self, _UNITS, strict=True) if value)

    @classmethod
    def parse(cls, text: str) -> Duration:
        """The duration *text* says, units in any order; the last of a unit counts.

        Raises:
            ValueError: it says none; the text of the error is restic's.
        """
        values: dict[str, int] = {}
        rest = text.strip(WHITE_SPACE)
        while rest:
            digits = rest.removeprefix("-")
            unit = digits.lstrip("0123456789")
            number = digits[: len(digits) - len(unit)]
            if not number:
                raise ValueError("no number found")
            # The number of digits is bounded before they are read: that takes time by the square.
            value = int(number) if len(number) < 20 else _MOST + 1
            if value > _MOST:
                raise ValueError(f"number {number[:20]} is out of range")
            value = -value if rest.startswith("-") else value
            if not unit:
                raise ValueError(f"no unit found after number {value}")
            if unit[0] not in _UNITS:
                raise ValueError(f"invalid unit {unit[0]!r} found after number {value}")
            values[_UNITS[unit[0]]] = value
            rest = unit[1:]
        return cls(**values)

    def before(self, moment: Moment) -> int:
        """The time so long before *moment*, in nanoseconds since the epoch (SNAP-16).

        Years, months and days are counted by the calendar of the moment's clock: by the local zone where it had that offset
        then, so that a day may have 23 or 25 hours.
        """
        seconds, fraction = divmod(moment.ns, gotime.NS)
        is_local = not moment.is_utc and gotime.local_offset(seconds) == moment.offset
        days, clock = divmod(seconds + moment.offset, 86400)
        year, month, day = gotime.civil_from_days(days)
        months = (year - self.years) * 12 + month - 1 - self.months
        days = gotime.days_from_civil(months // 12, months % 12 + 1, 1) + day - 1 - self.days
        moved = days * 86400 + clock
        offset = gotime.local_offset(moved - gotime.local_offset(moved)) if is_local else moment.offset
        return (moved - offset - self.hours * 3600) * gotime.NS + fraction
