"""Damage solved through the MAC: what may have stood in a sealed message where a few bytes of it are wrong.

Poly1305 is a polynomial in the multiplier r over the integers modulo 2^130 - 5 (SOLVE-1). Stored and computed tag together give
the difference of two values of that polynomial (SOLVE-2), and every shape of damage is an equation with few solutions. The
functions here list these solutions, as *candidates*. Each of them makes the MAC fit, so the MAC says nothing more about it: its
judge is the SHA-256 of the content (SOLVE-3).

A ciphertext of n blocks of 16 bytes, the last maybe shorter, has blocks number 0 to n - 1. Differences are what has to be added
to the polynomial's value. All of it is plain integer arithmetic; the engine has the same compiled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from restic_spec.crypto import IV_SIZE, MAC_SIZE, MasterKey, clamp

PRIME: Final = (1 << 130) - 5
"""The modulus of Poly1305 (SOLVE-1)."""
BLOCK: Final = 16
"""Bytes of a block of Poly1305; AES has blocks of the same size, so that both count alike."""
SHORT_RUN: Final = 12
"""Bytes that a candidate may span so that chance cannot have made it, or only once in billions of messages (SOLVE-5)."""
MOST_STEPS: Final = 64
"""Points of a lattice that are tried on each side of the nearest one (SOLVE-6)."""
_LARGEST: Final = 1 << 124
"""Bound on the numbers of a reduced lattice: what is worked out with them fits 128 bits with a sign."""

Buffer = bytes | bytearray | memoryview


class Candidate(NamedTuple):
    """What may have stood in a ciphertext: *content* from byte *start* on. The rest is as it was read."""

    start: int
    content: bytes


class Lattice(NamedTuple):
    """A reduced basis (x1, y1), (x2, y2) of all (x, y) with x·shift·r + y ≡ 0 (mod p), of determinant p; see `lattice`.

    *steps1* and *steps2* say how far from the nearest point solutions can be, in steps of each vector.
    """

    x1: int
    y1: int
    x2: int
    y2: int
    steps1: int
    steps2: int


def multiplier(key: MasterKey) -> int:
    """r of a key as a number; 0 where clamping leaves nothing of it (SOLVE-11)."""
    return int.from_bytes(clamp(key.mac_r), "little")


def block_count(size: int) -> int:
    """Blocks of a ciphertext of *size* bytes."""
    return -(-size // BLOCK)


def polynomial(r: int, ciphertext: Buffer) -> int:
    """The value of the polynomial before the pad is added, modulo `PRIME` (SOLVE-1)."""
    value = 0
    for start in range(0, len(ciphertext), BLOCK):
        block = bytes(ciphertext[start : start + BLOCK])
        value = (value + int.from_bytes(block + b"\1", "little")) * r % PRIME
    return value


def pad(key: MasterKey, iv: bytes) -> int:
    """What Poly1305-AES adds at the end: the IV encrypted, as a number (CRYPTO-5)."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    encrypted = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor().update(iv)
    return int.from_bytes(encrypted, "little")


def tag(value: int, added: int) -> bytes:
    """The tag for a polynomial's *value* and the pad that is *added* (SOLVE-7)."""
    return ((value + added) % (1 << 128)).to_bytes(MAC_SIZE, "little")


