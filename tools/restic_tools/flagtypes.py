"""Readers for option values that are more than a word or a number.

Each takes the text of one value and raises ``ValueError`` with what was expected.
"""

from __future__ import annotations

DURATION_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
COMPRESSION_MODES = ("auto", "off", "fastest", "better", "max")
SIZE_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def duration(text: str) -> float:
    """Seconds from Go's notation: ``90s``, ``1h30m``, ``1.5h``, ``-2m``, ``0``."""
    rest = text
    sign = 1.0
    if rest[:1] in ("+", "-"):
        sign = -1.0 if rest[0] == "-" else 1.0
        rest = rest[1:]
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError("expected a duration like 90s, 5m or 1h30m")
    total = 0.0
    while rest:
        digits = _leading(rest, "0123456789.")
        unit = _leading(rest[len(digits) :], "nuµμmsh")
        if not digits or digits == "." or digits.count(".") > 1 or unit not in DURATION_UNITS:
            raise ValueError("expected a duration like 90s, 5m or 1h30m")
        total += float(digits) * DURATION_UNITS[unit]
        rest = rest[len(digits) + len(unit) :]
    return sign * total


def local_time(text: str) -> int:
    """Nanoseconds since the epoch from a local time like ``2012-11-01 22:08:41``, with a fraction or not; by Go's rules."""
    from restic_spec import gotime
    from restic_spec.errors import JsonInvalid

    date, space, clock = text.partition(" ")
    clock = clock.lstrip(" ")
    if clock[1:2] == ":":
        clock = f"0{clock}"
    if not space or (len(clock) > 8 and not clock[9:].isdecimal()):
        raise ValueError("expected a time like 2012-11-01 22:08:41")
    try:
        ns = gotime.parse_ns(f"{date}T{clock}Z")
    except JsonInvalid:
        raise ValueError("expected a time like 2012-11-01 22:08:41") from None
    # The zone's offset at that time: close to where it changes, looked up once more.
    offset = gotime.local_offset(ns // gotime.NS)
    return ns - gotime.local_offset(ns // gotime.NS - offset) * gotime.NS


def _leading(text: str, allowed: str) -> str:
    end = 0
    while end < len(text) and text[end] in allowed:
        end += 1
    return text[:end]


def comma_list(text: str) -> list[str]:
    """The items of a comma-separated list; a quoted item may hold commas (CSV)."""
    if '"' not in text:
        return text.split(",") if text else []
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error:
        raise ValueError("quotation marks do not match") from None
    return rows[0] if rows else []


def tag_list(text: str) -> list[str]:
    """One ``--tag`` value: tags that must all be there, separated by commas; spaces around them do not count."""
    return [tag.strip() for tag in text.split(",")]


def compression_mode(text: str) -> str:
    """One of restic's compression modes."""
    if text not in COMPRESSION_MODES:
        raise ValueError(f"invalid compression mode {text!r}, must be one of (auto|off|fastest|better|max)")
    return text


def size(text: str) -> int:
    """Bytes from a number with an optional unit of 1024s: ``512``, ``10k``, ``3M``, ``2G``, ``1T`` (``KiB``-style also)."""
    word = text.strip().lower()
    for suffix in ("ib", "b"):
        if len(word) > len(suffix) and word.endswith(suffix) and word[-len(suffix) - 1] in "kmgt":
            word = word[: -len(suffix)]
            break
    number, unit = (word[:-1], word[-1]) if word and word[-1] in "bkmgt" else (word, "")
    if not number.isdecimal():
        raise ValueError("expected a size like 512, 10k, 3M or 2G")
    return int(number) * SIZE_UNITS[unit]
