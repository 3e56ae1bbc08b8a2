"""Packs with trees, in memory, before a storage where each request takes its time and that has no cache.

Whoever walks through a snapshot reads one tree after the other, and those of a backup stand in few packs. A pack of which some
trees were wanted is fetched whole, once: where there is no room for all, the rest is read tree by tree.
"""

from __future__ import annotations

import threading
from hashlib import sha256

from restic_format.errors import StorageError
from restic_format.storage.base import Storage, WrappedStorage
from restic_spec.layout import FileKind

LIMIT = 64 << 20
"""Bytes of packs that are kept."""

WANTED_BEFORE = 3
"""Trees of a pack that are read by themselves: whoever looks up a path wants no more."""


class PackMemory(WrappedStorage):
    """Puts a memory of at most *limit* bytes before *inner*; what several threads fetch at the same time comes on top."""

    def __init__(self, inner: Storage, limit: int = LIMIT) -> None:
        super().__init__(inner)
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: dict[str, bytes] = {}
        """Packs, those that were used last at the end."""
        self._size = 0
        self._wanted: dict[str, int] = {}
        """How often each pack was going to be read."""
        self._fetching: dict[str, threading.Lock] = {}
        """Held by the thread that fetches a pack, which the others wait for."""
        self._tried: set[str] = set()
        """Packs that were fetched, or could not be."""

    def prepare(self, kind: FileKind, name: str, size: int | None = None) -> None:
        """Fetch a pack whole when this is said once more than a few times. Never fails."""
        if kind is not FileKind.PACK or name in self._tried:
            return
        with self._lock:
            wanted = self._wanted[name] = self._wanted.get(name, 0) + 1
            if wanted <= WANTED_BEFORE:
                return
            fetching = self._fetching.setdefault(name, threading.Lock())
        with fetching:
            if name not in self._tried:
                self._fetch(name, size)
                self._tried.add(name)

    def _fetch(self, name: str, size: int | None) -> None:
        try:
            whole = self.inner.size(FileKind.PACK, name) if size is None else size
            if whole > self._limit // 2:
                return
            data = self.inner.load(FileKind.PACK, name, 0, whole)
        except StorageError:
            return  # whoever wants a part of it meets the same
        if sha256(data).hexdigest() != name:
            return
        with self._lock:
            self._kept[name] = data
            self._size += len(data)
            while self._size > self._limit:
                self._size -= len(self._kept.pop(next(iter(self._kept))))

    def _part(self, kind: FileKind, name: str, offset: int, length: int) -> memoryview | None:
        """A part of a pack that is kept."""
        if kind is not FileKind.PACK:
            return None
        with self._lock:
            data = self._kept.pop(name, None)
            if data is None:
                return None
            self._kept[name] = data
        return memoryview(data)[offset : offset + length] if offset + length <= len(data) else None

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range, from memory if it is there."""
        found = None if length is None else self._part(kind, name, offset, length)
        return self.inner.load(kind, name, offset, length) if found is None else bytes(found)

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Read a range, from memory if it is there."""
        found = self._part(kind, name, offset, len(target))
        if found is None:
            self.inner.load_into(kind, name, offset, target)
        else:
            target[:] = found

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file, here too."""
        self.inner.remove(kind, name)
        with self._lock:
            gone = self._kept.pop(name, None)
            self._size -= 0 if gone is None else len(gone)
