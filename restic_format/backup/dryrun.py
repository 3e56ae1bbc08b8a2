"""A storage that reads but only pretends to write, for dry runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from restic_format.storage import Content, WrappedStorage, Writer
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


class DryStorage(WrappedStorage):
    """Gives what the wrapped storage has; forgets what it is given."""

    def create(self) -> None:
        """Do nothing."""

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Do nothing."""

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """A file that is forgotten."""
        del kind, metadata
        return _DryWriter()

    def remove(self, kind: FileKind, name: str) -> None:
        """Do nothing."""

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Do nothing."""
        del age, is_safe
        return 0
