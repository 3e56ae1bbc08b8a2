"""The chunker in plain Python, for machines without the compiled one. See `restic_format.native.chunker`.

It asks the specification's own algorithm, at a few MB/s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_spec import chunker as oracle

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Chunker:
    """Finds cuts; the twin of the compiled class, argument for argument.

    Raises:
        ValueError: the polynomial's degree, the sizes or the range make no sense.
    """

    def __init__(
        self,
        polynomial: int,
        min_size: int = oracle.MIN_SIZE,
        max_size: int = oracle.MAX_SIZE,
        avg_bits: int = oracle.AVERAGE_BITS,
        *,
        method: str | None = None,
    ) -> None:
        _check_degree(polynomial)
        if not oracle.WINDOW <= min_size <= max_size:
            raise ValueError(f"chunk sizes {min_size} to {max_size}: use 64 <= min_size <= max_size")
        if not 1 <= avg_bits <= 52:
            raise ValueError(f"a mask of {avg_bits} bits is outside 1 to 52")
        if method not in (None, "python"):
            raise ValueError(f"the chunking method {method!r} does not work here")
        self.polynomial = polynomial
        self.min_size = min_size
        self.max_size = max_size
        self.avg_bits = avg_bits
        self.method = "python"

    def next_cut(self, buffer: Buffer, start: int, end: int, final: bool, known: int = 0) -> int:
        """Length of the chunk that begins at *start*, or 0 if *end* comes too early to tell."""
        with memoryview(buffer).cast("B") as view:
            if not 0 <= start <= end <= len(view):
                raise ValueError(f"range {start} to {end} lies outside a buffer of {len(view)} bytes")
            available = end - start
            first = max(self.min_size, known + 1)
            with view[start:end] as data:
                length = min(available, self.max_size)
                if first <= length:
                    length = oracle.next_cut(
                        data,
                        self.polynomial,
                        min_size=first,
                        max_size=self.max_size,
                        average_bits=self.avg_bits,
                    )
                if final or length == self.max_size or length < available:
                    return length
                # The end of the data and a cut look alike to the oracle: look at the last window again.
                if length < first:
                    return 0
                last = oracle.fingerprint(bytes(data[length - oracle.WINDOW : length]), self.polynomial)
                return 0 if last & ((1 << self.avg_bits) - 1) else length


def methods(polynomial: int) -> tuple[str, ...]:
    """The ways of scanning that work here."""
    _check_degree(polynomial)
    return ("python",)


def _check_degree(polynomial: int) -> None:
    if not 8 <= oracle.degree(polynomial) <= oracle.DEGREE:
        raise ValueError(f"polynomial {polynomial:#x} has a degree outside 8 to {oracle.DEGREE}")
