"""What happened over time, as series that can be drawn: in seconds, shifted so that UTC shows local time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from restic_format.explore.overview.records import SnapshotFacts
from restic_spec import gotime
from restic_tools.htmlpage.plots import Span, Step

MOST_SPANS: Final = 60
"""Bars over time: more are not told apart on a narrow screen."""
_EPOCH: Final = datetime(1970, 1, 1)
_HOUR: Final = 3600
_FIXED: Final = (("hour", _HOUR), ("day", 24 * _HOUR), ("week", 7 * 24 * _HOUR))
_MONTHS: Final = (("month", 1), ("quarter", 3), ("year", 12), ("decade", 120), ("century", 1200), ("millennium", 12_000))


def local_seconds(nanoseconds: int) -> float:
    """A time in seconds that shows the local time when it is read as UTC."""
    seconds = nanoseconds // gotime.NS
    return float(seconds + gotime.local_offset(seconds))


def stored_over_time(snapshots: Iterable[SnapshotFacts], until: int) -> list[Step]:
    """The bytes that all snapshots up to each need, and at the end, where none is later, the time *until* (nanoseconds)."""
    found, total = [], 0
    for snapshot in snapshots:
        total += snapshot.added
        found.append(Step(local_seconds(snapshot.time), total))
    if found and found[-1].time < local_seconds(until):
        found.append(Step(local_seconds(until), total))
    return found


def added_over_time(snapshots: Iterable[SnapshotFacts]) -> tuple[str, list[Span]]:
    """The bytes added in each hour, day, week … with any: which of these, so that at most `MOST_SPANS` lie side by side, and
    the sums."""
    points = [(local_seconds(snapshot.time), snapshot.added) for snapshot in snapshots]
    if not points:
        return "day", []
    first, last = points[0][0], points[-1][0]
    unit, start, following = next(
        (found for found in _units() if _steps(found[1], found[2], first, last) <= MOST_SPANS), list(_units())[-1]
    )
    sums: dict[float, int] = {}
    for time, added in points:
        begins = start(time)
        sums[begins] = sums.get(begins, 0) + added
    return unit, [Span(begins, following(begins), added) for begins, added in sorted(sums.items())]


Unit = tuple[str, Callable[[float], float], Callable[[float], float]]
"""Its name, where the one with a time begins, where the next one begins."""


def _units() -> Iterator[Unit]:
    for name, length in _FIXED:
        monday = 4 * 24 * _HOUR if name == "week" else 0  # the epoch was a Thursday
        yield name, _floor(length, monday), _after(length)
    for name, months in _MONTHS:
        yield name, _month(months, 0), _month(months, 1)


def _floor(length: int, offset: int) -> Callable[[float], float]:
    return lambda time: (time - offset) // length * length + offset


def _after(length: int) -> Callable[[float], float]:
    return lambda time: time + length


def _month(months: int, further: int) -> Callable[[float], float]:
    """Where a stretch of months begins, counted from the year 1, or the one after it."""

    def found(time: float) -> float:
        date = _EPOCH + timedelta(seconds=time)
        whole = ((date.year * 12 + date.month - 1) // months + further) * months
        year, month = divmod(max(whole, 12), 12)
        return (datetime(min(year, 9999), month + 1, 1) - _EPOCH).total_seconds()

    return found


def _steps(start: Callable[[float], float], following: Callable[[float], float], first: float, last: float) -> int:
    """How many stretches there are from the first time to the last one, counted no further than need be."""
    at, count = start(first), 1
    while (at := following(at)) <= last and count <= MOST_SPANS:
        count += 1
    return count
