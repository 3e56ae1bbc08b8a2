"""Clients that lie, flood, stall and send nonsense are answered clearly or cut off, and others are served all the same."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import time
from pathlib import Path

import pytest

from restic_format.serve import exchange, guard
from tests.serve.inside import Inside
from tests.serve.kit import answer_of, ask, basic, raw, sha, until
from tests.servers.base import Server

END = b"\r\n\r\n"


@pytest.fixture
def outside(our_server: Server) -> Path:
    """A file beside the data folder that nobody may reach."""
    path = our_server.folder / "config"
    path.write_text("outside")
    return path


@pytest.mark.parametrize(
    "path",
    [
        "/../config",
        "/x/../../config",
        "/%2e%2e/config",
        "/%2e%2e%2fconfig",
        "/..%2fconfig",
        "/x/..%2f..%2fconfig",
        "/%252e%252e/config",
        "/..%5cconfig",
        "/..%c0%afconfig",
        "/%00/config",
        "/../../config%00",
        "//config/../config",
        "/./../config",
        "/data/../../config",
        "http://elsewhere/../config",
        "/" + "a" * 5000 + "/config",
        "/" + "a/" * 5000 + "config",
        "/" + "%2e%2e%2f" * 1000 + "config",
    ],
)
def test_paths_that_lead_out(path: str, our_server: Server, outside: Path) -> None:
    for method in ("GET", "HEAD", "DELETE", "POST"):
        answer = raw(
            our_server, f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close{END.decode()}".encode()
        )
        status = int(answer.split(b" ", 2)[1])
        assert status in (404, 400) or (method in ("DELETE", "POST") and status == 200), answer
        assert b"outside" not in answer
    assert outside.read_text() == "outside"
    for stray in our_server.data.glob("*/config"):
        if stray.stat().st_size == 0:
            stray.unlink()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /config HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6",
        b"POST /config HTTP/1.1\r\nHost: x\r\nContent-Length: -1",
        b"POST /config HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10",
        b"POST /config HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999",
        b"POST /config HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"POST /config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip",
        b"POST /config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked",
        b"GET /config HTTP/1.1\r\nHost: x\r\n folded: header",
        b"GET /config HTTP/1.1\r\nHo st: x",
        b"GET /con fig HTTP/1.1\r\nHost: x",
        b"GET /config HTTP/9.9\r\nHost: x",
        b"get /config\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM",
    ],
)
def test_requests_that_are_none(head: bytes, our_server: Server) -> None:
    answer = raw(our_server, head + END + b"GET /smuggled/config HTTP/1.1\r\nHost: x" + END, end=True)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")) or not answer, answer
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert ask(our_server, "GET", "/config").status == 404


def test_a_body_is_never_the_next_request(our_server: Server) -> None:
    inner = b"DELETE /smuggled/config HTTP/1.1\r\nHost: x" + END
    place = our_server.place("smuggled")
    assert place.folder is not None
    path = f"/{place.folder.name}/"
    assert ask(our_server, "POST", f"{path}?create=true").status == 200
    assert ask(our_server, "POST", f"{path}config", b"config").status == 200
    inner = inner.replace(b"/smuggled/", path.encode())
    for head in (f"POST {path}config HTTP/1.1", "POST /no/where/at/all HTTP/1.1", f"GET {path}config HTTP/1.1"):
        length = f"\r\nHost: x\r\nContent-Length: {len(inner)}".encode()
        answer = raw(
            our_server, head.encode() + length + END + inner + b"GET /config HTTP/1.1\r\nHost: x\r\nConnection: close" + END
        )
        assert answer.count(b"HTTP/1.1 ") == 2, answer
    assert ask(our_server, "GET", f"{path}config").body == b"config"


def test_an_upload_that_is_refused_is_taken_and_thrown_away(our_server: Server) -> None:
    """A client that was cut off would see a broken connection, and not why."""
    place = our_server.place("refused")
    assert place.folder is not None
    path = f"/{place.folder.name}/"
    assert ask(our_server, "POST", f"{path}?create=true").status == 200
    data = os.urandom(5 << 20)
    assert ask(our_server, "POST", f"{path}data/{sha(data)}", data).status == 200
    assert ask(our_server, "POST", f"{path}data/{sha(data)}", data).status == 403
    assert ask(our_server, "POST", f"{path}nothing/{sha(data)}", data).status == 404
    assert ask(our_server, "POST", f"{path}keys/{sha(data)}", data).status == 413
    too_much = raw(our_server, f"POST {path}data/{sha(data)} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 50}".encode() + END)
    assert too_much.startswith(b"HTTP/1.1 413 ") and b"connection: close" in too_much
    piece = b"80000\r\n" + bytes(1 << 19) + b"\r\n"
    unknown = raw(our_server, f"POST {path}config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked".encode() + END + piece * 9)
    assert not unknown or unknown.startswith(b"HTTP/1.1 413 ")
    assert ask(our_server, "GET", f"{path}config").status == 404


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_nobody_gets_another_protocol(protocol: str, our_server: Server) -> None:
    place = our_server.place("upgrade")
    assert place.folder is not None
    path, headers = f"/{place.folder.name}/", {"Connection": "Upgrade", "Upgrade": protocol}
    assert ask(our_server, "POST", f"{path}?create=true").status == 200
    assert ask(our_server, "GET", f"{path}config", headers=headers).status == 404
    assert ask(our_server, "POST", f"{path}config", b"config", headers).status == 400
    assert ask(our_server, "GET", f"{path}config").status == 404


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("nameless", [True, False], ids=["nameless", "temporary"])
def test_a_broken_upload_leaves_nothing(nameless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restic_format.storage import LocalStorage

    monkeypatch.setattr(LocalStorage, "lists_at_once", nameless)
    data = os.urandom(3 << 20)
    with Inside(tmp_path, max_size=50 << 20) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        used = server.server.folder.quota.used
        for length, sent in ((len(data) + 42, len(data)), (len(data), 100), (len(data), 2 << 20)):
            head = f"POST /data/{sha(data)} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}".encode()
            answer = raw(server, head + END + data[:sent], end=True)
            assert b" 200 " not in answer
        half = hex(len(data))[2:].encode() + b"\r\n" + data[:1000]
        assert b" 200 " not in raw(
            server, f"POST /data/{sha(data)} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked".encode() + END + half, end=True
        )
        assert until(lambda: not left(server.data) and server.server.folder.quota.used == used)
        assert ask(server, "POST", f"/data/{sha(data)}", data).status == 200
        assert left(server.data) == [sha(data)]


def test_heads_are_bounded(our_server: Server) -> None:
    for head in (
        b"GET /config HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100_000,
        b"GET /config HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1_000_000,
        b"GET /" + b"c" * 1_000_000,
    ):
        answer = raw(our_server, head)
        assert not answer or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), answer[:200]


def test_many_requests_at_once_on_a_connection(our_server: Server) -> None:
    answer = raw(our_server, b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
    assert answer.count(b"HTTP/1.1 404") <= 5000
    few = raw(
        our_server,
        b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + b"GET /config HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n",
    )
    assert few.count(b"HTTP/1.1 404") == 21


def test_whoever_says_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "HEAD_PATIENCE", 0.6)
    monkeypatch.setattr(guard, "REST_PATIENCE", 0.6)
    monkeypatch.setattr(exchange, "PATIENCE", 0.6)
    with Inside(tmp_path) as server:
        assert raw(server, b"") == b""
        assert raw(server, b"GET /config HTTP/1.1\r\nHost: ") == b""
        assert ask(server, "POST", "/?create=true").status == 200
        stalled = raw(server, b"POST /config HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert stalled.startswith(b"HTTP/1.1 408 ")
        refused = raw(server, b"POST /nothing/at/all HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert refused.startswith(b"HTTP/1.1 404 ")
        # So is who says something first, and then nothing that is whole.
        second = raw(server, b"GET /config HTTP/1.1\r\nHost: x\r\n\r\nGET /config")
        assert second.count(b"HTTP/1.1 404 ") == 1
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n")
            found = b""
            while not found.endswith(b"Not Found\n"):
                found += connection.recv(1 << 16)
            connection.sendall(b"GET /config")
            assert connection.recv(1 << 16) == b""
        # Byte by byte, the head takes too long all the same.
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection, pytest.raises(OSError):
            for _ in range(2000):
                connection.sendall(b"G")
                time.sleep(0.01)
        assert not left(server.data)


def test_whoever_is_slow_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a head is none for what follows it, and not for a connection that waits for its next request."""
    monkeypatch.setattr(guard, "HEAD_PATIENCE", 0.2)
    data = os.urandom(12 << 20)
    with Inside(tmp_path) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.connect()
        connection.putrequest("POST", f"/data/{sha(data)}")
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders()
        for offset in range(0, len(data), 3 << 20):
            time.sleep(0.2)
            connection.send(data[offset : offset + (3 << 20)])
        assert answer_of(connection).status == 200
        time.sleep(0.5)
        connection.request("GET", f"/data/{sha(data)}")
        reply, found = connection.getresponse(), b""
        while piece := reply.read(3 << 20):
            found += piece
            time.sleep(0.2)
        assert found == data
        time.sleep(0.5)
        connection.request("GET", "/config")
        assert answer_of(connection).status == 404
        connection.close()


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return str(path) in found


