"""Files that stand under another name: swapped, renamed, or in a folder where nobody looks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from restic_format.errors import StorageError
from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.storage import Storage
from restic_format.words import printable
from restic_format.work import Cancel
from restic_spec.config import decode_config
from restic_spec.crypto import MasterKey, open_sealed
from restic_spec.errors import SpecError
from restic_spec.layout import KINDS, FileKind

_MOST_STRAYS = 10_000
"""Files that do not belong into the repository which are looked at."""


class Misplaced:
    """Finds a file that is wanted in what stands under the name of another damaged one, or anywhere in the repository."""

    name = "misplaced"
    certainty = 10

    def __init__(self, storage: Storage | None = None, key: MasterKey | None = None) -> None:
        """Without *storage* only what stands under the names of other damaged files is looked at; *key* is to know a config."""
        self._storage = storage
        self._key = key

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """None: this is about whole files."""
        del wanted, cancel
        return iter(())

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """Those of *wanted* whose content stands elsewhere.

        Raises:
            StorageError: the files cannot be listed.
            Interrupted: it was cancelled.
        """
        places = {file.name: file.kind for file in wanted}
        for data, where in self._candidates(wanted, places, cancel):
            name = hashlib.sha256(data).hexdigest()
            if name != where and name in places:
                yield RecoveredFile(places.pop(name), name, data, f"found as {printable(where)}")
            elif "config" in places and where != "config" and self._is_config(data):
                del places["config"]
                yield RecoveredFile(FileKind.CONFIG, "config", data, f"found as {printable(where)}")

    def _candidates(
        self, wanted: Sequence[DamagedFile], places: Mapping[str, FileKind], cancel: Cancel | None
    ) -> Iterator[tuple[bytes, str]]:
        """What may be one of the files in *places*, and where it stands."""
        for file in wanted:
            if cancel is not None:
                cancel.check()
            if file.data is not None:
                yield file.data, file.name
        if self._storage is None:
            return
        for path in islice(self._storage.strays(), _MOST_STRAYS):
            if not places:
                return
            if cancel is not None:
                cancel.check()
            try:
                yield self._storage.load_stray(path), path
            except StorageError:
                continue  # Nothing is known about it, but it is none of the repository's either.

    def _is_config(self, data: bytes) -> bool:
        if self._key is None or len(data) > KINDS[FileKind.CONFIG].max_size:
            return False
        try:
            decode_config(open_sealed(self._key, data))
        except SpecError:
            return False
        return True
