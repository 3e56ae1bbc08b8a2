"""An answer to a request over HTTP, and what gives one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from email.message import Message

    from restic_format.storage.base import Content

LARGEST_BODY = 64 << 20
"""Bytes of an answer that are taken where no other limit is given."""

NONE: Mapping[str, str] = MappingProxyType({})
"""No headers."""


class Reply(NamedTuple):
    """A server's answer, whatever its status."""

    status: int
    reason: str
    headers: Message[str, str]
    """By names in any case."""
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request did what it should: a status of 200 to 299."""
        return 200 <= self.status < 300


def is_page(reply: Reply) -> bool:
    """Whether the answer is a page for people."""
    return (reply.headers.get("Content-Type") or "").lower().startswith("text/html")


class Http(Protocol):
    """A way to a server that takes requests, from any number of threads."""

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
        """Send a request, and return the answer.

        *target* is a path with its query, percent-encoded. The answer's body goes into *into*, which it must fill, if the
        status is 200 or 206; otherwise *limit* are the most bytes that it may have.

        Raises:
            StorageAway: no connection, one that broke, or no progress for too long.
            ServerNotTrusted: the server's certificate.
            AnswerCut: the body does not fill *into*, or has more.
            FileUnusable: the body is larger than *limit*.
        """

    def close(self) -> None:
        """Close what is open."""
