"""Writing files of a repository on a local file system.

A file appears under its name complete and synced, or not at all: it is written in a folder for files of its kind, synced, made
read-only, named, and the folder is synced (LAYOUT-8). Until then it has no name, and vanishes with the process that writes it;
where the file system does not offer that, it has a temporary one, and what a killed process leaves is for `unlock` to remove.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from restic_format.errors import FileExists
from restic_format.storage import oserrors
from restic_format.storage.base import Buffer, Content, pieces_of
from restic_spec.ids import ID_SIZE

T = TypeVar("T")

_TEMPORARY = b"-tmp-"
_PIECES_AT_ONCE = 512
"""Well below the system's bound on what one call takes."""

_PIECE = 1 << 20
"""Bytes that are read back at once."""

_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS)
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What a file system says that has no hard links."""
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


class LocalWriter:
    """A file in the making (see `Writer`).

    *path_of* and *what* give the path of a file and what to call it by its name, *modes* are those of new folders and files.
    With *nameless* the file has no name until it is finished, where the file system can do that.
    """

    def __init__(
        self, path_of: Callable[[str], bytes], modes: tuple[int, int], *, nameless: bool, what: Callable[[str], str]
    ) -> None:
        self._path_of = path_of
        self._what = what
        self._modes = modes
        self._nameless = nameless
        self._descriptor = -1
        self._temporary = b""
        # Any id will do, and that of a pack picks a folder.
        place = path_of(os.urandom(ID_SIZE).hex())
        self._folder = os.path.dirname(place)
        with self._saving("open"):
            self._descriptor = self._in_folder(place, self._open)

    def __del__(self) -> None:
        self.abort()

    def _open(self, place: bytes) -> int:
        """A file that is open, beside *place*."""
        # What others provide may refuse the name in the end.
        if hasattr(os, "O_TMPFILE") and self._nameless:
            try:
                descriptor = os.open(os.path.dirname(place), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, self._modes[1])
            except OSError as error:
                if error.errno not in _NO_NAMELESS:
                    raise
            else:
                if os.path.lexists(_own(descriptor)):
                    return descriptor
                os.close(descriptor)
        temporary = _temporary_name(place)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self._modes[1])
        self._temporary = temporary
        return descriptor

    def _in_folder(self, path: bytes, act: Callable[[bytes], T]) -> T:
        """*act* on *path*, whose folder is made if it is missing."""
        try:
            return act(path)
        except FileNotFoundError:
            make_folders(os.path.dirname(path), self._modes[0])
            return act(path)

    @contextlib.contextmanager
    def _saving(self, operation: str, path: bytes = b"", name: str | None = None) -> Iterator[None]:
        """Errors name *path*, or the folder while the file has no name: the temporary one would tell nobody anything."""
        try:
            yield
        except OSError as error:
            self.abort()
            what = "" if name is None else self._what(name)
            raise oserrors.told(operation, path or self._folder, error, what) from error

    def append(self, data: Content) -> None:
        """See `Writer`."""
        with self._saving("write"):
            write_pieces(self._descriptor, pieces_of(data))

    def contents(self) -> Iterator[bytes]:
        """See `Writer`."""
        offset = 0
        with self._saving("read"):
            while piece := os.pread(self._descriptor, _PIECE, offset):
                offset += len(piece)
                yield piece

    def finish(self, name: str, *, replace: bool = True) -> None:
        """See `Writer`. Without *replace* a file of that name stays: then this raises `FileExists`."""
        target = self._path_of(name)
        with self._saving("write", target, name):
            _sync(self._descriptor)
            with contextlib.suppress(PermissionError):
                os.fchmod(self._descriptor, self._modes[1] & ~0o222)
            try:
                if not self._temporary:
                    self._in_folder(target, self._link)
                elif not replace:
                    self._in_folder(target, self._name_new)
            except FileExistsError:
                if not replace:
                    self.abort()
                    what = self._what(name)
                    raise FileExists(f"{what}: already exists", object=what) from None
                # Only renaming replaces.
                temporary = _temporary_name(target)
                self._link(temporary)
                self._temporary = temporary
            self._close()
            if self._temporary:
                self._in_folder(target, partial(os.rename, self._temporary))
                self._temporary = b""
            sync_folder(os.path.dirname(target))

    def _name_new(self, path: bytes) -> None:
        """Give the file with a temporary name the name *path*, which nothing else may have."""
        try:
            os.link(self._temporary, path, follow_symlinks=False)
        except OSError as error:
            # A file system without hard links: there it can only be looked at what has the name.
            if error.errno not in NO_LINKS:
                raise
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
            return
        os.unlink(self._temporary)
        self._temporary = b""

    def _link(self, path: bytes) -> None:
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


def make_folders(path: bytes, mode: int, made: list[bytes] | None = None) -> None:
    """Make a folder and the ones above it that are missing, all with *mode*: nothing is said of those that are there.

    Those that were made are added to *made*, even where one could not be.
    """
    try:
        _make_folder(path, mode, made)
    except FileNotFoundError:
        above = os.path.dirname(path)
        if not above or above == path:  # the current folder was removed
            raise
        make_folders(above, mode, made)
        _make_folder(path, mode, made)  # file systems like procfs and autofs make none, and say that the one above is missing


def _make_folder(path: bytes, mode: int, made: list[bytes] | None) -> None:
    try:
        os.mkdir(path, mode)
        if made is not None:
            made.append(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def _own(descriptor: int) -> str:
    """A path by which this process finds an open file of its own."""
    return f"/proc/self/fd/{descriptor}"


def _temporary_name(place: bytes) -> bytes:
    return place + _TEMPORARY + os.urandom(6).hex().encode()


def write_pieces(descriptor: int, pieces: Sequence[Buffer]) -> None:
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


def sync_folder(path: bytes) -> None:
    """Make the names in a folder durable, where the file system can do that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
