"""Answers of servers as the standard library reads them, with the bounds that it does not set.

A server that sends headers for ever, one announcement of an answer after the other, or parts of a body with sizes that are
none, would be listened to without an end.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MOST_LINES = 1000
"""Lines that may come one after the other, without any of a body: headers, announcements, what stands behind a body."""

_MOST_ANNOUNCED = 10
"""Answers that only say that another one follows."""

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}[ \t]*(;[^\r\n]*)?\r?\n")
"""The line before a part of a body."""


class GuardedResponse(http.client.HTTPResponse):
    """An answer. What stands before it (``102 Processing``, ``103 Early Hints``) is passed over."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = _Lines(self.fp.detach())

    def begin(self) -> None:
        """Read status and headers. Raises `http.client.HTTPException`, as all that reads."""
        for _ in range(_MOST_ANNOUNCED):
            super().begin()
            if self.status >= HTTPStatus.OK:
                return
            if self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.HTTPException("another protocol, which nobody asked for")
            self.headers = self.msg = None  # type: ignore[assignment]  # so that the next ones are read
        raise http.client.HTTPException("announcements, and no answer")


class _Lines(io.BufferedReader):
    """What arrives: bytes of a body, and lines, of which only so many may follow each other."""

    _lines = 0
    _last = b""
    """The last line; one that is not empty, and has a body behind it, is the size of a part."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """A line."""
        self._lines += 1
        if self._lines > _MOST_LINES:
            raise http.client.HTTPException(f"more than {_MOST_LINES} lines that are no body")
        self._last = super().readline(size)
        return self._last

    def read(self, size: int | None = -1, /) -> bytes:
        """Bytes of a body."""
        self._in_body()
        return super().read(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Bytes of a body."""
        self._in_body()
        return super().readinto(buffer)

    def _in_body(self) -> None:
        if self._last.strip() and not _SIZE.fullmatch(self._last):
            raise http.client.HTTPException("a part of a body whose size is none")
        self._lines, self._last = 0, b""
