"""What opening a repository reads first, before anything of it is known: its config and its key files.

Nothing slow is imported here, so that the storage is asked while a program still imports what the answers are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from typing import TypeVar

from restic_format.errors import FileMissing, StorageError
from restic_format.storage.base import Storage
from restic_format.work import Later
from restic_spec.layout import FileKind

T = TypeVar("T")


class Entry:
    """The config and the key files of the repository in *storage*, those keys whose names start with *hint* first (KEY-14).

    Where a request takes its time, the config and the first key are on their way from the moment this is made, the other keys
    while those before them are tried. Otherwise they are loaded when they are asked for. What goes wrong with what is asked
    ahead is not told, and asked again when it is wanted.
    """

    def __init__(self, storage: Storage, hint: str | None = None) -> None:
        self.storage = storage
        self._hint = hint
        self._ahead: Storage | None = None
        if not storage.at_hand:
            from restic_format.storage.retrying import impatient

            self._ahead = impatient(storage)
        self._loads: dict[str, Later[bytes | None]] = {}
        self._config = Later(lambda: storage.load(FileKind.CONFIG, ""), now=self._ahead is not None, name="config")
        self._names = None if self._ahead is None else Later(partial(self._list_ahead, self._ahead), name="keys")

    def config(self) -> bytes:
        """The sealed config. Raises `FileMissing`, `StorageError`."""
        return self._config.get()

    def exists(self) -> bool:
        """Whether there is a config. Raises `StorageError` where it cannot be read."""
        try:
            self.config()
        except FileMissing:
            return False
        return True

    def keys(self) -> tuple[list[str], int]:
        """The names of all key files, in the order in which they are tried, and how many of them fit the hint.

        Raises `StorageError`.
        """
        names = None if self._names is None else self._names.get()
        if names is None:
            names = self._list(self.storage)
        return names, len(self._hinted(names))

    def load_key(self, name: str, following: str | None = None) -> bytes:
        """The content of a key file; the *following* one is loaded meanwhile. Raises `StorageError`."""
        if following is not None:
            self._load_ahead(following)
        loading = self._loads.pop(name, None)
        raw = None if loading is None else loading.get()
        return self.storage.load(FileKind.KEY, name) if raw is None else raw

    def list_locks_ahead(self) -> Later[Sequence[tuple[bytes, int]] | None] | None:
        """The lock files and their sizes, which are being listed; None where that is done when they are wanted."""
        if self._ahead is None:
            return None
        return Later(partial(_quietly, partial(_listed, self._ahead, FileKind.LOCK)), name="locks")

    def _list_ahead(self, ahead: Storage) -> list[str] | None:
        names = _quietly(lambda: self._list(ahead))
        if names:
            self._load_ahead(names[0])
        return names

    def _list(self, storage: Storage) -> list[str]:
        names = [name for name, _ in storage.list(FileKind.KEY)]
        hinted = self._hinted(names)
        return hinted + [name for name in names if name not in hinted]

    def _hinted(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self._hint and name.startswith(self._hint)]

    def _load_ahead(self, name: str) -> None:
        if self._ahead is not None and name not in self._loads:
            self._loads[name] = Later(partial(_quietly, partial(_intact_key, self._ahead, name)), name="key")


def _listed(storage: Storage, kind: FileKind) -> Sequence[tuple[bytes, int]]:
    return [(bytes.fromhex(name), size) for name, size in storage.list(kind)]


def _intact_key(storage: Storage, name: str) -> bytes | None:
    """The content of a key file; None where its hash is not its name: it may be another one when it is loaded again."""
    raw = storage.load(FileKind.KEY, name)
    return raw if sha256(raw).hexdigest() == name else None


def _quietly(ask: Callable[[], T]) -> T | None:
    """What *ask* gives, None where the storage fails."""
    try:
        return ask()
    except StorageError:
        return None
