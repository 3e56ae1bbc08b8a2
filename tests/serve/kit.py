"""Requests to REST servers, as a client writes them or as nobody should."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.servers.base import Server

V1, V2 = "application/vnd.x.restic.rest.v1", "application/vnd.x.restic.rest.v2"
NONE: Mapping[str, str] = {}


def sha(data: bytes) -> str:
    """The name of a file with this content."""
    return hashlib.sha256(data).hexdigest()


def basic(user: str, password: str) -> dict[str, str]:
    """The header with a user and password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def listed(self) -> dict[str, int | None]:
        """Names and sizes in a listing; version 1 has no sizes."""
        found: list[Any] = json.loads(self.body)
        return dict((item, None) if isinstance(item, str) else (item["name"], item["size"]) for item in found)


def ask(server: Server, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = NONE) -> Answer:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers))
        return answer_of(connection)
    finally:
        connection.close()


def answer_of(connection: http.client.HTTPConnection) -> Answer:
    """The answer to the request that was sent last."""
    reply = connection.getresponse()
    body = reply.read()
    return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, body)


def raw(server: Server, data: bytes, *, end: bool = False, seconds: float = 10.0) -> bytes:
    """What the server sends to these bytes until it closes the connection; with *end* we say that no more will come.

    Fails when it neither closes nor answers in time.
    """
    found = b""
    with (
        socket.create_connection(("127.0.0.1", server.port), seconds) as connection,
        contextlib.suppress(ConnectionResetError, BrokenPipeError),
    ):
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(1 << 16):
            found += piece
    return found


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether *condition* becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.01)
    return condition()
