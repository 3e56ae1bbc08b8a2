"""This program's own files on an SFTP server, beside a repository's or anywhere (see `SideFiles`)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator

from restic_format.errors import FileUnusable
from restic_format.storage.base import Writer
from restic_format.storage.sftp import protocol
from restic_format.storage.sftp.connection import Connection
from restic_format.storage.sftp.files import attributes, join, must, status_or_none, walk
from restic_format.storage.sftp.reading import OpenFiles
from restic_format.storage.sftp.writer import SftpWriter
from restic_format.storage.side import SideFiles, check_name, is_side_name, is_unfinished
from restic_spec import gojson


class SftpSideFiles(SideFiles):
    """Side files in the folder *root*, which is made when the first one is stored. *modes* gives those of folders and files."""

    def __init__(
        self,
        connection: Connection,
        files: OpenFiles,
        root: bytes,
        location: str,
        modes: Callable[[], tuple[int, int]],
    ) -> None:
        self._connection, self._files, self._root, self._modes = connection, files, root, modes
        self.location = location

    def _path_of(self, name: str) -> bytes:
        return join(self._root, check_name(name).encode())

    def begin(self) -> Writer:
        """See `SideFiles`."""
        return SftpWriter(self._connection, self._path_of, str, self._modes())

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `SideFiles`."""
        self.size(name)  # nothing but files: a link may lead out of the folder, and opening a FIFO may wait for ever
        path, session = self._path_of(name), self._connection.session()
        with self._files.open(session, path, name) as file:
            wanted = file.size - offset if length is None else length
            if wanted < 0 or wanted > file.size - offset:
                what = f"has {file.size} bytes, wanted {max(wanted, 0)} from {offset}"
                raise FileUnusable(f"{name}: {what}", object=name)
            return file.read(offset, wanted)

    def size(self, name: str) -> int:
        """See `SideFiles`."""
        found = attributes(self._connection.session(), self._path_of(name), name, follow=False)
        if not found.is_file or found.size is None:
            raise FileUnusable(f"{name}: is not a file", object=name)
        return found.size

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """See `SideFiles`."""
        session, above = self._connection.session(), len(join(self._root, b"x")) - 1
        found: list[tuple[str, int]] = []
        for entry in walk(session, self._root):
            name = gojson.to_text(entry.path[above:])
            if entry.found.is_file and name.startswith(prefix) and is_side_name(name) and not is_unfinished(entry.name):
                found.append((name, self.size(name) if entry.found.size is None else entry.found.size))
        yield from sorted(found)

    def remove(self, name: str) -> None:
        """See `SideFiles`."""
        path, session = self._path_of(name), self._connection.session()
        must(session, session.ask(protocol.naming(protocol.REMOVE, path)), "remove", path, name)
        folder = posixpath.dirname(path)
        while len(folder) >= len(self._root) and folder:
            status = status_or_none(session, session.ask(protocol.naming(protocol.RMDIR, folder)))
            if status is None or status.code != protocol.OK:
                return  # Something is in it.
            folder = posixpath.dirname(folder)
