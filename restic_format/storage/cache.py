"""A local cache before a storage: copies of indexes and snapshots, and of packs with trees.

Nothing depends on it. A copy is used when its hash is its name; otherwise it is removed, and the repository is asked (CACHE-3).
What is listed, or asked for its size, is what the repository has. A cache that cannot be written to is read, and otherwise left
alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TypeVar

from restic_format.errors import FileMissing, StorageError
from restic_format.storage import oserrors
from restic_format.storage.base import Buffer, Content, Storage, WrappedStorage, Writer, pieces_of
from restic_format.storage.cachefolder import KINDS, CacheFolder, Copy
from restic_format.storage.packmemory import PackMemory
from restic_spec.layout import FileKind

T = TypeVar("T")

_PIECE = 16 << 20
"""Bytes of a pack that are fetched at once."""


class CachedStorage(WrappedStorage):
    """Puts the cache *folder* before *inner*. *troubled* is told once why nothing can be written to it."""

    def __init__(self, inner: Storage, folder: CacheFolder, troubled: Callable[[StorageError], object] | None = None) -> None:
        super().__init__(inner)
        self.folder = folder
        self._troubled = troubled
        self._writable = True
        self._lock = threading.Lock()
        self._intact: set[str] = set()
        """Packs whose copies have been found to be what they must be."""
        self._prepared: set[str] = set()
        self._busy: dict[str, threading.Lock] = {}

    # Reading

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range, from the copy if there is one; an index or a snapshot that is read whole is kept."""
        if kind is FileKind.PACK:
            found = self._from_pack(name, lambda descriptor, size: _piece(descriptor, size, offset, length))
            return self.inner.load(kind, name, offset, length) if found is None else found
        if kind not in KINDS or offset or length is not None:
            return self.inner.load(kind, name, offset, length)
        found = self._whole(kind, name)
        if found is not None:
            return found
        with self._turn(name):  # `keep` may be fetching it.
            found = self._whole(kind, name)
            return self._load(kind, name, self.inner) if found is None else found

    def _whole(self, kind: FileKind, name: str) -> bytes | None:
        """The content of an index or a snapshot, from an intact copy."""
        opened = self.folder.open(kind, name)
        if opened is None:
            return None
        with _closing(opened) as (descriptor, size):
            found = _piece(descriptor, size, 0, None)
        if found is not None and sha256(found).hexdigest() == name:
            return found
        self.folder.remove(kind, name)
        return None

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Read a range, from the copy if there is one."""

        def fill(descriptor: int, size: int) -> bool | None:
            return (offset + len(target) <= size and os.preadv(descriptor, [target], offset) == len(target)) or None

        if kind is not FileKind.PACK or self._from_pack(name, fill) is None:
            self.inner.load_into(kind, name, offset, target)

    def _from_pack(self, name: str, read: Callable[[int, int], T | None]) -> T | None:
        """What *read* makes of the copy of a pack, of which it gets a descriptor and the size; None without an intact copy."""
        opened = self.folder.open(FileKind.PACK, name)
        if opened is None:
            return None
        with _closing(opened) as (descriptor, size):
            try:
                if self._is_intact(name, descriptor):
                    return read(descriptor, size)
            except OSError:
                return None
        self.folder.remove(FileKind.PACK, name)
        self._prepared.discard(name)
        return None

    def _is_intact(self, name: str, descriptor: int) -> bool:
        """Whether a copy of a pack has the right hash, worked out when it is first used."""
        if name not in self._intact:
            with self._turn(name):
                if name not in self._intact:
                    if _hash_of(descriptor) != name:
                        return False
                    self._intact.add(name)
        return True

    # Fetching whole files

    def prepare(self, kind: FileKind, name: str, size: int | None = None) -> None:
        """Fetch a file whole, unless there is a copy: of a pack with trees several will be read. Never fails."""
        if kind is not FileKind.PACK or name in self._prepared or not self._writable:
            return
        with self._turn(name):
            if name not in self._prepared:
                if not self.folder.has(kind, name):
                    self._fetch(name, size)
                self._prepared.add(name)

    def keep(self, kind: FileKind, name: str, source: Storage) -> None:
        """Have a copy of an index or a snapshot, which is loaded from *source*.

        Raises:
            FileMissing, StorageError: it cannot be loaded.
        """
        if self._writable and not self.folder.has(kind, name):
            with self._turn(name):
                if not self.folder.has(kind, name):
                    self._load(kind, name, source)

    def _load(self, kind: FileKind, name: str, source: Storage) -> bytes:
        data = source.load(kind, name)
        if sha256(data).hexdigest() == name:
            self._store(kind, name, data)
        return data

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """One thread at a time for each file."""
        with self._lock:
            turn = self._busy.setdefault(name, threading.Lock())
        try:
            with turn:
                yield
        finally:
            with self._lock:
                self._busy.pop(name, None)

    def _fetch(self, name: str, size: int | None) -> None:
        found = sha256()

        def pieces() -> Iterator[bytes]:
            whole = self.inner.size(FileKind.PACK, name) if size is None else size
            for offset in range(0, whole, _PIECE):
                piece = self.inner.load(FileKind.PACK, name, offset, min(_PIECE, whole - offset))
                found.update(piece)
                yield piece

        try:
            copy = self._copy(FileKind.PACK, name, pieces())
        except StorageError:
            return  # whoever wants the pack meets the same
        if copy is not None and found.hexdigest() == name:
            self._keep(copy)
            self._intact.add(name)
        elif copy is not None:
            copy.drop()

    # Writing

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file, then keep a copy of an index, a snapshot, or a pack with trees."""
        self.inner.save(kind, name, data, metadata=metadata)
        if _is_kept(kind, metadata=metadata):
            self._store(kind, name, data)

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """Begin to write a file of which a copy is kept when it is stored, if it is one as in `save`."""
        writer = self.inner.begin(kind, metadata=metadata)
        return _KeptWriter(self, kind, writer) if _is_kept(kind, metadata=metadata) and self._writable else writer

    def _store(self, kind: FileKind, name: str, data: Content) -> None:
        copy = self._copy(kind, name, pieces_of(data))
        if copy is not None:
            self._keep(copy)

    def _copy(self, kind: FileKind, name: str, pieces: Iterable[Buffer]) -> Copy | None:
        """A copy of *pieces* that has no name yet; None where it cannot be written. Raises what *pieces* do."""
        if not self._writable:
            return None
        copy = None
        try:
            copy = self.folder.begin(kind, name)
            for piece in pieces:
                copy.append([piece])
        except BaseException as error:
            if copy is not None:
                copy.drop()
            if not isinstance(error, OSError):
                raise
            self._trouble(error)
            return None
        return copy

    def _keep(self, copy: Copy) -> None:
        """Give a copy its name."""
        try:
            copy.keep()
        except OSError as error:
            self._trouble(error)
        finally:
            copy.drop()

    def _trouble(self, error: OSError) -> None:
        """Write nothing more, because of *error*."""
        with self._lock:
            first, self._writable = self._writable, False
        if first and self._troubled is not None:
            self._troubled(oserrors.told("write", self.folder.path, error))

    # What is there

    def size(self, kind: FileKind, name: str) -> int:
        """Size of a file in the repository."""
        try:
            return self.inner.size(kind, name)
        except FileMissing:
            self._gone(kind, name)
            raise

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """What the repository has; copies of what it has no more are removed when all is listed."""
        if kind not in KINDS:
            yield from self.inner.list(kind)
            return
        # Looked at first: what comes meanwhile may be in the cache and not be listed.
        kept = set(self.folder.names(kind))
        for name, size in self.inner.list(kind):
            kept.discard(name)
            yield name, size
        for name in kept:
            self.folder.remove(kind, name)

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file, then its copy."""
        try:
            self.inner.remove(kind, name)
        except FileMissing:
            self._gone(kind, name)
            raise
        self._gone(kind, name)

    def _gone(self, kind: FileKind, name: str) -> None:
        if kind in KINDS:
            self.folder.remove(kind, name)


class _KeptWriter:
    """Writes to *inner*, and a copy of everything when it is finished."""

    def __init__(self, storage: CachedStorage, kind: FileKind, inner: Writer) -> None:
        self._storage = storage
        self._kind = kind
        self._inner = inner
        self.append, self.contents, self.abort = inner.append, inner.contents, inner.abort

    def finish(self, name: str) -> None:
        """See `Writer`."""
        copy = self._storage._copy(self._kind, name, self._inner.contents())
        try:
            self._inner.finish(name)
        except BaseException:
            if copy is not None:
                copy.drop()
            raise
        if copy is not None:
            self._storage._keep(copy)


@contextmanager
def _closing(opened: tuple[int, int]) -> Iterator[tuple[int, int]]:
    try:
        yield opened
    finally:
        os.close(opened[0])


def _piece(descriptor: int, size: int, offset: int, length: int | None) -> bytes | None:
    """*length* bytes from *offset* on of a copy of *size* bytes, or all that follow; None where there are fewer."""
    wanted = size - offset if length is None else length
    if wanted < 0 or offset + wanted > size:
        return None
    try:
        data = os.pread(descriptor, wanted, offset)
    except OSError:
        return None
    return data if len(data) == wanted else None


def _hash_of(descriptor: int) -> str:
    found, offset = sha256(), 0
    while piece := os.pread(descriptor, _PIECE // 16, offset):
        found.update(piece)
        offset += len(piece)
    return found.hexdigest()


def _is_kept(kind: FileKind, *, metadata: bool) -> bool:
    return kind in KINDS and (kind is not FileKind.PACK or metadata)


def without_cache(storage: Storage) -> Storage:
    """The same storage without a cache before it, or a memory of packs."""
    while isinstance(storage, CachedStorage | PackMemory):
        storage = storage.inner
    return storage
