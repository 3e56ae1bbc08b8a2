"""The polynomial that chose boundaries is found from them, and none is found that did not choose them."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from restic_spec.boundaries import ENOUGH, LEAST, UNKNOWNS, Boundaries, can_be_chosen, is_chosen
from restic_spec.chunker import AVERAGE_BITS, MAX_SIZE, MIN_SIZE, WINDOW, modulo, next_cut, random_polynomial

NOISE = random.Random(13)


def chosen(polynomial: int, count: int, noise: random.Random = NOISE) -> list[bytes]:
    """Windows behind which the polynomial cuts."""
    drawn = (noise.getrandbits(8 * WINDOW) for _ in range(count))
    return [(value ^ modulo(value, polynomial) & (1 << AVERAGE_BITS) - 1).to_bytes(WINDOW, "big") for value in drawn]


def found(windows: Iterable[bytes]) -> list[int]:
    return list(Boundaries(windows).polynomials())


@pytest.mark.clause("CHUNK-13")
def test_each_polynomial_is_found() -> None:
    assert (UNKNOWNS, ENOUGH, LEAST) == (477, 24, 23)
    for _ in range(20):
        polynomial = random_polynomial(NOISE)
        windows = chosen(polynomial, ENOUGH + 1)
        assert all(is_chosen(window, polynomial) for window in windows)
        equations = Boundaries(windows)
        assert 0 <= equations.left < 8 and not equations.contradictory
        assert list(equations.polynomials()) == [polynomial]


@pytest.mark.clause("CHUNK-13")
def test_the_least_boundaries() -> None:
    polynomial = random_polynomial(NOISE)
    windows = chosen(polynomial, LEAST)
    equations = Boundaries(windows)
    assert 17 <= equations.left <= 18
    assert list(equations.polynomials()) == [polynomial]
    assert found(windows[:-1]) == []
    # What says the same does not help, and does no harm.
    assert found([*windows[:-1], windows[0], bytes(WINDOW)]) == []
    assert found([bytes(WINDOW), *windows, windows[0]]) == [polynomial]


@pytest.mark.clause("CHUNK-13", "CHUNK-14")
def test_nothing_else_is_found() -> None:
    polynomial, other = random_polynomial(NOISE), random_polynomial(NOISE)
    one, two = chosen(polynomial, 30), chosen(other, 30)
    noise = [NOISE.randbytes(WINDOW) for _ in range(30)]
    for windows in (noise, [*one[:13], *two[:12]], [*one[:24], *noise[:1]], [*one[:29], *two[:1]], [*two[:12], *one[:12]]):
        assert found(windows) == []
    assert Boundaries([*one, *two]).contradictory
    # Reducible ones, and ones of another degree, choose their boundaries as well; but no repository has them.
    reducible = 0b111 << 51 | 1 << 17 | 0b101
    while all(modulo(reducible, factor) for factor in (0b111, 0b1011, 0b1101)):
        reducible ^= 2 << NOISE.randrange(40)
    assert found(chosen(reducible, 26)) == []


@pytest.mark.clause("CHUNK-13")
def test_which_chunks_say_something() -> None:
    assert [can_be_chosen(size) for size in (0, MIN_SIZE - 1, MIN_SIZE, MAX_SIZE - 1, MAX_SIZE)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    polynomial = random_polynomial(NOISE)
    (window,) = chosen(polynomial, 1)
    data = bytes([1]) * (MIN_SIZE - WINDOW) + window + bytes([1]) * 100
    assert next_cut(data, polynomial) == MIN_SIZE
    with pytest.raises(ValueError, match="64 bytes"):
        Boundaries([bytes(WINDOW - 1)])
