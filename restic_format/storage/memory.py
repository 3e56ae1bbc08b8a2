"""A repository in memory, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from restic_format.errors import FileMissing, StorageError
from restic_format.storage.base import Content, HeldWriter, Writer, pieces_of
from restic_spec.layout import FileKind, path_of


class MemoryStorage:
    """Storage in a dictionary."""

    location = "memory"
    connections = 2
    lists_at_once = True

    def __init__(self) -> None:
        self.files: dict[tuple[FileKind, str], bytes] = {}

    def create(self) -> None:
        """Nothing to make ready."""

    def save(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file."""
        path_of(kind, name)
        self.files[kind, name] = b"".join(pieces_of(data))

    def begin(self, kind: FileKind) -> Writer:
        """Begin to write a file."""
        return HeldWriter(partial(self.save, kind))

    def _get(self, kind: FileKind, name: str) -> bytes:
        try:
            return self.files[kind, name]
        except KeyError:
            raise FileMissing(f"{kind.value}/{name}: no such file in memory") from None

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range."""
        data = self._get(kind, name)
        end = len(data) if length is None else offset + length
        if end > len(data) or offset > len(data):
            raise StorageError(f"{kind.value}/{name[:8]}: has {len(data)} bytes, wanted {end}; it was cut short")
        return data[offset:end]

    def size(self, kind: FileKind, name: str) -> int:
        """Size of a file in bytes."""
        return len(self._get(kind, name))

    def exists(self, kind: FileKind, name: str) -> bool:
        """Whether the file is there."""
        return (kind, name) in self.files

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Name and size of every file of *kind*."""
        yield from sorted((name, len(data)) for (known, name), data in list(self.files.items()) if known is kind)

    def strays(self) -> Iterator[str]:
        """There are none."""
        return iter(())

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file."""
        self._get(kind, name)
        del self.files[kind, name]
