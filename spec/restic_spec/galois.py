"""Arithmetic of the field with 256 elements, and Reed-Solomon parity over it (PARITY-4, PARITY-5).

Rows and columns are byte strings of one length; what is done to them is done to every byte of them.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Sum:
    """A sum of multiples of byte strings of *length* bytes: parity in the making."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._sum = 0

    def add(self, factor: int, data: bytes) -> None:
        """Add *factor* times *data*, which has *length* bytes."""
        self._sum ^= int.from_bytes(data if factor == 1 else data.translate(multiples(factor)), "little")

    def value(self) -> bytes:
        """The sum so far."""
        return self._sum.to_bytes(self._length, "little")


def solve(columns: int, known: Sequence[bytes | None], parity: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """The columns that are None in *known*, in their order, from as many rows of *parity*, each with its number (PARITY-6).

    *known* may end before *columns* do: the columns behind it are zero.

    Raises:
        LengthInvalid: there are fewer rows than lost columns.
    """
    lost = [number for number, column in enumerate(known) if column is None]
    if len(parity) < len(lost):
        raise LengthInvalid(f"{len(lost)} columns are lost, and there are {len(parity)} rows of parity", clause="PARITY-6")
    sums = []
    for row, value in parity[: len(lost)]:
        rest = Sum(len(value))
        rest.add(1, value)
        for number, column in enumerate(known):
            if column is not None:
                rest.add(coefficient(columns, row, number), column)
        sums.append(rest.value())
    matrix = [[coefficient(columns, row, number) for number in lost] for row, _ in parity[: len(lost)]]
    found = []
    for factors in _inverted(matrix):
        total = Sum(len(sums[0]))
        for factor, value in zip(factors, sums, strict=True):
            total.add(factor, value)
        found.append(total.value())
    return found


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
