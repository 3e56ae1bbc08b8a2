"""The repositories in a data folder, as the requests of the REST API see them. All of it blocks, so it runs in threads.

A file is written as `LocalStorage` writes it: it has its name when all of it is there and durable, or never. What is there is
not overwritten.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from restic_format.errors import AccessDenied, FileMissing, FileUnusable, StorageError
from restic_format.serve.paths import Named
from restic_format.serve.quota import Quota
from restic_format.storage import LocalStorage
from restic_format.storage.base import already_there, name_of
from restic_format.storage.localwriter import LocalWriter
from restic_spec import gojson
from restic_spec.layout import KINDS, FileKind, folder_of

GROUP_MODES = (0o770, 0o660)
"""Modes of folders and files that the group may use."""


class DataFolder:
    """The folder *path* with repositories, in which there may be *quota* bytes, 0 for any number.

    With *append_only* only locks may be removed; *group* lets the folder's group use what is made; with *verify* uploads must
    have the SHA-256 that is their name.
    """

    def __init__(
        self, path: str, *, quota: int = 0, append_only: bool = False, group: bool = False, verify: bool = True
    ) -> None:
        self.path = os.path.abspath(gojson.to_bytes(path))
        os.makedirs(self.path, 0o700, exist_ok=True)
        self._real = os.path.realpath(self.path)
        self.quota = Quota(self.path, quota)
        self.append_only = append_only
        self._group = group
        self.verify = verify

    def _storage(self, named: Named) -> LocalStorage:
        """The storage of a repository. Symbolic links that lead out of the data folder are not followed."""
        path = os.path.join(self.path, *named.folders)
        storage = LocalStorage(path)
        if self._group:
            storage.modes = GROUP_MODES
        if named.is_file:
            assert named.kind is not None
            path = storage.path_of(named.kind, named.name)
        elif named.kind is not None:
            path = os.path.join(path, folder_of(named.kind, storage.layout).encode())
        self._check_inside(path)
        return storage

    def _check_inside(self, path: bytes) -> None:
        real = os.path.realpath(path)
        if real != self._real and not real.startswith(os.path.join(self._real, b"")):
            shown = gojson.to_text(path)
            raise AccessDenied(f"{shown}: a symbolic link leads out of the data folder; mount the other folder there instead")

    def create(self, named: Named) -> None:
        """Make a repository's folders; those that are there stay. Raises `StorageError`."""
        self._storage(named).create()

    def size(self, named: Named) -> int:
        """Bytes of a file. Raises `FileMissing`, `StorageError`."""
        assert named.kind is not None
        return self._storage(named).size(named.kind, named.name)

    def open(self, named: Named) -> OpenedFile:
        """A file to read. Raises `FileMissing`, `StorageError`."""
        assert named.kind is not None
        return OpenedFile(*self._storage(named).open_file(named.kind, named.name))

    def list(self, named: Named) -> Iterator[tuple[str, int]]:
        """Name and size of every file of a kind. Raises `FileMissing` where there is no folder for them, `StorageError`."""
        assert named.kind is not None
        storage = self._storage(named)
        if not storage.has_place(named.kind):
            raise FileMissing(f"{named.kind.value}/: no such folder")
        return storage.list(named.kind)

    def begin(self, named: Named, size: int | None) -> Upload:
        """Begin to store a file of *size* bytes, which may not be known.

        Raises:
            FileExists: there is such a file.
            TooLarge: no file of its kind has so many bytes.
            NoSpace: the data folder holds no more.
            StorageError: it cannot be written.
        """
        assert named.kind is not None
        _check_size(named.kind, named.name, size or 0)
        storage = self._storage(named)
        if storage.exists(named.kind, named.name):
            raise already_there(named.kind, named.name)
        self.quota.claim(size or 0)
        try:
            return Upload(storage.begin(named.kind), named, self.quota, size or 0, verify=self.verify)
        except BaseException:
            self.quota.release(size or 0)
            raise

    def remove(self, named: Named) -> int:
        """Remove a file; says how many bytes it had.

        Raises:
            OnlyAdded: only locks may be removed here.
            FileMissing: there is no such file.
            StorageError: it could not be removed.
        """
        assert named.kind is not None
        if self.append_only and named.kind is not FileKind.LOCK:
            raise OnlyAdded(f"{name_of(named.kind, named.name)}: nothing but locks may be removed here")
        storage = self._storage(named)
        size = storage.size(named.kind, named.name)
        storage.remove(named.kind, named.name)
        self.quota.release(size)
        return size


class OnlyAdded(AccessDenied):
    """The server lets nothing be removed but locks."""


class WrongContent(StorageError):
    """What was sent is not what the file's name says."""

    permanent = True


class TooLarge(StorageError):
    """What is sent is larger than any file of its kind may be (LAYOUT-11)."""

    permanent = True


class OpenedFile(NamedTuple):
    """A file that is open to be read."""

    descriptor: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """*length* bytes. Raises `FileUnusable` where the file has fewer by now, and OSError."""
        pieces: list[bytes] = []
        while length and (piece := os.pread(self.descriptor, length, offset)):
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        if length:
            raise FileUnusable("the file became shorter while it was read")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


class Upload:
    """A file that arrives. One thread at a time may use it; `abort` may be called at the end in any case."""

    def __init__(self, writer: LocalWriter, named: Named, quota: Quota, claimed: int, *, verify: bool) -> None:
        self._writer = writer
        self._named = named
        self._quota = quota
        self._claimed = claimed
        self._hash = hashlib.sha256() if verify and named.kind is not FileKind.CONFIG else None
        self._lock = threading.Lock()
        self.size = 0
        """Bytes that have arrived."""

    def append(self, batch: Sequence[bytes]) -> None:
        """Add to the end. Raises `TooLarge`, `NoSpace`, `StorageError`."""
        assert self._named.kind is not None
        size = self.size + sum(map(len, batch))
        _check_size(self._named.kind, self._named.name, size)
        if size > self._claimed:
            self._quota.claim(size - self._claimed)
            self._claimed = size
        if self._hash is not None:
            for piece in batch:
                self._hash.update(piece)
        self._writer.append(batch)
        self.size = size

    def finish(self) -> None:
        """Store the file under its name, durable when this returns.

        Raises:
            WrongContent: the name is not the SHA-256 of what arrived.
            FileExists: somebody else has stored such a file meanwhile.
            StorageError: it could not be stored.
        """
        if self._hash is not None and self._hash.hexdigest() != self._named.name:
            raise WrongContent(f"{self._named.name}: is not the SHA-256 of what was sent")
        self._writer.finish(self._named.name, replace=False)
        self._quota.release(self._claimed - self.size)
        self._claimed = 0

    def abort(self) -> None:
        """Drop what arrived, unless it is stored. Never fails."""
        self._writer.abort()
        self._quota.release(self._claimed)
        self._claimed = 0


def _check_size(kind: FileKind, name: str, size: int) -> None:
    if size > KINDS[kind].max_size:
        raise TooLarge(f"{name_of(kind, name)}: {size} bytes are more than a file of its kind may have", clause="LAYOUT-11")
