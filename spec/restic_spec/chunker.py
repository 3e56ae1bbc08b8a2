"""Content-defined chunking: where a file is cut into blobs.

A Rabin fingerprint runs over a window of 64 bytes: the window is read as a polynomial over GF(2) and reduced modulo the
repository's irreducible polynomial of degree 53. A chunk ends where the fingerprint's low 20 bits are zero, but not before
512 KiB and at the latest after 8 MiB. Cuts depend on content only, so equal stretches of different files give equal blobs.
Each repository has a polynomial of its own (CHUNK-1).

This is the plain algorithm, the oracle for native code.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from restic_spec.errors import PolynomialInvalid

if TYPE_CHECKING:
    import random

WINDOW = 64
"""Bytes the fingerprint looks at (CHUNK-5)."""
MIN_SIZE = 512 << 10
"""Bytes a chunk has at least, the last one of a file excepted (CHUNK-6, CHUNK-8)."""
MAX_SIZE = 8 << 20
"""Bytes a chunk has at most (CHUNK-7)."""
AVERAGE_BITS = 20
"""Low bits of the fingerprint that must be zero at a cut: chunks of 1 MiB on average beyond the minimum (CHUNK-6)."""
DEGREE = 53
"""Degree of the polynomial (CHUNK-2)."""

_MASK64 = (1 << 64) - 1


def degree(polynomial: int) -> int:
    """Degree of a polynomial given by its coefficients' bits; -1 for zero."""
    return polynomial.bit_length() - 1


def modulo(dividend: int, divisor: int) -> int:
    """Remainder of polynomial division over GF(2)."""
    divisor_degree = degree(divisor)
    while (shift := degree(dividend) - divisor_degree) >= 0:
        dividend ^= divisor << shift
    return dividend


def multiply_modulo(a: int, b: int, divisor: int) -> int:
    """Product of two polynomials over GF(2) modulo *divisor*."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        b >>= 1
    return modulo(product, divisor)


def gcd(a: int, b: int) -> int:
    """Greatest common divisor of two polynomials over GF(2)."""
    while b:
        a, b = b, modulo(a, b)
    return a


def is_irreducible(polynomial: int) -> bool:
    """Ben-Or's test (CHUNK-3): no factor of degree i divides x^(2^i) - x for i up to half the degree."""
    if degree(polynomial) < 1:
        return False
    power = 2
    for _ in range(degree(polynomial) // 2):
        power = multiply_modulo(power, power, polynomial)
        if gcd(polynomial, power ^ 2) != 1:
            return False
    return True


def check_polynomial(polynomial: int) -> None:
    """Check that *polynomial* can drive the chunker.

    Raises:
        PolynomialInvalid: wrong degree, or reducible.
    """
    if degree(polynomial) != DEGREE:
        raise PolynomialInvalid(
            f"chunker polynomial {polynomial:x} has degree {degree(polynomial)}, not {DEGREE}",
            clause="CHUNK-2",
        )
    if not is_irreducible(polynomial):
        raise PolynomialInvalid(f"chunker polynomial {polynomial:x} is reducible", clause="CHUNK-3")


def random_polynomial(rng: random.Random) -> int:
    """An irreducible polynomial of degree 53; the highest and the lowest coefficient are always 1 (CHUNK-4)."""
    while True:
        candidate = rng.getrandbits(DEGREE) | 1 << DEGREE | 1
        if is_irreducible(candidate):
            return candidate


@lru_cache(maxsize=8)
def tables(polynomial: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The two tables of 256 numbers that make the fingerprint fast (CHUNK-11).

    ``out[b]`` is what byte *b* contributes when it leaves the window (*b* times x^(8·63), reduced); ``mod[t]`` reduces the
    8 bits *t* that a shift moves above the polynomial's degree, and clears them.
    """
    out = tuple(modulo(byte << 8 * (WINDOW - 1), polynomial) for byte in range(256))
    mod = tuple(modulo(top << degree(polynomial), polynomial) | top << degree(polynomial) for top in range(256))
    return out, mod


def fingerprint(window: bytes, polynomial: int) -> int:
    """Rabin fingerprint of *window* by definition: its bits as a polynomial, reduced (CHUNK-5)."""
    return modulo(int.from_bytes(window, "big"), polynomial)


def next_cut(
    data: bytes | bytearray | memoryview,
    polynomial: int,
    *,
    start: int = 0,
    min_size: int = MIN_SIZE,
    max_size: int = MAX_SIZE,
    average_bits: int = AVERAGE_BITS,
) -> int:
    """Length of the chunk that begins at *start*, taking *data* as all there is.

    The fingerprint at a position depends on the 64 bytes before it alone, so the scan begins 64 bytes before the minimum
    (CHUNK-9), and what restic's library puts into the window first has no effect (CHUNK-10).
    """
    available = min(len(data) - start, max_size)
    if available <= min_size:
        return available
    out, mod = tables(polynomial)
    shift = degree(polynomial) - 8
    mask = (1 << average_bits) - 1
    digest = 0
    first = start + min_size - WINDOW
    for position in range(first, first + WINDOW):
        digest = ((digest << 8 | data[position]) & _MASK64) ^ mod[digest >> shift]
    length = min_size
    while digest & mask and length < available:
        position = start + length
        digest ^= out[data[position - WINDOW]]
        digest = ((digest << 8 | data[position]) & _MASK64) ^ mod[digest >> shift]
        length += 1
    return length


def chunks(data: bytes | bytearray | memoryview, polynomial: int) -> Iterator[bytes]:
    """Cut *data* into chunks, each one a blob (CHUNK-12); nothing for empty data (CHUNK-8)."""
    start = 0
    while start < len(data):
        length = next_cut(data, polynomial, start=start)
        yield bytes(data[start : start + length])
        start += length
