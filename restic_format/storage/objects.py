"""Repositories in object stores: S3, Azure, Google, B2, Swift and others that keep values under keys.

A store does what its protocol can, one exchange a method; what a repository needs beside that is here once: which key a file
has, that files have the lengths they must have, that names which are not ours are left out (LAYOUT-2, LAYOUT-3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from restic_format.errors import AnswerCut, FileMissing, FileUnusable, StorageError
from restic_format.storage.base import Content, HeldWriter, Storage, Writer, already_there, check_range, check_size, name_of
from restic_format.storage.side import SideFiles, check_name, is_side_name
from restic_spec.ids import is_hex_id
from restic_spec.layout import KINDS, FileKind, folder_of, path_of


class ObjectStore(ABC):
    """What an object store does with keys. Every method may be called from any thread, and raises `StorageError`."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where it is, for messages; never with a secret in it."""

    @property
    @abstractmethod
    def connections(self) -> int:
        """How many operations may run at once."""

    @property
    def lists_at_once(self) -> bool:
        """See `Storage.lists_at_once`."""
        return False

    def create(self) -> None:
        """Make the bucket or container where it is missing."""
        return

    @abstractmethod
    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        """Store *data*, whole or not at all; what is there is replaced. *sha256* is its hash, "" where that is not known.

        For *metadata* see `Storage.save`.
        """

    def put_new(self, key: str, data: Content, *, kind: FileKind) -> None:
        """Store *data* where nothing is. Raises `FileExists`."""
        if self.has(key):
            raise already_there(kind, name_in(kind, key))
        self.put(key, data, kind=kind, metadata=True, sha256=name_in(kind, key))

    @abstractmethod
    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """*length* bytes from *offset* on, fewer where the object has fewer; all up to *limit* where *length* is None.

        Raises:
            FileMissing: no such key.
            FileUnusable: *offset* is behind its end, or there are more than *limit* bytes.
        """

    @abstractmethod
    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """Fill *target* with what stands from *offset* on. Raises as `get`, and `AnswerCut` where there are fewer bytes."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Bytes of an object. Raises `FileMissing`."""

    def has(self, key: str) -> bool:
        """Whether there is such a key."""
        try:
            self.size(key)
        except FileMissing:
            return False
        return True

    @abstractmethod
    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of all objects whose keys begin with *prefix*."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object. Raises `FileMissing` where the store tells."""

    def close(self) -> None:
        """Close what is open."""
        return


class ObjectStorage(Storage):
    """A repository in *store*, whose keys begin with *prefix*; "" or one without ``/`` at its ends."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self.store = store
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def location(self) -> str:
        """The store's."""
        return self.store.location

    @property
    def connections(self) -> int:
        """The store's."""
        return self.store.connections

    @property
    def lists_at_once(self) -> bool:
        """The store's."""
        return self.store.lists_at_once

    def create(self) -> None:
        """Make the bucket where it is missing."""
        self.store.create()

    def key(self, kind: FileKind, name: str) -> str:
        """The key of a file. Raises `NameInvalid`."""
        return self._prefix + path_of(kind, name)

    def path(self, kind: FileKind, name: str) -> str:
        """The key."""
        return self.key(kind, name)

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """See `Storage`."""
        with _about(kind, name):
            self.store.put(self.key(kind, name), data, kind=kind, metadata=metadata or kind is not FileKind.PACK, sha256=name)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """See `Storage`."""
        with _about(kind, name):
            self.store.put_new(self.key(kind, name), data, kind=kind)

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Storage`."""
        with _about(kind, name):
            key = self.key(kind, name)
            if length is None and not offset:
                return self._whole(kind, name, key)
            if not length:
                length = check_range(kind, name, self.store.size(key), offset, length)
                if not length:
                    return b""
            try:
                data = self.store.get(key, offset, length, length)
            except (AnswerCut, FileUnusable):
                self._check(kind, name, offset, length)
                raise
            if len(data) != length:
                self._check(kind, name, offset, length)
                raise AnswerCut(f"{name_of(kind, name)}: {len(data)} of {length} bytes from {offset} arrived")
            return data

    def _whole(self, kind: FileKind, name: str, key: str) -> bytes:
        try:
            return self.store.get(key, 0, None, KINDS[kind].max_size)
        except FileUnusable:
            check_size(kind, name, self.store.size(key))
            raise

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """See `Storage`."""
        if not len(target):
            self.load(kind, name, offset, 0)
            return
        with _about(kind, name):
            try:
                self.store.get_into(self.key(kind, name), offset, target)
            except (AnswerCut, FileUnusable):
                self._check(kind, name, offset, len(target))
                raise

    def _check(self, kind: FileKind, name: str, offset: int, length: int) -> None:
        """Raise `FileUnusable` where the file is too short for what was asked for: then it was not the way that lost bytes."""
        check_range(kind, name, self.store.size(self.key(kind, name)), offset, length)

    def size(self, kind: FileKind, name: str) -> int:
        """See `Storage`."""
        with _about(kind, name):
            return self.store.size(self.key(kind, name))

    def side_files(self, folder: str) -> SideFiles:
        """See `Storage`."""
        return ObjectSideFiles(self.store, f"{self._prefix}{folder}/" if folder else self._prefix)

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """See `Storage`."""
        for key, size in self.store.list(f"{self._prefix}{folder_of(kind)}/"):
            name = key.rpartition("/")[2]
            if is_hex_id(name) and key == self.key(kind, name):
                yield name, size

    def remove(self, kind: FileKind, name: str) -> None:
        """See `Storage`."""
        with _about(kind, name):
            self.store.delete(self.key(kind, name))


class _about:  # noqa: N801 - used as a statement; a class, as these run for every request
    """Names the file in the errors of a store, which knows only keys."""

    def __init__(self, kind: FileKind, name: str) -> None:
        self._kind, self._name = kind, name

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StorageError):
            error.object = name_of(self._kind, self._name)


def name_in(kind: FileKind, key: str) -> str:
    """The name of the file that has *key*."""
    return "" if kind is FileKind.CONFIG else key.rpartition("/")[2]


class ObjectSideFiles(SideFiles):
    """Side files in *store*, with keys that begin with *prefix*: "" or something that ends in ``/``."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self.location = f"{store.location} ({prefix})"

    def begin(self) -> Writer:
        """See `SideFiles`."""
        return HeldWriter(self._put)

    def _put(self, name: str, data: Content) -> None:
        # As an index: a small file that is read again, and in no class that has to be warmed.
        self._store.put(self._key(name), data, kind=FileKind.INDEX, metadata=True, sha256="")

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name)

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `SideFiles`."""
        key = self._key(name)
        size = self.size(name)
        wanted = size - offset if length is None else length
        if wanted < 0 or wanted > size - offset:
            raise FileUnusable(f"{name}: has {size} bytes, wanted {max(wanted, 0)} from {offset}", object=name)
        data = self._store.get(key, offset, wanted, wanted) if wanted else b""
        if len(data) != wanted:
            raise AnswerCut(f"{name}: {len(data)} of {wanted} bytes from {offset} arrived", object=name)
        return data

    def size(self, name: str) -> int:
        """See `SideFiles`."""
        try:
            return self._store.size(self._key(name))
        except StorageError as error:
            error.object = name
            raise

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """See `SideFiles`."""
        found = ((key[len(self._prefix) :], size) for key, size in self._store.list(self._prefix + prefix))
        yield from sorted((name, size) for name, size in found if is_side_name(name))

    def remove(self, name: str) -> None:
        """See `SideFiles`."""
        self.size(name)  # raises where it is missing: not every store tells
        self._store.delete(self._key(name))
