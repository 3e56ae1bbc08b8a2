"""A pool of connections to one HTTP server, on the standard library.

A connection carries one request at a time and is kept for the next. Bodies go in pieces: between two of them the limits of
bandwidth are asked, and one that makes no progress for too long is a stuck request, which is given up. Nothing is repeated
here, but for one case: where a connection was kept, and the server closed it in the meantime, a new one is asked what changes
nothing.
"""

from __future__ import annotations

import base64
import http.client
import re
import select
import socket
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from restic_format.durations import duration_text
from restic_format.errors import (
    AccessDenied,
    AnswerCut,
    FileUnusable,
    LocationInvalid,
    ServerNotTrusted,
    StorageAway,
    StorageError,
)
from restic_format.storage.base import Content, pieces_of
from restic_format.storage.http.addresses import NO_ADDRESS
from restic_format.storage.http.guarded import GuardedResponse
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Reply, is_page
from restic_format.storage.transport import Transport
from restic_format.systemtext import errno_text
from restic_format.words import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

_PIECE = 256 << 10
"""Bytes that are sent or received at once."""

_SMALL = 64 << 10
"""Bytes of a body that is sent together with the headers."""

_CONNECT = 30.0
"""Seconds for making a connection."""

_SAFE = ("GET", "HEAD", "PROPFIND")
"""Methods that change nothing. Others may have been done already, or the server is still at them: an upload that is sent once
more without delay would meet itself there."""

_TARGET = re.compile(r"[!-~]+")

_VALUE = re.compile(r"[\t -~\x80-\xff]*")
"""What a header may say, its bytes as characters: they may be those of UTF-8."""

_KEPT = 60.0
"""Seconds for which a connection that is not used is kept: servers close theirs after a while."""

_LARGEST_ERROR = 64 << 10
"""Bytes of the body of an error that are read."""


class ConnectionWasClosed(StorageAway):
    """The server has closed a connection that was kept, perhaps long before the request was made, which is not sent again."""


