"""The pool of connections against servers made by hand, for what no real server does on demand: each answers as a test says."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from restic_format.errors import AccessDenied, AnswerCut, FileUnusable, LocationInvalid, StorageAway, StorageError
from restic_format.storage.http.pool import Origin, Pool, proxy_for
from restic_format.storage.http.replies import told
from restic_format.storage.transport import DIRECT, Transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"


class Server:
    """Takes connections on loopback, and answers each request with the next of *answers*; None closes the connection."""

    def __init__(self, *answers: bytes | None, hang: bool = False) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.hang = hang
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.done = threading.Event()
        threading.Thread(target=self.take, daemon=True).start()

    def take(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                self.connections += 1
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while self.answers:
                request = self.read(connection)
                if not request:
                    return
                self.requests.append(request)
                if self.hang:
                    self.done.wait(30)
                    return
                answer = self.answers.pop(0)
                if answer is None:
                    return
                connection.sendall(answer)
                if b"Content-Length" not in answer or b"close" in answer:
                    return

    def read(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(1 << 16)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += connection.recv(1 << 20)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        self.done.set()
        self.listening.close()


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def serve(*answers: bytes | None, hang: bool = False) -> Server:
        servers.append(Server(*answers, hang=hang))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def test_a_connection_is_used_again(serving: Callable[..., Server]) -> None:
    server = serving(OK, OK, OK)
    pool = Pool(server.url, DIRECT, 5)
    for _ in range(3):
        reply = pool.request("GET", "/a?b=c")
        assert (reply.status, reply.reason, reply.body) == (200, "OK", b"body")
    assert server.connections == 1
    assert server.requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n") and b"\r\nHost: 127.0.0.1:" in server.requests[0]


def test_one_that_the_server_has_closed_is_replaced_once(serving: Callable[..., Server]) -> None:
    server = serving(OK, None, OK)
    pool = Pool(server.url, DIRECT, 5)
    pool.request("GET", "/")
    assert pool.request("GET", "/x").body == b"body"
    assert server.connections == 2 and len(server.requests) == 3


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "MOVE"])
def test_what_changes_something_is_not_sent_again(serving: Callable[..., Server], method: str) -> None:
    server = serving(OK, None, OK)
    pool = Pool(server.url, DIRECT, 5)
    pool.request("GET", "/")
    with pytest.raises(StorageAway, match="closed the connection without an answer") as caught:
        pool.request(method, "/x", body=b"12345")
    assert not caught.value.permanent and len(server.requests) == 2


def test_what_nobody_asked_for_is_not_taken_for_the_next_answer(serving: Callable[..., Server]) -> None:
    late = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + bytes(20_000)
    server = serving(OK + late, OK)
    pool = Pool(server.url, DIRECT, 5)
    for _ in range(2):
        assert pool.request("GET", "/").body == b"body"
    assert server.connections == 2


def test_a_web_page_is_no_answer_to_an_upload(serving: Callable[..., Server]) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=utf-8\r\nContent-Length: 6\r\n\r\n<html>"
    server = serving(page, page, page.replace(b"200 OK", b"201 Created"))
    pool = Pool(server.url, DIRECT, 5)
    for method in ("POST", "DELETE"):
        with pytest.raises(StorageAway, match="a web page answers") as caught:
            pool.request(method, "/x", body=b"12345")
        assert not caught.value.permanent
    # Servers of WebDAV and Swift say so what they have done.
    assert pool.request("PUT", "/x", body=b"12345").ok


def test_a_new_connection_that_is_closed_is_an_error(serving: Callable[..., Server]) -> None:
    server = serving(None, OK)
    with pytest.raises(StorageAway, match="closed the connection without an answer"):
        Pool(server.url, DIRECT, 5).request("GET", "/")
    assert server.connections == 1


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_body_arrives_whole_with_its_length(serving: Callable[..., Server], pieces: int) -> None:
    server = serving(OK)
    body = hashlib.sha256(b"x").digest() * 30_000
    size = len(body) // pieces
    Pool(server.url, DIRECT, 5).request("POST", "/", body=[memoryview(body)[size * i : size * (i + 1)] for i in range(pieces)])
    assert server.requests[0].endswith(body)
    assert b"Content-Length: 960000\r\n" in server.requests[0]


def test_a_range_is_read_into_memory(serving: Callable[..., Server]) -> None:
    target = bytearray(4)
    for status in (b"200 OK", b"206 Partial Content"):
        server = serving(OK.replace(b"200 OK", status), OK)
        pool = Pool(server.url, DIRECT, 5)
        assert pool.request("GET", "/", into=memoryview(target)).body == b""
        assert target == b"body"
        pool.request("GET", "/")
        assert server.connections == 1, "it can be used again"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"
    Pool(serving(chunked).url, DIRECT, 5).request("GET", "/", into=memoryview(target))
    assert target == b"abcd"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbod", id="short"),
        pytest.param(b"HTTP/1.1 206 OK\r\nContent-Length: 5\r\n\r\nbody+", id="long"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbo", id="cut off"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbod", id="short, no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody+", id="long, no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", id="chunk missing"),
    ],
)
def test_a_range_of_another_length_is_no_range(serving: Callable[..., Server], answer: bytes) -> None:
    server = serving(answer, None)
    with pytest.raises((AnswerCut, StorageAway)) as caught:
        Pool(server.url, DIRECT, 5).request("GET", "/", into=memoryview(bytearray(4)))
    assert not caught.value.permanent


def test_the_page_of_an_error_is_not_taken_for_the_range(serving: Callable[..., Server]) -> None:
    target = bytearray(4)
    reply = Pool(serving(OK.replace(b"200 OK", b"404 Not Found")).url, DIRECT, 5).request("GET", "/", into=memoryview(target))
    assert (reply.status, reply.body, bytes(target)) == (404, b"body", bytes(4))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", id="told"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2000), id="not told"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + bytes(2000) + b"\r\n0\r\n\r\n", id="chunks"
        ),
    ],
)
def test_a_body_that_is_too_large_is_not_taken(serving: Callable[..., Server], answer: bytes) -> None:
    with pytest.raises(FileUnusable, match=r"1000|99999999999"):
        Pool(serving(answer).url, DIRECT, 5).request("GET", "/", limit=1000)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + bytes(100_000) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nbo",
    ],
    ids=["ssh", "status", "headers", "line", "chunk", "cut"],
)
def test_what_is_no_http_is_an_error_that_may_pass(serving: Callable[..., Server], answer: bytes) -> None:
    server = serving(answer, None)
    with pytest.raises(StorageError) as caught:
        Pool(server.url, DIRECT, 5).request("GET", "/")
    assert not caught.value.permanent
    assert str(caught.value).startswith(server.url)


def test_a_request_without_progress_is_given_up(serving: Callable[..., Server]) -> None:
    server = serving(OK, hang=True)
    with pytest.raises(StorageAway, match="request timeout: no progress for 300ms"):
        Pool(server.url, Transport(stuck_after=0.3), 5).request("GET", "/")


def test_nobody_there_and_no_such_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(StorageAway, match=rf"http://127\.0\.0\.1:{port}: connection refused"):
        Pool(f"http://127.0.0.1:{port}", DIRECT, 5).request("GET", "/")
    with pytest.raises(StorageAway, match=r"http://no-such-host\.invalid: lookup no-such-host\.invalid: "):
        Pool("http://no-such-host.invalid", DIRECT, 5).request("GET", "/")


def test_through_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(OK)

        threading.Thread(target=serve, daemon=True).start()
        assert Pool(f"http+unix://{path}", DIRECT, 5).request("GET", "/").body == b"body"
    with pytest.raises(StorageAway, match=r"http\+unix://.*: no such file or directory"):
        Pool(f"http+unix://{path}-", DIRECT, 5).request("GET", "/")


def test_the_limits_hold_for_each_piece(serving: Callable[..., Server]) -> None:
    class Pace:
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def wait(self, size: int) -> None:
            self.sizes.append(size)

    up, down = Pace(), Pace()
    body = bytes(600_000)
    server = serving(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n" + body, OK)
    pool = Pool(server.url, Transport(upload=up, download=down), 5)  # type: ignore[arg-type]
    pool.request("POST", "/", body=body)
    assert sum(up.sizes) == sum(down.sizes) == 600_000
    assert max(up.sizes + down.sizes) <= 256 << 10
    pool.request("POST", "/", body=b"small", into=memoryview(bytearray(4)))
    assert up.sizes[-1] == 5 and sum(down.sizes) == 600_004


def test_a_server_that_says_no_before_it_has_read_all_is_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 4\r\n\r\nfull")
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 20):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        reply = Pool(f"http://127.0.0.1:{listening.getsockname()[1]}", DIRECT, 5).request("POST", "/", body=bytes(50 << 20))
        assert (reply.status, reply.body) == (507, b"full")


@contextmanager
def proxy(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    server = Server(answer, answer)
    try:
        yield server.url, server.requests
    finally:
        server.close()


def test_a_proxy_is_asked_for_the_whole_address() -> None:
    with proxy(OK) as (url, requests):
        environment = {"HTTP_PROXY": url.replace("//", "//bob:pass%20word@")}
        pool = Pool("http://backup.example:8000", Transport(environment=environment), 5)
        assert pool.request("GET", "/repo/config").body == b"body"
    assert requests[0].startswith(b"GET http://backup.example:8000/repo/config HTTP/1.1\r\n")
    assert b"\r\nHost: backup.example:8000\r\n" in requests[0]
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"bob:pass word") in requests[0]


def test_tls_goes_through_a_tunnel_and_a_proxy_may_refuse_it() -> None:
    with proxy(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (url, requests):
        pool = Pool("https://backup.example", Transport(environment={"https_proxy": url}), 5)
        with pytest.raises(StorageError, match=r"proxy 127\.0\.0\.1:.*403"):
            pool.request("GET", "/")
    assert requests[0].startswith(b"CONNECT backup.example:443 HTTP/1.")


@pytest.mark.parametrize(
    ("url", "exceptions", "is_used"),
    [
        ("http://backup.example", "", True),
        ("http://localhost", "", False),
        ("http://127.9.9.9", "", False),
        ("http://[::1]:80", "", False),
        ("http://10.1.2.3", "", True),
        ("http://backup.example", "other.example, backup.example", False),
        ("http://backup.example", "example", False),
        ("http://backup.example", ".example", False),
        ("http://backup.example", "ample", True),
        ("http://backup.example", "*", False),
        ("http://backup.example:8000", "backup.example:8000", False),
        ("http://backup.example:8000", "backup.example:80", True),
        ("http://10.1.2.3", "10.0.0.0/8", False),
        ("http://10.1.2.3", "10.1.2.4", True),
        ("http://backup.example", "10.0.0.0/8", True),
        ("http+unix:///run/x", "", False),
    ],
)
def test_who_needs_no_proxy(url: str, exceptions: str, is_used: bool) -> None:
    environment = {"HTTP_PROXY": "proxy.example:3128", "NO_PROXY": exceptions}
    assert (proxy_for(Origin(url), environment) is not None) is is_used
    if is_used:
        assert proxy_for(Origin(url), environment) == ("proxy.example", 3128, {})
    assert proxy_for(Origin(url), {}) is None


@pytest.mark.parametrize("url", ["socks5://user:geheim@x:1", "http://", "https://x", "http://[", "http://x:999999"])
def test_a_proxy_of_another_kind_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(LocationInvalid) as caught:
        proxy_for(Origin("http://backup.example"), {"HTTP_PROXY": url})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nForbidden", "do it: 403 Forbidden"),
        (b"HTTP/1.1 500 Oh\x1b[2J\r\nContent-Length: 12\r\n\r\nwhy\x1b[1m\nmore", r"do it: 500 Oh\x1b[2J: why\x1b[1m"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", "do it: 502 Bad Gateway"),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: https://u:p@h/x?sig=secret\r\nContent-Length: 0\r\n\r\n",
            "do it: 301 Moved: the server sends to https://h/x; use that location if you trust it",
        ),
        (b"HTTP/1.1 500 X\r\nContent-Length: 5000\r\n\r\n" + b"y" * 5000, f"do it: 500 X: {'y' * 200}…"),
    ],
)
def test_what_a_server_says_is_one_short_line(serving: Callable[..., Server], answer: bytes, text: str) -> None:
    reply = Pool(serving(answer).url, DIRECT, 5).request("GET", "/")
    assert str(told(reply, "do it")) == text
    assert told(reply, "do it").permanent == (reply.status in (301, 403))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "before", [b"HTTP/1.1 100 Continue", b"HTTP/1.1 102 Processing", b"HTTP/1.1 103 Early Hints\r\nLink: a"]
)
def test_what_only_announces_the_answer_is_passed_over(serving: Callable[..., Server], before: bytes, method: str) -> None:
    """It would be taken for the answer, and the answer for that to the next request."""
    server = serving(before + b"\r\n\r\n" + (OK if method != "HEAD" else OK.removesuffix(b"body")), OK)
    pool = Pool(server.url, DIRECT, 5)
    assert pool.request(method, "/", body=b"x" if method == "POST" else b"").status == 200
    assert pool.request("GET", "/").body == b"body"
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + OK,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + OK,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK,
        CHUNKED + b"4\r\nbody\r\n0\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
        CHUNKED + b"-1\r\nbody\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\nbody\r\n0\r\n\r\n",
        CHUNKED + b"+4\r\nbody\r\n0\r\n\r\n",
        CHUNKED + b"0x4\r\nbody\r\n0\r\n\r\n",
        CHUNKED + b"f" * 1000 + b"\r\nbody\r\n0\r\n\r\n",
    ],
    ids=["continue", "hints", "switch", "trailers", "minus-one", "minus-five", "plus", "hexadecimal", "huge"],
)
@pytest.mark.parametrize("filled", [False, True], ids=["body", "into"])
def test_an_answer_that_does_not_end_or_has_parts_of_no_size_is_none(
    serving: Callable[..., Server], answer: bytes, filled: bool
) -> None:
    pool = Pool(serving(answer).url, DIRECT, 5)
    with pytest.raises(StorageAway, match="what answers is no HTTP server"):
        pool.request("GET", "/", into=memoryview(bytearray(4)) if filled else None)


@pytest.mark.parametrize("filled", [False, True], ids=["body", "into"])
def test_a_body_in_parts_is_put_together(serving: Callable[..., Server], filled: bool) -> None:
    parts = b"1;name=value\r\nb\r\n02 \r\nod\r\n1\r\ny\r\n0\r\nA: b\r\n\r\n"
    pool, found = Pool(serving(CHUNKED + parts).url, DIRECT, 5), bytearray(4)
    reply = pool.request("GET", "/", into=memoryview(found) if filled else None)
    assert (bytes(found) if filled else reply.body) == b"body"


@pytest.mark.parametrize("value", ["token\n", "token\r\nX-Other: y", "to\r\n ken", "to\0ken", "t\u014dken"])
def test_a_header_stays_one(serving: Callable[..., Server], value: str) -> None:
    server = serving(OK)
    with pytest.raises(AccessDenied, match="Authorization has characters that no header can have") as told:
        Pool(server.url, DIRECT, 5).request("GET", "/", {"Authorization": value})
    assert "ken" not in str(told.value) and not server.connections


def test_a_header_may_have_bytes_of_utf_8(serving: Callable[..., Server]) -> None:
    server = serving(OK)
    assert Pool(server.url, DIRECT, 5).request("GET", "/", {"X-Auth-User": "gro\u00df".encode().decode("latin-1")}).ok
    assert b"X-Auth-User: gro\xc3\x9f\r\n" in server.requests[0]


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\u014d", ""])
def test_a_path_stays_one(serving: Callable[..., Server], target: str) -> None:
    server = serving(OK)
    with pytest.raises(FileUnusable, match="a path with characters that no request can have"):
        Pool(server.url, DIRECT, 5).request("GET", target)
    assert not server.connections
