"""Connections to an FTP server: logging in, with TLS or without, what is done again on a new one, and what goes wrong.

A connection does one thing at a time and is kept for the next. Texts are bytes to FTP: ``latin-1`` is what keeps each as it is.
"""

from __future__ import annotations

import contextlib
import ftplib
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from restic_format.durations import duration_text
from restic_format.errors import AccessDenied, ServerNotTrusted, StorageAway, StorageError
from restic_format.storage.transport import Transport
from restic_format.systemtext import errno_text
from restic_format.words import visible

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

PIECE = 256 << 10
"""Bytes that are sent or received at once."""

_CONNECT = 30.0
"""Seconds for making a connection."""

_KEPT = 30.0
"""Seconds for which a connection that is not used is kept: servers close theirs after a while."""

_LARGEST_LIST = 256 << 20
"""Bytes that the list of a folder may have."""


class Server(NamedTuple):
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


_MOST_LINES = 1000
"""Lines that an answer to a command may have."""


class _Plain(ftplib.FTP):
    """FTP, whose answers have an end."""

    def getmultiline(self) -> str:
        """An answer with all its lines."""
        found = [self.getline()]
        if found[0][3:4] == "-":
            while found[-1][:3] != found[0][:3] or found[-1][3:4] == "-":
                if len(found) == _MOST_LINES:
                    raise ftplib.Error(f"an answer with more than {_MOST_LINES} lines")
                found.append(self.getline())
        return "\n".join(found)


class _Tls(_Plain, ftplib.FTP_TLS):
    """FTP with TLS, whose connections for data go on with the session of the one for commands, as many servers want it."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        control: ssl.SSLSocket = self.sock  # type: ignore[assignment]
        return self.context.wrap_socket(connection, server_hostname=self.host, session=control.session), size


class Failed(Exception):
    """A command that the server refused, with the code and the text of its answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Connections:
    """Connections to *server*, one for each that does something at a time; at most *kept* wait for the next."""

    def __init__(self, server: Server, transport: Transport, kept: int) -> None:
        self._server = server
        self._transport = transport
        self._most = kept
        self._idle: list[tuple[ftplib.FTP, float]] = []
        self._guard = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        if server.tls:
            from restic_format.storage.http.tls import context

            self._tls = context(transport)
            self._tls.set_alpn_protocols(["ftp"])

    def _connect(self) -> ftplib.FTP:
        server = self._server
        made: ftplib.FTP
        if self._tls is None:
            made = _Plain(encoding="latin-1", timeout=_CONNECT)
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

    def do(self, act: Callable[[ftplib.FTP], T], what: str, begun: Callable[[], bool] = bool) -> T:
        """What *act* gives with a connection; once more with a new one where one that was kept is gone.

        Unless *begun* says that it has done something already. Raises `Failed`.
        """
        while True:
            connection = self._take()
            used = connection is not None
            if connection is None:
                connection = self._connect()
            try:
                found = act(connection)
            except (ftplib.error_perm, ftplib.error_temp) as error:
                if code_of(error) // 10 == 42:  # something is wrong with the connection
                    connection.close()
                    if used and code_of(error) == 421 and not begun():
                        continue
                    raise self._about(error, what) from None
                self._give(connection)
                raise Failed(code_of(error), str(error)) from None
            except Failed:
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
            if time.monotonic() - since < _KEPT and not _has_come(connection):
                return connection
            connection.close()

    def _give(self, connection: ftplib.FTP) -> None:
        with self._guard:
            if connection.sock is not None and len(self._idle) <= self._most:
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
        if isinstance(error, StorageError | Failed):
            return error
        if isinstance(error, TimeoutError):
            patience = _CONNECT if connecting else self._transport.stuck_after
            return StorageAway(f"{name}: request timeout: no progress for {duration_text(patience)}")
        if isinstance(error, ftplib.error_perm) and connecting:
            return AccessDenied(f"{name}: {visible(what)}: {shown(str(error))}")
        if isinstance(error, ftplib.Error | EOFError):
            return StorageAway(f"{name}: {visible(what)}: {shown(str(error)) or 'the server closed the connection'}")
        if self._tls is not None:
            from restic_format.storage.http.tls import told

            found = told(name, error, connecting=connecting)
            if found is not None:
                return found
        if isinstance(error, socket.gaierror):
            return StorageAway(f"{name}: lookup {self._server.host}: {error.strerror}")
        if isinstance(error, OSError):
            return StorageAway(f"{name}: {errno_text(error)}", cause=error)
        if connecting and isinstance(error, UnicodeError):
            return ServerNotTrusted(f"{name}: no such host")
        if isinstance(error, ValueError | OverflowError | IndexError):
            # ftplib takes numbers out of answers, sizes and ports, without a look at what stands there.
            return StorageAway(f"{name}: {visible(what)}: what the server answers makes no sense")
        return error


def _has_come(ftp: ftplib.FTP) -> bool:
    """Whether something has come that nobody asked for: the end, or what would be taken for the answer to the next command."""
    ready = select.poll()
    ready.register(ftp.sock, select.POLLIN)  # type: ignore[arg-type]
    return bool(ready.poll(0))


def shut(connection: socket.socket) -> None:
    """End the encryption of a connection for data, which some servers want before they believe that it is over."""
    unwrap: Any = getattr(connection, "unwrap", None)
    if unwrap is not None:
        with contextlib.suppress(OSError):
            unwrap()


def lines(ftp: ftplib.FTP, command: str) -> list[str]:
    """What *command* lists, line by line; binary, as everything else here."""
    found = bytearray()
    with ftp.transfercmd(command) as connection:
        connection.settimeout(ftp.timeout)
        while piece := connection.recv(PIECE):
            found += piece
            if len(found) > _LARGEST_LIST:
                raise StorageError(f"list: the server sends more than {_LARGEST_LIST} bytes")
        shut(connection)
    ftp.voidresp()
    return found.decode("latin-1").replace("\r\n", "\n").split("\n")


def code_of(error: ftplib.Error) -> int:
    """The number that an answer begins with; 0 where it has none."""
    text = str(error)[:3]
    return int(text) if text.isascii() and text.isdecimal() else 0


def _is_stale(error: BaseException) -> bool:
    """Whether a connection that was kept was closed meanwhile."""
    return isinstance(error, EOFError | ConnectionResetError | BrokenPipeError | ConnectionAbortedError)


def shown(text: str) -> str:
    """What the server says, in one line that a terminal can have."""
    return visible(" ".join(text.split()))[:200]
