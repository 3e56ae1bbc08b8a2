"""The files of a snapshot: looked at, listed, walked and opened without being restored."""

from __future__ import annotations

import io
import posixpath
import threading
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Self, cast

from restic_format.api.access import Guard, Reading
from restic_format.api.records import Entry, SnapshotInfo
from restic_format.errors import ResticFormatError
from restic_format.snapshots.filesystem import Fault, SnapshotFileSystem
from restic_format.snapshots.links import follow
from restic_format.snapshots.stream import FileStream

_BUFFER = 1 << 16
"""Bytes that a file object reads at once when it is asked for few."""


class SnapshotFiles:
    """A snapshot, or a folder of one, as a file system. Get it from `OpenRepository.files`, and close it: a lock is held.

    Paths are separated by ``/`` and go from the root, whether they begin with a slash or not. Every method may be called from
    any thread; a file object is for one thread at a time, but for its ``pread``.

    All methods raise `SnapshotNotFound` where there is no such path, `DamagedFile` or `BlobMissing` where what is stored is
    damaged or lost, `StorageError` where the storage fails, `LockLost` where the lock could not be kept (open it again), and
    `UsageError` once it is closed.
    """

    def __init__(
        self, info: SnapshotInfo, reading: Reading, tree: bytes, folder: str, leave: Callable[[Reading], None]
    ) -> None:
        """To be made by `OpenRepository.files`; *leave* is told when *reading* is not needed any more."""
        self.info = info
        """The snapshot."""
        self.folder = posixpath.normpath(f"/{folder.strip('/')}").rstrip("/")
        """Where in the snapshot the root is, "" for its own root."""
        self._guard = Guard(f"snapshot {info.short_id}")
        self._reading, self._tree = reading, tree
        self._files = self._file_system(None)
        self._streams: weakref.WeakSet[io.IOBase] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._leave = weakref.finalize(self, leave, reading)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SnapshotFiles {self.info.short_id}{self.folder}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an open snapshot cannot be pickled: open the repository again where it is needed")

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._guard.closed

    @property
    def locked(self) -> bool:
        """Whether the lock is kept; if not, others may have removed what is read."""
        return self._reading.locked

    @property
    def in_use(self) -> bool:
        """Whether one of its files is open."""
        return any(not stream.closed for stream in list(self._streams))

    def close(self) -> None:
        """Close it and its open files, and release the lock when nobody else reads. May be called again."""
        with self._lock:
            if self._guard.closed:
                return
            self._guard.closed = True
        for stream in list(self._streams):
            stream.close()
        self._leave()

    def stat(self, path: str = "/", *, follow_symlinks: bool = False) -> Entry:
        """What is at *path*."""
        path = self._path(path, follow_symlinks=follow_symlinks)
        return Entry.of(path, self._files.stat(path))

    def exists(self, path: str) -> bool:
        """Whether there is anything at *path*, a broken symbolic link included."""
        from restic_format.errors import SnapshotNotFound

        try:
            self.stat(path)
        except SnapshotNotFound:
            return False
        return True

    def list(self, path: str = "/") -> list[Entry]:
        """The entries of a directory, sorted by name; a symbolic link at *path* is followed."""
        path = self._path(path, follow_symlinks=True)
        return [Entry.of(posixpath.join(path, node.name), node) for node in self._files.list(path)]

    def walk(self, path: str = "/", *, damaged: Callable[[str, ResticFormatError], None] | None = None) -> Iterator[Entry]:
        """Everything below a directory, a directory before what is in it. Symbolic links below it are not followed.

        What cannot be read is given to *damaged* with its path, and the rest goes on; without it that is raised. The memory it
        takes does not grow with the number of entries.
        """
        path = self._path(path, follow_symlinks=True)
        for location, node in self._file_system(damaged).walk(path):
            yield Entry.of(location, node)
            self._check()

    def open(self, path: str) -> BinaryIO:
        """The content of a file, to be read as one that `open` gives in mode ``rb``: it seeks, and reads ahead.

        Symbolic links are followed. For text put an `io.TextIOWrapper` around it. Raises also `NodeUnusable` for what is not a
        file.
        """
        stream = io.BufferedReader(self.open_raw(path), _BUFFER)
        self._streams.add(stream)
        return cast("BinaryIO", stream)

    def open_raw(self, path: str) -> FileStream:
        """Like `open`, without a buffer; its ``pread(offset, size)`` may be called from several threads at once."""
        stream = self._files.open(self._path(path, follow_symlinks=True))
        self._streams.add(stream)
        vars(stream)["files"] = self  # what it reads from stays locked as long as it is in use
        return stream

    def read(self, path: str) -> bytes:
        """The whole content of a file, which must fit into memory."""
        with self.open_raw(path) as stream:
            return stream.readall()

    def resolve(self, path: str) -> str:
        """The path at which *path* is when all symbolic links are followed; absolute ones lead from the snapshot's own root."""
        return self._path(path, follow_symlinks=True)

    def _path(self, path: str, *, follow_symlinks: bool = False) -> str:
        self._check()
        if not isinstance(path, str):
            raise TypeError(f"a path in a snapshot is str, not {type(path).__name__}")
        return follow(self._files.stat, path, self.folder, last=follow_symlinks)

    def _check(self) -> None:
        self._guard.check()
        self._reading.check()

    def _file_system(self, fault: Fault | None) -> SnapshotFileSystem:
        reading = self._reading
        return SnapshotFileSystem(
            reading.repository, self._tree, cache=reading.cache, directories=reading.directories, fault=fault
        )