def lost_iv(key: MasterKey, value: int, stored_tag: bytes) -> bytes:
    """The only IV with which a ciphertext of this polynomial *value* has this tag (SOLVE-8)."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    added = (int.from_bytes(stored_tag, "little") - value) % (1 << 128)
    decryptor = Cipher(algorithms.AES(key.mac_k), modes.ECB()).decryptor()
    return decryptor.update(added.to_bytes(IV_SIZE, "little"))


def differences(value: int, stored_tag: bytes, added: int) -> tuple[int, ...]:
    """What may be missing to the polynomial's *value* so that its tag, with the pad *added*, is the stored one (SOLVE-2).

    0 is among them where the tag fits.
    """
    low = (int.from_bytes(stored_tag, "little") - added) % (1 << 128)
    return tuple((full - value) % PRIME for full in range(low, PRIME, 1 << 128))


def block_candidates(
    r: int,
    ciphertext: Buffer,
    wanted: Sequence[int],
    first: int = 0,
    last: int | None = None,
    spans: tuple[int, int] = (1, BLOCK),
) -> Iterator[Candidate]:
    """Candidates that change a single block, of number *first* to before *last*, by one of the *wanted* differences (SOLVE-4).

    *spans* bounds the bytes from the first to the last that changes. The content is that of the whole block.
    """
    if not r:
        return
    count = block_count(len(ciphertext))
    shares = _shares(r, wanted, count - first)
    for number in range(first, count if last is None else min(last, count)):
        block = bytes(ciphertext[number * BLOCK : (number + 1) * BLOCK])
        read = int.from_bytes(block, "little")
        for share in next(shares):
            value = (read + share) % PRIME
            if value >> 8 * len(block) == 0 and spans[0] <= _span(value ^ read) <= spans[1]:
                yield Candidate(number * BLOCK, value.to_bytes(len(block), "little"))


def _shares(r: int, wanted: Sequence[int], exponent: int) -> Iterator[list[int]]:
    """The *wanted* differences divided by r to the power of *exponent*, of one less, and so on."""
    inverse = pow(r, -exponent, PRIME)
    shares = [difference * inverse % PRIME for difference in wanted]
    while True:
        yield shares
        shares = [share * r % PRIME for share in shares]


def _span(changed: int) -> int:
    """Bytes from the first to the last that are not zero; 0 where all are."""
    if not changed:
        return 0
    lowest = ((changed & -changed).bit_length() - 1) // 8
    return (changed.bit_length() + 7) // 8 - lowest


def lattice(r: int, before: int, length: int = BLOCK) -> Lattice | None:
    """The lattice for damage in the last *before* bytes of a block of *length* bytes and in the beginning of what follows.

    x counts in units of the first of these bytes, y in those of the next block; the basis is reduced for a window of 16 bytes
    (SOLVE-6). None where r is such that its numbers are out of bounds: this way is closed then.
    """
    shifted = (r << 8 * (length - before)) % PRIME
    # Weights make the window a square, of side 2^129.
    weight_x, weight_y = 1 << 8 * (BLOCK - before), 1 << 8 * before
    one, two = (0, PRIME), (1, -shifted)

    def product(a: tuple[int, int], b: tuple[int, int]) -> int:
        return a[0] * b[0] * weight_x**2 + a[1] * b[1] * weight_y**2

    while True:
        if product(one, one) > product(two, two):
            one, two = two, one
        square = product(one, one)
        times = (2 * product(one, two) + square) // (2 * square)
        if not times:
            break
        two = (two[0] - times * one[0], two[1] - times * one[1])
    if one[0] * two[1] - two[0] * one[1] < 0:
        two = (-two[0], -two[1])
    if max(map(abs, (*one, *two))) > _LARGEST:
        return None
    return Lattice(*one, *two, _steps(product(two, two)), _steps(product(one, one)))


def _steps(other: int) -> int:
    """How often a vector may have to be added to the nearest point; *other* is the square of the other vector's length."""
    corner, area = (
        2 << 256,
        PRIME << 128,
    )  # the square of the way from the middle to a corner; the determinant, both with weights
    # Half a step is lost in rounding, a tenth of one in dividing by 2^130.
    return min((math.isqrt(100 * corner * other // area**2) + 7) // 10, MOST_STEPS)


def window_solutions(base: Lattice, difference: int) -> Iterator[tuple[int, int]]:
    """All (x, y) near the middle of the window with x·shift·r + y ≡ *difference* (SOLVE-6), some of them outside it."""
    near1, near2 = _rounded(-difference * base.x2), _rounded(difference * base.x1)
    for times1 in range(near1 - base.steps1, near1 + base.steps1 + 1):
        for times2 in range(near2 - base.steps2, near2 + base.steps2 + 1):
            x = -times1 * base.x1 - times2 * base.x2
            yield x, difference - times1 * base.y1 - times2 * base.y2


def _rounded(product: int) -> int:
    """*product* divided by `PRIME`, to a whole number nearby: by 2^130, which machines do faster."""
    half = 1 << 129
    return (abs(product) + half >> 130) * (1 if product >= 0 else -1)


def border_candidates(
    r: int,
    ciphertext: Buffer,
    wanted: Sequence[int],
    before: int,
    first: int = 0,
    last: int | None = None,
    spans: tuple[int, int] = (2, SHORT_RUN),
) -> Iterator[Candidate]:
    """Candidates that change two neighbouring blocks (SOLVE-6): the last *before* bytes of a block, of number *first* to before
    *last*, and the first ``16 - before`` of the next.

    *spans* bounds the bytes from the first to the last that changes. The content is that of the window.
    """
    base = lattice(r, before) if r else None
    if base is None:
        return
    count = block_count(len(ciphertext))
    shares = _shares(r, wanted, count - first - 1)
    for number in range(first, count - 1 if last is None else min(last, count - 1)):
        border = (number + 1) * BLOCK
        upper, lower = bytes(ciphertext[border - before : border]), bytes(ciphertext[border : border + BLOCK - before])
        for share in next(shares):
            for x, y in window_solutions(base, share):
                content = _moved(upper, x, lower, y, spans)
                if content is not None:
                    yield Candidate(border - before, content)


def tag_border_candidates(
    r: int, ciphertext: Buffer, value: int, stored_tag: bytes, added: int, before: int, spans: tuple[int, int] = (2, SHORT_RUN)
) -> Iterator[tuple[Candidate, bytes]]:
    """Candidates that change the last *before* bytes of the ciphertext and the first ``16 - before`` of the tag, each with the
    tag that makes it fit (SOLVE-6: the tag is the block after the last, with r to the power of 0).
    """
    length = (len(ciphertext) - 1) % BLOCK + 1
    base = lattice(r, before, length) if r and before <= length and len(ciphertext) else None
    if base is None:
        return
    upper, lower = bytes(ciphertext[len(ciphertext) - before :]), stored_tag[: BLOCK - before]
    low = (int.from_bytes(stored_tag, "little") - added) % (1 << 128)
    for full in range(low - (1 << 128), PRIME + (1 << 128), 1 << 128):
        for x, y in window_solutions(base, (full - value) % PRIME):
            content = _moved(upper, x, lower, -y, spans)
            if content is not None and 0 <= full - y < PRIME:
                candidate = Candidate(len(ciphertext) - before, content[:before])
                yield candidate, content[before:] + stored_tag[BLOCK - before :]


def _moved(upper: bytes, x: int, lower: bytes, y: int, spans: tuple[int, int]) -> bytes | None:
    """Two neighbouring pieces with *x* and *y* added, where both change, keep their lengths, and span so many bytes."""
    above, below = int.from_bytes(upper, "little"), int.from_bytes(lower, "little")
    if not (x and y and 0 <= above + x < 1 << 8 * len(upper) and 0 <= below + y < 1 << 8 * len(lower)):
        return None
    content = (above + x).to_bytes(len(upper), "little") + (below + y).to_bytes(len(lower), "little")
    changed = int.from_bytes(content, "little") ^ (below << 8 * len(upper) | above)
    return content if spans[0] <= _span(changed) <= spans[1] else None


def bit_pairs(
    r: int, ciphertext: Buffer, wanted: Sequence[int], first: int = 0, last: int | None = None
) -> Iterator[tuple[int, int]]:
    """Pairs of bits, the first of them in the blocks of number *first* to before *last*, the other in those or later ones, that
    together change the polynomial by one of the *wanted* differences (SOLVE-9). Bits are counted from the lowest of byte 0.
    """
    if not r:
        return
    count = block_count(len(ciphertext))
    end = count if last is None else min(last, count)
    seen: dict[int, int] = {}
    for bit, value in flips(r, ciphertext, first, end):
        seen.setdefault(value, bit)
    for bit, value in flips(r, ciphertext, first, count):
        for difference in wanted:
            other = seen.get((difference - value) % PRIME)
            if other is not None and (bit > other or bit >= 128 * end):
                yield min(bit, other), max(bit, other)


def flips(r: int, ciphertext: Buffer, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Every bit of some blocks, and what the polynomial changes by when it is flipped."""
    count = block_count(len(ciphertext))
    for number in range(first, last):
        power = pow(r, count - number, PRIME)
        block = bytes(ciphertext[number * BLOCK : (number + 1) * BLOCK])
        read = int.from_bytes(block, "little")
        for bit in range(8 * len(block)):
            yield 8 * BLOCK * number + bit, (-power if read >> bit & 1 else power) % PRIME
            power = power * 2 % PRIME


def makes_difference(r: int, ciphertext: Buffer, bits: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether flipping all of these *bits* changes the polynomial by one of the *wanted* differences."""
    count, changed = block_count(len(ciphertext)), 0
    for bit in bits:
        power = pow(r, count - bit // (8 * BLOCK), PRIME) << bit % (8 * BLOCK)
        changed += -power if ciphertext[bit // 8] >> bit % 8 & 1 else power
    return changed % PRIME in wanted


def iv_border_candidates(
    key: MasterKey, iv: bytes, ciphertext: Buffer, stored_tag: bytes, value: int, guessed: int = 2
) -> Iterator[tuple[bytes, Candidate]]:
    """Candidates for the last bytes of the *iv* and the first of the *ciphertext*, whose polynomial has this *value*.

    At most *guessed* bytes of one of the sides are wrong, all of which are tried; what comes out on the other side must then be
    a change of at most 11 bytes next to the border (SOLVE-8).
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher, r, count = Cipher(algorithms.AES(key.mac_k), modes.ECB()), multiplier(key), block_count(len(ciphertext))
    guessed = min(guessed, len(ciphertext))
    block, stored = bytes(ciphertext[:BLOCK]), int.from_bytes(stored_tag, "little")
    # The IV's side is guessed: the block follows from it.
    ivs = b"".join(iv[:-guessed] + tried.to_bytes(guessed, "little") for tried in range(1 << 8 * guessed)) if guessed else b""
    pads = cipher.encryptor().update(ivs)
    inverse, read = pow(r, -count, PRIME) if r else 0, int.from_bytes(block, "little")
    for start in range(0, len(ivs) if r else 0, IV_SIZE):
        low = (stored - int.from_bytes(pads[start : start + IV_SIZE], "little")) % (1 << 128)
        for full in range(low, PRIME, 1 << 128):
            found = (read + (full - value) * inverse) % PRIME
            if found != read and not (found ^ read) >> 8 * (SHORT_RUN - 1) and not found >> 8 * len(block):
                yield ivs[start : start + IV_SIZE], Candidate(0, found.to_bytes(len(block), "little"))
    # The block's side is guessed: the IV follows from it.
    power, kept = pow(r, count, PRIME), iv[: IV_SIZE - SHORT_RUN + 1]
    lowest = int.from_bytes(block[:guessed], "little")
    added = ((stored - (value + (tried - lowest) * power) % PRIME) % (1 << 128) for tried in range(1 << 8 * guessed) if guessed)
    found_ivs = cipher.decryptor().update(b"".join(number.to_bytes(IV_SIZE, "little") for number in added))
    for tried in range(len(found_ivs) // IV_SIZE):
        found_iv = found_ivs[tried * IV_SIZE : (tried + 1) * IV_SIZE]
        if tried != lowest and found_iv.startswith(kept):
            yield found_iv, Candidate(0, tried.to_bytes(guessed, "little") + block[guessed:])
