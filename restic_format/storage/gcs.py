"""Repositories in Google Cloud Storage: ``gs:bucket:/path``, through its JSON interface.

A file is one object, uploaded with one request that also has its MD5, which Google compares. Google shows what is stored in
every listing that begins afterwards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from restic_format.errors import FileMissing, StorageError, UsageError
from restic_format.storage.base import Content, Storage, already_there, pieces_of
from restic_format.storage.cloudkeys import Pages, bucket_and_prefix, check_md5, check_sender, md5_of, object_in, server_of
from restic_format.storage.cloudtokens import GivenToken, TokenSource
from restic_format.storage.extended import GsOptions, read_options
from restic_format.storage.http.jsons import read_json
from restic_format.storage.http.pool import Pool
from restic_format.storage.http.replies import part_of, told
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Http, Reply
from restic_format.storage.objects import ObjectStorage, ObjectStore
from restic_format.storage.transport import Transport
from restic_format.words import visible
from restic_spec.layout import FileKind

_GOOGLE = "https://storage.googleapis.com"

_PAGE = 1000
"""Names in one answer of a listing, the most that Google gives."""


class _Object(msgspec.Struct):
    name: str = ""
    size: str = ""
    md5_hash: str = msgspec.field(name="md5Hash", default="")


class _Page(msgspec.Struct):
    kind: str = ""
    items: list[_Object] = []
    next_page_token: str = msgspec.field(name="nextPageToken", default="")


class _Trouble(msgspec.Struct):
    message: str = ""


class _Answer(msgspec.Struct):
    error: _Trouble


_PAGES = msgspec.json.Decoder(_Page)
_OBJECTS = msgspec.json.Decoder(_Object)
_ERRORS = msgspec.json.Decoder(_Answer)


def open_gs(rest: str, options: Mapping[str, str], transport: Transport) -> Storage:
    """The storage at ``gs:`` *rest*, which is ``bucket:/path``.

    A token stands in $GOOGLE_ACCESS_TOKEN, or google-auth gets it: for a service account's file that is named by
    $GOOGLE_APPLICATION_CREDENTIALS, for what ``gcloud`` has stored, for the machine's own account. An emulator that
    $STORAGE_EMULATOR_HOST names gets none but the first. $GOOGLE_PROJECT_ID is for new buckets.

    Raises:
        LocationInvalid: not of that form.
        UsageError: an option, a variable or a certificate that makes no sense, or a library that is missing.
    """
    bucket, prefix = bucket_and_prefix("gs", rest)
    known = read_options(GsOptions, "gs", options)
    environment = transport.environment
    emulator = environment.get("STORAGE_EMULATOR_HOST", "")
    store = GcsStore(
        Pool(_origin(emulator), transport, known.connections),
        _tokens(transport, emulator=bool(emulator)),
        bucket,
        location=visible(f"gs:{bucket}:/{prefix}"),
        connections=known.connections,
        new=NewBucket(environment.get("GOOGLE_PROJECT_ID", ""), known.region),
    )
    return ObjectStorage(store, prefix)


def _origin(emulator: str) -> str:
    if not emulator:
        return _GOOGLE
    origin, path = server_of(emulator if "://" in emulator else f"http://{emulator}", "STORAGE_EMULATOR_HOST")
    if path:
        raise UsageError("STORAGE_EMULATOR_HOST is not the address of a server: it has a path")
    return origin


def _tokens(transport: Transport, *, emulator: bool) -> TokenSource | None:
    if token := transport.environment.get("GOOGLE_ACCESS_TOKEN"):
        return GivenToken(token, "GOOGLE_ACCESS_TOKEN")
    if emulator:
        return None
    from restic_format.storage.gcstokens import google_tokens

    return google_tokens(transport)


class NewBucket(NamedTuple):
    """Where a bucket is made that is missing."""

    project: str = ""
    region: str = "us"


NOWHERE = NewBucket()
"""No project is known to make a bucket in."""


class GcsStore(ObjectStore):
    """A bucket, reached through *http*; without *tokens* requests say nothing of who asks."""

    def __init__(
        self,
        http: Http,
        tokens: TokenSource | None,
        bucket: str,
        *,
        location: str,
        connections: int = 5,
        new: NewBucket = NOWHERE,
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._bucket = bucket
        self._path = f"/b/{quote(bucket, safe='')}"
        self._location = location
        self._connections = connections
        self._new = new
        self._page = _PAGE

    @property
    def location(self) -> str:
        """The bucket and the path in it."""
        return self._location

    @property
    def connections(self) -> int:
        """How many requests may run at once."""
        return self._connections

    @property
    def lists_at_once(self) -> bool:
        """Google is consistent: what is stored is listed."""
        return True

    def create(self) -> None:
        """Make the bucket, if it is not there. Whoever may not look at buckets is believed to have it."""
        what = f"look for bucket {visible(self._bucket)}"
        reply = self._send("GET", f"/storage/v1{self._path}", {"fields": "name"})
        if reply.ok or reply.status == 403:
            return
        if reply.status != 404:
            raise self._told(reply, what)
        if not self._new.project:
            raise UsageError(f"bucket {visible(self._bucket)} does not exist; to make it set GOOGLE_PROJECT_ID")
        body = json.dumps({"name": self._bucket, "location": self._new.region}).encode()
        reply = self._send(
            "POST",
            "/storage/v1/b",
            {"project": self._new.project, "fields": "name"},
            {"Content-Type": "application/json"},
            [body],
        )
        if not reply.ok:
            raise self._told(reply, f"make bucket {visible(self._bucket)}")

    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        """Store an object."""
        del kind, metadata, sha256
        reply = self._put(key, data, {})
        if not reply.ok:
            raise self._told(reply, f"upload {object_in(key)}", key)

    def put_new(self, key: str, data: Content, *, kind: FileKind) -> None:
        """Store an object if there is none: Google decides who was first."""
        reply = self._put(key, data, {"ifGenerationMatch": "0"})
        if reply.status == 412:
            raise already_there(kind, "" if kind is FileKind.CONFIG else key.rpartition("/")[2])
        if not reply.ok:
            raise self._told(reply, f"upload {object_in(key)}", key)

    def _put(self, key: str, data: Content, query: Mapping[str, str]) -> Reply:
        pieces = pieces_of(data)
        md5, size = md5_of(pieces), sum(memoryview(piece).nbytes for piece in pieces)
        boundary = os.urandom(16).hex()
        about = json.dumps({"name": key, "md5Hash": md5})
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        reply = self._send(
            "POST",
            f"/upload/storage/v1{self._path}/o",
            {"uploadType": "multipart", "fields": "size,md5Hash", **query},
            {"Content-Type": f"multipart/related; boundary={boundary}"},
            [head.encode(), *pieces, f"\r\n--{boundary}--\r\n".encode()],
        )
        if reply.ok:
            stored = _described(reply.body)
            if _number(stored.size) != size or stored.md5_hash not in (md5, ""):
                raise StorageError(f"upload {object_in(key)}: Google has not stored these {size} bytes", object=object_in(key))
        return reply

    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """Read a range; all of an object must have the hash that Google names."""
        wanted = part_of(offset, length)
        reply = self._ask("GET", key, {"alt": "media"}, wanted, limit=limit)
        check_sender(reply, "x-goog-", f"GET {object_in(key)}")
        return reply.body if wanted else check_md5(reply.body, _md5_in(reply), key)

    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """Read a range into *target*."""
        reply = self._ask("GET", key, {"alt": "media"}, part_of(offset, len(target)), into=target)
        check_sender(reply, "x-goog-", f"GET {object_in(key)}")

    def size(self, key: str) -> int:
        """Bytes of an object."""
        found = _number(_described(self._ask("GET", key, {"fields": "size"}).body).size)
        if found is None:
            raise StorageError(f"{object_in(key)}: Google does not say how large it is", object=object_in(key))
        return found

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and sizes of objects, page by page."""
        query = {"prefix": prefix, "maxResults": str(self._page), "fields": "kind,items(name,size),nextPageToken"}
        pages = Pages(f"list {prefix}")
        while True:
            reply = self._send("GET", f"/storage/v1{self._path}/o", query)
            if reply.status == 404:
                raise FileMissing(f"{pages.what}: there is no bucket {visible(self._bucket)}; init makes it")
            if not reply.ok:
                raise self._told(reply, pages.what)
            page = _page(reply.body, prefix)
            if page is None:
                raise StorageError(f"{pages.what}: what Google answers is not a list of these objects")
            for item in page.items:
                if (size := _number(item.size)) is not None:
                    yield item.name, size
            if not page.next_page_token:
                return
            query["pageToken"] = pages.next(page.next_page_token, len(page.items))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._ask("DELETE", key, {})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str] = NONE,
        *,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
    ) -> Reply:
        """One request about an object. Raises `StorageError` for other than success."""
        target = f"/storage/v1{self._path}/o/{quote(key, safe='')}"
        reply = self._send(method, target, query, headers, into=into, limit=limit)
        if reply.ok:
            return reply
        raise self._told(reply, f"{method} {object_in(key)}", key)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str] = NONE,
        body: Content = b"",
        *,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
    ) -> Reply:
        """One request with a token; once more with a new one where Google does not take it."""
        target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
        token = "" if self._tokens is None else self._tokens.token()
        sent = {**headers, "Authorization": f"Bearer {token}"} if token else headers
        reply = self._http.request(method, target, sent, body, into=into, limit=limit)
        if reply.status == 401 and self._tokens is not None and self._tokens.renew(token):
            sent = {**headers, "Authorization": f"Bearer {self._tokens.token()}"}
            reply = self._http.request(method, target, sent, body, into=into, limit=limit)
        return reply

    def _told(self, reply: Reply, what: str, key: str = "") -> StorageError:
        """The error that Google's answer means, with its words."""
        try:
            said: str | None = read_json(reply.body, _ERRORS).error.message.partition("\n")[0]
        except ValueError:
            said = None
        if reply.status == 401 and isinstance(self._tokens, GivenToken):
            said = f"{said or ''}; the token in GOOGLE_ACCESS_TOKEN has ended or is not valid".removeprefix("; ")
        return told(reply, what, object_in(key) if key else "", said)


def _md5_in(reply: Reply) -> str:
    """The hash that Google names in an answer with the whole object; "" where it names none."""
    words = ",".join(reply.headers.get_all("x-goog-hash") or []).replace(" ", "").split(",")
    return next((word.removeprefix("md5=") for word in words if word.startswith("md5=")), "")


def _page(body: bytes, prefix: str) -> _Page | None:
    """A page of a list; None where *body* is something else, or has other names than those that begin with *prefix*.

    A list that seems to be empty would be believed.
    """
    try:
        page = read_json(body, _PAGES)
    except ValueError:
        return None
    good = page.kind == "storage#objects" and all(item.name.startswith(prefix) for item in page.items)
    return page if good else None


def _described(body: bytes) -> _Object:
    """What Google says about an object; nothing where it says something else."""
    try:
        return read_json(body, _OBJECTS)
    except ValueError:
        return _Object()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
