"""SHA-256 of many pieces of memory, two at a time where the processor has the SHA extensions.

A processor with these extensions waits for each round's result, so that two hashes at once take hardly longer than one. That
needs no library; on other processors the compiled form is used where it has libcrypto, else hashlib.

`Sha256` is a hash that goes on from call to call: `update(data)`, `digest()`. `ids_of` hashes pieces by themselves.
`IMPLEMENTATION` says what is used. The oracle is hashlib.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from restic_format.native import blobs, policy

if TYPE_CHECKING:
    from restic_format.native.blobs._blobs import Sha256

    hash_many: Callable[[list[bytes | memoryview], Sha256 | None, bytes | memoryview], list[bytes]] | None
    IMPLEMENTATION: str
else:
    try:
        policy.permit()
        from restic_format.native.blobs._blobs import Sha256, hash_in_pairs, hash_many

        IMPLEMENTATION = "compiled, two at a time" if hash_in_pairs(True) else "compiled"
        if blobs.UNAVAILABLE is not None and not hash_in_pairs(True):
            raise ImportError("the processor has no SHA extensions")
    except ImportError as error:
        IMPLEMENTATION = f"pure, hashlib, {policy.reason(error)}"
        Sha256, hash_many = hashlib.sha256, None


def ids_of(pieces: Sequence[bytes | memoryview], pack: Sha256 | None = None, data: bytes | memoryview = b"") -> list[bytes]:
    """The SHA-256 of each of *pieces*; *data* are appended to *pack* on the way."""
    if hash_many is not None:
        return hash_many(list(pieces), pack, data)
    if pack is not None:
        pack.update(data)
    return [hashlib.sha256(piece).digest() for piece in pieces]


__all__ = ["IMPLEMENTATION", "Sha256", "ids_of"]
