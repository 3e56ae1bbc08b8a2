"""The twin of the compiled search: the specification's own functions."""

from __future__ import annotations

from collections.abc import Sequence

from restic_spec import solving
from restic_spec.solving import BLOCK, SHORT_RUN, Buffer, Candidate

polynomial = solving.polynomial


def block_candidates(
    r: int,
    ciphertext: Buffer,
    wanted: Sequence[int],
    first: int = 0,
    last: int | None = None,
    spans: tuple[int, int] = (1, BLOCK),
) -> list[Candidate]:
    """See `restic_spec.solving.block_candidates`."""
    return list(solving.block_candidates(r, ciphertext, wanted, first, last, spans))


def border_candidates(
    r: int,
    ciphertext: Buffer,
    wanted: Sequence[int],
    before: int,
    first: int = 0,
    last: int | None = None,
    spans: tuple[int, int] = (2, SHORT_RUN),
) -> list[Candidate]:
    """See `restic_spec.solving.border_candidates`."""
    if not 0 < before < BLOCK:
        raise ValueError("a window has bytes on both sides of the border")
    return list(solving.border_candidates(r, ciphertext, wanted, before, first, last, spans))


class BitPairs:
    """The bits of some blocks, by what flipping them changes; see `restic_spec.solving.bit_pairs`."""

    def __init__(self, r: int, ciphertext: Buffer, first: int, last: int) -> None:
        self._r = r
        self._ciphertext = ciphertext
        self._last = last
        self._seen: dict[int, int] = {}
        if r:
            for bit, value in solving.flips(r, ciphertext, first, min(last, solving.block_count(len(ciphertext)))):
                self._seen.setdefault(value, bit)

    def search(self, wanted: Sequence[int], first: int, last: int) -> list[tuple[int, int]]:
        """Pairs of a bit of the blocks given at first and one of those of number *first* to before *last*."""
        pairs: list[tuple[int, int]] = []
        if not self._r:
            return pairs
        for bit, value in solving.flips(
            self._r, self._ciphertext, first, min(last, solving.block_count(len(self._ciphertext)))
        ):
            for difference in wanted:
                other = self._seen.get((difference - value) % solving.PRIME)
                if other is not None and (bit > other or bit >= 8 * BLOCK * self._last):
                    pairs.append((min(bit, other), max(bit, other)))
        return pairs
