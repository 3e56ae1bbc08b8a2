"""OpenStack's identity service, versions 1 to 3, made by hand: it notes who asks, and lets in whom it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request for a token."""

    path: str
    user: tuple[str, str]
    """What version 1 has in headers."""
    body: Any


class IdentityServer:
    """Gives *token* and the address *storage* to everybody, or nothing to anybody while there is no token."""

    def __init__(self, storage: str = "", token: str = "") -> None:
        self.storage, self.token = storage, token
        self.asked: list[Asked] = []
        self.catalog: list[tuple[str, str, str, str]] = []
        """Type, region, interface and address of services that come before the one that is meant."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"service": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> None:
        """Start to answer."""
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()

    def services(self) -> list[tuple[str, str, str, str]]:
        """All services."""
        return [*self.catalog, ("object-store", "here", "public", self.storage)]


@contextmanager
def running_identity(storage: str = "", token: str = "") -> Iterator[IdentityServer]:
    """An identity service for *storage*."""
    server = IdentityServer(storage, token)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    service: IdentityServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        del arguments

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        user = self.headers.get("X-Auth-User") or "", self.headers.get("X-Auth-Key") or ""
        self.service.asked.append(Asked(self.path, user, json.loads(body or b"null")))
        token = self.service.token
        if not token:
            refused = {"error": {"code": 401, "title": "Unauthorized", "message": "The request needs authentication."}}
            self._send(401, {}, refused)
        elif self.path.endswith("/v2.0/tokens"):
            found = [
                {"type": kind, "endpoints": [{"region": region, "publicURL": url}]}
                for kind, region, interface, url in self.service.services()
                if interface == "public"
            ]
            self._send(200, {}, {"access": {"token": {"id": token, "expires": "later"}, "serviceCatalog": found}})
        elif self.path.endswith("/v3/auth/tokens"):
            found = [
                {"type": kind, "endpoints": [{"region": region, "region_id": region, "interface": interface, "url": url}]}
                for kind, region, interface, url in self.service.services()
            ]
            self._send(201, {"X-Subject-Token": token}, {"token": {"methods": ["password"], "catalog": found}})
        else:
            self._send(200, {"X-Auth-Token": token, "X-Storage-Url": self.service.storage}, {})

    do_POST = do_GET  # noqa: N815

    def _send(self, status: int, headers: dict[str, str], value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