class Origin:
    """A server: how it is reached, and what it is called in messages."""

    def __init__(self, url: str) -> None:
        """*url* is ``http://host:port``, ``https://host`` or ``http+unix:///path/of/socket``. Raises `LocationInvalid`."""
        scheme, _, rest = url.partition("://")
        self.socket = ""
        if scheme == "http+unix":
            self.tls, self.socket, self.host, self.port = False, rest, "localhost", 80
            return
        try:
            parts = urlsplit(url)
            self.host, port = parts.hostname or "", parts.port
        except ValueError:
            raise LocationInvalid(f"{scheme}://…: {NO_ADDRESS}") from None
        if scheme not in ("http", "https") or not self.host:
            raise LocationInvalid(f"{scheme}://{rest.rpartition('@')[2]}: neither http:// nor https:// with a host")
        if not all("!" <= char <= "~" for char in self.host):
            raise LocationInvalid(f"{visible(self.host)}: a name of a host has only letters, digits, points and hyphens")
        self.tls = scheme == "https"
        self.port = port or (443 if self.tls else 80)

    @property
    def authority(self) -> str:
        """Host and port, as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def name(self) -> str:
        """The server in messages."""
        return f"http+unix://{self.socket}" if self.socket else f"{'https' if self.tls else 'http'}://{self.authority}"


class Pool:
    """Connections to the server *origin*; *connections* of them are kept when they are not used. See `Http`."""

    def __init__(self, origin: str, transport: Transport, connections: int, *, once: Collection[str] = ()) -> None:
        """Requests with a method of *once* are not sent again: `ConnectionWasClosed` is raised."""
        self.origin = Origin(origin)
        self._once = once
        self._transport = transport
        self._kept = connections
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        self._lock = threading.Lock()
        self._proxy = proxy_for(self.origin, transport.environment)
        self._tls: ssl.SSLContext | None = None
        if self.origin.tls:
            from restic_format.storage.http.tls import context

            self._tls = context(transport)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] = NONE,
        body: Content = b"",
        *,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
    ) -> Reply:
        """See `Http`."""
        self._check_head(target, headers)
        while True:
            connection = self._take()
            used = connection is not None
            if connection is None:
                connection = self._connect()
            try:
                reply = self._exchange(connection, method, target, headers, body, into, limit)
            except _Stale:
                connection.close()
                if used and method in self._once:
                    raise ConnectionWasClosed(f"{self.origin.name}: the server closed the connection") from None
                if used and method in _SAFE:
                    continue  # ends: there are only so many that are kept, and none is added meanwhile by this thread
                raise StorageAway(f"{self.origin.name}: the server closed the connection without an answer") from None
            except BaseException as error:
                connection.close()
                told = self._told(error)
                if told is None:
                    raise
                raise told from None
            if connection.sock is not None:
                self._give(connection)
            if reply.status == 200 and method not in ("GET", "HEAD") and reply.body and is_page(reply):
                # A network's portal answers it to whatever is asked: an upload that it takes is gone.
                raise StorageAway(f"{self.origin.name}: a web page answers, not the server")
            return reply

    def _check_head(self, target: str, headers: Mapping[str, str]) -> None:
        """Refuse what would not stay in its line: a token with the end of a line in it would begin another header."""
        if not _TARGET.fullmatch(target):
            raise FileUnusable(f"{self.origin.name}: a path with characters that no request can have")
        for name, value in headers.items():
            if not _VALUE.fullmatch(value):
                raise AccessDenied(f"{self.origin.name}: {name} has characters that no header can have, like the end of a line")

    def close(self) -> None:
        """Close the connections that are not used."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        now = time.monotonic()
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if now - since < _KEPT and _is_quiet(connection):
                return connection
            connection.close()

    def _give(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < self._kept + 1:  # one more for locks, which wait for nobody
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        origin = self.origin
        connection: http.client.HTTPConnection
        if origin.socket:
            connection = _UnixConnection(origin.socket)
        else:
            host, port, authorization = self._proxy or (origin.host, origin.port, {})
            if self._tls is not None:
                connection = http.client.HTTPSConnection(host, port, timeout=_CONNECT, context=self._tls)
                if self._proxy is not None:
                    connection.set_tunnel(origin.host, origin.port, authorization)
            else:
                connection = http.client.HTTPConnection(host, port, timeout=_CONNECT)
        connection.response_class = GuardedResponse
        try:
            connection.connect()
            connection.sock.settimeout(self._transport.stuck_after or None)
        except BaseException as error:
            connection.close()
            told = self._told(error, connecting=True)
            if told is None:
                raise
            raise told from None
        return connection

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Content,
        into: memoryview | None,
        limit: int,
    ) -> Reply:
        pieces = [memoryview(piece).cast("B") for piece in pieces_of(body) if len(piece)]
        size = sum(map(len, pieces))
        if self._proxy is not None and self._tls is None:
            target = f"http://{self.origin.authority}{target}"
        try:
            connection.putrequest(method, target, skip_host=True)
            connection.putheader("Host", self.origin.authority)
            if self._proxy is not None and self._tls is None:
                for name, value in self._proxy[2].items():
                    connection.putheader(name, value)
            if self._transport.user_agent and "User-Agent" not in headers:
                connection.putheader("User-Agent", self._transport.user_agent)
            for name, value in headers.items():
                connection.putheader(name, value)
            if size or method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(size))
            if size <= _SMALL:  # goes with the headers: two packets may cost a round trip
                if self._transport.upload is not None:
                    self._transport.upload.wait(size)
                connection.endheaders(b"".join(pieces))
            else:
                connection.endheaders()
                self._send(connection, pieces)
        except (BrokenPipeError, ConnectionResetError) as error:
            # The server may have said why before it closed.
            answer = self._late_answer(connection)
            if answer is None:
                raise _Stale from error
            return answer
        try:
            answered = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            raise _Stale from error
        return self._read(connection, method, answered, into, limit)

    def _send(self, connection: http.client.HTTPConnection, pieces: list[memoryview]) -> None:
        pace = self._transport.upload
        for piece in pieces:
            for offset in range(0, len(piece), _PIECE):
                part = piece[offset : offset + _PIECE]
                if pace is not None:
                    pace.wait(len(part))
                connection.send(part)

    def _late_answer(self, connection: http.client.HTTPConnection) -> Reply | None:
        try:
            connection.sock.settimeout(5)
            answered = connection.getresponse()
            reply = self._read(connection, "", answered, None, _LARGEST_ERROR)
        except (OSError, http.client.HTTPException, StorageError, AttributeError):
            return None
        connection.close()
        return None if reply.ok else reply

    def _read(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        answered: http.client.HTTPResponse,
        into: memoryview | None,
        limit: int,
    ) -> Reply:
        status, reason, headers = answered.status, answered.reason, answered.headers
        if status not in (200, 206):
            into = None
        if not 200 <= status < 300:
            limit = _LARGEST_ERROR
        length = answered.length
        if method == "HEAD":
            length, into = 0, None
        if into is not None:
            if length is not None and length != len(into):
                raise AnswerCut(f"{self.origin.name}: the server sent {length} bytes, {len(into)} were asked for")
            got = self._fill(answered, into)
            if got != len(into) or (length is None and answered.read(1)):
                sent = f"more than {got}" if got == len(into) else str(got)
                raise AnswerCut(f"{self.origin.name}: the server sent {sent} bytes, {len(into)} were asked for")
            body = b""
        elif length is not None and length > limit and 200 <= status < 300:
            raise FileUnusable(f"{self.origin.name}: the server sends {length} bytes, at most {limit} can be right")
        else:
            found = self._all(answered, limit, known=length)
            if found is None:
                if 200 <= status < 300:
                    raise FileUnusable(f"{self.origin.name}: the server sends more than {limit} bytes, which cannot be right")
                connection.close()
            body = found or b""
        if answered.will_close or not answered.isclosed():
            connection.close()
        return Reply(status, reason, headers, body)

    def _fill(self, answered: http.client.HTTPResponse, into: memoryview) -> int:
        pace, filled = self._transport.download, 0
        while filled < len(into):
            got = answered.readinto(into[filled : filled + _PIECE])
            if not got:
                break
            filled += got
            if pace is not None:
                pace.wait(got)
        if filled == len(into) and answered.length == 0:
            answered.read()  # so that it is closed, and the connection can be used again
        return filled

    def _all(self, answered: http.client.HTTPResponse, limit: int, known: int | None) -> bytes | None:
        """The whole body; None where it has more than *limit* bytes."""
        if known is not None and known <= min(limit, _PIECE):
            data = answered.read()
            if self._transport.download is not None:
                self._transport.download.wait(len(data))
            return data
        pieces, left = [], limit
        while piece := answered.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                return None
            pieces.append(piece)
            if self._transport.download is not None:
                self._transport.download.wait(len(piece))
        if known is not None and limit - left < known:
            raise AnswerCut(f"{self.origin.name}: the connection ended after {limit - left} of {known} bytes")
        return b"".join(pieces)

    def _told(self, error: BaseException, *, connecting: bool = False) -> StorageError | None:
        """What *error* of the connection means; None where it is none of the connection."""
        name = self.origin.name if self._proxy is None or not connecting else f"proxy {self._proxy[0]}:{self._proxy[1]}"
        if isinstance(error, StorageError):
            return None
        if isinstance(error, http.client.IncompleteRead):
            return AnswerCut(f"{name}: the connection ended in the middle of an answer")
        if isinstance(error, http.client.HTTPException):
            return StorageAway(f"{name}: what answers is no HTTP server: {type(error).__name__}")
        if isinstance(error, TimeoutError):
            patience = _CONNECT if connecting else self._transport.stuck_after
            return StorageAway(f"{name}: request timeout: no progress for {duration_text(patience)}")
        if self._tls is not None:
            from restic_format.storage.http.tls import told

            found = told(self.origin.name, error, connecting=connecting)  # a proxy only passes it on
            if found is not None:
                return found
        if isinstance(error, socket.gaierror):
            return StorageAway(
                f"{name}: lookup {self.origin.host if self._proxy is None else self._proxy[0]}: {error.strerror}"
            )
        if isinstance(error, OSError):
            return StorageAway(f"{name}: {errno_text(error)}", cause=error)
        if isinstance(error, UnicodeError):  # a host name that cannot be one
            return ServerNotTrusted(f"{name}: no such host")
        return None


