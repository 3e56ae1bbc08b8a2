"""What the engine asks of a place that keeps files: write, load a range, list, remove, size.

A storage knows kinds and names, nothing of what is inside. Names are lower-case hexadecimal ids, "" for the config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from restic_spec.layout import FileKind

Buffer = bytes | bytearray | memoryview
"""Anything a file's content may be given as."""


Content = Buffer | Sequence[Buffer]
"""A file's content, whole or in pieces."""


def pieces_of(content: Content) -> Sequence[Buffer]:
    """The pieces of *content*."""
    return (content,) if isinstance(content, Buffer) else content


@runtime_checkable
class FillsMemory(Protocol):
    """What a storage may do besides: read without making new memory for it."""

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Fill *target* with a file's bytes from *offset* on. Raises as `Storage.load`."""


@runtime_checkable
class LeavesUnfinished(Protocol):
    """What a storage may do besides: remove what writers have left that were killed."""

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Remove unfinished packs, index files and snapshots to which nothing was written for *age* seconds; says how many.

        *is_safe* is asked whether anybody may still be writing, after all of them have been found (LOCK-15).

        Raises:
            StorageError: one could not be removed.
        """


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


class Storage(Protocol):
    """A place for the files of one repository. Every method may be called from any thread."""

    @property
    def location(self) -> str:
        """Where it is, for messages; never with a secret in it."""

    @property
    def connections(self) -> int:
        """How many operations may usefully run at once."""

    @property
    def lists_at_once(self) -> bool:
        """Whether a listing is sure to show every file whose saving had ended before it began, whoever saved it (LOCK-3)."""

    def create(self) -> None:
        """Make the place and its folders ready for a new repository."""

    def save(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file whole or not at all; durable when this returns.

        Raises:
            StorageError: it could not be stored.
        """

    def begin(self, kind: FileKind) -> Writer:
        """Begin to write a file whose name is known only at the end. Raises `StorageError`."""

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """*length* bytes from *offset*, to the end where it is None.

        Raises:
            FileMissing: no such file.
            StorageError: it could not be read, or holds fewer bytes.
        """

    def size(self, kind: FileKind, name: str) -> int:
        """Bytes of a file. Raises `FileMissing` or `StorageError`."""

    def exists(self, kind: FileKind, name: str) -> bool:
        """Whether the file is there."""

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Name and size of every file of *kind*; entries whose names are no ids are left out."""

    def strays(self) -> Iterator[str]:
        """Paths inside the repository that no repository file has."""

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file. Raises `FileMissing` or `StorageError`."""
