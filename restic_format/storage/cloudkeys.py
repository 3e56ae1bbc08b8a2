"""What object stores have in common: how their locations are written, keys in messages, and listings that come to an end."""

from __future__ import annotations

import hashlib
import posixpath
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import urlsplit

from restic_format.errors import AnswerCut, LocationInvalid, StorageError, UsageError
from restic_format.storage.base import Buffer
from restic_format.storage.http.reply import Reply
from restic_format.words import visible

_EMPTY = 1000
"""Pages without an entry that may follow each other: servers that filter give some."""

_MOST = 1 << 20
"""Pages of one listing: a thousand million files."""

_LONGEST = 8 << 10
"""Characters of the mark of a page."""


def bucket_and_prefix(scheme: str, rest: str) -> tuple[str, str]:
    """Container or bucket, and the path in it without ``/`` at its ends, of a location ``scheme:bucket:/path``.

    Raises:
        LocationInvalid: it has not that form, or bytes that are no text.
    """
    bucket, colon, path = rest.partition(":")
    if not colon or not bucket:
        raise LocationInvalid(f"parsing repository location failed: {scheme}: invalid format: bucket name or path not found")
    try:
        rest.encode()
    except UnicodeEncodeError:
        raise LocationInvalid(f"parsing repository location failed: {scheme}: the path is not UTF-8") from None
    prefix = posixpath.normpath(path or "/").lstrip("/")
    return bucket, "" if prefix == "." else prefix


def server_of(url: str, named_by: str) -> tuple[str, str]:
    """The server that *url* names (``https://host:port``), and the path on it without ``/`` at its end.

    Raises:
        UsageError: *url*, which stands in *named_by*, has something else, such as a user.
    """
    try:
        parts = urlsplit(url)
        fits = (
            parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment or "@" in parts.netloc)
        )
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(f"{named_by} is not the address of a server: https://host:port")
    return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")


def md5_of(pieces: Iterable[Buffer]) -> str:
    """The MD5 of *pieces* together, in base64, as the clouds write it."""
    found = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        found.update(piece)
    return b64encode(found.digest()).decode()


def check_md5(body: bytes, md5: str, key: str) -> bytes:
    """*body*, which is the whole object *key* and has the hash *md5*, "" where that is not known.

    Raises:
        AnswerCut: it has another: something changed on the way.
    """
    if md5 and md5_of([body]) != md5:
        name = object_in(key)
        raise AnswerCut(f"{name}: the {len(body)} bytes that arrived are not those that were sent", object=name)
    return body


def check_sender(reply: Reply, mark: str, what: str) -> None:
    """Refuse what a portal of a network or a proxy says instead of the cloud, whose headers begin with *mark*.

    Raises:
        AnswerCut: no header does.
    """
    if not any(name.lower().startswith(mark) for name in reply.headers):
        raise AnswerCut(f"{what}: {reply.status}, but what answers is not the cloud; a portal or a proxy may be in between")


class Pages:
    """Sees to it that a listing ends: no page is asked for twice, nor too many of them, or too many in which nothing is."""

    def __init__(self, what: str) -> None:
        self.what = visible(what)
        self._seen: set[int] = set()
        self._empty = 0

    def next(self, marker: str, entries: int) -> str:
        """*marker*, with which the next page is asked for; *entries* were on this one. Raises `StorageError`."""
        self._empty = 0 if entries else self._empty + 1
        many = self._empty > _EMPTY or len(self._seen) > _MOST
        if many or hash(marker) in self._seen or len(marker) > _LONGEST:
            raise StorageError(f"{self.what}: the server's list does not come to an end")
        self._seen.add(hash(marker))
        return marker


def object_in(key: str) -> str:
    """What the file that has *key* is called in messages: ``data/`` and its name, without the path before it."""
    parts = key.split("/")
    folder = parts[-3] if len(parts) > 2 and parts[-3] == "data" else parts[-2] if len(parts) > 1 else ""
    return visible(parts[-1] if parts[-1] == "config" or not folder else f"{folder}/{parts[-1]}")
