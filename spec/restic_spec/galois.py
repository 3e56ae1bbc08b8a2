"""Arithmetic of the field with 256 elements, and Reed-Solomon parity over it (PARITY-4, PARITY-5).

Rows and columns are byte strings of one length; what is done to them is done to every byte of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from restic_spec.errors import LengthInvalid

FIELD: Final = 0x11D
"""The polynomial x^8 + x^4 + x^3 + x^2 + 1 by which products are reduced (PARITY-4)."""

ELEMENTS: Final = 256
"""Columns and rows of a code together are no more than this (PARITY-5)."""


def _tables() -> tuple[list[int], list[int]]:
    powers, logarithms = [], [0] * ELEMENTS
    value = 1
    for exponent in range(ELEMENTS - 1):
        powers.append(value)
        logarithms[value] = exponent
        value <<= 1
        if value >= ELEMENTS:
            value ^= FIELD
    return powers * 2, logarithms


_POWERS, _LOGARITHMS = _tables()


def product(left: int, right: int) -> int:
    """The product of two elements (PARITY-4)."""
    return _POWERS[_LOGARITHMS[left] + _LOGARITHMS[right]] if left and right else 0


def inverse(element: int) -> int:
    """What multiplies with *element*, which is not 0, to 1 (PARITY-4)."""
    return _POWERS[ELEMENTS - 1 - _LOGARITHMS[element]]


@cache
def multiples(factor: int) -> bytes:
    """The products of *factor* with every element: a table for `bytes.translate`."""
    return bytes(product(factor, element) for element in range(ELEMENTS))


def coefficient(columns: int, row: int, column: int) -> int:
    """What *column* counts in *row* of the parity of so many *columns*: an element of a Cauchy matrix (PARITY-5)."""
    return inverse((columns + row) ^ column)


def check_code(columns: int, rows: int) -> None:
    """Refuse a code that has no parity, or more rows and columns than there are elements (PARITY-5).

    Raises:
        LengthInvalid: it is one.
    """
    if columns < 1 or rows < 1 or columns + rows > ELEMENTS:
        raise LengthInvalid(f"no parity has {rows} rows over {columns} columns", clause="PARITY-5")


class Sums:
    """*count* sums of multiples of byte strings of *length* bytes: parity in the making, or lost columns."""

    def __init__(self, count: int, length: int) -> None:
        self._length = length
        self._sums = [0] * count

    def add(self, factors: Sequence[int], data: bytes | bytearray) -> None:
        """Add to each sum its one of the *factors* times *data*, which has *length* bytes."""
        for number, factor in enumerate(factors):
            if factor:
                self._sums[number] ^= int.from_bytes(data if factor == 1 else data.translate(multiples(factor)), "little")

    def values(self) -> list[bytes]:
        """The sums so far."""
        return [value.to_bytes(self._length, "little") for value in self._sums]


def solve(
    columns: int,
    known: Sequence[bytes | None],
    parity: Sequence[tuple[int, bytes]],
    sums: Callable[[int, int], Sums] = Sums,
) -> list[bytes]:
    """The columns that are None in *known*, in their order, from as many rows of *parity*, each with its number (PARITY-6).

    *known* may end before *columns* do: the columns behind it are zero. *sums* makes what calculates.

    Raises:
        LengthInvalid: there are fewer rows than lost columns.
    """
    lost = [number for number, column in enumerate(known) if column is None]
    if len(parity) < len(lost):
        raise LengthInvalid(f"{len(lost)} columns are lost, and there are {len(parity)} rows of parity", clause="PARITY-6")
    if not lost:
        return []
    rows = [row for row, _ in parity[: len(lost)]]
    length = len(parity[0][1])
    rest = sums(len(lost), length)
    for place, (_, value) in enumerate(parity[: len(lost)]):
        rest.add([int(number == place) for number in range(len(lost))], value)
    for number, column in enumerate(known):
        if column is not None:
            rest.add([coefficient(columns, row, number) for row in rows], column)
    found = sums(len(lost), length)
    factors = _inverted([[coefficient(columns, row, number) for number in lost] for row in rows])
    for place, value in enumerate(rest.values()):
        found.add([line[place] for line in factors], value)
    return found.values()


def _inverted(matrix: list[list[int]]) -> list[list[int]]:
    """The inverse of a square part of a Cauchy matrix, which has one."""
    size = len(matrix)
    rows = [[*row, *(int(number == place) for place in range(size))] for number, row in enumerate(matrix)]
    for place in range(size):
        pivot = next(number for number in range(place, size) if rows[number][place])
        rows[place], rows[pivot] = rows[pivot], rows[place]
        factor = inverse(rows[place][place])
        rows[place] = [product(factor, element) for element in rows[place]]
        for number in range(size):
            if number != place and (factor := rows[number][place]):
                rows[number] = [old ^ product(factor, new) for old, new in zip(rows[number], rows[place], strict=True)]
    return [row[size:] for row in rows]
