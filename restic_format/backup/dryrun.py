"""A storage that reads but only pretends to write, for dry runs."""

from __future__ import annotations

from collections.abc import Iterator

from restic_format.storage import Content, Storage, Writer
from restic_spec.layout import FileKind


class _DryWriter:
    """Forgets what it is given."""

    def append(self, data: Content) -> None:
        """Do nothing."""

    def contents(self) -> Iterator[bytes]:
        """There are none."""
        return iter(())

    def finish(self, name: str) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


class DryStorage:
    """Gives what *inner* has; forgets what it is given. See `restic_format.storage.Storage`."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner

    @property
    def location(self) -> str:
        """Where the inner storage is."""
        return self._inner.location

    @property
    def connections(self) -> int:
        """As the inner storage."""
        return self._inner.connections

    @property
    def lists_at_once(self) -> bool:
        """As the inner storage."""
        return self._inner.lists_at_once

    def create(self) -> None:
        """Do nothing."""

    def save(self, kind: FileKind, name: str, data: Content) -> None:
        """Do nothing."""

    def begin(self, kind: FileKind) -> Writer:
        """A file that is forgotten."""
        del kind
        return _DryWriter()

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read from the inner storage."""
        return self._inner.load(kind, name, offset, length)

    def size(self, kind: FileKind, name: str) -> int:
        """As the inner storage."""
        return self._inner.size(kind, name)

    def exists(self, kind: FileKind, name: str) -> bool:
        """As the inner storage."""
        return self._inner.exists(kind, name)

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """As the inner storage."""
        return self._inner.list(kind)

    def strays(self) -> Iterator[str]:
        """As the inner storage."""
        return self._inner.strays()

    def remove(self, kind: FileKind, name: str) -> None:
        """Do nothing."""
