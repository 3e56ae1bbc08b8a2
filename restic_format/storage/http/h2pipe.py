"""HTTP/2 with a program, over its standard input and output: what ``rclone serve restic --stdio`` speaks.

Requests from any number of threads share the one connection, each as a stream of its own. The reader hands out what arrives
and waits for nobody: a program that cannot get rid of its answers would take no more requests. What is to be sent goes through
a queue to the writer, which is the only one that waits for the program.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from h2.settings import SettingCodes

from restic_format.durations import duration_text
from restic_format.errors import StorageAway, StorageError
from restic_format.storage.base import Content, pieces_of
from restic_format.storage.child import Child, ChildStuck
from restic_format.storage.http.h2exchange import Exchange
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Reply
from restic_format.storage.transport import Transport
from restic_format.systemtext import errno_text

_PIECE = 256 << 10
"""Bytes that are read from the program, or given to the limits of bandwidth, at once."""

_WINDOW = 4 << 20
"""Bytes that the program may send for one request before they are taken: they are taken as fast as they come."""

_PACED_WINDOW = 128 << 10
"""The same where downloads are limited: what may be on its way beyond the limit."""

_FRAME = 256 << 10
"""Bytes of a frame that the program may send."""

_MOST_QUEUED = 2 << 20
"""Bytes that wait for the writer before those who send bodies wait too."""

_TOO_MANY_QUEUED = 32 << 20
"""Bytes that wait for the writer when something is wrong: a program that asks and asks, and does not read the answers."""

_HEAD = 9
"""Bytes of the head of a frame."""

_SETTINGS = b"\x04"
"""The kind of frame, the fourth byte of a head, that every connection begins with."""

_EXIT = 5.0
"""Seconds the program has to end when it should, and that are waited for how it has ended."""

_NAMELESS = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host"))
"""Headers of HTTP/1 that HTTP/2 has no use for."""


class PipeClosed(StorageAway):
    """The program has ended, or speaks something else: there is one connection, and none can be made again."""

    permanent = True


class _Unusable(Exception):
    """The program ends the connection."""


class H2Pipe:
    """Requests to the running program *child*. See `Http`.

    It is told to end when this object is closed or nobody has it any more.
    """

    def __init__(self, child: Child, transport: Transport) -> None:
        self.child = child
        self._link = _Link(child, transport)
        self._finalizer = weakref.finalize(self, self._link.hang_up)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] = NONE,
        body: Content = b"",
        *,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
    ) -> Reply:
        """See `Http`; the headers Host and User-Agent are none of the program's concern."""
        return self._link.exchange(method, target, headers, body, into, limit)

    def wait_ready(self, target: str, headers: Mapping[str, str], patience: float) -> None:
        """Wait until the program answers a request for *target*, whatever the answer.

        Raises:
            PipeClosed: it ended, answers in no HTTP/2, or not within *patience* seconds. Then it is ended.
        """
        link = self._link
        try:
            link.exchange("GET", target, headers, b"", None, LARGEST_BODY, deadline=time.monotonic() + patience)
        except StorageError as error:
            why = link.ended or error.what
            self.close(at_once=True)
            raise PipeClosed(f"error talking HTTP to {link.name}: {why}") from None
        link.child.keep_terminal_no_longer()

    def close(self, *, at_once: bool = False) -> None:
        """Let the program end; it is made to where that takes longer than five seconds, or *at_once*."""
        self._finalizer.detach()
        self._link.close(at_once=at_once)


