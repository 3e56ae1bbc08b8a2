"""A proxy for HTTP that gets in the way: what it does to which request is chosen by a seed.

It is made by hand, since no real server misbehaves on demand. Some faults happen before the server sees the request, some
after it has done what was asked. None of them tells a lie that nothing could find out: no upload is confirmed that the server
never got, but for the pages of `HTML`, which no server of files sends; and no byte is changed in lists, which have no checksum.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.servers.base import Place


class Fault(Enum):
    """What can happen to a request or to its answer."""

    DROP_REQUEST = "the connection ends without an answer, and the server never sees the request"
    CUT_REQUEST = "the connection ends in the middle of the request's body, also for the server"
    DROP_ANSWER = "the server does what it is asked, and the connection ends without an answer"
    CUT_ANSWER = "the connection ends in the middle of the answer's body"
    SHORT_ANSWER = "the answer's body is cut, and its length says so"
    ERROR_500 = "an error of the server, which does nothing"
    ERROR_503 = "the server is too busy, with a time to wait"
    ERROR_429 = "too many requests, with a time to wait"
    LATE_500 = "the server does what it is asked, and an error is answered"
    HTML = "a page with status 200, as portals of networks have it; the server does nothing"
    TWICE = "the answer is sent two times, so that the second one looks like the answer to the next request"
    GARBLE_ANSWER = "one byte of the answer's body is another"
    GARBLE_REQUEST = "one byte of the request's body is another"
    DELAY = "the answer comes late"


PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please accept our terms.</body></html>\n"

MOST_IN_A_ROW = 3
"""How often one request can fail before it gets through: a client that repeats it comes to an end."""

LATE = 0.05
"""Seconds of a delay."""


class Happened(NamedTuple):
    """A request, and what was done to it."""

    number: int
    request: str
    fault: Fault | None

    def __str__(self) -> str:
        return f"{self.number} {self.request}{f' {self.fault.name}' if self.fault else ''}"


class _Message(NamedTuple):
    """A request or an answer."""

    first: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def get(self, name: bytes) -> bytes:
        return next((value for key, value in self.headers if key.lower() == name), b"")

    def with_body(self, body: bytes) -> _Message:
        """The same with another body, whose length the headers tell."""
        kept = [item for item in self.headers if item[0].lower() not in (b"content-length", b"transfer-encoding")]
        return self._replace(headers=[*kept, (b"Content-Length", b"%d" % len(body))], body=body)

    def head(self) -> bytes:
        return b"\r\n".join([self.first, *(b": ".join(item) for item in self.headers), b"", b""])


class FaultyProxy:
    """Passes HTTP on to port *port* of 127.0.0.1; of *faults* something happens to a part, *rate*, of the requests."""

    def __init__(
        self,
        port: int,
        seed: object = 0,
        rate: float = 0.15,
        faults: Iterable[Fault] = Fault,
        before: Callable[[Happened], object] = lambda request: None,
    ) -> None:
        """*before* is called before each request is passed on."""
        self._before = before
        self.happened: list[Happened] = []
        """Every request so far."""
        self._upstream = port
        self._seed, self._rate, self._faults = seed, rate, list(faults)
        self._in_a_row: dict[str, int] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self._listener.getsockname()[1]
        self._closed = False
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def place(self, place: Place) -> Place:
        """*place*, reached through this proxy."""
        before, after = f"127.0.0.1:{self._upstream}", f"127.0.0.1:{self.port}"
        return place._replace(
            location=place.location.replace(before, after),
            options={name: text.replace(before, after) for name, text in place.options.items()},
            environment={name: text.replace(before, after) for name, text in place.environment.items()},
        )

    def be_good(self) -> None:
        """Pass everything on from now."""
        self._rate = 0.0

    def story(self) -> str:
        """The requests to which something happened."""
        return "\n".join(str(what) for what in self.happened if what.fault)

    def _listen(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, EOFError, ValueError),
            client,
            socket.create_connection(("127.0.0.1", self._upstream)) as server,
        ):
            incoming, outgoing = client.makefile("rb"), server.makefile("rb")
            with incoming, outgoing:
                while self._pass_on(client, incoming, server, outgoing):
                    pass

    def _choose(self, method: str, target: str, size: int) -> Fault | None:
        request = f"{method} {urlsplit(target).path}"
        with self._lock:
            number = len(self.happened)
            dice = random.Random(f"{self._seed}/{number}")
            fault = dice.choice(self._faults) if dice.random() < self._rate else None
            if fault in (Fault.GARBLE_REQUEST, Fault.CUT_REQUEST) and not size:
                fault = Fault.ERROR_503
            in_a_row = self._in_a_row.get(request, 0)
            if fault is not None and in_a_row >= MOST_IN_A_ROW:
                fault = None
            self._in_a_row[request] = in_a_row + 1 if fault else 0
            self.happened.append(Happened(number, request, fault))
        self._before(self.happened[number])
        return fault

    def _pass_on(self, client: socket.socket, incoming, server: socket.socket, outgoing) -> bool:  # type: ignore[no-untyped-def]
        """One request and its answer. Whether the connection goes on."""
        request = _read(incoming, "")
        method, target, _ = request.first.decode("latin-1").split(" ", 2)
        fault = self._choose(method, target, len(request.body))
        if fault is Fault.CUT_REQUEST:
            server.sendall(request.head() + request.body[: len(request.body) // 2])
        if fault in (Fault.DROP_REQUEST, Fault.CUT_REQUEST):
            return False
        made_up = {
            Fault.ERROR_500: b"500 Internal Server Error",
            Fault.ERROR_503: b"503 Service Unavailable",
            Fault.ERROR_429: b"429 Too Many Requests",
            Fault.LATE_500: b"500 Internal Server Error",
            Fault.HTML: b"200 OK",
        }
        answer = None
        if fault is Fault.GARBLE_REQUEST:
            request = request._replace(body=_garbled(request.body))
        if fault not in (Fault.ERROR_500, Fault.ERROR_503, Fault.ERROR_429, Fault.HTML):
            server.sendall(request.head() + request.body)
            answer = _read(outgoing, method)
        if fault is Fault.DROP_ANSWER:
            return False
        if fault in made_up:
            headers = [(b"Content-Type", b"text/html" if fault is Fault.HTML else b"text/plain"), (b"Retry-After", b"1")]
            body = PAGE if fault is Fault.HTML else b"injected trouble\n"
            answer = _Message(b"HTTP/1.1 " + made_up[fault], headers, b"").with_body(body)
            if method == "HEAD":
                answer = answer._replace(body=b"")
        assert answer is not None
        if fault is Fault.SHORT_ANSWER and answer.body:
            answer = answer.with_body(answer.body[: len(answer.body) // 2])
        elif fault is Fault.GARBLE_ANSWER and answer.body and not _is_text(answer):
            answer = answer._replace(body=_garbled(answer.body))
        elif fault is Fault.DELAY:
            threading.Event().wait(LATE)
        data = answer.head() + answer.body
        if fault is Fault.CUT_ANSWER:
            client.sendall(data[: len(data) - max(1, len(answer.body) // 2)])
            return False
        client.sendall(data * (2 if fault is Fault.TWICE else 1))
        return b"close" not in answer.get(b"connection").lower() and b"close" not in request.get(b"connection").lower()


def _is_text(answer: _Message) -> bool:
    kind = answer.get(b"content-type").lower()
    return any(word in kind for word in (b"json", b"xml", b"text", b"vnd.x.restic.rest"))


def _garbled(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x20]) + data[middle + 1 :]


def _read(file, method: str) -> _Message:  # type: ignore[no-untyped-def]
    """A request, or the answer to one of *method*. Raises `EOFError` where there is none."""
    first = file.readline(65536).rstrip(b"\r\n")
    if not first:
        raise EOFError
    headers = []
    while line := file.readline(65536).rstrip(b"\r\n"):
        name, _, value = line.partition(b":")
        headers.append((name, value.strip()))
    message = _Message(first, headers, b"")
    status = first.split(b" ")[1] if first.startswith(b"HTTP/") else b""
    if status.startswith(b"1"):
        return _read(file, method)
    if method == "HEAD" or status in (b"204", b"304"):
        return message
    if b"chunked" in message.get(b"transfer-encoding").lower():
        body = b""
        while size := int(file.readline().split(b";")[0], 16):
            body += file.read(size)
            file.readline()
        while file.readline().strip():
            pass
        return message.with_body(body)
    length = message.get(b"content-length")
    if length:
        body = file.read(int(length))
        if len(body) < int(length):
            raise EOFError
        return message._replace(body=body)
    return message if not status else message.with_body(file.read())
