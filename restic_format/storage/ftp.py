"""Repositories on FTP servers, with and without TLS, by the standard library's ftplib."""

from __future__ import annotations

import contextlib
import ftplib
import re
import time
from calendar import timegm
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from restic_format.errors import (
    AccessDenied,
    AnswerCut,
    FileMissing,
    FileUnusable,
    LocationInvalid,
    NoSpace,
    StorageAway,
    StorageError,
)
from restic_format.storage.base import Content, pieces_of
from restic_format.storage.folders import Entry, FolderMissing, FolderStore
from restic_format.storage.ftpconnections import PIECE, Connections, Failed, Server, code_of, lines, shown, shut
from restic_format.storage.transport import Transport
from restic_format.words import visible

_AT_THE_END = 5.0
"""Seconds that the server has to answer when an upload was given up."""

_LISTED = re.compile(r"([-dl])[-rwxsStTlL]{9}\S* +\d+ +\S+ +\S+ +(\d{1,19}) +\S+ +\S+ +\S+ (.+)")
"""A line as ``ls -l`` prints it, for servers that know no better list."""

_TOTAL = re.compile(r"(total \d+)?")

_FULL = (452, 552)
_CLASSES: dict[int, type[StorageError]] = {
    **dict.fromkeys((530, 532, 550, 553), AccessDenied),
    **dict.fromkeys(_FULL, NoSpace),
}
"""What the codes of answers mean, where it is not that something is missing."""

_UNKNOWN = (500, 501, 502, 504)
"""Answers to a command that the server does not know."""


class FtpOptions(NamedTuple):
    """The options of OpenDAL's service ``ftp``."""

    endpoint: str = ""
    root: str = ""
    user: str = ""
    password: str = ""


def open_ftp(options: FtpOptions, transport: Transport, connections: int) -> FolderStore:
    """The folder that *options* name on a server.

    Raises:
        LocationInvalid: no endpoint, or none that can be.
        UsageError: a certificate that makes no sense.
    """
    if not options.endpoint:
        raise LocationInvalid("opendal:ftp: no server is named: -o opendal.endpoint=ftp://host")
    url = options.endpoint if "://" in options.endpoint else f"ftp://{options.endpoint}"
    try:
        parts = urlsplit(url)
        port = parts.port or 21
    except ValueError:
        raise LocationInvalid("opendal:ftp: the endpoint is neither ftp://host:port nor ftps://host:port") from None
    if parts.scheme not in ("ftp", "ftps") or not parts.hostname:
        raise LocationInvalid("opendal:ftp: the endpoint is neither ftp://host:port nor ftps://host:port")
    user, password = options.user, options.password
    if parts.username is not None and not user:
        user, password = unquote(parts.username), unquote(parts.password or "")
    words = [word for text in (unquote(parts.path), options.root) for word in text.split("/") if word]
    if ".." in words or any(char in "".join((*words, user, password)) for char in "\r\n\0"):
        raise LocationInvalid("opendal:ftp: a path with '..', or a line break in an option")
    server = Server(parts.hostname, port, user or "anonymous", password, tls=parts.scheme == "ftps")
    return FtpStore(server, "/" + "/".join(words), transport, connections)


