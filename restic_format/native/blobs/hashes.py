"""SHA-256 of many pieces of memory, two at a time where the processor has the SHA extensions.

A processor with these extensions waits for each round's result, so that two hashes at once take hardly longer than one. That
needs no library; on other processors the compiled form is used where it has libcrypto, else hashlib.

`Sha256` is a hash that goes on from call to call: `update(data)`, `digest()`. `ids_of` hashes pieces by themselves.
`IMPLEMENTATION` says what is used. The oracle is hashlib.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.native import blobs, parts

if TYPE_CHECKING:
    from typing_extensions import Buffer


def _self_test() -> str | None:
    """Whether there is a faster way than hashlib's, and it hashes alike: pieces of all kinds of lengths beside each other."""
    from restic_format.native.blobs import _blobs

    if not _blobs.hash_in_pairs(True) and blobs.UNAVAILABLE is not None:
        return "the processor has no SHA extensions"
    pieces: list[Buffer] = [bytes(range(size)) for size in (0, 3, 55, 64, 119, 250)]
    pack = _blobs.Sha256()
    whole = bytes(700)
    found = _blobs.hash_many(pieces, pack, whole)
    expected = [hashlib.sha256(piece).digest() for piece in (*pieces, whole)]
    return None if [*found, pack.digest()] == expected else parts.wrong_answer("SHA-256")


UNAVAILABLE = parts.unusable("hashes", _self_test, module="restic_format.native.blobs._blobs")
if TYPE_CHECKING or UNAVAILABLE is None:
    from restic_format.native.blobs._blobs import Sha256, hash_in_pairs, hash_many

    IMPLEMENTATION = "compiled, two at a time" if hash_in_pairs(True) else "compiled"
else:
    from hashlib import sha256 as Sha256  # noqa: N812 - the twin of a class

    IMPLEMENTATION = f"pure, hashlib, {UNAVAILABLE}"

    def hash_many(pieces: list[Buffer], pack: Sha256 | None = None, data: Buffer = b"") -> list[bytes]:
        """The SHA-256 of each of *pieces*; *data* are appended to *pack* on the way."""
        if pack is not None:
            pack.update(data)
        return [hashlib.sha256(piece).digest() for piece in pieces]


def ids_of(pieces: Sequence[bytes | memoryview], pack: Sha256 | None = None, data: bytes | memoryview = b"") -> list[bytes]:
    """The SHA-256 of each of *pieces*; *data* are appended to *pack* on the way."""
    return hash_many(list(pieces), pack, data)


__all__ = ["IMPLEMENTATION", "UNAVAILABLE", "Sha256", "ids_of"]
