"""Candidates for damage in a sealed message: the search of `restic_spec.solving`, compiled, or the specification's own
functions.

`polynomial`, `block_candidates` and `border_candidates` are as there, but give lists: whoever calls bounds them by *first* and
*last*. `BitPairs(r, ciphertext, first, last)` keeps the bits of some blocks by what flipping them changes::

    search(wanted, first, last) -> list[(bit, bit)]

gives the pairs of one of these bits and one of other blocks that make a wanted difference, each once where the other blocks
begin with these; at most 1024 of a search. A table holds `MOST_BLOCKS` blocks. Threads may share all of it, and the compiled
form holds no interpreter lock while it searches.

`UNAVAILABLE` says why the twin is used, None where it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_format.native import parts


def _self_test() -> str | None:
    """Search in a short message of which everything is known."""
    from restic_format.native.solving import _solving

    data, r = bytes(range(40)), 0x0BADCAFE0BADCAFC0BADCAFC0BADCAFE
    value = _solving.polynomial(r, data)
    if value != KNOWN_VALUE:
        return parts.wrong_answer("the polynomial")
    for number, (start, content) in enumerate(KNOWN_CHANGES):
        changed = data[:start] + content + data[start + len(content) :]
        wanted = [(_solving.polynomial(r, changed) - value) % ((1 << 130) - 5)]
        found = _solving.border_candidates(r, data, wanted, 4) if number else _solving.block_candidates(r, data, wanted)
        if (start, content) not in found:
            return parts.wrong_answer("a border" if number else "a block")
    wanted = [(_solving.polynomial(r, b"\1" + data[1:39] + b"\x26") - value) % ((1 << 130) - 5)]
    if _solving.BitPairs(r, data, 0, 3).search(wanted, 0, 3) != KNOWN_PAIRS:
        return parts.wrong_answer("two bits")
    return None


KNOWN_VALUE = 0x1420CF01FC1DEDECDE567B814885F1B08
KNOWN_CHANGES = ((16, b"a different one!"), (28, bytes((28, 29, 0, 0, 0, 0)) + bytes(range(34, 40))))
KNOWN_PAIRS = [(0, 312)]
UNAVAILABLE = parts.unusable("solving", _self_test)
IMPLEMENTATION = "compiled" if UNAVAILABLE is None else f"pure, {UNAVAILABLE}"
if TYPE_CHECKING or UNAVAILABLE is None:
    from restic_format.native.solving._solving import BitPairs, block_candidates, border_candidates, polynomial
else:
    from restic_format.native.solving._pure import BitPairs, block_candidates, border_candidates, polynomial

MOST_BLOCKS = 1 << 16 if UNAVAILABLE is None else 1 << 12

__all__ = ["IMPLEMENTATION", "MOST_BLOCKS", "UNAVAILABLE", "BitPairs", "block_candidates", "border_candidates", "polynomial"]
