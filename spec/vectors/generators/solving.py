"""Vectors for damage that is solved through the MAC."""

from __future__ import annotations

from vectors.generators.base import Chapter, key_json

from restic_spec import solving as spec
from restic_spec.crypto import IV_SIZE, MAC_SIZE, MasterKey, seal


def solving() -> Chapter:
    """SOLVE."""
    out = Chapter("solving")
    source = out.source
    key = source.key()
    sizes = (0, 1, 16, 17, 50)
    for size in sizes:
        ciphertext = source.draw(size)
        value = spec.polynomial(spec.multiplier(key), ciphertext)
        given = {"r": key.mac_r.hex(), "ciphertext": ciphertext.hex()}
        out.add(f"polynomial-{size}", "polynomial", "SOLVE-1", given, output={"value": f"{value:x}"})
    zero = MasterKey(key.encrypt, key.mac_k, bytes((0,)) * 3 + b"\xf0" + bytes(12))
    given = {"r": zero.mac_r.hex(), "ciphertext": source.draw(40).hex()}
    comment = "Clamping leaves nothing of r."
    out.add("polynomial-of-nothing", "polynomial", ["SOLVE-1", "SOLVE-11"], given, output={"value": "0"}, comment=comment)

    for size in sizes:
        iv = source.draw(IV_SIZE)
        sealed = seal(key, source.draw(size), iv)
        given = {"key": key_json(key), "ciphertext": sealed[IV_SIZE:-MAC_SIZE].hex(), "tag": sealed[-MAC_SIZE:].hex()}
        out.add(f"lost-iv-{size}", "lost-iv", "SOLVE-8", given, output={"iv": iv.hex()})
    iv = source.draw(IV_SIZE)
    sealed = seal(zero, source.draw(20), iv)
    given = {"key": key_json(zero), "ciphertext": sealed[IV_SIZE:-MAC_SIZE].hex(), "tag": sealed[-MAC_SIZE:].hex()}
    out.add("lost-iv-zero-r", "lost-iv", ["SOLVE-8", "SOLVE-11"], given, output={"iv": iv.hex()}, comment=comment)

    sealed = source.seal(key, source.draw(70))
    shapes = {
        "first-bit": {0: b"\x01"}, "last-bit": {69: b"\x80"}, "byte": {33: b"\xa5"}, "run": {17: source.draw(11)},
    }  # fmt: skip
    for label, changes in shapes.items():
        _add(out, f"block-{label}", "solve-block", ["SOLVE-4", "SOLVE-5"], key, _damaged(sealed, changes), {"spans": [1, 12]})
    for label, place, size in (("first", 0, 16), ("middle", 32, 16), ("short", 64, 6)):
        damaged = _damaged(sealed, {place: source.draw(size)})
        comment = "Anything in one block: a judge says which of the candidates is right."
        _add(out, f"block-any-{label}", "solve-block", "SOLVE-4", key, damaged, {"spans": [1, 16]}, comment)
    _add(out, "block-two-faults", "solve-block", "SOLVE-5", key, _damaged(sealed, {1: b"\1", 40: b"\1"}), {"spans": [1, 12]})

    for place, size, before in ((15, 4, 4), (24, 12, 8), (58, 10, 8), (63, 2, 12)):
        damaged = _damaged(sealed, {place: bytes(byte | 1 for byte in source.draw(size))})
        given = {"before": before, "spans": [2, 12]}
        _add(out, f"border-{place}-{size}", "solve-border", "SOLVE-6", key, damaged, given)
    damaged = _damaged(sealed, {27: source.draw(16)})
    comment = "Anything in 16 bytes that lie over a border."
    _add(out, "border-any", "solve-border", "SOLVE-6", key, damaged, {"before": 5, "spans": [13, 16]}, comment)

    for label, changes in {
        "apart": {3: b"\x10", 69: b"\x04"},
        "one-block": {20: b"\x01", 31: b"\x80"},
        "one-byte": {20: b"\x81"},
        "neighbours": {31: b"\x80", 32: b"\x01"},
    }.items():
        _add(out, f"bits-{label}", "solve-bits", "SOLVE-9", key, _damaged(sealed, changes), {})
    return out


def _damaged(sealed: bytes, changes: dict[int, bytes]) -> bytes:
    """*sealed* with masks applied at places of the ciphertext."""
    damaged = bytearray(sealed)
    for place, mask in changes.items():
        for number, byte in enumerate(mask):
            damaged[IV_SIZE + place + number] ^= byte
    return bytes(damaged)


def _add(
    out: Chapter,
    name: str,
    operation: str,
    clauses: str | list[str],
    key: MasterKey,
    sealed: bytes,
    given: dict[str, object],
    comment: str = "",
) -> None:
    from vectors.operations import OPERATIONS

    full = {"key": key_json(key), "sealed": sealed.hex(), **given}
    out.add(name, operation, clauses, full, output=OPERATIONS[operation](full), comment=comment)
