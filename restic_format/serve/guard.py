"""uvicorn's HTTP protocol with bounds: connections, the size of headers, and the time in which they must come."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from restic_format.serve.running import (
    HEAD_PATIENCE,
    MOST_CONNECTIONS,
    MOST_HEAD,
    MOST_WAITING,
    REST_PATIENCE,
    TOO_LARGE,
    TOO_MANY,
)


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _deadline: asyncio.TimerHandle | None = None
    _in_body = False
    """Whether a request's head has ended, and its body has not."""
    _in_head = False
    """Whether a head has begun, and not ended."""
    _head = 0
    """Bytes that have come of it."""

    def connection_made(self, transport: Any) -> None:
        """A client connects."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(TOO_MANY)
            transport.close()
            return
        self._expect(HEAD_PATIENCE)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes come."""
        in_head = self._in_head
        super().data_received(data)
        if in_head and self._in_head:
            self._head += len(data)
        if self._deadline is None and (self._in_head or (self._quiet() and not self._in_body)):
            self._expect(HEAD_PATIENCE)
        if self._head > MOST_HEAD or len(self.pipeline) > MOST_WAITING:
            self._close(TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request's head begins."""
        super().on_message_begin()
        self._in_head = True
        self._head = 0

    def on_headers_complete(self) -> None:
        """A request's head is complete."""
        self._in_head, self._in_body = False, True
        self._head = 0
        self._forget_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request's body is complete."""
        super().on_message_complete()
        self._in_body = False
        self._forget_deadline()

    def on_response_complete(self) -> None:
        """An answer is complete. What may still come of the request's body is thrown away, but not for ever."""
        super().on_response_complete()
        if self._in_body:
            self._expect(REST_PATIENCE)

    def _expect(self, seconds: float) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(seconds, self._give_up, seconds)

    def _give_up(self, seconds: float) -> None:
        """Close the connection, but not while an answer is on its way to a slow client."""
        self._deadline = None
        if self._quiet():
            self._close(b"")
        else:
            self._expect(seconds)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _quiet(self) -> bool:
        """Whether no answer is being sent."""
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _close(self, last: bytes) -> None:
        self._forget_deadline()
        if not self.transport.is_closing():
            if last and self._quiet():
                self.transport.write(last)
            self.transport.close()