class FtpStore(FolderStore):
    """The folder *root* of an FTP server."""

    def __init__(self, server: Server, root: str, transport: Transport, connections: int) -> None:
        super().__init__()
        self._server = server
        self._root = root.rstrip("/").encode("utf-8", "surrogateescape").decode("latin-1")
        self._shown = visible(root)
        self._transport = transport
        self._connections = Connections(server, transport, connections)
        self._most = connections
        self._lists_facts = True

    @property
    def location(self) -> str:
        """The folder."""
        return f"opendal:ftp ({self._server.name}{self._shown})"

    @property
    def connections(self) -> int:
        """How many connections there may be."""
        return self._most

    def _path(self, path: str) -> str:
        """*path* on the server; what came from its lists is latin-1 already, what is ours is ASCII."""
        return f"{self._root}/{path}" if path else self._root or "/"

    def _told(self, failed: Failed, what: str, kind: type[StorageError] | None = None) -> StorageError:
        if kind is None:
            kind = _CLASSES.get(failed.code, StorageError)
        return kind(f"{visible(what)}: {shown(str(failed))}")

    def close(self) -> None:
        """Close the connections that are not used."""
        self._connections.close()

    def entries(self, folder: str) -> Sequence[Entry]:
        """What is in *folder*."""
        what = f"list {folder or '/'}"

        def act(ftp: ftplib.FTP) -> list[Entry]:
            ftp.voidcmd(f"CWD {self._path(folder)}")
            if self._lists_facts:
                try:
                    return [entry for line in lines(ftp, "MLSD") if line and (entry := _by_facts(line)) is not None]
                except ftplib.error_perm as error:
                    if code_of(error) not in _UNKNOWN:
                        raise
                    self._lists_facts = False
            return [entry for line in lines(ftp, "LIST") if (entry := _by_line(line)) is not None]

        try:
            return self._connections.do(act, what)
        except Failed as failed:
            raise self._told(failed, what, self._missing(folder)) from None

    def _missing(self, path: str) -> type[StorageError] | None:
        """`FileMissing` where the folder above shows no such *path*.

        Servers answer alike when something is missing and when it may not be read.
        """
        if not path:
            return None if self._root_is_there() else FileMissing
        above, _, name = path.rpartition("/")
        try:
            return None if any(entry.name == name for entry in self.entries(above)) else FileMissing
        except FileMissing:
            return FileMissing

    def _root_is_there(self) -> bool:
        above, _, name = self._root.rpartition("/")

        def act(ftp: ftplib.FTP) -> bool:
            ftp.voidcmd(f"CWD {above or '/'}")
            return name in (word.rpartition("/")[2] for word in lines(ftp, "NLST"))

        try:
            return not self._root or self._connections.do(act, "list /")
        except Failed:
            return False

    def make_folder(self, folder: str) -> None:
        """Make *folder*; for "" those above it too that are not there."""
        if folder:
            self._make(self._path(folder))
        elif self._root:
            self._make_root(self._root)

    def _make_root(self, path: str) -> None:
        above = path.rpartition("/")[0]
        try:
            self._make(path)
        except StorageError:
            if not above:
                raise
            self._make_root(above)
            self._make(path)

    def _make(self, path: str) -> None:
        def act(ftp: ftplib.FTP) -> None:
            try:
                ftp.voidcmd(f"MKD {path}")
            except ftplib.error_perm:
                ftp.voidcmd(f"CWD {path}")  # it is there

        try:
            self._connections.do(act, "make folder")
        except Failed as failed:
            raise self._told(failed, f"make folder {visible(path)}") from None

    def write(self, path: str, data: Content) -> None:
        """Write a file, and see that it has come whole."""
        pieces = [memoryview(piece).cast("B") for piece in pieces_of(data) if len(piece)]
        pace = self._transport.upload
        size = sum(map(len, pieces))

        begun: list[bool] = []

        def send(ftp: ftplib.FTP) -> None:
            with ftp.transfercmd(f"STOR {self._path(path)}") as connection:
                begun.append(True)
                connection.settimeout(self._transport.stuck_after or None)
                for piece in pieces:
                    for offset in range(0, len(piece), PIECE):
                        part = piece[offset : offset + PIECE]
                        if pace is not None:
                            pace.wait(len(part))
                        connection.sendall(part)
                shut(connection)

        def act(ftp: ftplib.FTP) -> int | None:
            try:
                send(ftp)
            except ftplib.Error:
                raise
            except BaseException:
                self._take_back(ftp, path)
                raise
            ftp.voidresp()
            return ftp.size(self._path(path))

        try:
            arrived = self._connections.do(act, f"upload {path}", lambda: bool(begun))
        except Failed as failed:
            folder = path.rpartition("/")[0]
            kind = FolderMissing if failed.code not in _FULL and not self._is_there(folder) else None
            raise self._told(failed, f"upload {path}", kind) from None
        if arrived != size:
            raise StorageAway(f"upload {path}: {arrived} of {size} bytes arrived")

    def _take_back(self, ftp: ftplib.FTP, path: str) -> None:
        """Remove what has come of a file: to the server it is whole, as the connection for it is closed now."""
        with contextlib.suppress(OSError, EOFError, ftplib.Error):
            if ftp.sock is not None:
                ftp.sock.settimeout(_AT_THE_END)
            with contextlib.suppress(ftplib.error_temp):
                ftp.voidresp()
            ftp.voidcmd(f"DELE {self._path(path)}")

    def _is_there(self, folder: str) -> bool:
        try:
            self._connections.do(lambda ftp: ftp.voidcmd(f"CWD {self._path(folder)}"), f"look for {folder}")
        except Failed:
            return False
        return True

    def rename(self, path: str, to: str, *, replace: bool) -> bool:
        """Give a file another name; a server that replaces none has the other removed first."""
        if not replace and self.has(to):
            return False

        def act(ftp: ftplib.FTP) -> None:
            ftp.rename(self._path(path), self._path(to))

        try:
            self._connections.do(act, f"rename {path}")
        except Failed as failed:
            if not self.has(to):
                raise self._told(failed, f"rename {path}") from None
            if not replace:
                return False
            self.delete(to)
            try:
                self._connections.do(act, f"rename {path}")
            except Failed as again:
                raise self._told(again, f"rename {path}") from None
        return True

    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """Read a part of a file."""
        if length is None:
            size = self.size(key)
            if size - offset > limit:
                raise FileUnusable(f"load {key}: has {size} bytes, at most {limit} can be right")
            length = max(size - offset, 0)
        target = bytearray(length)
        self.get_into(key, offset, memoryview(target))
        return bytes(target)

    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """Read a part of a file into *target*."""
        pace = self._transport.download
        what = f"load {key}"

        def act(ftp: ftplib.FTP) -> int:
            got = 0
            with ftp.transfercmd(f"RETR {self._path(key)}", offset or None) as connection:
                connection.settimeout(self._transport.stuck_after or None)
                while got < len(target):
                    count = connection.recv_into(target[got : got + PIECE])
                    if not count:
                        break
                    got += count
                    if pace is not None:
                        pace.wait(count)
            # The server may have been in the middle of it.
            with contextlib.suppress(ftplib.Error):
                ftp.getresp()
            return got

        try:
            got = self._connections.do(act, what)
        except Failed as failed:
            short = FileUnusable if not (missing := self._missing(key)) and self.size(key) < offset else None
            raise self._told(failed, what, missing or short) from None
        if got < len(target):
            raise AnswerCut(f"{what}: {got} of {len(target)} bytes from {offset} arrived")

    def size(self, key: str) -> int:
        """Bytes of a file."""
        what = f"stat {key}"

        def act(ftp: ftplib.FTP) -> int | None:
            return ftp.size(self._path(key))

        try:
            found = self._connections.do(act, what)
        except Failed as failed:
            raise self._told(failed, what, self._missing(key)) from None
        if found is None or found < 0:
            raise StorageError(f"{what}: the server does not say how large it is")
        return found

    def delete(self, key: str) -> None:
        """Remove a file."""
        try:
            self._connections.do(lambda ftp: ftp.voidcmd(f"DELE {self._path(key)}"), f"remove {key}")
        except Failed as failed:
            raise self._told(failed, f"remove {key}", self._missing(key)) from None


