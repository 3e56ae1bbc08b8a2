"""What the engine asks of a place that keeps files: write, load a range, list, remove, size.

A storage knows kinds and names, nothing of what is inside. Names are lower-case hexadecimal ids, "" for the config. A new
storage is a class under `Storage` with the six methods that have no default; what it does better than the defaults it
overrides. What sits between the engine and a storage (limits, faults, caches, retries) is a class under `WrappedStorage`,
which passes everything on.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from restic_format.errors import FileExists, FileMissing, FileUnusable, UsageError
from restic_spec.layout import KINDS, FileKind, path_of

if TYPE_CHECKING:
    from restic_format.storage.side import SideFiles
    from restic_format.storage.warming import Warming
    from restic_format.work import Cancel

Buffer = bytes | bytearray | memoryview
"""Anything a file's content may be given as."""


Content = Buffer | Sequence[Buffer]
"""A file's content, whole or in pieces."""

_PIECE = 4 << 20
"""Bytes of a file that are read at once."""

MOST_READERS = 16
"""Threads that read a storage, however many operations may run at once: each holds some MiB."""


def pieces_of(content: Content) -> Sequence[Buffer]:
    """The pieces of *content*."""
    return (content,) if isinstance(content, Buffer) else content


def name_of(kind: FileKind, name: str) -> str:
    """What a file is called in messages: ``snapshots/`` and its name."""
    return f"{kind.value}/{name}" if name else kind.value


def already_there(kind: FileKind, name: str) -> FileExists:
    """The error of `Storage.save_new` where there is such a file."""
    return FileExists(f"{name_of(kind, name)}: already exists", object=name_of(kind, name))


def check_size(kind: FileKind, name: str, size: int) -> None:
    """Refuse a file larger than its kind may be, before it is loaded whole (LAYOUT-11).

    Raises:
        FileUnusable: it is.
    """
    if size > KINDS[kind].max_size:
        what = f"has {size} bytes, more than any file of its kind; it is damaged or does not belong there"
        raise FileUnusable(f"{name_of(kind, name)}: {what}", object=name_of(kind, name), clause="LAYOUT-11")


def check_range(kind: FileKind, name: str, size: int, offset: int, length: int | None) -> int:
    """The bytes to load from a file of *size* bytes for `Storage.load`'s *offset* and *length*.

    Raises:
        FileUnusable: the file has fewer; or it is to be loaded whole and is larger than its kind may be.
    """
    if length is None:
        check_size(kind, name, size)
    wanted = size - offset if length is None else length
    if offset > size or wanted > size - offset:
        what = f"has {size} bytes, wanted {max(wanted, 0)} from {offset}; it was cut short"
        raise FileUnusable(f"{name_of(kind, name)}: {what}", object=name_of(kind, name), clause="LAYOUT-8")
    return wanted


class Writer(Protocol):
    """A file in the making. It gets its name at the end, and until then nobody sees it. One thread at a time may use it."""

    def append(self, data: Content) -> None:
        """Add to the end; *data* may be changed as soon as this returns. Raises `StorageError`."""

    def contents(self) -> Iterator[bytes]:
        """What was appended so far, in pieces. Raises `StorageError`."""

    def finish(self, name: str) -> None:
        """Store the file as *name*, whole or not at all; durable when this returns.

        Raises:
            StorageError: it could not be stored.
        """

    def abort(self) -> None:
        """Drop what was written; does nothing to a file that is finished. Never fails."""


def write_whole(writer: Writer, name: str, data: Content) -> None:
    """Store *data* as *name* with a writer that was just begun; drop what was written where that fails. Raises as `Writer`."""
    try:
        writer.append(data)
        writer.finish(name)
    except BaseException:
        writer.abort()
        raise


def hash_content(data: Content) -> bytes:
    """SHA-256 of *data*."""
    found = hashlib.sha256()
    for piece in pieces_of(data):
        found.update(piece)
    return found.digest()


def hash_file(storage: Storage, kind: FileKind, name: str, cancel: Cancel | None = None) -> tuple[bytes, int]:
    """SHA-256 and bytes of a file, which is read piece by piece. Raises `StorageError`, or `Interrupted`."""
    size, found = storage.size(kind, name), hashlib.sha256()
    for offset in range(0, size, _PIECE):
        if cancel is not None:
            cancel.check()
        found.update(storage.load(kind, name, offset, min(_PIECE, size - offset)))
    return found.digest(), size


