"""Which packs a check reads: all of them, one part of n, a share, or about so many bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from restic_spec.errors import ResticFormatError

MAX_BUCKETS = 256
"""Parts are told apart by the first byte of the pack's id, so there cannot be more than it has values."""

_MOST_DIGITS = 4000
"""More are out of range anyway, and more than Python reads."""

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class InvalidSubset(ResticFormatError):
    """The text does not say which packs to read."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Part *number* (1-based) of *total*: the same packs every time, every pack in exactly one part."""

    number: int
    total: int

    def select(self, packs: Mapping[bytes, int], _rng: random.Random) -> list[bytes]:
        """The ids of the packs in this part."""
        return [pack for pack in packs if pack[0] % self.total == self.number - 1]


@dataclass(frozen=True, slots=True)
class Percentage:
    """A random share of the packs, in percent; at least one pack."""

    percent: float

    def select(self, packs: Mapping[bytes, int], rng: random.Random) -> list[bytes]:
        """Randomly chosen ids."""
        count = int(len(packs) * (self.percent / 100.0))
        if packs and count < 1:
            count = 1
        return rng.sample(list(packs), count)


@dataclass(frozen=True, slots=True)
class ByteSize:
    """Random packs of about this many bytes: as large a share of the packs as the bytes are of all bytes."""

    size: int

    def share(self, packs: Mapping[bytes, int]) -> tuple[int, float]:
        """How many bytes can be read at most, and how many percent of all they are."""
        total = sum(packs.values())
        size = min(self.size, total)
        return size, (size / total * 100.0) if total else 100.0

    def select(self, packs: Mapping[bytes, int], rng: random.Random) -> list[bytes]:
        """Randomly chosen ids."""
        return Percentage(self.share(packs)[1]).select(packs, rng)


Subset = Bucket | Percentage | ByteSize


def parse_subset(text: str) -> Subset:
    """Read ``n/t``, ``x%`` or a size with a unit (``k m g t``).

    Raises:
        InvalidSubset: the text is none of these, or a number is out of range.
    """
    unclear = InvalidSubset("check flag --read-data-subset has invalid value, please see documentation")
    parts = text.split("/")
    if all(re.fullmatch(r"[0-9]+", part) for part in parts):
        if len(parts) != 2:
            raise unclear
        if max(map(len, parts)) > _MOST_DIGITS:
            raise unclear
        number, total = int(parts[0]), int(parts[1])
        if max(number, total) >= 1 << 64:
            raise unclear
        if number == 0 or total == 0 or number > total:
            raise InvalidSubset(
                "check flag --read-data-subset=n/t values must be positive integers, and n <= t, e.g. --read-data-subset=1/2"
            )
        if total > MAX_BUCKETS:
            raise InvalidSubset(f"check flag --read-data-subset=n/t t must be at most {MAX_BUCKETS}")
        return Bucket(number, total)
    if text.endswith("%"):
        if not text.isascii() or text[0].isspace() or text[-2:-1].isspace():
            raise unclear  # Python would go past white space and read the digits of every script.
        try:
            percent = float(text[:-1])
        except ValueError:
            raise unclear from None
        if not 0.0 < percent <= 100.0:
            raise InvalidSubset("check flag --read-data-subset=x% x must be above 0.0% and at most 100.0%")
        return Percentage(percent)
    match = re.fullmatch(r"([+-]?[0-9]+)([bkmgtBKMGT])?", text)
    if match is None or len(match[1]) > _MOST_DIGITS:
        raise unclear
    size = int(match[1]) * _UNITS[(match[2] or "b").lower()]
    if not 0 <= size < 1 << 63:
        raise unclear
    if size == 0:
        raise InvalidSubset("check flag --read-data-subset=n n must be above 0")
    return ByteSize(size)
