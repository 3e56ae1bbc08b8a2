"""Sizes and shares in ranges."""

from __future__ import annotations

from collections.abc import Iterable

from restic_format.explore.overview.records import Range

FILL_BOUNDS = ((0, 0), *((low + 1, min(low + 10, 99)) for low in range(0, 100, 10)), (100, 100))
"""Per cent, both ends included."""


class Powers:
    """Sizes by powers of two."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._counts = [0] * 65
        self._sizes = [0] * 65

    def add(self, size: int) -> None:
        """Count one more, of at most 64 bits."""
        bits = size.bit_length()
        self._counts[bits] += 1
        self._sizes[bits] += size
        self.count += 1
        self.size += size

    def add_all(self, sizes: Iterable[int]) -> None:
        """Count several more."""
        counts, sums = self._counts, self._sizes
        for size in sizes:
            bits = size.bit_length()
            counts[bits] += 1
            sums[bits] += size
        self.count, self.size = sum(counts), sum(sums)

    def ranges(self) -> tuple[Range, ...]:
        """From the smallest to the largest that has any."""
        filled = [bits for bits, count in enumerate(self._counts) if count]
        if not filled:
            return ()
        return tuple(
            Range(1 << bits >> 1, max((1 << bits) - 1, 0), self._counts[bits], self._sizes[bits])
            for bits in range(filled[0], filled[-1] + 1)
        )


class Fills:
    """Sizes by how much of each is used."""

    def __init__(self) -> None:
        self._counts = [0] * len(FILL_BOUNDS)
        self._sizes = [0] * len(FILL_BOUNDS)

    def add(self, size: int, used: int, unused: int) -> None:
        """Count one more of *size*: in 0 % is nothing used, in 100 % all."""
        if not used:
            number = 0
        elif not unused:
            number = len(FILL_BOUNDS) - 1
        else:
            percent = min(-(-used * 100 // (used + unused)), 99)
            number = (percent + 9) // 10
        self._counts[number] += 1
        self._sizes[number] += size

    def ranges(self) -> tuple[Range, ...]:
        """All of them."""
        return tuple(
            Range(*bounds, count, size) for bounds, count, size in zip(FILL_BOUNDS, self._counts, self._sizes, strict=True)
        )
