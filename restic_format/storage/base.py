"""What the engine asks of a place that keeps files: save whole, load a range, list, remove, size.

A storage knows kinds and names, nothing of what is inside. Names are lower-case hexadecimal ids, "" for the config.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class Storage(Protocol):
    """A place for the files of one repository. Every method may be called from any thread."""

    @property
    def location(self) -> str:
        """Where it is, for messages; never with a secret in it."""

    @property
    def connections(self) -> int:
        """How many operations may usefully run at once."""

    def create(self) -> None:
        """Make the place and its folders ready for a new repository."""

    def save(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file whole or not at all; durable when this returns.

        Raises:
            StorageError: it could not be stored.
        """

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
