"""The link with latency that the bench measures through: what goes in comes out, later."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROUND_TRIP = 0.02


@pytest.fixture
def delayed(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    monkeypatch.syspath_prepend(str(project_root / "scripts"))
    from bench.delayproxy import delayed

    return delayed


def test_every_byte_arrives_and_a_round_trip_takes_its_time(delayed) -> None:
    data = os.urandom(3_000_000)
    listener = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        connection, _ = listener.accept()
        with connection:
            while piece := connection.recv(1 << 20):
                connection.sendall(piece)

    threading.Thread(target=echo, daemon=True).start()
    with listener, delayed(listener.getsockname(), ROUND_TRIP) as address, socket.create_connection(address) as client:
        begun = time.monotonic()
        client.sendall(b"?")
        assert client.recv(10) == b"?"
        first = time.monotonic() - begun
        begun = time.monotonic()
        client.sendall(b"?")
        assert client.recv(10) == b"?"
        second = time.monotonic() - begun
        assert first >= 2 * ROUND_TRIP and second >= ROUND_TRIP
        threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)), daemon=True).start()
        found = bytearray()
        while piece := client.recv(1 << 20):
            found += piece
        assert found == data


def test_a_server_that_is_not_there_ends_the_connection(delayed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        target = taken.getsockname()
    with delayed(target, ROUND_TRIP) as address:
        client = http.client.HTTPConnection(*address)
        with pytest.raises(ConnectionError):
            client.request("GET", "/")
            client.getresponse()


def test_a_program_is_spoken_to_late(project_root: Path) -> None:
    words = [sys.executable, project_root / "scripts" / "bench" / "delayproxy.py", "--pipe", "20", "--"]
    data = os.urandom(300_000)
    begun = time.monotonic()
    done = subprocess.run([*words, "sh", "-c", "cat; exit 3"], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, data, b"") and time.monotonic() - begun >= ROUND_TRIP