def _is_quiet(connection: http.client.HTTPConnection) -> bool:
    """Whether nothing has come on a connection that is not used: its end, or what would be taken for the next answer."""
    sock = connection.sock
    pending = getattr(sock, "pending", None)  # of TLS
    if pending is not None and pending():
        return False
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return not waiting.poll(0)


class _Stale(Exception):
    """The connection was closed before anything was answered."""


class _UnixConnection(http.client.HTTPConnection):
    """A connection through the socket at *path*."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CONNECT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def proxy_for(origin: Origin, environment: Mapping[str, str]) -> tuple[str, int, dict[str, str]] | None:
    """Host, port and headers of the proxy that the environment names for *origin*; None for none.

    Raises:
        LocationInvalid: the variable names none that can be used.
    """
    variable = "HTTPS_PROXY" if origin.tls else "HTTP_PROXY"
    url = environment.get(variable) or environment.get(variable.lower()) or ""
    if not url or origin.socket or _needs_none(origin, environment.get("NO_PROXY") or environment.get("no_proxy") or ""):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        raise LocationInvalid(f"{variable} names no proxy") from None
    if parts.scheme != "http" or not host:
        raise LocationInvalid(f"{variable} names a proxy of another kind than http://, which is not supported")
    if parts.username is None:
        return host, port, {}
    secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return host, port, {"Proxy-Authorization": f"Basic {base64.b64encode(secret).decode()}"}


def _needs_none(origin: Origin, exceptions: str) -> bool:
    """Whether *origin* is reached without a proxy: it is on this machine, or among the *exceptions* (``$NO_PROXY``)."""
    import ipaddress

    host = origin.host.lower()
    address = None
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for word in exceptions.split(","):
        name = word.strip().lower()
        name, colon, port = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
        if not colon:
            name = word.strip().lower()
        elif port != str(origin.port):
            continue
        if name == "*":
            return True
        if address is not None and name:
            try:
                if address in ipaddress.ip_network(name, strict=False):
                    return True
            except ValueError:
                continue
        elif name and (host == name.lstrip(".") or host.endswith("." + name.lstrip("."))):
            return True
    return False
