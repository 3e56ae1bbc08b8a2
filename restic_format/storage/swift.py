"""Repositories in OpenStack Swift: ``swift:container:/prefix``.

A session that the server does not take any more is renewed once for a request (`restic_format.storage.swiftauth`). An upload
carries the MD5 of its content, which Swift compares.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from hashlib import md5
from posixpath import normpath
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from restic_format.errors import AnswerCut, LocationInvalid, NoSpace, StorageError
from restic_format.storage.base import Content, Storage, pieces_of
from restic_format.storage.cloudkeys import Pages
from restic_format.storage.extended import SwiftOptions, read_options
from restic_format.storage.http.addresses import address_of
from restic_format.storage.http.jsons import read_json
from restic_format.storage.http.pool import Pool
from restic_format.storage.http.replies import length_in, part_of, told
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Http, Reply
from restic_format.storage.locations import Options
from restic_format.storage.objects import ObjectStorage, ObjectStore
from restic_format.storage.swiftauth import Identity, Session, identity_from, sign_in
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind

_TYPE = "binary/octet-stream"

_LAST_PAGE = 100
"""Objects from which on a page of a list may have been cut by the server, whatever its limit, and another one is asked for."""


class Place(NamedTuple):
    """Where in an account a repository is."""

    container: str
    prefix: str


def parse_place(rest: str) -> Place:
    """The place that ``swift:`` *rest* names: ``container:/prefix``.

    Raises:
        LocationInvalid: it names none.
    """
    container, _, path = rest.partition(":")
    if not path:
        raise LocationInvalid("parsing repository location failed: prefix is empty")
    if not path.startswith("/"):
        raise LocationInvalid("parsing repository location failed: prefix does not start with slash (/)")
    if not container or "/" in container:
        raise LocationInvalid("parsing repository location failed: a container's name is not empty and has no slash in it")
    if any("\ud800" <= char <= "\udfff" for char in rest):
        raise LocationInvalid("parsing repository location failed: names in Swift are text in UTF-8")
    prefix = re.sub("^//", "/", normpath(path[1:]))  # two slashes at the beginning stay two for normpath
    return Place(container, "" if prefix == "." else prefix)


def open_swift(rest: str, options: Options, transport: Transport) -> Storage:
    """The storage at ``swift:`` *rest*; credentials come from the environment of *transport*.

    Raises:
        LocationInvalid: no such location.
        UsageError: an option that makes no sense, or no credentials.
    """
    place = parse_place(rest)
    known = read_options(SwiftOptions, "swift", options)
    policy = transport.environment.get("SWIFT_DEFAULT_CONTAINER_POLICY") or ""
    identity = identity_from(transport.environment)
    store = SwiftStore(place.container, identity, transport, known.connections, policy=policy, location=f"swift:{rest}")
    return ObjectStorage(store, place.prefix)


class _Account(NamedTuple):
    """A session in use: the token, and the way to the account's containers."""

    http: Http
    path: str
    token: str

    def __repr__(self) -> str:
        return f"_Account({self.path!r})"


class _Listed(msgspec.Struct):
    name: str = ""
    bytes: int = -1


_LIST = msgspec.json.Decoder(list[_Listed])


