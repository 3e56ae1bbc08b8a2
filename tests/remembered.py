"""Keys of the usual cost are derived once in a process: hundreds of tests open the same few stored repositories.

What was derived is remembered by everything that it is derived from, and by which function. Cheaper keys, and so the tests
of deriving itself, are not concerned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from restic_format.native import scrypt
from restic_spec import keyfile

DEAR = 1 << 18
"""N·r·p of a key that takes a noticeable time."""

Derive = Callable[[bytes, bytes, int, int, int], bytes]


def _remembering(derive: Derive) -> Derive:
    known: dict[tuple[bytes, bytes, int, int, int], bytes] = {}

    @functools.wraps(derive)
    def derived(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
        if n * r * p < DEAR:
            return derive(password, salt, n, r, p)
        parts = (password, salt, n, r, p)
        if parts not in known:
            known[parts] = derive(*parts)
        return known[parts]

    return derived


def remember_keys() -> None:
    """From now on, for the engine and for the specification."""
    scrypt.derive = _remembering(scrypt.derive)
    keyfile.scrypt = _remembering(keyfile.scrypt)
