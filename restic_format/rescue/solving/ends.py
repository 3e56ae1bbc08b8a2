"""Files that lost their last bytes or have others behind them (SOLVE-16)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from restic_format.native import solving as native
from restic_format.rescue.solving.clock import Clock
from restic_spec import solving
from restic_spec.crypto import IV_SIZE, MAC_SIZE, MasterKey

MOST_GROWN = 1 << 18
"""Bytes behind a file's end that are looked through: each place takes a hash."""
_LOOKED_AT = 1 << 12
"""Places between two looks at the clock."""


def without_more(data: bytes, file_id: bytes, clock: Clock) -> bytes | None:
    """The beginning of *data* that hashes to *file_id*, where no more than `MOST_GROWN` bytes stand behind it.

    Raises:
        OutOfTime, Interrupted: see `Clock.check`.
    """
    start = max(0, len(data) - MOST_GROWN)
    found = hashlib.sha256(data[:start])
    for end in range(start, len(data)):
        if not (end - start) % _LOOKED_AT:
            clock.check()
        if found.digest() == file_id:
            return data[:end]
        found.update(data[end : end + 1])
    return None


def with_end(key: MasterKey, data: bytes, clock: Clock) -> Iterator[tuple[bytes, int]]:
    """The sealed messages that *data* are the beginning of, if only bytes of the MAC are missing, and how many are; the MAC is
    made anew, and what is left of it must fit (SOLVE-7).

    Raises:
        OutOfTime, Interrupted: see `Clock.check`.
    """
    r, pad = solving.multiplier(key), solving.pad(key, data[:IV_SIZE])
    for missing in range(1, MAC_SIZE + 1):
        end = len(data) - MAC_SIZE + missing
        if end < IV_SIZE:
            continue
        clock.check()
        tag = solving.tag(native.polynomial(r, memoryview(data)[IV_SIZE:end]), pad)
        if data[end:] == tag[: MAC_SIZE - missing]:
            yield data[:end] + tag, missing