class SwiftStore(ObjectStore):
    """The objects in *container*; *policy* is the storage policy of a container that is made, "" for the default."""

    def __init__(
        self,
        container: str,
        identity: Identity,
        transport: Transport,
        connections: int,
        *,
        policy: str = "",
        location: str = "",
    ) -> None:
        self._container = f"/{quote(container, safe='')}"
        self._identity = identity
        self._transport = transport
        self._connections = connections
        self._policy = policy
        self._location = location or f"swift:{container}"
        self._turn = threading.Lock()
        self._account: _Account | None = None

    @property
    def location(self) -> str:
        """As it was given."""
        return self._location

    @property
    def connections(self) -> int:
        """How many requests may run at once."""
        return self._connections

    def close(self) -> None:
        """Close the connections."""
        with self._turn:
            account, self._account = self._account, None
        if account is not None:
            account.http.close()

    def create(self) -> None:
        """Make the container where it is missing."""
        reply = self._request("HEAD", self._container)
        if reply.status == 404:
            headers = {"X-Storage-Policy": self._policy} if self._policy else {}
            reply = self._request("PUT", self._container, headers)
        if not reply.ok:
            raise told(reply, f"{self._location}: the container")

    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        """See `ObjectStore`. A container that is missing is made, as restic does when it opens one."""
        del kind, metadata, sha256
        found = md5(usedforsecurity=False)
        for piece in pieces_of(data):
            found.update(piece)
        headers = {"ETag": found.hexdigest(), "Content-Type": _TYPE}
        reply = self._request("PUT", self._path(key), headers, data)
        if reply.status == 404:
            self.create()
            reply = self._request("PUT", self._path(key), headers, data)
        if reply.status == 413:
            raise NoSpace(f"save {key}: 413 Request Entity Too Large: a quota is used up", object=key)
        if not reply.ok:
            raise told(reply, f"save {key}", key)
        stored = (reply.headers.get("ETag") or "").strip('"')
        if stored and stored != found.hexdigest():
            raise StorageError(f"save {key}: what the server has stored has another MD5 than what was sent", object=key)

    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """See `ObjectStore`."""
        return self._get(key, part_of(offset, length), None, limit).body

    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """See `ObjectStore`."""
        self._get(key, part_of(offset, len(target)), target, len(target))

    def _get(self, key: str, headers: Mapping[str, str], into: memoryview | None, limit: int) -> Reply:
        reply = self._request("GET", self._path(key), headers, into=into, limit=limit)
        if not reply.ok:
            raise told(reply, f"load {key}", key)
        if headers and reply.status != 206:
            raise AnswerCut(f"load {key}: the server does not give the part that was asked for", object=key)
        return reply

    def size(self, key: str) -> int:
        """See `ObjectStore`."""
        reply = self._request("HEAD", self._path(key))
        if not reply.ok:
            raise told(reply, f"stat {key}", key)
        return length_in(reply, f"stat {key}", key)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `ObjectStore`. A container that is missing has nothing in it."""
        marker = ""
        pages = Pages(f"list {prefix}")
        while True:
            query = f"?format=json&prefix={quote(prefix, safe='')}" + (f"&marker={quote(marker, safe='')}" if marker else "")
            reply = self._request("GET", self._container + query)
            if reply.status == 404:
                return
            if not reply.ok:
                raise told(reply, f"list {prefix}")
            try:
                page = read_json(reply.body or b"[]", _LIST)
            except ValueError:
                raise StorageError(f"list {prefix}: what the server answers is no list of objects") from None
            for found in page:
                if found.bytes >= 0 and found.name.startswith(prefix):
                    yield found.name, found.bytes
            if len(page) < _LAST_PAGE:
                return
            if page[-1].name <= marker:
                raise StorageError(f"list {prefix}: the server gives the same objects again and again")
            marker = pages.next(page[-1].name, len(page))

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        reply = self._request("DELETE", self._path(key))
        if not reply.ok:
            raise told(reply, f"remove {key}", key)

    def _path(self, key: str) -> str:
        return f"{self._container}/{quote(key, safe='/', errors='surrogateescape')}"

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = NONE,
        body: Content = b"",
        *,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
    ) -> Reply:
        """One request below the account; with a new session where the one in use is not taken any more."""
        used = None
        for _ in range(2):
            account = self._signed_in(used)
            asked = {**headers, "X-Auth-Token": account.token}
            reply = account.http.request(method, account.path + path, asked, body, into=into, limit=limit)
            if reply.status != 401:
                break
            used = account
        return reply

    def _signed_in(self, refused: _Account | None) -> _Account:
        """The session in use, or a new one: where there is none, or it is the one that was *refused*."""
        with self._turn:
            account = self._account
            if account is None or account is refused:
                session = (None if refused else self._identity.given) or sign_in(self._identity, self._connect)
                self._account = account = self._account_of(session, account)
            return account

    def _connect(self, origin: str) -> Http:
        return Pool(origin, self._transport, 1)

    def _account_of(self, session: Session, before: _Account | None) -> _Account:
        address = address_of(session.url)
        if address is None:
            raise StorageError("swift: the address of the object storage begins neither with https:// nor with http://")
        if before is not None:
            before.http.close()
        return _Account(Pool(address.origin, self._transport, self._connections), address.target, session.token)
