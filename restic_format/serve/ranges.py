"""The ``Range`` of a request: which bytes of a file it asks for."""

from __future__ import annotations

import re
from typing import NamedTuple

_RANGE = re.compile(r"bytes=\s*([0-9]{0,19})\s*-\s*([0-9]{0,19})\s*\Z", re.ASCII)


class ByteRange(NamedTuple):
    """Bytes of a file."""

    first: int
    length: int


class RangeInvalid(ValueError):
    """Nobody can tell which bytes are asked for; or the file ends before them, and they are *beyond* it."""

    def __init__(self, text: str, *, beyond: bool = False) -> None:
        super().__init__(text)
        self.beyond = beyond


def read_range(header: str, size: int) -> ByteRange | None:
    """The bytes of a file of *size* bytes that *header* asks for; None for all, also where it asks for several ranges.

    Raises:
        RangeInvalid: there are none.
    """
    if not header or header == "bytes=" or "," in header:
        return None
    found = _RANGE.match(header)
    if found is None or not (found[1] or found[2]):
        raise RangeInvalid("invalid range")
    if not size:  # some clients name a range with every request
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        first, last = size - length, size - 1
    else:
        first, last = int(found[1]), min(int(found[2]), size - 1) if found[2] else size - 1
        if found[2] and int(found[2]) < first:
            raise RangeInvalid("invalid range")
    if first >= size or last < first:
        raise RangeInvalid("invalid range: failed to overlap", beyond=True)
    return ByteRange(first, last - first + 1)
