"""Displaced blobs: bytes have come into a pack, or gone from it, and what stands behind the place stands further on or back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from restic_format.errors import ResticFormatError
from restic_format.repository import Repository
from restic_format.work import Cancel
from restic_spec.crypto import OVERHEAD
from restic_spec.pack import LENGTH_SIZE, PackEntry


def displaced(
    repository: Repository, pack: bytes, size: int, entries: Sequence[PackEntry], cancel: Cancel | None = None
) -> dict[PackEntry, PackEntry]:
    """Where blobs of a pack stand now, by where they should: those that do not open there, and do at the other place.

    Args:
        pack: the pack's id.
        size: bytes that its file has.
        entries: all of its blobs, by its header or the index. They and the header that would list them have a length
            together (PACK-2); by as much as the file has more, or less, blobs are looked for further on, or back.

    Raises:
        StorageError: the pack cannot be read.
        Interrupted: it was cancelled.
    """
    end = max((entry.offset + entry.length for entry in entries), default=0)
    header = OVERHEAD + sum(entry.header_size for entry in entries)
    by = size - end - header - LENGTH_SIZE
    if not by:
        return {}
    wrong = set(entries) - _opening(repository, pack, entries, cancel)
    now = {entry._replace(offset=entry.offset + by): entry for entry in wrong}
    inside = [place for place in now if place.offset >= 0 and place.offset + place.length <= size]
    return {now[place]: place for place in _opening(repository, pack, inside, cancel)}


def _opening(repository: Repository, pack: bytes, entries: Iterable[PackEntry], cancel: Cancel | None) -> set[PackEntry]:
    """Those of *entries* at which the blob is that should be there."""
    good: set[PackEntry] = set()
    for entry, opened in repository.packs.blobs(pack, entries):
        if cancel is not None:
            cancel.check()
        if not isinstance(opened, ResticFormatError):
            good.add(entry)
    return good
