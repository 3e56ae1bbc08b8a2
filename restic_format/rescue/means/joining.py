"""The means that joins damaged copies of a blob: what is wrong in one is right in another.

Copies of a blob differ in their IVs, but decrypted they are the same bytes, or the same frame if one program compressed both.
Where two copies differ, one of them is wrong. There are few such places, so every choice is tried; the id is the judge. The
MACs play no part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Final

from restic_format.rescue.solving.judges import content_of, decrypted
from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.work import Cancel
from restic_spec.crypto import OVERHEAD, MasterKey

MOST_PLACES: Final = 10
"""Places at which two copies may differ: each doubles what is tried."""
MOST_COPIES: Final = 4
"""Copies of a blob that are compared, two by two."""
_TOGETHER: Final = 512
"""Bytes that are equal in both copies between two differences which are still one place: a sector, as storage loses them."""
_PIECE: Final = 4096


class Joining:
    """Joins damaged copies of a blob, which *key* opens."""

    name = "damaged copies joined"
    certainty = 30

    def __init__(self, key: MasterKey) -> None:
        self._key = key

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """Those of the *wanted* blobs of which two copies make a whole one.

        Raises:
            Interrupted: *cancel* was set.
        """
        for key, copies in wanted.items():
            usable = [copy for copy in copies if len(copy.sealed) >= OVERHEAD][:MOST_COPIES]
            for one, other in combinations(usable, 2):
                if len(one.sealed) != len(other.sealed) or one.uncompressed_length != other.uncompressed_length:
                    continue
                plaintext = self._joined(one, other, cancel or Cancel())
                if plaintext is not None:
                    yield RecoveredBlob(key, plaintext, "two damaged copies joined")
                    break

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """Nothing: there is one file of each name."""
        del wanted, cancel
        return iter(())

    def _joined(self, one: DamagedCopy, other: DamagedCopy, cancel: Cancel) -> bytes | None:
        first, second = (decrypted(self._key, copy.sealed) for copy in (one, other))
        places = differing(first, second)
        if places is None:
            return None
        image = bytearray(first)
        for choice in product((first, second), repeat=len(places)):
            cancel.check()
            for (start, end), source in zip(places, choice, strict=True):
                image[start:end] = source[start:end]
            plaintext = content_of(image, one.uncompressed_length, one.key[1])
            if plaintext is not None:
                return plaintext
        return None


def differing(first: bytes, second: bytes) -> list[tuple[int, int]] | None:
    """Where two byte strings of one length differ: begin and end of each place; None where these are more than
    `MOST_PLACES`.
    """
    places: list[tuple[int, int]] = []
    for piece in range(0, len(first), _PIECE):
        if first[piece : piece + _PIECE] == second[piece : piece + _PIECE]:
            continue
        for at in range(piece, min(piece + _PIECE, len(first))):
            if first[at] == second[at]:
                continue
            if places and at - places[-1][1] < _TOGETHER:
                places[-1] = (places[-1][0], at + 1)
            else:
                places.append((at, at + 1))
        if len(places) > MOST_PLACES:
            return None
    return places
