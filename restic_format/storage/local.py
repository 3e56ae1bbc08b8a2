"""A repository in a folder of a local file system.

A file appears under its name complete and synced, or not at all: it is written under a temporary name in the same folder,
synced, made read-only, renamed, and the folder is synced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections import deque
from collections.abc import Iterator, Sequence

from restic_format.errors import FileMissing, StorageError
from restic_format.storage.base import Buffer, Content, pieces_of
from restic_spec.ids import is_hex_id
from restic_spec.layout import LISTED_KINDS, FileKind, Layout, folder_of, folders, path_of

_TEMPORARY = "-tmp-"
_PIECES_AT_ONCE = 512
"""Well below the system's bound on what one call takes."""

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


class LocalStorage:
    """Storage in the folder *path*; default and old S3 layout are told apart by what is there."""

    connections = 2

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.layout = self._detect_layout()
        self._modes = self._detect_modes()

    @property
    def location(self) -> str:
        """The folder."""
        return self.path

    def _detect_layout(self) -> Layout:
        if not os.path.isdir(os.path.join(self.path, "keys")) and os.path.isdir(os.path.join(self.path, "key")):
            return Layout.S3LEGACY
        return Layout.DEFAULT

    def _detect_modes(self) -> tuple[int, int]:
        """Modes of new folders and files: private, or shared with the group where the config already is (LAYOUT-9)."""
        try:
            mode = os.stat(os.path.join(self.path, "config")).st_mode
        except OSError:
            return 0o700, 0o600
        return (0o770, 0o660) if mode & stat.S_IRGRP else (0o700, 0o600)

    def _path(self, kind: FileKind, name: str) -> str:
        return os.path.join(self.path, path_of(kind, name, self.layout))

    def create(self) -> None:
        """Make the folder and everything in it that a repository has."""
        try:
            for folder in ["", *folders(self.layout)]:
                os.makedirs(os.path.join(self.path, folder), self._modes[0], exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot create repository folder {self.path}: {error.strerror}") from None

    def save(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file (see `Storage.save`)."""
        target = self._path(kind, name)
        temporary = f"{target}{_TEMPORARY}{secrets.token_hex(6)}"
        try:
            self._write(temporary, data)
            os.rename(temporary, target)
            _sync_folder(os.path.dirname(target))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise StorageError(f"cannot save {kind.value}/{name[:8]} in {self.path}: {error.strerror}") from error

    def _write(self, path: str, data: Content) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, self._modes[1])
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), self._modes[0], exist_ok=True)
            descriptor = os.open(path, flags, self._modes[1])
        try:
            _write_pieces(descriptor, pieces_of(data))
            _sync(descriptor)
            with contextlib.suppress(PermissionError):
                os.fchmod(descriptor, self._modes[1] & ~0o222)
        finally:
            os.close(descriptor)

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range (see `Storage.load`)."""
        with self._reading(kind, name), open(self._path(kind, name), "rb", buffering=0) as file:
            available = os.fstat(file.fileno()).st_size - offset
            wanted = available if length is None else length
            if available < wanted or available < 0:
                raise StorageError(
                    f"{kind.value}/{name[:8]}: has {available + offset} bytes, wanted {wanted} from {offset}; it was cut short"
                )
            return _read_exactly(file.fileno(), wanted, offset)

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Fill memory from a range (see `FillsMemory`)."""
        with self._reading(kind, name), open(self._path(kind, name), "rb", buffering=0) as file:
            have = 0
            while have < len(target):
                count = os.preadv(file.fileno(), [target[have:]], offset + have)
                if not count:
                    wanted = f"wanted {len(target)} from {offset}"
                    raise StorageError(f"{kind.value}/{name[:8]}: has {offset + have} bytes, {wanted}; it was cut short")
                have += count

    @contextlib.contextmanager
    def _reading(self, kind: FileKind, name: str) -> Iterator[None]:
        what = f"{kind.value}/{name}" if name else kind.value
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise FileMissing(f"{what}: no such file in {self.path}") from None
        except OSError as error:
            raise StorageError(f"{what}: cannot be read in {self.path}: {error.strerror}") from error

    def size(self, kind: FileKind, name: str) -> int:
        """Size of a file in bytes."""
        with self._reading(kind, name):
            return os.stat(self._path(kind, name)).st_size

    def exists(self, kind: FileKind, name: str) -> bool:
        """Whether the file is there."""
        try:
            self.size(kind, name)
        except FileMissing:
            return False
        return True

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Name and size of every file of *kind*."""
        for entry in self._entries(kind):
            if is_hex_id(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    yield entry.name, entry.stat().st_size

    def _entries(self, kind: FileKind) -> Iterator[os.DirEntry[str]]:
        """Files in the folder of *kind*; in the default layout packs stand one level deeper."""
        nested = kind is FileKind.PACK and self.layout is Layout.DEFAULT
        for entry in self._scan(os.path.join(self.path, folder_of(kind, self.layout))):
            if nested and entry.is_dir(follow_symlinks=False):
                yield from (inner for inner in self._scan(entry.path) if not inner.is_dir(follow_symlinks=False))
            elif not entry.is_dir(follow_symlinks=False) and not nested:
                yield entry

    def _scan(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{folder}: cannot be listed: {error.strerror}") from error

    def strays(self) -> Iterator[str]:
        """Paths that belong to no repository file; a writer's unfinished files are among them."""
        known = {os.path.join(self.path, folder) for folder in folders(self.layout)}
        for folder, subfolders, files in os.walk(self.path):
            subfolders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                if not self._belongs(os.path.relpath(path, self.path), folder in known):
                    yield os.path.relpath(path, self.path)

    def _belongs(self, path: str, in_known_folder: bool) -> bool:
        if path == "config":
            return True
        name = os.path.basename(path)
        if not in_known_folder or not is_hex_id(name):
            return False
        return any(path == path_of(kind, name, self.layout) for kind in LISTED_KINDS)

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file."""
        try:
            os.unlink(self._path(kind, name))
        except FileNotFoundError:
            raise FileMissing(f"{kind.value}/{name}: no such file in {self.path}") from None
        except OSError as error:
            raise StorageError(f"{kind.value}/{name}: cannot be removed: {error.strerror}") from error


def _read_exactly(descriptor: int, length: int, offset: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) == length:
        return data
    pieces = [data]
    have = len(data)
    while have < length:
        piece = os.pread(descriptor, length - have, offset + have)
        if not piece:
            raise StorageError("file became shorter while it was read")
        pieces.append(piece)
        have += len(piece)
    return b"".join(pieces)


def _write_pieces(descriptor: int, pieces: Sequence[Buffer]) -> None:
    """Write all of *pieces*, many in one call."""
    left = deque(memoryview(piece) for piece in pieces)
    while left:
        batch = [left[number] for number in range(min(len(left), _PIECES_AT_ONCE))]
        written = os.writev(descriptor, batch)
        while left and written >= len(left[0]):
            written -= len(left.popleft())
        if written:
            left[0] = left[0][written:]


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
