"""Files of this program beside those of a repository: in folders that no other program looks at (LAYOUT-12).

Names are words of ASCII letters, digits, ``.``, ``-`` and ``_`` with ``/`` between them.
"""

from __future__ import annotations

import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress

from restic_format.errors import FileMissing, FileUnusable
from restic_format.storage import oserrors
from restic_format.storage.base import Content, HeldWriter, Writer, pieces_of, write_whole
from restic_format.storage.localwriter import LocalWriter
from restic_spec import gojson

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\Z")
_MOST_IN_NAME = 512


def check_name(name: str) -> str:
    """*name*, if a side file may have it.

    Raises:
        FileUnusable: it may not.
    """
    if not is_side_name(name):
        raise FileUnusable(f"{name[:80]!r} cannot name a file beside those of the repository", clause="LAYOUT-12")
    return name


def is_side_name(name: str) -> bool:
    """Whether a side file may have this name."""
    return len(name) <= _MOST_IN_NAME and _NAME.match(name) is not None


def is_unfinished(name: bytes) -> bool:
    """Whether a writer gives such a name to a file that is not finished, on a local file system or an SFTP server."""
    return b"-tmp-" in name or b"-restic-temp-" in name


class SideFiles(ABC):
    """The files of one such folder. Every method may be called from any thread, and may raise `StorageError`."""

    location: str
    """Where it is, for messages; never with a secret in it."""

    @abstractmethod
    def begin(self) -> Writer:
        """Begin to write a file, which gets its name at the end; one of that name is replaced."""

    def save(self, name: str, data: Content) -> None:
        """Store a file whole or not at all; durable when this returns. One of that name is replaced."""
        check_name(name)
        write_whole(self.begin(), name, data)

    @abstractmethod
    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """*length* bytes from *offset*, to the end where it is None.

        Raises:
            FileMissing: no such file.
            FileUnusable: it holds fewer bytes.
        """

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of a file. Raises `FileMissing`."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Name and size of every file whose name begins with *prefix*, sorted; unfinished files are left out, and what is no
        file, such as links.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, and the folders that are empty then. Raises `FileMissing`."""


class LocalSideFiles(SideFiles):
    """Side files in the folder *path* of a local file system, which is made when the first one is stored."""

    def __init__(self, path: str | bytes, *, modes: tuple[int, int] = (0o700, 0o600), nameless: bool = False) -> None:
        """*modes* are those of new folders and files; for *nameless* see `LocalWriter`."""
        self._root = os.path.abspath(gojson.to_bytes(path) if isinstance(path, str) else path)
        self._modes = modes
        self._nameless = nameless
        self.location = gojson.to_text(self._root)

    def _path_of(self, name: str) -> bytes:
        return os.path.join(self._root, check_name(name).encode())

    def begin(self) -> Writer:
        """See `SideFiles`."""
        return LocalWriter(self._path_of, self._modes, nameless=self._nameless, what=str)

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `SideFiles`."""
        path = self._path_of(name)
        try:
            # Nothing but files: a link may lead out of the folder, and opening a FIFO may wait for ever.
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise FileUnusable(f"{name}: is not a file", object=name)
                have = found.st_size
                wanted = have - offset if length is None else length
                if wanted < 0 or wanted > have - offset:
                    raise FileUnusable(f"{name}: has {have} bytes, wanted {max(wanted, 0)} from {offset}", object=name)
                file.seek(offset)
                return file.read(wanted)
        except OSError as error:
            raise oserrors.told("open", path, error, name) from error

    def size(self, name: str) -> int:
        """See `SideFiles`."""
        path = self._path_of(name)
        try:
            found = os.lstat(path)
        except OSError as error:
            raise oserrors.told("stat", path, error, name) from error
        if not stat.S_ISREG(found.st_mode):
            raise FileUnusable(f"{name}: is not a file", object=name)
        return found.st_size

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """See `SideFiles`."""

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise oserrors.told("open", error.filename or self._root, error) from error

        found: list[tuple[str, int]] = []
        for folder, _, files in os.walk(self._root, onerror=fail):
            for file in files:
                name = gojson.to_text(os.path.relpath(os.path.join(folder, file), self._root))
                if name.startswith(prefix) and _NAME.match(name) and not is_unfinished(file):
                    with suppress(FileUnusable, FileMissing):
                        found.append((name, self.size(name)))
        yield from sorted(found)

    def remove(self, name: str) -> None:
        """See `SideFiles`."""
        path = self._path_of(name)
        try:
            os.unlink(path)
        except OSError as error:
            raise oserrors.told("remove", path, error, name) from error
        folder = os.path.dirname(path)
        while len(folder) >= len(self._root):
            try:
                os.rmdir(folder)
            except OSError:
                return  # Something is in it.
            folder = os.path.dirname(folder)


class MemorySideFiles(SideFiles):
    """Side files in a dictionary, for tests."""

    location = "memory"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def begin(self) -> Writer:
        """See `SideFiles`."""
        return HeldWriter(self._keep)

    def _keep(self, name: str, data: Content) -> None:
        self.files[check_name(name)] = b"".join(pieces_of(data))

    def _get(self, name: str) -> bytes:
        try:
            return self.files[check_name(name)]
        except KeyError:
            raise FileMissing(f"{name}: no such file in memory", object=name) from None

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `SideFiles`."""
        data = self._get(name)
        wanted = len(data) - offset if length is None else length
        if wanted < 0 or wanted > len(data) - offset:
            raise FileUnusable(f"{name}: has {len(data)} bytes, wanted {max(wanted, 0)} from {offset}", object=name)
        return data[offset : offset + wanted]

    def size(self, name: str) -> int:
        """See `SideFiles`."""
        return len(self._get(name))

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """See `SideFiles`."""
        yield from sorted((name, len(data)) for name, data in list(self.files.items()) if name.startswith(prefix))

    def remove(self, name: str) -> None:
        """See `SideFiles`."""
        self._get(name)
        del self.files[name]
