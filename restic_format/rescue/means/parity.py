"""Parity as a means: whole files of a repository, from parity files and from what is left (spec/parity.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from restic_format.errors import StorageError
from restic_format.rescue.parity import recover
from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.storage import SideFiles, Storage
from restic_format.work import Cancel


class ParityMeans:
    """Brings back damaged and missing files of the repository in *storage*, with the parity files in *side*.

    It takes no password: blobs come back with the packs they are in.
    """

    name = "parity"
    certainty = 30

    def __init__(self, storage: Storage, side: SideFiles) -> None:
        self._storage = storage
        self._side = side

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """None: packs are brought back whole, see `files`."""
        del wanted, cancel
        return iter(())

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """See `Means`. Where parity cannot be listed, nothing comes of it."""
        with suppress(StorageError):
            yield from recover(self._storage, self._side, wanted, cancel=cancel)
