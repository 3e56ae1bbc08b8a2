"""Vectors for the chunker."""

from __future__ import annotations

from typing import Any

from vectors.generators.base import Chapter, stream

from restic_spec.boundaries import Boundaries
from restic_spec.chunker import AVERAGE_BITS, WINDOW, chunks, fingerprint, is_irreducible, modulo, tables

POLYNOMIAL = 0x3DA3358B4DC173


def chunking() -> Chapter:
    """CHUNK."""
    out = Chapter("chunking")
    _polynomials(out)
    for size in (0, 1, 8, 63, 64):
        window = out.source.draw(size).rjust(64, b"\0")
        given = {"polynomial": f"{POLYNOMIAL:x}", "window": window.hex()}
        output = {"fingerprint": f"{fingerprint(window, POLYNOMIAL):x}"}
        out.add(f"fingerprint-{size}", "fingerprint", "CHUNK-5", given, output=output)
    removed, reduced = tables(POLYNOMIAL)
    for byte in (0, 1, 2, 128, 255):
        table: dict[str, Any] = {"polynomial": f"{POLYNOMIAL:x}", "byte": byte}
        assert removed[byte] == modulo(byte << 504, POLYNOMIAL)
        output = {"out": f"{removed[byte]:x}", "mod": f"{reduced[byte]:x}"}
        out.add(f"table-{byte}", "tables", "CHUNK-11", table, output=output)

    def cut(
        label: str, clauses: str | list[str], parts: list[Any], data: bytes, polynomial: int = POLYNOMIAL, comment: str = ""
    ) -> None:
        lengths = [len(chunk) for chunk in chunks(data, polynomial)]
        given = {"polynomial": f"{polynomial:x}", "data": parts}
        out.add(label, "cuts", clauses, given, output={"lengths": lengths}, comment=comment)

    def streamed(label: str, clauses: str | list[str], size: int, polynomial: int = POLYNOMIAL) -> None:
        cut(label, clauses, [{"stream": label, "length": size}], stream(label, size), polynomial)

    cut("nothing", "CHUNK-8", [], b"")
    for size in (1, 63, 64, 65, 524287, 524288):
        streamed(f"size-{size}", "CHUNK-8", size)
    streamed("size-524289", ["CHUNK-6", "CHUNK-8"], 524289)
    streamed("random-3-mib", ["CHUNK-6", "CHUNK-9", "CHUNK-10"], 3 << 20)
    other = next(value for value in range(1 << 53 | 1, 1 << 54, 2) if is_irreducible(value))
    streamed("random-other-polynomial", ["CHUNK-1", "CHUNK-6"], 2 << 20, other)
    comment = "The fingerprint of zeros is 0: a cut at every minimum."
    cut("zeros", ["CHUNK-6", "CHUNK-12"], [{"repeat": "00", "count": 1200000}], bytes(1200000), comment=comment)
    comment = "The fingerprint never ends in zeros: a cut at every maximum."
    cut("ones", "CHUNK-7", [{"repeat": "01", "count": 8388609}], b"\1" * 8388609, comment=comment)
    head, tail = out.source.draw(524288 - 64), bytes(64)
    comment = "Only the window before the minimum is zero."
    parts = [{"repeat": head[:1].hex(), "count": len(head)}, {"repeat": "00", "count": 64}, {"repeat": "01", "count": 100}]
    cut("cut-at-minimum", ["CHUNK-6", "CHUNK-9"], parts, head[:1] * len(head) + tail + b"\1" * 100, comment=comment)
    parts = [{"repeat": "01", "count": 524287}, {"repeat": "00", "count": 64}, {"repeat": "01", "count": 100}]
    comment = "The window of zeros ends 63 bytes after the minimum."
    cut("cut-after-minimum", "CHUNK-6", parts, b"\1" * 524287 + bytes(64) + b"\1" * 100, comment=comment)
    parts = [{"repeat": "01", "count": 524223}, {"repeat": "00", "count": 64}, {"repeat": "01", "count": 100}]
    comment = "The window of zeros ends one byte before the minimum, which is too early."
    cut("no-cut-before-minimum", "CHUNK-6", parts, b"\1" * 524223 + bytes(64) + b"\1" * 100, comment=comment)
    _boundaries(out)
    return out


def _boundaries(out: Chapter) -> None:
    """Windows before boundaries, and the polynomial that chose them."""
    other = next(value for value in range(1 << 54, 1 << 53, -1) if is_irreducible(value))
    windows = {polynomial: [_chosen(out.source.draw(64), polynomial) for _ in range(26)] for polynomial in (POLYNOMIAL, other)}

    def find(label: str, given: list[bytes], comment: str = "") -> None:
        found = Boundaries(given)
        output = {"left": found.left, "polynomials": [f"{polynomial:x}" for polynomial in found.polynomials()]}
        out.add(label, "find-polynomials", "CHUNK-13", {"windows": [w.hex() for w in given]}, output=output, comment=comment)

    find("boundaries-of-one", windows[POLYNOMIAL])
    find("boundaries-of-another", windows[other][:25])
    find("boundaries-that-are-too-few", windows[other][:22])
    find("boundaries-that-say-the-same", windows[other][:20] + [bytes(64)] * 3 + windows[other][:5])
    find("boundaries-of-two", windows[other][:13] + windows[POLYNOMIAL][:13], "No polynomial chose all of them.")


def _chosen(drawn: bytes, polynomial: int) -> bytes:
    """The window nearest to what was drawn, behind which is a boundary."""
    value = int.from_bytes(drawn, "big")
    return (value ^ modulo(value, polynomial) & (1 << AVERAGE_BITS) - 1).to_bytes(WINDOW, "big")


def _polynomials(out: Chapter) -> None:
    def check(label: str, clauses: str, value: int, expect: str = "valid") -> None:
        given = {"polynomial": f"{value:x}"}
        out.add(f"polynomial-{label}", "check-polynomial", clauses, given, expect, {} if expect == "valid" else None)

    check("documented", "CHUNK-3", POLYNOMIAL)
    found = 0
    while found < 5:
        value = out.source.random.getrandbits(53) | 1 << 53 | 1
        if is_irreducible(value):
            check(f"random-{found}", "CHUNK-3", value)
            found += 1
    for label, value in {
        "zero": 0,
        "one": 1,
        "degree-52": 1 << 52 | 1,
        "degree-54": 1 << 54 | 1,
        "degree-63": 1 << 63 | 1,
    }.items():
        check(label, "CHUNK-2", value, "polynomial-invalid")
    reducible = {
        "x-divides": POLYNOMIAL ^ 1,
        "even-weight": 1 << 53 | 1,
        "square": 0b1011 << 50 | 0b1011 << 1 | 1,
        "two-big-factors": _multiply(0x4000003, 0x8000027),
    }
    for label, value in reducible.items():
        assert value.bit_length() == 54 and not is_irreducible(value), label
        check(label, "CHUNK-3", value, "polynomial-invalid")


def _multiply(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a <<= 1
        b >>= 1
    return product
