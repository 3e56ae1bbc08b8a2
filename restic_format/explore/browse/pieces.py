"""The blobs of a file as a list: where each lies in the file, and where in a pack."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from restic_format.repository import Repository
from restic_format.repository.index import Location
from restic_format.work import Cancel
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType

_CHECK_EVERY = 1 << 10


class Piece(NamedTuple):
    """One blob of a file."""

    id: bytes
    offset: int | None
    """Where in the file it begins, None after a blob that no index knows."""
    length: int | None
    """Bytes of its plaintext, None where no index knows it."""
    copies: list[Location]
    """Where in packs it is."""


class PieceList:
    """The blobs *blobs* (hexadecimal ids) of a file; one thread adds to it while others read. The index must be loaded."""

    def __init__(self, repository: Repository, blobs: Sequence[str]) -> None:
        self._repository = repository
        self._blobs = blobs
        self._ends = array("q")
        """Where in the file each blob ends, -1 from one on that no index knows."""
        self.missing = 0
        """Blobs that no index knows, of those in the list."""

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> Piece:
        """The blob *number*, from 0 on."""
        blob = parse_id(self._blobs[number])
        copies = self._repository.index.lookup_all(BlobType.DATA, blob)
        start = self._ends[number - 1] if number else 0
        length = copies[0].entry(BlobType.DATA, blob).plain_length if copies else None
        return Piece(blob, None if start < 0 else start, length, copies)

    def fill(self, cancel: Cancel) -> None:
        """Find out where each blob lies.

        Raises:
            Interrupted: *cancel* was set.
        """
        end = 0
        lookup = self._repository.index.lookup
        for number, text in enumerate(self._blobs):
            if number % _CHECK_EVERY == 0:
                cancel.check()
            blob = parse_id(text)
            where = lookup(BlobType.DATA, blob)
            if where is None:
                self.missing += 1
                end = -1
            elif end >= 0:
                end += where.entry(BlobType.DATA, blob).plain_length
            self._ends.append(end)
