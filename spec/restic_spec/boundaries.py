"""Boundaries of chunks tell the polynomial that chose them, should it be lost with the config.

At a boundary that the polynomial chose, the low 20 bits of the fingerprint of the last 64 bytes are 0 (CHUNK-6). What a bit
of these bytes adds to a bit of the fingerprint depends on the polynomial alone; that all of it adds up to nothing is a linear
equation over GF(2) in what is not known of the polynomial. Each boundary gives 20 of them (CHUNK-13).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from restic_spec.chunker import AVERAGE_BITS, DEGREE, MAX_SIZE, MIN_SIZE, WINDOW, fingerprint, is_irreducible

UNKNOWNS: Final = 8 * WINDOW - DEGREE - 1 + AVERAGE_BITS - 1
"""Coefficients that the equations are about, 477: a(-19) to a(-1) and a(54) to a(511) in CHUNK-13."""
ENOUGH: Final = -(-UNKNOWNS // AVERAGE_BITS)
"""Boundaries with as many equations as there are unknowns."""
MOST_TRIED: Final = 18
"""Unknowns that may be left over by the equations: all values of them are tried."""
LEAST: Final = -(-(UNKNOWNS - MOST_TRIED) // AVERAGE_BITS)
"""Boundaries from which a polynomial can be found, if no equation follows from the others."""

_FIRST: Final = AVERAGE_BITS - 1
"""Bit number i + 19 of a row is about a(i). This one is a(0), which is 1: the constant of a row."""
_ONE: Final = 1 << _FIRST
_LAST_KNOWN: Final = _FIRST + DEGREE
"""a(53), which is 1 as well; all between them are 0."""
_UNKNOWN: Final = ~((2 << _LAST_KNOWN) - _ONE)
_DECIDES: Final = _LAST_KNOWN + DEGREE
"""No bit from here on is needed to tell the polynomial."""


def can_be_chosen(size: int) -> bool:
    """Whether a chunk of *size* bytes, not the last of its file, ends where its content says so (CHUNK-6, CHUNK-7)."""
    return MIN_SIZE <= size < MAX_SIZE


def is_chosen(window: bytes, polynomial: int) -> bool:
    """Whether *polynomial* cuts behind the 64 bytes of *window*."""
    return not fingerprint(window, polynomial) & ((1 << AVERAGE_BITS) - 1)


class Boundaries:
    """The equations that boundaries make, added one by one. All of them must have been chosen by one polynomial."""

    def __init__(self, windows: Iterable[bytes] = ()) -> None:
        self.windows: list[bytes] = []
        """The last 64 bytes before each boundary."""
        self.contradictory = False
        """Whether no polynomial can have chosen all of them."""
        self._rows: dict[int, int] = {}
        """Each equation by the highest of its unknowns, which no equation of a lower one has."""
        for window in windows:
            self.add(window)

    @property
    def left(self) -> int:
        """Unknowns that the equations leave over; 0 where they leave one solution at most."""
        return UNKNOWNS - len(self._rows)

    def add(self, window: bytes) -> None:
        """Add the boundary behind the 64 bytes of *window*."""
        if len(window) != WINDOW:
            raise ValueError(f"a window has {WINDOW} bytes")
        self.windows.append(window)
        for shift in range(AVERAGE_BITS):
            row = int.from_bytes(window, "big") << shift
            constant = (row >> _FIRST ^ row >> _LAST_KNOWN) & 1
            row = row & _UNKNOWN
            while row:
                known = self._rows.get(row.bit_length())
                if known is None:
                    self._rows[row.bit_length()] = row | constant << _FIRST
                    break
                row ^= known
                constant ^= row >> _FIRST & 1
                row &= ~_ONE
            else:
                self.contradictory = self.contradictory or bool(constant)

    def polynomials(self) -> Iterator[int]:
        """The irreducible polynomials of degree 53 that choose every one of the boundaries; none where the equations leave more
        than `MOST_TRIED` unknowns over.
        """
        if self.contradictory or self.left > MOST_TRIED:
            return
        vector = self._solution(_ONE)
        columns = [bit for bit in range(_DECIDES) if _UNKNOWN >> bit & 1 and bit + 1 not in self._rows]
        directions = [self._solution(1 << bit) for bit in columns]
        for number in range(1 << len(directions)):
            if number:
                vector ^= directions[(number & -number).bit_length() - 1]
            polynomial = _polynomial(vector)
            if (
                polynomial is not None
                and all(is_chosen(window, polynomial) for window in self.windows)
                and is_irreducible(polynomial)
            ):
                yield polynomial

    def _solution(self, vector: int) -> int:
        """What follows from the values of *vector* for the bits that equations decide."""
        for bit in range(_DECIDES):
            row = self._rows.get(bit + 1)
            if row is not None and (row & vector).bit_count() & 1:
                vector ^= 1 << bit
        return vector


def _polynomial(vector: int) -> int | None:
    """The polynomial that has these values of a(i); None where they contradict each other."""
    # From a(53) on they are the inverse of the polynomial read backwards, from a(0) down that of the polynomial itself.
    upwards = _inverse(vector >> _LAST_KNOWN & (1 << DEGREE) - 1 | 1, DEGREE)
    polynomial = int(f"{upwards:0{DEGREE}b}"[::-1], 2) << 1 | 1
    downwards = int(f"{vector & (2 << _FIRST) - 1 | _ONE:0{AVERAGE_BITS}b}"[::-1], 2)
    low = _inverse(downwards, AVERAGE_BITS)
    return polynomial if polynomial & (1 << AVERAGE_BITS) - 1 == low else None


def _inverse(series: int, length: int) -> int:
    """The inverse of a power series over GF(2) that begins with 1, as far as its first *length* coefficients."""
    inverse, rest = 0, 1
    for power in range(length):
        if rest >> power & 1:
            inverse |= 1 << power
            rest ^= series << power
    return inverse
