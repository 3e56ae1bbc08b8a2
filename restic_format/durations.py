"""Lengths of time in Go's notation (``1h30m``, ``5s``), as restic reads and writes them."""

from __future__ import annotations

_INT64 = range(-(1 << 63), 1 << 63)

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def duration(text: str) -> float:
    """Seconds from Go's notation: ``90s``, ``1h30m``, ``1.5h``, ``-2m``, ``0``; at most what 64 bits hold in nanoseconds."""
    rest = text
    sign = 1
    if rest[:1] in ("+", "-"):
        sign = -1 if rest[0] == "-" else 1
        rest = rest[1:]
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError("expected a duration like 90s, 5m or 1h30m")
    total = 0
    while rest:
        digits = _leading(rest, "0123456789.")
        unit = _leading(rest[len(digits) :], "nuµμmsh")
        if not digits or digits == "." or digits.count(".") > 1 or unit not in _UNITS:
            raise ValueError("expected a duration like 90s, 5m or 1h30m")
        whole, _, fraction = digits.partition(".")
        total += int(whole or "0") * _UNITS[unit] + int(fraction or "0") * _UNITS[unit] // 10 ** len(fraction)
        rest = rest[len(digits) + len(unit) :]
    if sign * total not in _INT64:
        raise ValueError("the duration is too long")
    return sign * total / 10**9


def duration_text(seconds: float) -> str:
    """Seconds in Go's notation (``1h2m3s``, ``5s``, ``1.5s``)."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms" if seconds else "0s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _leading(text: str, allowed: str) -> str:
    end = 0
    while end < len(text) and text[end] in allowed:
        end += 1
    return text[:end]
