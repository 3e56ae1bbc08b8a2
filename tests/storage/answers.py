"""Answers to requests over HTTP, made by hand: for what no real server says when it is asked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.message import Message
from http import HTTPStatus
from typing import Any, NamedTuple

from restic_format.storage.base import Content, pieces_of
from restic_format.storage.http.pool import Pool
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Reply


class Asked(NamedTuple):
    """A request that was made."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    """An answer; ``_`` in the names of *headers* stands for ``-``."""
    message: Message[str, str] = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Reply(status, HTTPStatus(status).phrase, message, body)


class Answers:
    """An `Http` that gives *replies* one after the other, and notes what was asked."""

    def __init__(self, replies: Sequence[object]) -> None:
        self.asked: list[Asked] = []
        self._replies = list(replies)

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
        """See `Http`."""
        self.asked.append(Asked(method, target, dict(headers), b"".join(map(bytes, pieces_of(body)))))
        reply = self._replies.pop(0)
        assert isinstance(reply, Reply)
        return reply

    def close(self) -> None:
        """See `Http`."""


class Changing(Pool):
    """A way on which a byte of what is uploaded changes."""

    def request(self, method: str, target: str, headers: Mapping[str, str] = NONE, body: Content = b"", **how: Any) -> Reply:
        """See `Http`."""
        sent = b"".join(map(bytes, pieces_of(body))).replace(b"sealed", b"sEaled")
        return super().request(method, target, headers, sent, **how)
