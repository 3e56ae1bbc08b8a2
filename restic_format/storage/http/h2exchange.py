"""A request over HTTP/2 and its answer, as far as it has come."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from http import HTTPStatus
from http.client import HTTPMessage

from restic_format.errors import AnswerCut, FileUnusable, StorageAway, StorageError
from restic_format.storage.http.reply import Reply

_LARGEST_ERROR = 64 << 10
"""Bytes of the body of an error that are kept."""


class Exchange:
    """What a request is answered, by *name*. Everything here is done by whoever has *lock*; for the rest see `Http.request`."""

    def __init__(self, name: str, lock: threading.Lock, method: str, into: memoryview | None, limit: int) -> None:
        self.changed = threading.Condition(lock)
        self.head = method == "HEAD"
        self.stream = 0
        self.status = 0
        self.got = 0
        """Bytes of the answer's body."""
        self.taken = 0
        """Those of them that the limits of bandwidth have let through."""
        self.over = False
        """Whether nothing more is expected."""
        self.sent = False
        """Whether the request went out whole."""
        self.ended = False
        """Whether the program has ended the stream."""
        self.error: StorageError | None = None
        self._name, self._into, self._limit = name, into, limit
        self._headers = HTTPMessage()
        self._pieces: list[bytes] = []

    def fail(self, error: StorageError) -> None:
        """End it with *error*."""
        if not self.over:
            self.over, self.error = True, error
            self.changed.notify()

    def begin(self, headers: Iterable[tuple[str, str]]) -> None:
        """Take the status and the headers of the answer."""
        for name, value in headers:
            if name == ":status":
                self.status = int(value) if _is_number(value) else 0
            elif not name.startswith(":"):
                self._headers[name] = value
        length = self._length()
        if length is None or self.head:
            return
        target = self._target()
        if target is not None and length != len(target):
            self.fail(AnswerCut(f"{self._name}: it sent {length} bytes, {len(target)} were asked for"))
        elif target is None and self._is_good() and length > self._limit:
            self.fail(FileUnusable(f"{self._name}: it sends {length} bytes, at most {self._limit} can be right"))

    def add(self, data: bytes) -> None:
        """Put a piece of the body where it belongs."""
        start, self.got = self.got, self.got + len(data)
        target = self._target()
        if target is not None:
            if self.got > len(target):
                self.fail(AnswerCut(f"{self._name}: it sent more than the {len(target)} bytes that were asked for"))
            else:
                target[start : self.got] = data
        elif self._is_good() and self.got > self._limit:
            self.fail(FileUnusable(f"{self._name}: it sends more than {self._limit} bytes, which cannot be right"))
        elif self._is_good() or self.got <= _LARGEST_ERROR:
            self._pieces.append(data)

    def end(self) -> None:
        """Nothing more comes: see whether it was what it should be."""
        self.ended = True
        target, length = self._target(), self._length()
        if not 200 <= self.status < 600:
            self.fail(StorageAway(f"{self._name}: it answers without a status"))
        elif target is not None and self.got != len(target):
            self.fail(AnswerCut(f"{self._name}: it sent {self.got} bytes, {len(target)} were asked for"))
        elif length is not None and length != self.got and self._is_good() and not self.head:
            self.fail(AnswerCut(f"{self._name}: it sent {self.got} of {length} bytes"))
        self.over = True
        self.changed.notify()

    def reply(self) -> Reply:
        """The whole answer."""
        body = b"" if self._target() is not None else b"".join(self._pieces)
        try:
            reason = HTTPStatus(self.status).phrase
        except ValueError:
            reason = ""
        return Reply(self.status, reason, self._headers, body)

    def _is_good(self) -> bool:
        return 200 <= self.status < 300

    def _target(self) -> memoryview | None:
        """Where the body goes, if it does."""
        return self._into if self.status in (200, 206) and not self.head else None

    def _length(self) -> int | None:
        text = self._headers.get("Content-Length") or ""
        return int(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20
