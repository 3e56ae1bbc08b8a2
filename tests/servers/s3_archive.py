"""Cold storage of S3, made by hand before a real server: no server that can be had has it.

It remembers the storage class that an object was stored with, and passes everything on. What is in an archive is not given
until it was asked for with ``POST ?restore`` and *delay* seconds have passed, and then for good. Answers are those that
Amazon documents for HEAD, GET and POST restore.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from xml.etree import ElementTree

from tests.servers.base import Place

ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


class Archive:
    """What is known of the objects behind the server on *port*."""

    def __init__(self, port: int, delay: float) -> None:
        self.port = port
        self.delay = delay
        self.accepted = 202
        """The status of the answer to who asks first."""
        self.classes: dict[str, str] = {}
        """The storage class of each object that has one, by path."""
        self.asked: dict[str, float] = {}
        """When the objects of archives were asked for."""
        self.requests: list[bytes] = []
        """The bodies of these requests."""
        self.looks = 0
        """How often somebody asked for the headers of an object."""
        self.refused: list[str] = []
        """Objects that were to be read while they were cold."""
        self.lock = threading.Lock()

    def is_cold(self, path: str) -> bool:
        return self.classes.get(path) in ARCHIVES and time.monotonic() < self.asked.get(path, float("inf")) + self.delay


def _handler(archive: Archive) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # an answer in one piece

        def log_message(self, *words: object) -> None:
            return

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            if self.command == "POST" and query.rstrip("=") == "restore":
                self._restore(path, body)
            elif self.command == "GET" and archive.is_cold(path):
                archive.refused.append(path)
                self._fail(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
            else:
                self._pass_on(path, body)

        def _restore(self, path: str, body: bytes) -> None:
            assert ElementTree.fromstring(body).tag.endswith("RestoreRequest")
            with archive.lock:
                if archive.classes.get(path) not in ARCHIVES:
                    return self._fail(403, "InvalidObjectState", "Restore is not allowed for the object's storage class")
                if path in archive.asked and archive.is_cold(path):
                    return self._fail(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
                status = 200 if path in archive.asked else archive.accepted
                archive.asked.setdefault(path, time.monotonic())
                archive.requests.append(body)
            self._send(status, [], b"")
            return None

        def _pass_on(self, path: str, body: bytes) -> None:
            # Host is signed: what is passed on keeps it, and the server behind sees no difference.
            behind = http.client.HTTPConnection("127.0.0.1", archive.port, timeout=60)
            with contextlib.closing(behind):
                behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    behind.putheader(name, value)
                behind.endheaders(body)
                reply = behind.getresponse()
                data = reply.read()
            headers = [item for item in reply.getheaders() if item[0].lower() not in ("connection", "transfer-encoding")]
            if self.command == "PUT" and reply.status == 200:
                archive.classes[path] = self.headers.get("x-amz-storage-class") or ""
            if self.command == "DELETE":
                archive.classes.pop(path, None)
                archive.asked.pop(path, None)
            archive.looks += self.command == "HEAD"
            if self.command == "HEAD" and archive.classes.get(path):
                headers.append(("x-amz-storage-class", archive.classes[path]))
                if path in archive.asked:
                    coming = archive.is_cold(path)
                    until = "" if coming else ', expiry-date="Fri, 04 Dec 2026 00:00:00 GMT"'
                    headers.append(("x-amz-restore", f'ongoing-request="{str(coming).lower()}"{until}'))
            self._send(reply.status, headers, data)

        def _fail(self, status: int, code: str, message: str) -> None:
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self._send(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], body)

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name, _ in headers) and status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        setattr(Handler, f"do_{method}", Handler._answer)
    return Handler


@contextlib.contextmanager
def archived(place: Place, delay: float = 0.0) -> Iterator[tuple[Place, Archive]]:
    """*place*, of a real server of S3, with archives: what is brought back is there after *delay* seconds."""
    url = urlsplit(place.location.removeprefix("s3:"))
    assert url.port is not None
    archive = Archive(url.port, delay)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(archive))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        location = place.location.replace(f":{url.port}/", f":{server.server_address[1]}/", 1)
        yield place._replace(location=location), archive
    finally:
        server.shutdown()
        server.server_close()
