"""Numbers and times of the page as texts."""

from __future__ import annotations

from typing import Final

from restic_format.explore.overview.records import Range
from restic_spec import gotime
from restic_tools.gotext import zone_text
from restic_tools.render import UNITS

NOTHING: Final = "–"
_AGES: Final = (("year", 365 * 86_400), ("month", 30 * 86_400), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def size(count: float) -> str:
    """Bytes with three digits that matter: ``17 B``, ``1.50 KiB``, ``317 MiB``."""
    if abs(count) < 1024:
        return f"{int(count)} B"
    value = float(count)
    for unit in UNITS:
        value /= 1024
        if abs(value) < 999.5 or unit == UNITS[-1]:
            break
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{digits}f} {unit}"


def bound(count: int) -> str:
    """The end of a range in bytes, without the zeros after a whole number: ``64 KiB``."""
    text, _, unit = size(count).partition(" ")
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"


def number(count: int) -> str:
    """A count: ``1,234,567``."""
    return f"{count:,}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count and what is counted: ``1 snapshot``, ``2 snapshots``."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def ratio(value: float) -> str:
    """How many times: ``3.2×``."""
    if not value:
        return NOTHING
    return f"{value:.2f}×" if value < 10 else f"{value:,.1f}×" if value < 100 else f"{value:,.0f}×"


def percent(part: float, whole: float) -> str:
    """A share: ``12.3 %``."""
    return f"{part * 100 / whole:.1f} %" if whole else NOTHING


def when(nanoseconds: int | None) -> str:
    """A time in the local zone: ``2026-11-26 12:00``."""
    return NOTHING if nanoseconds is None else gotime.format_ns(nanoseconds)[:16].replace("T", " ")


def day(nanoseconds: int) -> str:
    """The day of a time in the local zone."""
    return when(nanoseconds)[:10]


def zone() -> str:
    """The zone that times are shown in."""
    return zone_text()


def age(nanoseconds: int) -> str:
    """A length of time in its largest unit: ``3 days``; ``0 seconds`` for what is not over yet."""
    seconds = max(0, nanoseconds // gotime.NS)
    unit, length = next((found for found in _AGES if seconds >= found[1]), _AGES[-1])
    return counted(seconds // length, unit)


def name(text: str) -> str:
    """A name, or what stands for one that is not given."""
    return text or "(not given)"


def size_range(found: Range) -> str:
    """A range of sizes: ``64 KiB to 128 KiB``."""
    if found.lowest == found.highest:
        return size(found.lowest)
    return f"{bound(found.lowest)} to {bound(found.highest + 1)}"


def fill_range(found: Range) -> str:
    """A range of shares: ``11-20 %``."""
    return f"{found.lowest} %" if found.lowest == found.highest else f"{found.lowest}-{found.highest} %"
