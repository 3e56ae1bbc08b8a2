"""A repository in a folder of an SFTP server, in the default layout or the old S3 one, as restic keeps it there."""

from __future__ import annotations

import posixpath
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress

from restic_format.errors import FileMissing, FileUnusable, StorageError
from restic_format.storage.base import Content, Storage, Writer, check_range, check_size, name_of, write_whole
from restic_format.storage.sftp import protocol
from restic_format.storage.sftp.connection import Connection, sending
from restic_format.storage.sftp.files import (
    Entry,
    attributes,
    entries,
    join,
    make_folder_and_above,
    make_folders,
    must,
    size_of,
    status_or_none,
    walk,
)
from restic_format.storage.sftp.reading import Opened, OpenFiles
from restic_format.storage.sftp.writer import SftpWriter
from restic_format.storage.side import SideFiles
from restic_format.storage.transport import Transport
from restic_spec import gojson
from restic_spec.ids import is_hex_id
from restic_spec.layout import KINDS, LISTED_KINDS, SIDE_FOLDERS, FileKind, Layout, folder_of, folders, path_of

_TEMPORARY_NAME = re.compile(rb"[0-9a-f]{64}-(tmp|restic-temp)-[0-9a-f]+\Z")
_PRIVATE, _SHARED = (0o700, 0o600), (0o770, 0o660)
_CONFIG, _NEW_KEYS, _OLD_KEYS = range(3)
"""What is asked about when a session begins."""


