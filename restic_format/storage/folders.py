"""Repositories on servers that have folders and can rename files, but have no protocol of restic's: WebDAV, FTP.

A file is written under another name and gets its own when it is there whole. Folders are made when the first file comes into
them, and a listing visits them many at a time.
"""

from __future__ import annotations

import os
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from restic_format.errors import FileMissing, StorageAway, StorageError
from restic_format.storage.base import Content, already_there
from restic_format.storage.objects import ObjectStorage, ObjectStore, name_in
from restic_format.words import visible
from restic_spec.layout import FileKind, folder_of

_TEMPORARY = re.compile(r".*-restic-temp-[0-9a-f]{32}", re.DOTALL)
"""Names of files that are not whole yet; restic uses such names on SFTP servers."""

_DEEPEST = 8
"""Folders below each other that are visited."""

_MOST_FOLDERS = 10_000
"""Folders that are visited in one listing."""


class Entry(NamedTuple):
    """What a folder has: a file or a folder."""

    name: str
    size: int
    is_folder: bool = False
    modified: float | None = None
    """When it was written last, by the server's clock, in seconds since the epoch; None where that is not known."""


class FolderMissing(FileMissing):
    """The folder is missing in which a file should be written."""


class NotBegun(StorageAway):
    """A file may not have been written because the connection had been closed before."""


class FolderStore(ObjectStore):
    """What such a server does with paths: ``data/ab/…``, below the folder that the location names."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        """Folders that are there."""
        self._looked: set[str] = set()
        """Folders of which it is known which folders are in them."""
        self._lock = threading.Lock()

    # What a protocol does. Paths have no "/" at their ends; "" is the folder that the location names.

    @abstractmethod
    def entries(self, folder: str) -> Sequence[Entry]:
        """What is in *folder*. Raises `FileMissing` where there is none."""

    @abstractmethod
    def make_folder(self, folder: str) -> None:
        """Make *folder*, if it is not there; the one above it is. For "" those above it are made too."""

    @abstractmethod
    def write(self, path: str, data: Content) -> None:
        """Write a file that is not there. Raises `FolderMissing`, and `NotBegun`."""

    @abstractmethod
    def rename(self, path: str, to: str, *, replace: bool) -> bool:
        """Give a file another name; False if that is taken and not to be replaced."""

    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        """Store a file; see `ObjectStore`."""
        del kind, metadata, sha256
        self._put(key, data, replace=True)

    def put_new(self, key: str, data: Content, *, kind: FileKind) -> None:
        """Store a file if there is none of that name."""
        if not self._put(key, data, replace=False):
            raise already_there(kind, name_in(kind, key))

    def _put(self, path: str, data: Content, *, replace: bool) -> bool:
        folder = path.rpartition("/")[0]
        if "/" in folder:  # the others are made with the repository
            self._ensure(folder)
        try:
            return self._put_once(path, data, replace=replace)
        except FolderMissing:
            with self._lock:
                self._known.clear()
                self._looked.clear()
            self._ensure(folder)
        except NotBegun:
            pass
        return self._put_once(path, data, replace=replace)

    def _put_once(self, path: str, data: Content, *, replace: bool) -> bool:
        """Write a file under a name that nobody has used: the server may still be busy with another try."""
        temporary = f"{path}-restic-temp-{os.urandom(16).hex()}"
        renamed = False
        try:
            try:
                self.write(temporary, data)
            except FolderMissing:
                renamed = True  # there is nothing to remove
                raise
            renamed = self.rename(temporary, path, replace=replace)
            return renamed
        finally:
            if not renamed:
                with suppress(StorageError):
                    self.delete(temporary)

    def create(self) -> None:
        """Make the folders that every repository has."""
        for kind in FileKind:
            if kind is not FileKind.CONFIG:
                self._ensure(folder_of(kind))

    def _ensure(self, folder: str) -> None:
        """See to it that *folder* is there; which there are beside it is looked up once, as packs are in so many."""
        with self._lock:
            if folder in self._known:
                return
            above, _, _ = folder.rpartition("/")
            looked = not above or above in self._looked
        if not looked:
            try:
                found = {f"{above}/{entry.name}" for entry in self.entries(above) if entry.is_folder}
            except FileMissing:
                self._ensure(above)
                found = set()
            with self._lock:
                self._looked.add(above)
                self._known |= found
            if folder in found:
                return
        elif folder and not above:
            self._ensure("")
        self.make_folder(folder)
        with self._lock:
            self._known.add(folder)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Path and size of the files whose paths begin with *prefix*."""
        for path, entry in self.walk(prefix):
            if not _TEMPORARY.fullmatch(entry.name):
                yield path, entry.size

    def walk(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Every file whose path begins with *prefix*; those of one folder after those of another."""
        from concurrent.futures import ThreadPoolExecutor

        level, visited = [prefix.rpartition("/")[0]], 0

        def look(folder: str) -> Sequence[Entry]:
            try:
                return self.entries(folder)
            except FileMissing:
                return ()

        for _ in range(_DEEPEST):
            below: list[str] = []
            visited += len(level)
            if visited > _MOST_FOLDERS:
                raise StorageError(f"list {visible(prefix)}: there are more than {_MOST_FOLDERS} folders")
            with ThreadPoolExecutor(self.connections if len(level) > 1 else 1, thread_name_prefix="folders") as threads:
                for start in range(0, len(level), 4 * self.connections):
                    batch = level[start : start + 4 * self.connections]
                    for folder, entries in zip(batch, threads.map(look, batch), strict=True):
                        for entry in filter(_is_sound, entries):
                            path = f"{folder}/{entry.name}" if folder else entry.name
                            if entry.is_folder and (f"{path}/".startswith(prefix) or prefix.startswith(f"{path}/")):
                                below.append(path)
                            elif not entry.is_folder and path.startswith(prefix):
                                yield path, entry
            level = below
            if not level:
                return
        raise StorageError(f"list {visible(prefix)}: folders are deeper than {_DEEPEST}")


def _is_sound(entry: Entry) -> bool:
    """Whether what a server calls an entry can be a part of a path."""
    return entry.name not in ("", ".", "..") and "/" not in entry.name and entry.name.isprintable()


class FolderStorage(ObjectStorage):
    """A repository in a `FolderStore`."""

    def __init__(self, store: FolderStore) -> None:
        super().__init__(store, "")
        self._folders = store

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Remove what killed writers have left (see `Storage.remove_unfinished`); the server's clock counts."""
        found = [
            (path, entry.modified)
            for kind in (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT)
            for path, entry in self._folders.walk(f"{folder_of(kind)}/")
            if _TEMPORARY.fullmatch(entry.name) and entry.modified is not None
        ]
        if not found:
            return 0
        before = self._now() - age
        old = [path for path, modified in found if modified < before]
        if not old or not is_safe():
            return 0
        removed = 0
        for path in old:
            with suppress(FileMissing):
                self._folders.delete(path)
                removed += 1
        return removed

    def _now(self) -> float:
        """The time on the server: what a file gets that is made now."""
        import time

        name = f"now-restic-temp-{os.urandom(16).hex()}"
        self._folders.write(name, b"now")
        try:
            times = [entry.modified for entry in self._folders.entries("") if entry.name == name]
        finally:
            self._folders.delete(name)
        return time.time() if not times or times[0] is None else times[0]
