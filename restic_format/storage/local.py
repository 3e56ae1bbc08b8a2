"""A repository in a folder of a local file system.

A file appears under its name complete and synced, or not at all: it is written in a folder for files of its kind, synced, made
read-only, named, and the folder is synced. Until then it has no name, and vanishes with the process that writes it; where the
file system does not offer that, it has a temporary one, and what a killed process leaves is for `unlock` to remove.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import TypeVar

from restic_format.errors import FileMissing, StorageError
from restic_format.storage.base import Buffer, Content, Writer, pieces_of
from restic_spec.ids import ID_SIZE, is_hex_id
from restic_spec.layout import LISTED_KINDS, FileKind, Layout, folder_of, folders, path_of

T = TypeVar("T")

_TEMPORARY = "-tmp-"
_TEMPORARY_NAME = re.compile(r"/[0-9a-f]{64}-tmp-[0-9a-f]+\Z")
_PIECES_AT_ONCE = 512
"""Well below the system's bound on what one call takes."""

_PIECE = 1 << 20
"""Bytes that are read back at once."""

_ONE_VIEW = frozenset({"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "ramfs", "tmpfs", "vfat", "xfs", "zfs"})
"""File systems of one machine, on which a name is there for everybody as soon as a rename has returned. Those of a network
and those that programs provide (FUSE, 9p, overlays) may remember a folder's entries from before."""

_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


class LocalStorage:
    """Storage in the folder *path*; default and old S3 layout are told apart by what is there."""

    connections = 2

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.layout = self._detect_layout()
        self.modes = self._detect_modes()

    @property
    def location(self) -> str:
        """The folder."""
        return self.path

    @cached_property
    def lists_at_once(self) -> bool:
        """Whether the locks are on a file system of this machine (see `Storage.lists_at_once`)."""
        return file_system(os.path.join(self.path, folder_of(FileKind.LOCK, self.layout))) in _ONE_VIEW

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

    def path_of(self, kind: FileKind, name: str) -> str:
        """Where a file is. Raises `NameInvalid`."""
        return os.path.join(self.path, path_of(kind, name, self.layout))

    def create(self) -> None:
        """Make the folder and everything in it that a repository has."""
        try:
            for folder in ["", *folders(self.layout)]:
                os.makedirs(os.path.join(self.path, folder), self.modes[0], exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot create repository folder {self.path}: {error.strerror}") from None

    def save(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file (see `Storage.save`)."""
        self.path_of(kind, name)
        writer = self.begin(kind)
        try:
            writer.append(data)
            writer.finish(name)
        except BaseException:
            writer.abort()
            raise

    def begin(self, kind: FileKind) -> Writer:
        """Begin to write a file (see `Storage.begin`)."""
        return _LocalWriter(self, kind)

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range (see `Storage.load`)."""
        with self._reading(kind, name), open(self.path_of(kind, name), "rb", buffering=0) as file:
            available = os.fstat(file.fileno()).st_size - offset
            wanted = available if length is None else length
            if available < wanted or available < 0:
                raise StorageError(
                    f"{kind.value}/{name[:8]}: has {available + offset} bytes, wanted {wanted} from {offset}; it was cut short"
                )
            return _read_exactly(file.fileno(), wanted, offset)

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Fill memory from a range (see `FillsMemory`)."""
        with self._reading(kind, name), open(self.path_of(kind, name), "rb", buffering=0) as file:
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
            return os.stat(self.path_of(kind, name)).st_size

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

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Remove what killed writers have left, restic's as well as ours (see `LeavesUnfinished`)."""
        places = {folder_of(kind, self.layout) for kind in (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT)}
        found = [path for path in self.strays() if path.split("/")[0] in places and _TEMPORARY_NAME.search(path)]
        paths = [path for path in (os.path.join(self.path, one) for one in found) if _untouched_for(path, age)]
        if not paths or not is_safe():
            return 0
        removed = 0
        for path in paths:
            try:
                os.unlink(path)
                removed += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageError(f"unfinished file {path} cannot be removed: {error.strerror}") from error
        return removed

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file."""
        try:
            os.unlink(self.path_of(kind, name))
        except FileNotFoundError:
            raise FileMissing(f"{kind.value}/{name}: no such file in {self.path}") from None
        except OSError as error:
            raise StorageError(f"{kind.value}/{name}: cannot be removed: {error.strerror}") from error


class _LocalWriter:
    """A file that has a temporary name until it is finished."""

    def __init__(self, storage: LocalStorage, kind: FileKind) -> None:
        self._storage = storage
        self._kind = kind
        self._descriptor = -1
        self._temporary = ""
        # Any id will do, and that of a pack picks a folder.
        place = storage.path_of(kind, secrets.token_hex(ID_SIZE))
        with self._saving():
            self._descriptor = self._in_folder(place, self._open)

    def __del__(self) -> None:
        self.abort()

    def _open(self, place: str) -> int:
        """A file that is open, beside *place*."""
        mode = self._storage.modes[1]
        # What others provide may refuse the name in the end.
        if hasattr(os, "O_TMPFILE") and self._storage.lists_at_once:
            try:
                descriptor = os.open(os.path.dirname(place), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
            except OSError as error:
                if error.errno not in _NO_NAMELESS:
                    raise
            else:
                if os.path.lexists(_own(descriptor)):
                    return descriptor
                os.close(descriptor)
        temporary = _temporary_name(place)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        self._temporary = temporary
        return descriptor

    def _in_folder(self, path: str, act: Callable[[str], T]) -> T:
        """*act* on *path*, whose folder is made if it is missing."""
        try:
            return act(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), self._storage.modes[0], exist_ok=True)
            return act(path)

    @contextlib.contextmanager
    def _saving(self, name: str = "new file") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.abort()
            what = f"{self._kind.value}/{name[:8]}"
            raise StorageError(f"cannot save {what} in {self._storage.path}: {error.strerror}") from error

    def append(self, data: Content) -> None:
        """See `Writer`."""
        with self._saving():
            _write_pieces(self._descriptor, pieces_of(data))

    def contents(self) -> Iterator[bytes]:
        """See `Writer`."""
        offset = 0
        with self._saving():
            while piece := os.pread(self._descriptor, _PIECE, offset):
                offset += len(piece)
                yield piece

    def finish(self, name: str) -> None:
        """See `Writer`."""
        target = self._storage.path_of(self._kind, name)
        with self._saving(name):
            _sync(self._descriptor)
            with contextlib.suppress(PermissionError):
                os.fchmod(self._descriptor, self._storage.modes[1] & ~0o222)
            if not self._temporary:
                try:
                    self._in_folder(target, self._link)
                except FileExistsError:  # only renaming replaces
                    temporary = _temporary_name(target)
                    self._link(temporary)
                    self._temporary = temporary
            self._close()
            if self._temporary:
                self._in_folder(target, partial(os.rename, self._temporary))
                self._temporary = ""
            _sync_folder(os.path.dirname(target))

    def _link(self, path: str) -> None:
        """Give the file without a name the name *path*."""
        # Only with a descriptor Python asks the system to follow the link in proc; an absolute path makes no use of it.
        os.link(_own(self._descriptor), path, src_dir_fd=self._descriptor, follow_symlinks=True)

    def abort(self) -> None:
        """See `Writer`."""
        with contextlib.suppress(OSError):
            self._close()
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _own(descriptor: int) -> str:
    """A path by which this process finds an open file of its own."""
    return f"/proc/self/fd/{descriptor}"


def _untouched_for(path: str, age: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path).st_mtime < time.time() - age
    return False


def _temporary_name(place: str) -> str:
    return f"{place}{_TEMPORARY}{secrets.token_hex(6)}"


def file_system(folder: str) -> str | None:
    """Type of the file system *folder* is on, such as ``ext4``; None where the system does not tell (proc(5))."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(f"/proc/self/fdinfo/{descriptor}", "rb") as told:
                [mount] = [line.split()[1] for line in told if line.startswith(b"mnt_id:")]
        finally:
            os.close(descriptor)
        with open("/proc/self/mountinfo", "rb") as mounts:
            for words in map(bytes.split, mounts):
                if words[0] == mount:
                    return os.fsdecode(words[words.index(b"-") + 1])
    except (OSError, ValueError):
        pass
    return None


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
