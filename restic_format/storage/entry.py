"""What opening a repository reads first, before anything of it is known: its config and its key files.

Nothing slow is imported here, so that the storage is asked while a program still imports what the answers are for.
"""

from __future__ import annotations

from collections.abc import Iterable

from restic_format.errors import FileMissing
from restic_format.storage.base import Storage
from restic_format.work import Later
from restic_spec.layout import FileKind


class Entry:
    """The config and the key files of the repository in *storage*, those keys whose names start with *hint* first (KEY-14).

    Where a request takes its time, the config and the first key are on their way from the moment this is made, the other keys
    while those before them are tried. Otherwise they are loaded when they are asked for.
    """

    def __init__(self, storage: Storage, hint: str | None = None) -> None:
        self.storage = storage
        self._hint = hint
        self._ahead = not storage.at_hand
        self._loads: dict[str, Later[bytes]] = {}
        self._config = Later(lambda: storage.load(FileKind.CONFIG, ""), now=self._ahead, name="config")
        self._names = Later(self._list, now=self._ahead, name="keys")

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
        names = self._names.get()
        return names, len(self._hinted(names))

    def load_key(self, name: str, following: str | None = None) -> bytes:
        """The content of a key file; the *following* one is loaded meanwhile. Raises `StorageError`."""
        if following is not None:
            self._load_ahead(following)
        loading = self._loads.pop(name, None)
        return self.storage.load(FileKind.KEY, name) if loading is None else loading.get()

    def _list(self) -> list[str]:
        names = [name for name, _ in self.storage.list(FileKind.KEY)]
        hinted = self._hinted(names)
        names = hinted + [name for name in names if name not in hinted]
        if names:
            self._load_ahead(names[0])
        return names

    def _hinted(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self._hint and name.startswith(self._hint)]

    def _load_ahead(self, name: str) -> None:
        if self._ahead and name not in self._loads:
            self._loads[name] = Later(lambda: self.storage.load(FileKind.KEY, name), name="key")
