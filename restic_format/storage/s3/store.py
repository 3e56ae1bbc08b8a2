"""The requests of S3 that a repository needs, one exchange a method.

A server that knows the region of the bucket better says so in its answer, and is asked again in the right way: nothing is asked
beforehand, and no redirection to another host is followed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from restic_format.errors import StorageError
from restic_format.storage.base import Content, already_there, pieces_of
from restic_format.storage.cloudkeys import md5_of
from restic_format.storage.extended import S3Options
from restic_format.storage.http.pool import Pool
from restic_format.storage.http.replies import length_in, part_of
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Http, Reply
from restic_format.storage.objects import ObjectStore, name_in
from restic_format.storage.s3.answers import LARGEST_PAGE, Failure, Page, bucket_region, failure_of, page_of, told
from restic_format.storage.s3.location import DEFAULT_REGION, Route, S3Location, route
from restic_format.storage.s3.sign import EMPTY, Signer, hash_of, path_of_key, query_of
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from restic_format.storage.s3.credentials import Credentials

ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
"""Storage classes from which nothing can be read before it was asked for: only for packs with data."""

_TRIES = 4
"""How often a request is sent because its answer says how it should have been."""

_OF_OTHER_REGIONS = ("AuthorizationHeaderMalformed", "InvalidRegion", "PermanentRedirect", "SignatureDoesNotMatch")
"""What servers say that are asked in the wrong region."""

_LOCATION = (
    '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
)
"""What is sent to make a bucket in another region than the first."""

_MOST_PAGES = 200_000
_MOST_EMPTY_PAGES = 1000


class _Way:
    """A route with what belongs to it."""

    def __init__(self, route: Route, http: Http, host: str) -> None:
        self.route = route
        self.http = http
        self.host = host
        self.signer = Signer(route.region)


class S3Store(ObjectStore):
    """The bucket of *where*; *connect* gives the way to a server. *credentials* are None for anonymous requests."""

    def __init__(
        self, where: S3Location, options: S3Options, credentials: Credentials | None, connect: Callable[[str], Pool]
    ) -> None:
        self._where = where
        self._options = options
        self._credentials = credentials
        self._connect = connect
        self._lock = threading.Lock()
        self._asked_region = False
        self._conditional = True
        self._way = self._way_to(options.region)
        # Many servers of other makers do not compare the hash that is signed, but this one; TLS notices what the way changes.
        self._with_md5 = self._way.route.origin.startswith("http://")

    @property
    def location(self) -> str:
        """See `ObjectStore`."""
        return self._where.text

    @property
    def connections(self) -> int:
        """See `ObjectStore`."""
        return self._options.connections

    def _way_to(self, region: str) -> _Way:
        found = route(self._where, self._options.bucket_lookup, region)
        pool = self._connect(found.origin)
        return _Way(found, pool, pool.origin.authority)

    # Requests

    def request(
        self,
        method: str,
        key: str | None,
        arguments: Mapping[str, str] = NONE,
        headers: Mapping[str, str] = NONE,
        body: Content = b"",
        *,
        body_hash: str = EMPTY,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
    ) -> Reply:
        """Send a signed request for an object, or for the bucket where *key* is None; *body_hash* is the hash of *body*."""
        query = query_of(arguments)
        for _ in range(_TRIES):
            way = self._way
            path = path_of_key(way.route.base, key or "")
            target = f"{path}?{query}" if query else path
            sent, token = self._signed(way, method, path, query, headers, body_hash)
            reply = way.http.request(method, target, sent, body, into=into, limit=limit)
            if reply.ok or not self._may_repeat(way, method, reply, token):
                break
        return reply

    def _signed(
        self, way: _Way, method: str, path: str, query: str, headers: Mapping[str, str], body_hash: str
    ) -> tuple[Mapping[str, str], str]:
        """The headers to send, and the session token among them."""
        if self._credentials is None:
            return headers, ""
        keys = self._credentials.keys()
        signed = way.signer.headers(keys, method, way.host, path, query, headers, body_hash, time.time())
        return signed, keys.session_token

    def _may_repeat(self, way: _Way, method: str, reply: Reply, token: str) -> bool:
        """Whether to send it once more: the answer has shown the bucket's region, or that the credentials have expired."""
        if reply.status not in (301, 307, 400, 403):
            return False
        failure = failure_of(reply)
        if failure.code == "ExpiredToken" and self._credentials is not None:
            return self._credentials.expired(token)
        if way is not self._way:
            return True
        return self._learn_region(way, failure, method == "HEAD" and reply.status != 403)

    def _learn_region(self, way: _Way, failure: Failure, unexplained: bool) -> bool:
        """Whether the bucket is found to be in another region than was thought, by what the server says or when it is asked."""
        region = failure.region
        if not region and (unexplained or failure.code in _OF_OTHER_REGIONS):
            region = self._ask_region(way)
        if not region or region == way.route.region:
            return False
        with self._lock:
            if self._way is way:
                self._way = self._way_to(region)
                way.http.close()
        return True

    def _ask_region(self, way: _Way) -> str:
        """The region that the server says the bucket is in, "" where it does not; it is asked once."""
        with self._lock:
            first, self._asked_region = not self._asked_region, True
        if not first:
            return ""
        if self._credentials is None:
            signed: Mapping[str, str] = NONE
        else:
            signer = Signer(DEFAULT_REGION)
            keys = self._credentials.keys()
            signed = signer.headers(keys, "GET", way.host, way.route.base, "location=", NONE, EMPTY, time.time())
        reply = way.http.request("GET", f"{way.route.base}?location=", signed)
        try:
            return bucket_region(reply.body) if reply.ok else failure_of(reply).region
        except ValueError:
            return ""

    # The bucket

    def create(self) -> None:
        """Make the bucket where it is missing. Where that cannot be seen for lack of rights, it is taken to be there."""
        reply = self.request("HEAD", None)
        if reply.ok or reply.status == 403:
            return
        if reply.status not in (404, 400):  # a refusal without a body: that of the next request says why
            raise told(reply, f"look for bucket {self._where.bucket}")
        for _ in range(_TRIES):
            region = self._way.route.region
            body = b"" if region == DEFAULT_REGION else _LOCATION.format(region).encode()
            reply = self.request("PUT", None, body=body, body_hash=hash_of(body))
            if reply.ok or failure_of(reply).code == "BucketAlreadyOwnedByYou":
                return
            if self._way.route.region == region:  # otherwise the bucket was to be made in the wrong one
                break
        raise told(reply, f"make bucket {self._where.bucket}")

    # Objects

    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        """See `ObjectStore`. The server compares the hash with what arrives."""
        reply = self._put(key, data, self._class_of(kind, metadata=metadata), sha256)
        if not reply.ok:
            raise told(reply, f"save {key}", key)

    def put_new(self, key: str, data: Content, *, kind: FileKind) -> None:
        """See `ObjectStore`. Of several who do so at once one succeeds, where the server knows If-None-Match."""
        if self.has(key):
            raise already_there(kind, name_in(kind, key))
        headers = self._class_of(kind, metadata=True)
        if self._conditional:
            reply = self._put(key, data, {**headers, "If-None-Match": "*"}, "")
            if reply.status == 412:
                raise already_there(kind, name_in(kind, key))
            if reply.status not in (400, 501):  # nothing is there, so it may be stored without
                if not reply.ok:
                    raise told(reply, f"save {key}", key)
                return
            self._conditional = False
        self.put(key, data, kind=kind, metadata=True, sha256="")

    def _class_of(self, kind: FileKind, *, metadata: bool) -> dict[str, str]:
        """The header with the storage class of a file. Archives are for what is read least."""
        chosen = self._options.storage_class
        if not chosen or (chosen in ARCHIVES and (metadata or kind is not FileKind.PACK)):
            return {}
        return {"x-amz-storage-class": chosen}

    def _put(self, key: str, data: Content, headers: Mapping[str, str], sha256: str) -> Reply:
        more = {**headers, "Content-Type": "application/octet-stream"}
        body_hash = sha256 or hash_of(data)
        if not self._with_md5:
            reply = self.request("PUT", key, NONE, more, data, body_hash=body_hash)
            if reply.status != 400 or failure_of(reply).code not in ("InvalidRequest", "MissingContentMD5"):
                return reply
        # A bucket whose objects are locked wants it.
        reply = self.request("PUT", key, NONE, {**more, "Content-MD5": md5_of(pieces_of(data))}, data, body_hash=body_hash)
        self._with_md5 = self._with_md5 or reply.ok
        return reply

    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """See `ObjectStore`."""
        reply = self.request("GET", key, NONE, part_of(offset, length), limit=limit)
        if not reply.ok:
            raise told(reply, f"load {key}", key)
        return reply.body

    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """See `ObjectStore`."""
        reply = self.request("GET", key, NONE, part_of(offset, len(target)), into=target)
        if reply.status not in (200, 206):
            raise told(reply, f"load {key}", key)

    def size(self, key: str) -> int:
        """See `ObjectStore`."""
        return length_in(self.head(key), f"stat {key}", key)

    def head(self, key: str) -> Reply:
        """The headers of an object. Raises `FileMissing`, and as all do."""
        reply = self.request("HEAD", key)
        if reply.ok:
            return reply
        if reply.status in (400, 403) and not failure_of(reply).code:
            # There is no body that could say why: that of another request does.
            explained = self.request("GET", key, NONE, part_of(0, 1))
            reply = self.request("HEAD", key) if explained.ok else explained
            if reply.ok:
                return reply
        raise told(reply, f"stat {key}", key)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `ObjectStore`."""
        arguments = {"prefix": prefix, "encoding-type": "url"}
        if not self._options.list_objects_v1:
            arguments["list-type"] = "2"
        empty = 0
        for _ in range(_MOST_PAGES):
            page = self._page(prefix, arguments)
            yield from page.objects
            if not page.more:
                return
            empty = 0 if page.objects else empty + 1
            name = "marker" if self._options.list_objects_v1 else "continuation-token"
            following = page.next or (page.objects[-1][0] if page.objects and self._options.list_objects_v1 else "")
            if not following or following == arguments.get(name) or empty > _MOST_EMPTY_PAGES:
                break
            arguments[name] = following
        raise StorageError(f"list {prefix}: the server's listing does not come to an end")

    def _page(self, prefix: str, arguments: Mapping[str, str]) -> Page:
        reply = self.request("GET", None, arguments, limit=LARGEST_PAGE)
        if not reply.ok:
            raise told(reply, f"list {prefix}")
        try:
            return page_of(reply.body, prefix)
        except ValueError:
            raise StorageError(f"list {prefix}: what the server answers is no listing of S3") from None

    def delete(self, key: str) -> None:
        """See `ObjectStore`. Most servers do not tell whether there was something."""
        reply = self.request("DELETE", key)
        if not reply.ok:
            raise told(reply, f"remove {key}", key)

    def close(self) -> None:
        """See `ObjectStore`."""
        self._way.http.close()
