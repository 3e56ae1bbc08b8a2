"""Readers for option values that are more than a word or a number.

Each takes the text of one value and raises ``ValueError`` with what was expected.
"""

from __future__ import annotations

from restic_tools.argv import INT64

COMPRESSION_MODES = ("auto", "off", "fastest", "better", "max")
SIZE_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def local_time(text: str) -> int:
    """Nanoseconds since the epoch from a local time like ``2012-11-01 22:08:41``, with a fraction or not; by Go's rules."""
    from restic_spec import gotime
    from restic_spec.errors import JsonInvalid
    from restic_tools.dates import local_clock_offset

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
    return ns - local_clock_offset(ns // gotime.NS) * gotime.NS


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


def byte_size(text: str) -> int:
    """Bytes as `size` reads them, or with rustic's units: ``16MiB`` is ``16M``, ``16MB`` are 16 million."""
    lower = text.lower()
    for number, unit in enumerate(("kib", "mib", "gib", "tib", "kb", "mb", "gb", "tb")):
        digits = lower.removesuffix(unit).rstrip(" ")
        if lower.endswith(unit) and digits.isascii() and digits.isdecimal():
            base, power = (1024, number + 1) if number < 4 else (1000, number - 3)
            return int(digits) * int(base**power)
    value = size(text)
    if value is None:
        raise ValueError("expected a size like 512, 10k, 3MiB or 2GB")
    return value


def size(text: str) -> int | None:
    """Bytes from a number with an optional unit of 1024s: ``512``, ``10k``, ``3M``, ``2G``, ``1T``; None for no text at all."""
    if not text:
        return None
    unit = text[-1].lower()
    number = text[:-1] if unit in SIZE_UNITS else text
    digits = number[1:] if number[:1] == "+" else number
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError("expected a size like 512, 10k, 3M or 2G")
    value = int(digits) * SIZE_UNITS.get(unit, 1)
    if value not in INT64:
        raise ValueError("the size is out of range")
    return value
