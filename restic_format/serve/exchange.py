"""One request and its answer, as an ASGI server passes them on: headers, the body as it comes, what is sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

PIECE = 1 << 20
"""Bytes of a file that are read or written at once."""

PATIENCE = 300.0
"""Seconds that a client may take for the next bytes of a file, in either direction."""

_UNREAD = 256 << 20
"""Bytes of a refused upload that are taken and thrown away: a client that is cut off would not see why, and try again."""

_LENGTH = re.compile(rb"[0-9]{1,19}\Z")


class Refused(Exception):
    """A request that is answered with a *status* of failure, and *text* or the status in words."""

    def __init__(self, status: int, text: str = "", headers: Headers | None = None) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text or ("Requested Range Not Satisfiable" if status == 416 else HTTPStatus(status).phrase)
        self.headers = headers or []


class Gone(Exception):
    """The client is gone, or too slow."""


class Exchange:
    """A request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._headers: dict[bytes, bytes] = {}
        self._repeated: set[bytes] = set()
        for name, value in scope["headers"]:
            if name in self._headers:
                self._repeated.add(name)
            self._headers.setdefault(name, value)
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.query: bytes = scope["query_string"]
        self.version: str = scope["http_version"]
        self.client: str = scope["client"][0] if scope.get("client") else ""
        self.user = b""
        self.started = False
        self.status = 0
        self.sent = 0
        """Bytes of the answer's body."""
        self._read = False
        self._watch: asyncio.Future[Mapping[str, Any]] | None = None

    def header(self, name: bytes) -> bytes:
        """A header, by its name in lower case; empty where it is missing."""
        return self._headers.get(name, b"")

    def only(self, name: bytes) -> bytes:
        """A header that says who sends the request. Raises `Refused` where there are several: nobody knows which is right."""
        if name in self._repeated:
            raise Refused(401)
        return self.header(name)

    @property
    def length(self) -> int | None:
        """Bytes of the body; None where that is not known."""
        found = self.header(b"content-length")
        return int(found) if _LENGTH.match(found) else None

    @property
    def line(self) -> bytes:
        """The request's first line."""
        query = b"?" + self.query if self.query else b""
        return f"{self.method} ".encode() + self.path + query + f" HTTP/{self.version}".encode()

    @property
    def shown(self) -> str:
        """The request as messages name it."""
        return f"{self.method} {self.path.decode('latin-1')}"

    @property
    def may_stay(self) -> bool:
        """Whether the connection can go on after a refusal: nothing of a body is left that would be too much to take."""
        if not self._headers.keys().isdisjoint((b"transfer-encoding", b"expect", b"upgrade")):
            return self._read
        return self._read or (self.length or 0) <= _UNREAD

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """The body as it comes, about `PIECE` at once. Raises `Gone`."""
        held: list[bytes] = []
        size, more = 0, True
        while more:
            message = await _in_time(self._receive())
            if message["type"] != "http.request":
                raise Gone
            more = message.get("more_body", False)
            held.append(message.get("body", b""))
            size += len(held[-1])
            if size >= PIECE:
                yield held
                held, size = [], 0
        self._read = True
        if size:
            yield held

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Notice inside this block that the client is gone: what is sent to one that is goes nowhere, without a word."""
        async for _ in self.batches():
            raise Gone  # a body where none belongs
        watch = self._watch = asyncio.ensure_future(self._receive())
        try:
            yield
        finally:
            watch.cancel()
            self._watch = None

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the answer."""
        self.started, self.status = True, status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, piece: bytes) -> None:
        """Send a piece of the answer's body. Raises `Gone`."""
        if self._watch is not None and self._watch.done():
            raise Gone
        await _in_time(self._send({"type": "http.response.body", "body": piece, "more_body": True}))
        self.sent += len(piece)

    async def end(self) -> None:
        """End the answer."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def reply(self, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
        """Send a short answer as a whole."""
        found = list(headers or [])
        if not any(name == b"content-length" for name, _ in found):
            found.append((b"content-length", b"%d" % len(body)))
        await self.start(status, found)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self.sent += len(body)


async def _in_time(work: Awaitable[T]) -> T:
    """What *work* gives. Raises `Gone` where that takes too long."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await work
    except TimeoutError:
        raise Gone from None