class SftpStorage(Storage):
    """Storage in the folder *root* of the server that the command *words* connects with; *location* is for messages.

    The program is started at once and not waited for. Raises `SessionNotStarted`.
    """

    def __init__(self, words: Sequence[str], root: bytes, transport: Transport, *, location: str, connections: int = 5) -> None:
        self._root = root
        self._location = location
        self._connections = connections
        self._open_files = OpenFiles(transport.download)
        self._made: list[bytes] = []
        self._layout: Layout | None = None
        self._modes: tuple[int, int] | None = None
        self._may_not_remove = False
        questions = ["config", folder_of(FileKind.KEY), folder_of(FileKind.KEY, Layout.S3LEGACY)]
        self._connection = Connection(words, transport, [self._path(name) for name in questions], location)

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.leave()

    @property
    def location(self) -> str:
        """Where it is, without a password."""
        return self._location

    @property
    def connections(self) -> int:
        """How many operations may usefully run at once."""
        return self._connections

    @property
    def layout(self) -> Layout:
        """The layout, told by what is there."""
        if self._layout is None:
            new, old = self._connection.known(_NEW_KEYS), self._connection.known(_OLD_KEYS)
            is_old = (new is None or not new.is_folder) and old is not None and old.is_folder
            self._layout = Layout.S3LEGACY if is_old else Layout.DEFAULT
        return self._layout

    @property
    def modes(self) -> tuple[int, int]:
        """Modes of new folders and files: private, or shared with the group where the config already is (LAYOUT-9)."""
        if self._modes is None:
            config = self._connection.known(_CONFIG)
            shared = config is not None and config.mode is not None and config.mode & stat.S_IRGRP
            self._modes = _SHARED if shared else _PRIVATE
        return self._modes

    def close(self) -> None:
        """End the connection. The storage is of no use then."""
        self._connection.close()

    def _path(self, name: str) -> bytes:
        return join(self._root, gojson.to_bytes(name)) if name else self._root

    def _path_of(self, kind: FileKind, name: str) -> bytes:
        return self._path("config" if kind is FileKind.CONFIG else path_of(kind, name, self.layout))

    def has_place(self, kind: FileKind) -> bool:
        """Whether the folder for files of *kind* is there."""
        try:
            return attributes(self._connection.session(), self._path(folder_of(kind, self.layout))).is_folder
        except FileMissing:
            return False

    def create(self) -> None:
        """Make the folder and everything in it that a repository has."""
        session, mode = self._connection.session(), self.modes[0]
        make_folder_and_above(session, self._root, mode, self._made)
        wanted = folders(self.layout)
        for depth in (0, 1):
            make_folders(session, [self._path(name) for name in wanted if name.count("/") == depth], mode, self._made)

    def uncreate(self) -> None:
        """Remove the folders that `create` has made and in which nothing is (see `Storage.uncreate`)."""
        made, self._made = self._made, []
        with suppress(StorageError):
            session = self._connection.session()
            for depth in sorted({path.count(b"/") for path in made}, reverse=True):
                paths = [path for path in made if path.count(b"/") == depth]
                sending(session, [protocol.naming(protocol.RMDIR, path) for path in paths])

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file (see `Storage.save`)."""
        del metadata
        write_whole(self._begin(kind, self._path_of(kind, name)), name, data)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file that is not there (see `Storage.save_new`): of several who do so at once, one succeeds."""
        writer = self._begin(kind, self._path_of(kind, name))
        try:
            writer.append(data)
            writer.finish(name, replace=False)
        except BaseException:
            writer.abort()
            raise

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """Begin to write a file (see `Storage.begin`): it goes to the server as it grows."""
        del metadata
        return self._begin(kind)

    def _begin(self, kind: FileKind, place: bytes = b"") -> SftpWriter:
        return SftpWriter(
            self._connection,
            lambda name: self._path_of(kind, name),
            lambda name: name_of(kind, name),
            self.modes,
            place=place,
        )

    def _open(self, kind: FileKind, name: str) -> AbstractContextManager[Opened]:
        path = self._path_of(kind, name)
        return self._open_files.open(self._connection.session(), path, name_of(kind, name))

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range (see `Storage.load`)."""
        with self._open(kind, name) as file:
            return file.read(offset, check_range(kind, name, file.size, offset, length))

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Fill memory from a range (see `Storage.load_into`)."""
        with self._open(kind, name) as file:
            check_range(kind, name, file.size, offset, len(target))
            file.read_into(offset, target)

    def size(self, kind: FileKind, name: str) -> int:
        """Size of a file in bytes."""
        what = name_of(kind, name)
        path = self._path_of(kind, name)
        return size_of(attributes(self._connection.session(), path, what), what)

    def written(self, kind: FileKind, name: str) -> int | None:
        """When the file was changed last, by the server's clock, in whole seconds."""
        with suppress(StorageError):
            modified = attributes(self._connection.session(), self._path_of(kind, name)).modified
            return None if modified is None else modified * 1_000_000_000
        return None

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Name and size of every file of *kind*; many folders are listed at once."""
        session = self._connection.session()
        for folder in self._folders_of(kind):
            for entry in folder:
                name = gojson.to_text(entry.name)
                if not is_hex_id(name):
                    continue
                found = entry.found
                if found.is_link:
                    try:
                        found = attributes(session, entry.path, name_of(kind, name))
                    except FileMissing:
                        continue
                if found.size is None:
                    found = attributes(session, entry.path, name_of(kind, name))
                size = found.size or 0
                yield name, size if found.is_file else max(size, 1)

    def _folders_of(self, kind: FileKind) -> Iterator[Sequence[Entry]]:
        """What is in each folder for files of *kind*."""
        session, top = self._connection.session(), self._path(folder_of(kind, self.layout))
        nested = kind is FileKind.PACK and self.layout is Layout.DEFAULT
        usual = [self._path(name) for name in folders(self.layout) if name.startswith(f"{kind.value}/")] if nested else []
        more: list[bytes] = []
        for path, found in entries(session, [top, *usual]):
            if path != top or not nested:
                yield found or []
            else:
                known = set(usual)
                # One that is a link to a folder counts, as on a local file system.
                more = [entry.path for entry in found or [] if entry.path not in known and _may_be_folder(entry)]
        yield from (found or [] for _, found in self._listable(more))

    def _listable(self, paths: Sequence[bytes]) -> Iterator[tuple[bytes, Sequence[Entry] | None]]:
        session = self._connection.session()
        replies = sending(session, [protocol.naming(protocol.STAT, path) for path in paths]) if paths else []
        known = [
            path
            for path, reply in zip(paths, replies, strict=True)
            if reply.kind == protocol.ATTRS and session.checked(protocol.attributes_of, reply).is_folder
        ]
        return entries(session, known)

    def strays(self) -> Iterator[str]:
        """Paths that belong to no repository file; a writer's unfinished files are among them."""
        for path, _ in self._walk():
            yield path

    def _walk(self) -> Iterator[tuple[str, Entry]]:
        """Every entry that is no folder and no file of the repository, with its path in there."""
        known = {self._path(folder) for folder in ("", *folders(self.layout))}
        sides = {self._path(folder) for folder in SIDE_FOLDERS}
        above = len(self._path("x")) - 1
        for entry in walk(self._connection.session(), self._root, sides):
            path = gojson.to_text(entry.path[above:])
            if not self._belongs(path, entry.folder in known):
                yield path, entry

    def _belongs(self, path: str, in_known_folder: bool) -> bool:
        if path == "config":
            return True
        name = posixpath.basename(path)
        if not in_known_folder or not is_hex_id(name):
            return False
        return any(path == path_of(kind, name, self.layout) for kind in LISTED_KINDS)

    def load_stray(self, path: str) -> bytes:
        """The content of a file that `strays` names (see `Storage.load_stray`); symbolic links are not followed."""
        raw = gojson.to_bytes(path)
        if raw.startswith(b"/") or b".." in raw.split(b"/") or b"\0" in raw:
            raise FileUnusable(f"{path}: is not in the repository", object=path)
        found = attributes(self._connection.session(), self._path(path), path, follow=False)
        if not found.is_file or found.size is None or found.size > KINDS[FileKind.SNAPSHOT].max_size:
            raise FileUnusable(f"{path}: is too large, or not a regular file", object=path)
        with self._open_files.open(self._connection.session(), self._path(path), path) as file:
            check_size(FileKind.SNAPSHOT, path, file.size)
            return file.read(0, file.size)

    def side_files(self, folder: str) -> SideFiles:
        """This program's own files in a folder of the repository; "" is the repository's own (see `Storage.side_files`)."""
        from restic_format.storage.sftp.sides import SftpSideFiles

        assert folder in SIDE_FOLDERS or not folder
        between = "" if not folder or self._location.endswith((":", "/")) else "/"
        location = f"{self._location}{between}{folder}"
        return SftpSideFiles(self._connection, self._open_files, self._path(folder), location, lambda: self.modes)

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Remove what killed writers have left, restic's as well as ours (see `Storage.remove_unfinished`)."""
        places = {folder_of(kind, self.layout) for kind in (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT)}
        found = [entry for path, entry in self._walk() if path.split("/")[0] in places and _TEMPORARY_NAME.match(entry.name)]
        if not found:
            return 0
        before = self._now() - age
        found = [entry for entry in found if entry.found.modified is not None and entry.found.modified < before]
        if not found or not is_safe():
            return 0
        removed = 0
        session = self._connection.session()
        for entry, reply in zip(
            found, sending(session, [protocol.naming(protocol.REMOVE, entry.path) for entry in found]), strict=True
        ):
            with suppress(FileMissing):
                must(session, reply, "remove", entry.path)
                removed += 1
        return removed

    def _now(self) -> float:
        """The time on the server, which may not be ours: what a file gets that is made now."""
        session, path = self._connection.session(), self._path("now" + _suffix())
        reply = session.ask(protocol.opening(path, protocol.WRITE_FLAG | protocol.CREATE_FLAG | protocol.NEW_FLAG, 0o600))
        if reply.kind != protocol.HANDLE:
            must(session, reply, "open", path)
        handle = session.checked(protocol.handle_of, reply)
        asked, *_ = sending(
            session,
            [
                protocol.naming(protocol.STAT, path),
                protocol.naming(protocol.CLOSE, handle),
                protocol.naming(protocol.REMOVE, path),
            ],
        )
        modified = session.checked(protocol.attributes_of, asked).modified if asked.kind == protocol.ATTRS else None
        return time.time() if modified is None else float(modified)

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file."""
        session, path, what = self._connection.session(), self._path_of(kind, name), name_of(kind, name)
        asking = protocol.naming(protocol.REMOVE, path)
        if self._may_not_remove:  # some servers remove nothing that may not be written to
            asking_first = protocol.changing_mode(protocol.SETSTAT, path, self.modes[1])
            must(session, sending(session, [asking_first, asking])[1], "remove", path, what)
            return
        reply = session.ask(asking)
        status = status_or_none(session, reply)
        if status is not None and status.code == protocol.PERMISSION_DENIED:
            changed, again = sending(session, [protocol.changing_mode(protocol.SETSTAT, path, self.modes[1]), asking])
            status = status_or_none(session, changed)
            self._may_not_remove = status is not None and status.code == protocol.OK
            reply = again
        must(session, reply, "remove", path, what)


def _may_be_folder(entry: Entry) -> bool:
    return entry.found.is_folder or entry.found.is_link or entry.found.mode is None


def _suffix() -> str:
    from restic_format.storage.sftp.writer import temporary_suffix

    return temporary_suffix().decode()