class _Link:
    """The connection to the program, with its threads, which do not know who uses it: so it ends with its last user."""

    def __init__(self, child: Child, transport: Transport) -> None:
        self.child = child
        self.name = child.name
        self.ended = ""
        """How the program has ended, or why it is of no use any more."""
        self._patience = transport.stuck_after
        self._upload, self._download = transport.upload, transport.download
        self._lock = threading.Lock()
        self._exchanges: dict[int, Exchange] = {}
        self._waiting: set[Exchange] = set()
        self._heard = 0
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._queued = 0
        config = h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False, validate_inbound_headers=False
        )
        self._http = h2.connection.H2Connection(config)
        self._begin()
        self._reader = threading.Thread(target=self._read, name=f"{self.name}-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name=f"{self.name}-writer", daemon=True)
        self._reader.start()
        self._writer.start()

    def _begin(self) -> None:
        window = _WINDOW if self._download is None else _PACED_WINDOW
        self._http.initiate_connection()
        self._http.update_settings(
            {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.MAX_FRAME_SIZE: _FRAME, SettingCodes.ENABLE_PUSH: 0}
        )
        self._http.increment_flow_control_window(8 * window)
        self._push()

    def hang_up(self) -> None:
        """Let the program end when it has everything. May be called anywhere, at any moment, and waits for nothing."""
        self._queue.put(None)

    def close(self, *, at_once: bool) -> None:
        """Let the program end, and wait for that."""
        if at_once:
            self.child.kill()
        self.hang_up()
        self._writer.join(2 * _EXIT)
        if self._writer.is_alive():  # it waits for the program to take something
            self.child.kill()
            self._writer.join(_EXIT)
        self._reader.join(_EXIT)

    # What a request does.

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Content,
        into: memoryview | None,
        limit: int,
        deadline: float | None = None,
    ) -> Reply:
        """Send a request and wait for its answer; see `Http.request`. With *deadline* the latest moment for it."""
        pieces = [memoryview(piece).cast("B") for piece in pieces_of(body) if len(piece)]
        size = sum(map(len, pieces))
        fields = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", target)]
        fields += [(name.lower(), value) for name, value in headers.items() if name.lower() not in _NAMELESS]
        if size or method in ("POST", "PUT"):
            fields.append(("content-length", str(size)))
        exchange = Exchange(self.name, self._lock, method, into, limit)
        try:
            self._open(exchange, fields, size, deadline)
            sent = self._send(exchange, pieces, size)
            self._receive(exchange, deadline)
            if exchange.error is not None:
                raise exchange.error
        except h2.exceptions.H2Error as error:
            self.child.kill()
            raise self._failed(f"the connection is of no use: {type(error).__name__}") from None
        finally:
            self._forget(exchange)
        if sent < size and exchange.status < 300:
            raise StorageAway(f"{self.name}: it answered when it had {sent} of {size} bytes")
        return exchange.reply()

    def _open(self, exchange: Exchange, fields: list[tuple[str, str]], size: int, deadline: float | None) -> None:
        with self._lock:
            self._wait(exchange, self._may_open, deadline)
            exchange.stream = self._http.get_next_available_stream_id()
            self._exchanges[exchange.stream] = exchange
            self._http.send_headers(exchange.stream, fields, end_stream=not size)
            # A body that is cut short would end the connection, and with it everything else.
            self._http.streams[exchange.stream]._initialize_content_length = _ignore  # type: ignore[method-assign]
            if not size:
                exchange.sent = True
                self._push()

    def _may_open(self) -> bool:
        most = self._http.remote_settings.max_concurrent_streams
        return len(self._exchanges) < most and self._http.open_outbound_streams < most

    def _send(self, exchange: Exchange, pieces: list[memoryview], size: int) -> int:
        """Send a body; the bytes of it that went out, fewer than *size* where an answer came before."""
        sent = 0
        for piece in pieces:
            for offset in range(0, len(piece), _PIECE):
                part = piece[offset : offset + _PIECE]
                if self._upload is not None:
                    self._upload.wait(len(part))
                with self._lock:
                    while len(part):
                        self._wait(exchange, lambda: exchange.over or self._room(exchange) > 0)
                        if exchange.over:
                            return sent
                        now = min(self._room(exchange), len(part))
                        sent += now
                        self._http.send_data(exchange.stream, part[:now], end_stream=sent == size)
                        exchange.sent = sent == size
                        self._push()
                        part = part[now:]
        return sent

    def _room(self, exchange: Exchange) -> int:
        """Bytes of a body that can be sent now."""
        window = self._http.local_flow_control_window(exchange.stream)
        return min(window, self._http.max_outbound_frame_size, _MOST_QUEUED - self._queued)

    def _receive(self, exchange: Exchange, deadline: float | None) -> None:
        """Wait for the end of the answer. Where downloads are limited, more is let in as the limits allow."""
        pace = self._download
        while True:
            with self._lock:
                self._wait(exchange, lambda: exchange.over or (pace is not None and exchange.got > exchange.taken), deadline)
                more = exchange.got - exchange.taken
                if pace is None or (exchange.over and not more):
                    return
            pace.wait(more)
            with self._lock:
                exchange.taken += more
                self._take(exchange.stream, more)
                self._push()

    def _take(self, stream: int, size: int) -> None:
        """Let the program send *size* bytes more."""
        self._http.acknowledge_received_data(size, stream)

    def _forget(self, exchange: Exchange) -> None:
        """End the stream of a request that is over, whatever has become of it; nothing goes to its memory any more."""
        with self._lock:
            self._waiting.discard(exchange)
            if self._exchanges.pop(exchange.stream, None) is None or self.ended:
                return
            if not (exchange.sent and exchange.ended):
                with suppress(h2.exceptions.StreamClosedError):
                    self._http.reset_stream(exchange.stream, h2.errors.ErrorCodes.CANCEL)
            if self._download is not None and exchange.got > exchange.taken:
                self._take(exchange.stream, exchange.got - exchange.taken)
            self._push()
            for other in self._waiting:
                other.changed.notify()

    def _wait(self, exchange: Exchange, is_time: Callable[[], bool], deadline: float | None = None) -> None:
        """Wait, with the lock held, until *is_time* is true.

        A program that does nothing for long may be busy with its own server, and tries again itself. As long as it answers
        when it is asked whether it is there, it is waited for.

        Raises:
            PipeClosed: the connection is gone.
            StorageAway: the program does not say a word any more; or *deadline* has passed.
        """
        asked = -1
        self._waiting.add(exchange)
        while not is_time():
            if self.ended:
                raise PipeClosed(f"{self.name} stdio connection already closed: {self.ended}")
            patience = self._patience or None
            if deadline is not None:
                patience = deadline - time.monotonic()
                if patience <= 0:
                    raise StorageAway("it does not answer in time")
            if exchange.changed.wait(patience) or deadline is not None:
                continue
            if asked == self._heard:
                raise StorageAway(f"{self.name}: request timeout: no progress for {duration_text(2 * self._patience)}")
            asked = self._heard
            self._http.ping(b"are you?")
            self._push()
        self._waiting.discard(exchange)

    def _push(self) -> None:
        """Give the writer what is to be sent; the lock is held."""
        data = self._http.data_to_send()
        if data:
            self._queued += len(data)
            self._queue.put(data)

    # What the threads do.

    def _write(self) -> None:
        """Write what is to be sent, until the end."""
        ending = False
        try:
            while not ending:
                pieces = [self._queue.get()]
                with suppress(queue.Empty):
                    while True:
                        pieces.append(self._queue.get_nowait())
                ending = None in pieces
                data = [piece for piece in pieces if piece is not None]
                self.child.write(data, self._patience or 1e6)
                with self._lock:
                    self._queued -= sum(map(len, data))
                    for exchange in self._waiting:
                        exchange.changed.notify()
        except ChildStuck:
            self._failed(f"it took nothing for {duration_text(self._patience)}")
            self.child.kill()
        except (OSError, ValueError):
            pass  # it has closed its input: the reader learns why
        self.child.close(_EXIT)

    def _read(self) -> None:
        """Hand out what arrives, until the end."""
        why = ""
        begun = b""
        try:
            while data := os.read(self.child.output, _PIECE):
                if len(begun) < _HEAD:
                    begun += data[:_HEAD]
                    if begun[3:4] != _SETTINGS[: len(begun[3:4])]:
                        raise _Unusable("what it prints is no HTTP/2")
                with self._lock:
                    self._heard += 1
                    for event in self._http.receive_data(data):
                        self._handle(event)
                    self._push()
                    if self._queued > _TOO_MANY_QUEUED:
                        why = "it does not read what it asks for"
                        break
        except OSError as error:
            why = errno_text(error)
        except _Unusable as error:
            why = str(error)
        except (h2.exceptions.H2Error, UnicodeDecodeError):
            why = "what it prints is no HTTP/2"
        if why:
            self.child.kill()
        with self._lock:
            why = self.ended or why
        self._failed(why or self.child.ended(_EXIT) or "it has closed its output")
        self.hang_up()
        self.child.close_output()

    def _failed(self, why: str) -> PipeClosed:
        """End all requests, as the connection is gone."""
        with self._lock:
            self.ended = self.ended or why
            error = PipeClosed(f"{self.name} stdio connection already closed: {self.ended}")
            for exchange in [*self._exchanges.values(), *self._waiting]:
                exchange.fail(error)
            return error

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            raise _Unusable(f"it ends the connection: {_code(event.error_code)}")
        if isinstance(event, h2.events.DataReceived):
            self._arrived(event)
        elif isinstance(event, h2.events.ResponseReceived):
            if exchange := self._exchanges.get(event.stream_id or 0):
                exchange.begin((str(name), str(value)) for name, value in event.headers or ())
        elif isinstance(event, h2.events.StreamEnded):
            if exchange := self._exchanges.get(event.stream_id or 0):
                exchange.end()
        elif isinstance(event, h2.events.StreamReset):
            if exchange := self._exchanges.get(event.stream_id or 0):
                exchange.sent = exchange.ended = True
                exchange.fail(StorageAway(f"{self.name}: it gave up the request: {_code(event.error_code)}"))
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for exchange in self._waiting:
                exchange.changed.notify()

    def _arrived(self, event: h2.events.DataReceived) -> None:
        """Put a piece of a body where it belongs."""
        exchange = self._exchanges.get(event.stream_id or 0)
        data, size = event.data or b"", event.flow_controlled_length or 0
        if exchange is None or exchange.over or exchange.head:
            self._take(event.stream_id or 0, size)
            return
        exchange.add(data)
        if self._download is None:
            self._take(event.stream_id or 0, size)
            return
        if size > len(data):  # padding
            self._take(event.stream_id or 0, size - len(data))
        exchange.changed.notify()


def _ignore(headers: object) -> None:
    """Expect a body of any length: whether it is right is said by `Exchange.end`."""


def _code(code: int | h2.errors.ErrorCodes | None) -> str:
    return code.name if isinstance(code, h2.errors.ErrorCodes) else str(code)