def _by_facts(line: str) -> Entry | None:
    """An entry by a line of MLSD, ``type=file;size=5;modify=20240102030405; name``; None for what is neither file nor folder.

    Raises:
        StorageError: it does not say what it is, or how large: to leave out a file would be to call it missing.
    """
    facts, _, name = line.partition(" ")
    known = {key.lower(): value for key, _, value in (fact.partition("=") for fact in facts.split(";"))}
    kind, size, modified = known.get("type", "").lower(), known.get("size", ""), None
    with contextlib.suppress(ValueError, OverflowError):
        modified = float(timegm(time.strptime(known.get("modify", "")[:14], "%Y%m%d%H%M%S")))
    if kind == "dir":
        return Entry(name, 0, True, modified)
    if kind and kind != "file":
        return None
    if not kind or not _is_number(size):
        raise _unreadable(line)
    return Entry(name, int(size), False, modified)


def _by_line(line: str) -> Entry | None:
    """An entry by a line of LIST; None for what is neither file nor folder. Raises as `_by_facts`."""
    found = _LISTED.fullmatch(line)
    if found is None:
        if line[:1] in "bcps" or _TOTAL.fullmatch(line):
            return None
        raise _unreadable(line)
    if found[1] == "l" or found[3] in (".", ".."):
        return None
    return Entry(found[3], 0 if found[1] == "d" else int(found[2]), found[1] == "d")


def _unreadable(line: str) -> StorageError:
    return StorageError(f"the server lists files in a form that is not known: {shown(line)}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20
