"""Donors: other places that have the same blobs or files: another repository, a copy of this one, a local cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from restic_format.errors import ResticFormatError, StorageError
from restic_format.repository import Repository
from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.storage import Storage, cachefolder
from restic_format.words import printable
from restic_format.work import Cancel
from restic_spec import gojson
from restic_spec.errors import NameInvalid
from restic_spec.ids import id_of, is_hex_id
from restic_spec.layout import KINDS, FileKind

_LARGEST_WHOLE = 1 << 30
"""Bytes of a file that is loaded whole."""


class Place(Protocol):
    """Where files of the same names are."""

    def load(self, kind: FileKind, name: str) -> bytes | None:
        """The file, None where there is none, or it cannot be had."""
        ...


class StoragePlace:
    """The files in a storage: a copy of the repository."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def load(self, kind: FileKind, name: str) -> bytes | None:
        """See `Place`."""
        name = "" if kind is FileKind.CONFIG else name
        try:
            if self._storage.size(kind, name) <= min(KINDS[kind].max_size, _LARGEST_WHOLE):
                return self._storage.load(kind, name)
        except (NameInvalid, StorageError):
            pass
        return None


class CachePlace:
    """The local cache of the repository *repository_id* in the folder *base*, ours and restic's; nothing is changed there."""

    def __init__(self, base: str, repository_id: str) -> None:
        self._path = os.path.join(gojson.to_bytes(base), repository_id.encode())

    def load(self, kind: FileKind, name: str) -> bytes | None:
        """See `Place`."""
        if kind not in cachefolder.KINDS or not is_hex_id(name):
            return None
        try:
            with open(cachefolder.path_in(self._path, kind, name), "rb") as file:
                if os.fstat(file.fileno()).st_size <= min(KINDS[kind].max_size, _LARGEST_WHOLE):
                    return file.read()
        except OSError:
            pass
        return None


class SameFiles:
    """Files of the same names in another *place*: a copy of the repository, or a local cache of it. No password is needed.

    *how* says in words which place it is.
    """

    name = "copy of the repository"
    certainty = 15

    def __init__(self, place: Place, how: str) -> None:
        self._place = place
        self._how = how

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """None: this is about whole files."""
        del wanted, cancel
        return iter(())

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """See `Means`. A config may be that of another repository: only a key tells."""
        for item in wanted:
            if cancel is not None:
                cancel.check()
            data = self._place.load(item.kind, item.name)
            if data is not None and (id_of(data).hex() == item.name or item.kind is FileKind.CONFIG):
                yield RecoveredFile(item.kind, item.name, data, self._how)


class OtherRepository:
    """Blobs of another repository, by their ids, whatever its password; where it is a copy of this one, its files, too.

    Its index must have been loaded.
    """

    name = "donor"
    certainty = 20

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._how = f"repository {repository.id[:8]} in {printable(repository.storage.location)}"

    def is_copy_of(self, storage: Storage) -> bool:
        """Whether the donor is a copy of the repository in *storage*: they have an index or a snapshot in common."""
        theirs = self._repository.storage
        for kind in (FileKind.INDEX, FileKind.SNAPSHOT):
            here = {name for name, _ in storage.list(kind)}
            if any(name in here for name, _ in theirs.list(kind)):
                return True
        return False

    def names(self, kind: FileKind) -> list[str]:
        """Its files of a kind."""
        return [name for name, _ in self._repository.storage.list(kind)]

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """See `Means`."""
        for key in wanted:
            if cancel is not None:
                cancel.check()
            try:
                plaintext = self._repository.load_blob(*key)
            except ResticFormatError:
                continue
            if id_of(plaintext) == key[1]:
                yield RecoveredBlob(key, plaintext, self._how)

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """See `Means`."""
        return SameFiles(StoragePlace(self._repository.storage), self._how).files(wanted, cancel=cancel)
