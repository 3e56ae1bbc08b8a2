"""Repositories on FTP servers, with and without TLS, by the standard library's ftplib.

A connection does one thing at a time and is kept for the next. Paths are bytes to FTP, so they go as such: ``latin-1`` here is
what keeps each byte as it is.
"""

from __future__ import annotations

import contextlib
import ftplib
import re
import socket
import threading
import time
from calendar import timegm
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from restic_format.durations import duration_text
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
from restic_format.storage.transport import Transport
from restic_format.systemtext import errno_text
from restic_format.words import visible

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

_PIECE = 256 << 10
_CONNECT = 30.0
"""Seconds for making a connection."""

_AT_THE_END = 5.0
"""Seconds that the server has to answer when an upload was given up."""

_KEPT = 30.0
"""Seconds for which a connection that is not used is kept: servers close theirs after a while."""

_LARGEST_LIST = 256 << 20
"""Bytes that the list of a folder may have."""

_LISTED = re.compile(r"([-dl])\S* +\d+ +\S+ +\S+ +(\d+) +\S+ +\S+ +\S+ (.+)")
"""A line as ``ls -l`` prints it, for servers that know no better list."""

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
    server = _Server(parts.hostname, port, user or "anonymous", password, tls=parts.scheme == "ftps")
    return FtpStore(server, "/" + "/".join(words), transport, connections)


class _Server(NamedTuple):
    """Where the server is, and who we are."""

    host: str
    port: int
    user: str
    password: str
    tls: bool

    @property
    def name(self) -> str:
        """The server in messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ftps' if self.tls else 'ftp'}://{host}{'' if self.port == 21 else f':{self.port}'}"


class _Tls(ftplib.FTP_TLS):
    """FTP with TLS, whose connections for data go on with the session of the one for commands, as many servers want it."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        control: ssl.SSLSocket = self.sock  # type: ignore[assignment]
        return self.context.wrap_socket(connection, server_hostname=self.host, session=control.session), size