class HeldWriter:
    """A file that is kept in memory until *save* stores it: for storages that take files whole."""

    def __init__(self, save: Callable[[str, Content], None]) -> None:
        self._save = save
        self._pieces: list[bytes] = []

    def append(self, data: Content) -> None:
        """See `Writer`."""
        self._pieces += map(bytes, pieces_of(data))

    def contents(self) -> Iterator[bytes]:
        """See `Writer`."""
        return iter(self._pieces)

    def finish(self, name: str) -> None:
        """See `Writer`."""
        pieces, self._pieces = self._pieces, []
        self._save(name, pieces)

    def abort(self) -> None:
        """See `Writer`."""
        self._pieces = []


class Storage(ABC):
    """A place for the files of one repository. Every method may be called from any thread.

    Every method may raise `StorageError`, and the classes under it where the reason is known: `AccessDenied`, `NoSpace`,
    `StorageAway`.
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """Where it is, for messages; never with a secret in it."""

    @property
    def connections(self) -> int:
        """How many operations may usefully run at once."""
        return 5

    @property
    def readers(self) -> int:
        """How many threads should read it: one for each operation that may run at once, but two at least, and not very many,
        for each holds what it reads.
        """
        return max(2, min(self.connections, MOST_READERS))

    @property
    def lists_at_once(self) -> bool:
        """Whether a listing is sure to show every file whose saving had ended before it began, whoever saved it (LOCK-3)."""
        return False

    @property
    def doubtful(self) -> bool:
        """Whether it may say of a file that is there that it is missing: then it is asked again."""
        return False

    @property
    def at_hand(self) -> bool:
        """Whether reading it is no slower than reading a local cache would be."""
        return False

    @property
    def warming(self) -> Warming | None:
        """Brings packs back that are in cold storage; None where every file can be read at any time, or nobody asked for it."""
        return None

    def has_place(self, kind: FileKind) -> bool:  # noqa: ARG002
        """Whether the place for files of *kind* is there: False only where `create` made a folder for them that is missing."""
        return True

    def create(self) -> None:
        """Make the place and its folders ready for a new repository."""
        return

    def uncreate(self) -> None:
        """Remove those folders that `create` has made here and in which nothing is. Never fails."""
        return

    @abstractmethod
    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file whole or not at all; durable when this returns. A file of that name is replaced.

        *metadata* is for packs, and says that they hold trees, which are read often: everything but packs with data is.

        Raises:
            StorageError: it could not be stored.
        """

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """Like `save`, but nothing is replaced: of several who save the same name at once one succeeds, where storage can tell.

        Raises:
            FileExists: there is such a file.
            StorageError: it could not be stored.
        """
        if self.exists(kind, name):
            raise already_there(kind, name)
        self.save(kind, name, data)

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """Begin to write a file whose name is known only at the end. For *metadata* see `save`. Raises `StorageError`."""
        return HeldWriter(lambda name, data: self.save(kind, name, data, metadata=metadata))

    @abstractmethod
    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """*length* bytes from *offset*, to the end where it is None.

        Raises:
            FileMissing: no such file.
            FileUnusable: it holds fewer bytes, is larger than its kind may be (LAYOUT-11), or is not a regular file.
            StorageError: it could not be read.
        """

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Fill *target* with a file's bytes from *offset* on. Raises as `load`."""
        data = self.load(kind, name, offset, len(target))
        target[: len(data)] = data

    def prepare(self, kind: FileKind, name: str, size: int | None = None) -> None:
        """Take note that all or several parts of a file will be read: a cache then fetches it whole. *size* are its bytes where
        they are known. Never fails.
        """
        del kind, name, size

    def path(self, kind: FileKind, name: str) -> str:
        """Where the file is, for programs that act on the same place: an absolute path, or the key of an object."""
        return path_of(kind, name)

    @abstractmethod
    def size(self, kind: FileKind, name: str) -> int:
        """Bytes of a file. Raises `FileMissing` and as `load`."""

    def exists(self, kind: FileKind, name: str) -> bool:
        """Whether the file is there. Raises `StorageError` where that cannot be told."""
        try:
            self.size(kind, name)
        except FileMissing:
            return False
        return True

    def written(self, kind: FileKind, name: str) -> int | None:
        """When the file was written last, in nanoseconds since the epoch; None where that is not known. Never fails."""
        del kind, name
        return None

    @abstractmethod
    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Name and size of every file of *kind*; entries whose names are not ids are left out (LAYOUT-2).

        What has the name of a file but is not a regular one is among them, with a size above 0, and `load` refuses it.
        """

    def strays(self) -> Iterator[str]:
        """Paths inside the repository that no repository file has."""
        return iter(())

    def load_stray(self, path: str) -> bytes:
        """The content of a file that `strays` names.

        Raises:
            FileMissing: there is none.
            FileUnusable: it is larger than any snapshot or index may be, or not a regular file.
        """
        raise FileMissing(f"{path}: no such file", object=path)

    @abstractmethod
    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file. Raises `FileMissing` or `StorageError`."""

    def side_files(self, folder: str) -> SideFiles:
        """This program's own files in *folder*, one of `restic_spec.layout.SIDE_FOLDERS` (LAYOUT-12), or "" for a place that
        has nothing but such files.

        Raises:
            UsageError: this storage keeps none.
        """
        raise UsageError(f"{self.location} keeps no files{folder and f' in {folder}/'}: name another place for them")

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Remove unfinished packs, index files and snapshots to which nothing was written for *age* seconds; says how many.

        They are what writers leave that were killed. *is_safe* is asked whether anybody may still be writing, after all of them
        have been found (LOCK-15).

        Raises:
            StorageError: one could not be removed.
        """
        del age, is_safe
        return 0


class WrappedStorage(Storage):
    """Passes everything on to *inner*: the base of what sits between the engine and a storage."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner

    @property
    def location(self) -> str:
        """The wrapped storage's."""
        return self.inner.location

    @property
    def connections(self) -> int:
        """The wrapped storage's."""
        return self.inner.connections

    @property
    def readers(self) -> int:
        """The wrapped storage's."""
        return self.inner.readers

    @property
    def lists_at_once(self) -> bool:
        """The wrapped storage's."""
        return self.inner.lists_at_once

    @property
    def doubtful(self) -> bool:
        """The wrapped storage's."""
        return self.inner.doubtful

    @property
    def at_hand(self) -> bool:
        """The wrapped storage's."""
        return self.inner.at_hand

    @property
    def warming(self) -> Warming | None:
        """The wrapped storage's."""
        return self.inner.warming

    def has_place(self, kind: FileKind) -> bool:
        """See `Storage`."""
        return self.inner.has_place(kind)

    def create(self) -> None:
        """See `Storage`."""
        self.inner.create()

    def uncreate(self) -> None:
        """See `Storage`."""
        self.inner.uncreate()

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """See `Storage`."""
        self.inner.save(kind, name, data, metadata=metadata)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """See `Storage`."""
        self.inner.save_new(kind, name, data)

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """See `Storage`."""
        return self.inner.begin(kind, metadata=metadata)

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Storage`."""
        return self.inner.load(kind, name, offset, length)

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """See `Storage`."""
        self.inner.load_into(kind, name, offset, target)

    def prepare(self, kind: FileKind, name: str, size: int | None = None) -> None:
        """See `Storage`."""
        self.inner.prepare(kind, name, size)

    def path(self, kind: FileKind, name: str) -> str:
        """See `Storage`."""
        return self.inner.path(kind, name)

    def size(self, kind: FileKind, name: str) -> int:
        """See `Storage`."""
        return self.inner.size(kind, name)

    def exists(self, kind: FileKind, name: str) -> bool:
        """See `Storage`."""
        return self.inner.exists(kind, name)

    def written(self, kind: FileKind, name: str) -> int | None:
        """See `Storage`."""
        return self.inner.written(kind, name)

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """See `Storage`."""
        return self.inner.list(kind)

    def strays(self) -> Iterator[str]:
        """See `Storage`."""
        return self.inner.strays()

    def load_stray(self, path: str) -> bytes:
        """See `Storage`."""
        return self.inner.load_stray(path)

    def remove(self, kind: FileKind, name: str) -> None:
        """See `Storage`."""
        self.inner.remove(kind, name)

    def side_files(self, folder: str) -> SideFiles:
        """See `Storage`."""
        return self.inner.side_files(folder)

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """See `Storage`."""
        return self.inner.remove_unfinished(age, is_safe)