def test_whoever_reads_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PATIENCE", 0.3)
    data = os.urandom(16 << 20)
    with Inside(tmp_path) as server:
        assert ask(server, "POST", "/?create=true").status == 200
        assert ask(server, "POST", f"/data/{sha(data)}", data).status == 200
        stored = server.data / "data" / sha(data)[:2] / sha(data)
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(f"GET /data/{sha(data)} HTTP/1.1\r\nHost: x".encode() + END)
            assert until(lambda: is_open(stored))
            assert until(lambda: not is_open(stored))


def test_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_CONNECTIONS", 5)
    with Inside(tmp_path) as server:
        held = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(5)]
        for connection in held:
            connection.sendall(b"GET /config HTTP/1.1\r\nHost: x" + END)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 404")
        assert raw(server, b"GET /config HTTP/1.1\r\nHost: x" + END).startswith(b"HTTP/1.1 503")
        held.pop().close()
        assert until(
            lambda: raw(server, b"GET /config HTTP/1.1\r\nConnection: close\r\nHost: x" + END).startswith(b"HTTP/1.1 404")
        )
        for connection in held:
            connection.close()


def test_wrong_passwords_are_answered_before_the_body(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    with Inside(tmp_path, no_auth=False, users=str(tmp_path / "users")) as server:
        wrong = basic("bob", "wrong")["Authorization"]
        head = f"POST /data/{sha(b'x')} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 40}\r\nAuthorization: {wrong}"
        assert raw(server, head.encode() + END).startswith(b"HTTP/1.1 401 ")
        assert not left(server.data)
        assert server.reported == ["wrong user or password from 127.0.0.1"]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_any_bytes(seed: int, our_server: Server) -> None:
    """Requests with bytes changed, left out, doubled: the server lives, and nothing appears outside its data folder."""
    rng = random.Random(seed)
    name = our_server.new_name("fuzz")
    good = [
        f"POST /{name}/?create=true HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode(),
        f"POST /{name}/keys/{sha(b'x')} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".encode(),
        f"GET /{name}/keys/{sha(b'x')} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n".encode(),
        f"POST /{name}/config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".encode(),
        f"DELETE /{name}/config HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc".encode(),
        b"GET /keys/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ]
    beside = set(our_server.folder.iterdir())
    for _ in range(100):
        data = bytearray(b"".join(rng.choices(good, k=rng.randrange(1, 4))))
        for _ in range(rng.randrange(6)):
            place = rng.randrange(len(data))
            change = rng.randrange(4)
            if change == 0:
                data[place] = rng.choice(b"\0\r\n :/.%?\xff0A")
            elif change == 1:
                del data[place : place + rng.randrange(20)]
            elif change == 2:
                data[place:place] = data[place : place + rng.randrange(40)]
            else:
                data[place:place] = rng.choice((b"../", b"%2e%2e%2f", b"\r\n", b"\0", b"//", b"Content-Length: 7\r\n"))
            data = data or bytearray(b"x")
        raw(our_server, bytes(data), end=True)
    assert ask(our_server, "GET", "/nothing").status == 404
    assert set(our_server.folder.iterdir()) == beside
    assert "Traceback" not in our_server.told() and "Exception" not in our_server.told()