class _Failed(Exception):
    """A command that the server refused, with the code and the text of its answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class FtpStore(FolderStore):
    """The folder *root* of an FTP server."""

    def __init__(self, server: _Server, root: str, transport: Transport, connections: int) -> None:
        super().__init__()
        self._server = server
        self._root = root.rstrip("/").encode("utf-8", "surrogateescape").decode("latin-1")
        self._shown = visible(root)
        self._transport = transport
        self._connections = connections
        self._idle: list[tuple[ftplib.FTP, float]] = []
        self._guard = threading.Lock()
        self._lists_facts = True
        self._tls: ssl.SSLContext | None = None
        if server.tls:
            from restic_format.storage.http.tls import context

            self._tls = context(transport)
            self._tls.set_alpn_protocols(["ftp"])

    @property
    def location(self) -> str:
        """The folder."""
        return f"opendal:ftp ({self._server.name}{self._shown})"

    @property
    def connections(self) -> int:
        """How many connections there may be."""
        return self._connections

    def _path(self, path: str) -> str:
        """*path* on the server; what came from its lists is latin-1 already, what is ours is ASCII."""
        return f"{self._root}/{path}" if path else self._root or "/"

    # Connections.

    def _connect(self) -> ftplib.FTP:
        server = self._server
        made: ftplib.FTP
        if self._tls is None:
            made = ftplib.FTP(encoding="latin-1", timeout=_CONNECT)
        else:
            made = _Tls(context=self._tls, encoding="latin-1", timeout=_CONNECT)
        try:
            made.connect(server.host, server.port)
            user, password = (
                text.encode("utf-8", "surrogateescape").decode("latin-1") for text in (server.user, server.password)
            )
            made.login(user, password)
            if isinstance(made, _Tls):
                made.prot_p()
            made.voidcmd("TYPE I")
            made.sock.settimeout(self._transport.stuck_after or None)  # type: ignore[union-attr]
            made.timeout = self._transport.stuck_after or 1e6
        except BaseException as error:  # noqa: BLE001 - raised again
            made.close()
            raise self._about(error, "log in", connecting=True) from None
        return made

    def _do(self, act: Callable[[ftplib.FTP], T], what: str, begun: Callable[[], bool] = bool) -> T:
        """What *act* gives with a connection; once more with a new one where one that was kept is gone.

        Unless *begun* says that it has done something already. Raises `_Failed`.
        """
        while True:
            connection = self._take()
            used = connection is not None
            if connection is None:
                connection = self._connect()
            try:
                found = act(connection)
            except (ftplib.error_perm, ftplib.error_temp) as error:
                if _code(error) // 10 == 42:  # something is wrong with the connection
                    connection.close()
                    if used and _code(error) == 421 and not begun():
                        continue
                    raise self._about(error, what) from None
                self._give(connection)
                raise _Failed(_code(error), str(error)) from None
            except _Failed:
                self._give(connection)
                raise
            except BaseException as error:  # noqa: BLE001 - raised again
                connection.close()
                if used and _is_stale(error) and not begun():
                    continue
                raise self._about(error, what) from None
            self._give(connection)
            return found

    def _take(self) -> ftplib.FTP | None:
        while True:
            with self._guard:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < _KEPT:
                return connection
            connection.close()

    def _give(self, connection: ftplib.FTP) -> None:
        with self._guard:
            if connection.sock is not None and len(self._idle) <= self._connections:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    def close(self) -> None:
        """Close the connections that are not used."""
        with self._guard:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _about(self, error: BaseException, what: str, *, connecting: bool = False) -> BaseException:
        """What *error* of a connection means; *error* itself where it is none of one."""
        name = self._server.name
        if isinstance(error, StorageError | _Failed):
            return error
        if isinstance(error, TimeoutError):
            patience = _CONNECT if connecting else self._transport.stuck_after
            return StorageAway(f"{name}: request timeout: no progress for {duration_text(patience)}")
        if isinstance(error, ftplib.error_perm) and connecting:
            return AccessDenied(f"{name}: {what}: {_shown(str(error))}")
        if isinstance(error, ftplib.Error | EOFError):
            return StorageAway(f"{name}: {what}: {_shown(str(error)) or 'the server closed the connection'}")
        if self._tls is not None:
            from restic_format.storage.http.tls import told

            found = told(name, error, connecting=connecting)
            if found is not None:
                return found
        if isinstance(error, socket.gaierror):
            return StorageAway(f"{name}: lookup {self._server.host}: {error.strerror}")
        if isinstance(error, OSError):
            return StorageAway(f"{name}: {errno_text(error)}", cause=error)
        return error

    def _told(self, failed: _Failed, what: str, kind: type[StorageError] | None = None) -> StorageError:
        if kind is None:
            kind = _CLASSES.get(failed.code, StorageError)
        return kind(f"{what}: {_shown(str(failed))}")

    # What a folder store does.

    def entries(self, folder: str) -> Sequence[Entry]:
        """What is in *folder*."""
        what = f"list {folder or '/'}"

        def act(ftp: ftplib.FTP) -> list[Entry]:
            ftp.voidcmd(f"CWD {self._path(folder)}")
            if self._lists_facts:
                try:
                    return [entry for line in _lines(ftp, "MLSD") if (entry := _by_facts(line)) is not None]
                except ftplib.error_perm as error:
                    if _code(error) not in _UNKNOWN:
                        raise
                    self._lists_facts = False
            return [entry for line in _lines(ftp, "LIST") if (entry := _by_line(line)) is not None]

        try:
            return self._do(act, what)
        except _Failed as failed:
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
            return name in (word.rpartition("/")[2] for word in _lines(ftp, "NLST"))

        try:
            return not self._root or self._do(act, "list /")
        except _Failed:
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
            self._do(act, "make folder")
        except _Failed as failed:
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
                    for offset in range(0, len(piece), _PIECE):
                        part = piece[offset : offset + _PIECE]
                        if pace is not None:
                            pace.wait(len(part))
                        connection.sendall(part)
                _shut(connection)

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
            arrived = self._do(act, f"upload {path}", lambda: bool(begun))
        except _Failed as failed:
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
            self._do(lambda ftp: ftp.voidcmd(f"CWD {self._path(folder)}"), f"look for {folder}")
        except _Failed:
            return False
        return True

    def rename(self, path: str, to: str, *, replace: bool) -> bool:
        """Give a file another name; a server that replaces none has the other removed first."""
        if not replace and self.has(to):
            return False

        def act(ftp: ftplib.FTP) -> None:
            ftp.rename(self._path(path), self._path(to))

        try:
            self._do(act, f"rename {path}")
        except _Failed as failed:
            if not self.has(to):
                raise self._told(failed, f"rename {path}") from None
            if not replace:
                return False
            self.delete(to)
            try:
                self._do(act, f"rename {path}")
            except _Failed as again:
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
                    count = connection.recv_into(target[got : got + _PIECE])
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
            got = self._do(act, what)
        except _Failed as failed:
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
            found = self._do(act, what)
        except _Failed as failed:
            raise self._told(failed, what, self._missing(key)) from None
        if found is None or found < 0:
            raise StorageError(f"{what}: the server does not say how large it is")
        return found

    def delete(self, key: str) -> None:
        """Remove a file."""
        try:
            self._do(lambda ftp: ftp.voidcmd(f"DELE {self._path(key)}"), f"remove {key}")
        except _Failed as failed:
            raise self._told(failed, f"remove {key}", self._missing(key)) from None


def _shut(connection: socket.socket) -> None:
    """End the encryption of a connection for data, which some servers want before they believe that it is over."""
    unwrap: Any = getattr(connection, "unwrap", None)
    if unwrap is not None:
        with contextlib.suppress(OSError):
            unwrap()


def _lines(ftp: ftplib.FTP, command: str) -> list[str]:
    """What *command* lists, line by line; binary, as everything else here."""
    found = bytearray()
    with ftp.transfercmd(command) as connection:
        connection.settimeout(ftp.timeout)
        while piece := connection.recv(_PIECE):
            found += piece
            if len(found) > _LARGEST_LIST:
                raise StorageError(f"list: the server sends more than {_LARGEST_LIST} bytes")
        _shut(connection)
    ftp.voidresp()
    return found.decode("latin-1").replace("\r\n", "\n").split("\n")


def _by_facts(line: str) -> Entry | None:
    """An entry by a line of MLSD: ``type=file;size=5;modify=20240102030405; name``."""
    facts, _, name = line.partition(" ")
    known = {key.lower(): value for key, _, value in (fact.partition("=") for fact in facts.split(";"))}
    kind, size, modified = known.get("type", "").lower(), known.get("size", ""), None
    with contextlib.suppress(ValueError, OverflowError):
        modified = float(timegm(time.strptime(known.get("modify", "")[:14], "%Y%m%d%H%M%S")))
    if kind == "dir":
        return Entry(name, 0, True, modified)
    return Entry(name, int(size), False, modified) if kind == "file" and _is_number(size) else None


def _by_line(line: str) -> Entry | None:
    """An entry by a line of LIST."""
    found = _LISTED.fullmatch(line)
    if found is None or found[1] == "l" or found[3] in (".", ".."):
        return None
    return Entry(found[3], 0 if found[1] == "d" else int(found[2][:19]), found[1] == "d")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def _code(error: ftplib.Error) -> int:
    text = str(error)[:3]
    return int(text) if _is_number(text) else 0


def _is_stale(error: BaseException) -> bool:
    """Whether a connection that was kept was closed meanwhile."""
    return isinstance(error, EOFError | ConnectionResetError | BrokenPipeError | ConnectionAbortedError)


def _shown(text: str) -> str:
    return visible(" ".join(text.split()))[:200]
