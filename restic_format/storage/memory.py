"""A repository in memory, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from restic_format.errors import FileMissing
from restic_format.storage.base import Content, Storage, already_there, check_range, name_of, pieces_of
from restic_format.storage.side import MemorySideFiles, SideFiles
from restic_spec.layout import FileKind, path_of


class MemoryStorage(Storage):
    """Storage in a dictionary."""

    location = "memory"
    connections = 2
    lists_at_once = True

    def __init__(self) -> None:
        self.files: dict[tuple[FileKind, str], bytes] = {}
        self.sides: dict[str, MemorySideFiles] = {}
        self._saving_new = threading.Lock()

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file."""
        del metadata
        path_of(kind, name)
        self.files[kind, name] = b"".join(pieces_of(data))

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file, unless it is there."""
        with self._saving_new:
            if (kind, name) in self.files:
                raise already_there(kind, name)
            self.files[kind, name] = b"".join(pieces_of(data))

    def _get(self, kind: FileKind, name: str) -> bytes:
        try:
            return self.files[kind, name]
        except KeyError:
            what = name_of(kind, name)
            raise FileMissing(f"{what}: no such file in memory", object=what) from None

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range."""
        data = self._get(kind, name)
        return data[offset : offset + check_range(kind, name, len(data), offset, length)]

    def size(self, kind: FileKind, name: str) -> int:
        """Size of a file in bytes."""
        return len(self._get(kind, name))

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Name and size of every file of *kind*."""
        yield from sorted((name, len(data)) for (known, name), data in list(self.files.items()) if known is kind)

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file."""
        self._get(kind, name)
        del self.files[kind, name]

    def side_files(self, folder: str) -> SideFiles:
        """This program's own files."""
        return self.sides.setdefault(folder, MemorySideFiles())
