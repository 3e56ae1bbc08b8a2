"""HTTP/2 with a program over its pipes, held against one that does on demand what a real one does seldom."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from restic_format.errors import AnswerCut, FileUnusable, StorageAway, StorageError
from restic_format.storage.child import Child
from restic_format.storage.http.h2pipe import H2Pipe, PipeClosed
from restic_format.storage.limited import Pace
from restic_format.storage.transport import Transport
from tests.storage.h2server import CONTENT

SERVER = Path(__file__).with_name("h2server.py")

Start = Callable[..., H2Pipe]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the program, and ends all that were started."""
    pipes: list[H2Pipe] = []

    def begin(transport: Transport | None = None) -> H2Pipe:
        child = Child([sys.executable, str(SERVER)], os.environ, print, name="peer", prefix="peer: ")
        pipes.append(H2Pipe(child, transport or Transport()))
        pipes[-1].wait_ready("/none", {}, 20)
        return pipes[-1]

    yield begin
    for pipe in pipes:
        pipe.close()


@pytest.mark.parametrize("paced", [False, True], ids=["free", "paced"])
def test_bodies_larger_than_every_window_go_both_ways_from_many_threads(start: Start, paced: bool) -> None:
    pace = Pace(1 << 30) if paced else None
    pipe = start(Transport(upload=pace, download=pace))

    def once(number: int) -> None:
        body = [bytes([number]) * 100, memoryview(os.urandom(300_000 + number)), b""]
        whole = b"".join(body)
        reply = pipe.request("POST", "/hash", body=body)
        assert (reply.status, reply.body.decode()) == (200, sha256(whole).hexdigest())
        target = memoryview(bytearray(len(CONTENT)))
        reply = pipe.request("GET", "/content", into=target)
        assert (reply.status, reply.body, bytes(target)) == (206, b"", CONTENT)
        target = memoryview(bytearray(len(CONTENT)))
        assert pipe.request("GET", "/padded", into=target).status == 206 and target == CONTENT
        assert pipe.request("GET", "/content").body == CONTENT

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(once, range(40)))
    assert pipe.request("GET", "/resets").body == b"0", "a request that came to its end is not given up"


WRONG: dict[str, tuple[type[StorageError], str]] = {
    "/length": (AnswerCut, "peer: it sent 5 bytes, 10 were asked for"),
    "/short": (AnswerCut, "peer: it sent 5 bytes, 10 were asked for"),
    "/endless": (AnswerCut, "peer: it sent more than the 10 bytes that were asked for"),
    "/cut": (AnswerCut, f"peer: it sent {len(CONTENT)} bytes, 10 were asked for"),
    "/no-status": (StorageAway, "peer: it answers without a status"),
    "/reset": (StorageAway, "peer: it gave up the request: REFUSED_STREAM"),
}


@pytest.mark.parametrize("paced", [False, True], ids=["free", "paced"])
def test_a_wrong_answer_is_an_error_of_that_request_only(start: Start, paced: bool) -> None:
    pipe = start(Transport(download=Pace(1 << 30) if paced else None))
    for path, (kind, text) in WRONG.items():
        target = bytearray(b"0123456789")
        with pytest.raises(kind) as caught:
            pipe.request("GET", path, into=memoryview(target))
        assert str(caught.value) == text and not caught.value.permanent, path
    with pytest.raises(AnswerCut, match="it sent 10240 bytes, 10241 were asked for"):
        pipe.request("GET", "/content", into=memoryview(bytearray(len(CONTENT) + 1)))
    with pytest.raises(StorageAway, match="it gave up the request: INTERNAL_ERROR"):
        pipe.request("GET", "/cut", into=memoryview(bytearray(len(CONTENT))))
    with pytest.raises(FileUnusable, match="it sends 5000 bytes, at most 4999 can be right"):
        pipe.request("GET", "/large", limit=4999)
    with pytest.raises(FileUnusable, match="it sends more than 4999 bytes, which cannot be right"):
        pipe.request("GET", "/endless", limit=4999)
    assert pipe.request("GET", "/endless", limit=5000).body == b"1" * 5000
    reply = pipe.request("HEAD", "/head")
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, "10240", b"")
    assert pipe.request("HEAD", "/endless").body == b""
    reply = pipe.request("GET", "/none", into=memoryview(bytearray(3)))
    assert (reply.status, reply.reason, reply.body) == (404, "Not Found", b"no such file")


def test_an_answer_before_the_body_is_there_ends_the_sending(start: Start) -> None:
    pipe = start()
    reply = pipe.request("POST", "/early-no", body=bytes(1 << 20))
    assert (reply.status, reply.body) == (403, b"not you")
    with pytest.raises(StorageAway, match=r"it answered when it had \d+ of 1048576 bytes"):
        pipe.request("POST", "/early-yes", body=bytes(1 << 20))
    assert int(pipe.request("GET", "/resets").body) == 2


def test_what_is_given_up_is_taken_back_and_leaves_room_for_others(start: Start) -> None:
    class Stop(Exception):
        pass

    class Stopping(Pace):
        def wait(self, size: int) -> None:
            if threading.current_thread().name.startswith("stopping"):
                raise Stop

    pipe = start(Transport(upload=Stopping(1 << 30), download=Stopping(1 << 30)))

    def stops(path: str, body: bytes) -> None:
        for _ in range(20):  # more bytes than all windows together
            with pytest.raises(Stop):
                pipe.request("POST", path, body=body)

    with ThreadPoolExecutor(1, thread_name_prefix="stopping") as threads:
        threads.submit(stops, "/hash", bytes(100)).result()
        threads.submit(stops, "/content", b"").result()
    for _ in range(20):
        assert pipe.request("GET", "/content").body == CONTENT
    assert int(pipe.request("GET", "/resets").body) >= 20


ENDS = {
    "/end": "it ends the connection: ENHANCE_YOUR_CALM",
    "/garbage": "what it prints is no HTTP/2",
    "/exit": "exit status 3",
}


@pytest.mark.parametrize("path", ENDS)
def test_when_the_program_ends_all_requests_do(start: Start, path: str) -> None:
    pipe = start()
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(pipe.request, "GET", "/late")
        pipe.request("GET", "/none")
        for request in (lambda: pipe.request("GET", path), waiting.result, lambda: pipe.request("GET", "/none")):
            with pytest.raises(PipeClosed) as caught:
                request()
            assert str(caught.value) == f"peer stdio connection already closed: {ENDS[path]}"
            assert caught.value.permanent


def test_a_program_that_is_busy_is_waited_for_and_one_that_hangs_is_not(start: Start) -> None:
    pipe = start(Transport(stuck_after=0.2))
    assert pipe.request("GET", "/late").body == b"late"  # 0.7 s
    with pytest.raises(StorageAway, match="peer: request timeout: no progress for 400ms"):
        pipe.request("GET", "/stop")
    pipe.close(at_once=True)


def test_it_ends_with_the_last_who_has_it(start: Start) -> None:
    child = Child([sys.executable, str(SERVER)], os.environ, print, name="peer")
    pipe = H2Pipe(child, Transport())
    assert pipe.request("GET", "/none").status == 404 and child.ended(0) is None
    del pipe
    assert child.ended(5.0) == "exit status 0"
    threads = {thread.name for thread in threading.enumerate()}
    deadline = time.monotonic() + 5
    while {"peer-reader", "peer-writer"} & threads and time.monotonic() < deadline:
        time.sleep(0.01)
        threads = {thread.name for thread in threading.enumerate()}
    assert not {"peer-reader", "peer-writer"} & threads
