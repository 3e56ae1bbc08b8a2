"""A link with latency and no limit on bandwidth: every byte is held for a fixed time in each direction.

    python -m bench.delayproxy 127.0.0.1:9202 127.0.0.1:9102 20     a proxy before a server; 20 ms for there and back
    python -m bench.delayproxy --pipe 20 -- sftp-server             a program whose input and output come late

A connection takes one round trip to be made. One thread does it all, so that a measurement loses little of a core to it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

PIECE = 256 << 10
"""Bytes that are read at once."""

UNDER_WAY = 256 << 20
"""Bytes of one direction that are under way at most: far more than any client has in flight."""


class _Way:
    """One direction: what was read from *source* is written to *target* when it has had its time."""

    def __init__(self, source: int, target: int, end: Callable[[], None], broken: Callable[[], None]) -> None:
        self.source = source
        self.target = target
        self.end = end
        """Says to *target* that nothing more comes."""
        self.broken = broken
        self.pieces: deque[tuple[float, bytes]] = deque()
        self.held = 0
        self.reading = True
        self.done = False

    def read(self, due: float) -> None:
        """Take what is there."""
        try:
            data = os.read(self.source, PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._break()
            return
        self.pieces.append((due, data))
        self.held += len(data)
        self.reading = bool(data)

    def write(self, now: float) -> None:
        """Hand on what has had its time."""
        while self.pieces and self.pieces[0][0] <= now:
            due, data = self.pieces[0]
            try:
                sent = os.write(self.target, data) if data else 0
            except BlockingIOError:
                return
            except OSError:
                self._break()
                return
            self.held -= sent
            if sent < len(data):
                self.pieces[0] = due, data[sent:]
                return
            self.pieces.popleft()
            if not data:
                self.done = True
                self.end()

    def _break(self) -> None:
        self.done, self.reading = True, False
        self.pieces.clear()
        self.broken()


class DelayProxy:
    """Listens, and passes each connection on to *target* with *round_trip* seconds of latency."""

    def __init__(self, target: tuple[str, int] | None, round_trip: float, listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        """Without a *target* nothing is listened for: `join` gives it its ways."""
        self._target = target
        self._delay = round_trip / 2
        self._ways: list[_Way] = []
        self._dialling: deque[tuple[float, socket.socket]] = deque()
        self._wake, self._woken = os.pipe()
        self._listener = socket.create_server(listen, backlog=512) if target else None
        if self._listener:
            self._listener.setblocking(False)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._listener is not None
        host, port = self._listener.getsockname()[:2]
        return host, port

    def join(self, source: int, target: int, end: Callable[[], None]) -> None:
        """Connect two file descriptors in one direction; *end* is called after the last byte."""
        for descriptor in (source, target):
            os.set_blocking(descriptor, False)
        self._ways.append(_Way(source, target, end, end))

    def run(self) -> None:
        """Serve until `close`, or until the last of what was joined has ended."""
        while True:
            now = time.monotonic()
            for way in self._ways[:]:
                way.write(now)
            if self._listener is None and self._ways[-1].done:
                return
            self._dial(now)
            waits = [self._wake, *([self._listener.fileno()] if self._listener else [])]
            readers = {way.source: way for way in self._ways if way.reading and way.held < UNDER_WAY}
            late = [way.pieces[0][0] for way in self._ways if way.pieces]
            writers = [way.target for way in self._ways if way.pieces and way.pieces[0][0] <= now]
            dues = [due for due in (*late, *(due for due, _ in self._dialling)) if due > now]
            # Not epoll, whose clock ticks in milliseconds.
            ready, _, _ = select.select(
                [*waits, *readers], writers, [], max(0.0, min(dues) - time.monotonic()) if dues else None
            )
            if self._wake in ready:
                break
            now = time.monotonic()
            for descriptor in ready:
                if self._listener and descriptor == self._listener.fileno():
                    self._accept(now)
                elif descriptor in readers and readers[descriptor] in self._ways:
                    readers[descriptor].read(now + self._delay)
        for way in self._ways[:]:
            way.broken()

    def close(self) -> None:
        """Stop `run`, from another thread."""
        os.write(self._woken, b".")

    def _accept(self, now: float) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            # What the client is told at once is true only after a round trip.
            self._dialling.append((now + 2 * self._delay, client))

    def _dial(self, now: float) -> None:
        while self._dialling and self._dialling[0][0] <= now:
            _, client = self._dialling.popleft()
            assert self._target is not None
            try:
                server = socket.create_connection(self._target, 10)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pair(client, server)

    def _pair(self, client: socket.socket, server: socket.socket) -> None:
        def drop() -> None:
            self._ways = [way for way in self._ways if way not in both]
            client.close()
            server.close()

        def end(which: socket.socket) -> None:
            with contextlib.suppress(OSError):
                which.shutdown(socket.SHUT_WR)
            if all(way.done for way in both):
                drop()

        both = (
            _Way(client.fileno(), server.fileno(), lambda: end(server), drop),
            _Way(server.fileno(), client.fileno(), lambda: end(client), drop),
        )
        self._ways += both


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


@contextmanager
def delayed(target: tuple[str, int], round_trip: float) -> Iterator[tuple[str, int]]:
    """The address of a proxy before *target*, in a process of its own; *round_trip* in seconds."""
    to, milliseconds = "{}:{}".format(*target), str(round_trip * 1000)
    command = [sys.executable, __file__, "127.0.0.1:0", to, milliseconds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            yield _address(proxy.stdout.readline())
        finally:
            proxy.kill()


def _piped(command: Sequence[str], round_trip: float) -> int:
    """Run *command* between our own standard input and output. Its exit code."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        link = DelayProxy(None, round_trip)
        link.join(0, child.stdin.fileno(), child.stdin.close)
        link.join(child.stdout.fileno(), 1, lambda: os.close(1))
        link.run()
    return child.returncode


def main() -> int:
    """The command line. Its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.delayproxy", description="A link with latency.")
    parser.add_argument("--pipe", type=float, metavar="MS", help="run the command behind -- late")
    parser.add_argument("words", nargs="+", help="LISTEN TARGET MS, or a command")
    options = parser.parse_args()
    if options.pipe is not None:
        return _piped(options.words, options.pipe / 1000)
    listen, target, milliseconds = options.words
    proxy = DelayProxy(_address(target), float(milliseconds) / 1000, _address(listen))
    print("{}:{}".format(*proxy.address), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        proxy.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
