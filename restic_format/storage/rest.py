"""Repositories behind REST servers: restic's protocol over HTTP, versions 1 and 2, and what rclone speaks.

The server keeps the folders: a request names the kind and the name of a file. What it lists has the sizes in
version 2; a server of version 1 is asked for each.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote, unquote, urlsplit

import msgspec

from restic_format.errors import AnswerCut, FileMissing, FileUnusable, LocationInvalid, StorageError
from restic_format.storage.base import Content, Storage, already_there, check_range, hash_content, hash_file, name_of
from restic_format.storage.extended import RestOptions, read_options
from restic_format.storage.http.addresses import NO_ADDRESS
from restic_format.storage.http.jsons import read_json
from restic_format.storage.http.pool import Pool
from restic_format.storage.http.replies import length_in, told
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Http, Reply, is_page
from restic_format.storage.locations import Options, without_password
from restic_format.storage.transport import Transport
from restic_spec.ids import is_hex_id
from restic_spec.layout import KINDS, FileKind, folder_of, path_of

V2 = "application/vnd.x.restic.rest.v2"

_LARGEST_LIST = 1 << 30
"""Bytes that a list of files may have: ten million names."""


_SHORTEST = 64
"""Bytes of a list that each name of ours takes at least."""

_MOST_SHORTER = 100_000
"""Other names that a list may have besides: each costs more memory than it has bytes."""


class _Listed(msgspec.Struct):
    name: str
    size: int


_SIZED_AT_ONCE = 1000
"""Files whose sizes are asked for before the first of them is given out."""

_LIST_V2 = msgspec.json.Decoder(list[_Listed])
_LIST_V1 = msgspec.json.Decoder(list[str])


def open_rest(rest: str, options: Options, transport: Transport) -> Storage:
    """The storage at ``rest:`` *rest*: ``http://host:port/path/``, ``https://…`` or ``http+unix:///socket:/path/``.

    User and password stand in the URL, or in $RESTIC_REST_USERNAME and $RESTIC_REST_PASSWORD.

    Raises:
        LocationInvalid: no such URL.
        UsageError: an option or a certificate that makes no sense.
    """
    known = read_options(RestOptions, "rest", options)
    server = _Server(rest, transport)
    http = Pool(server.origin, transport, known.connections)
    return RestStorage(http, server.path, server.location, known.connections, server.headers)


class _Server:
    """What a URL says: origin, path, authorization, and how it may be shown."""

    def __init__(self, url: str, transport: Transport) -> None:
        if not url.endswith("/"):
            url += "/"
        self.location = shown = without_password(f"rest:{url}")
        scheme, _, behind = url.partition("://")
        if scheme not in ("http", "https", "http+unix"):
            raise LocationInvalid(f"{shown}: a REST server's URL begins with http://, https:// or http+unix://")
        user: str | None
        password: str | None
        if scheme == "http+unix":
            socket, _, path = behind.partition(":")
            if not socket.startswith("/"):
                raise LocationInvalid(f"{shown}: the path of the socket must be absolute: http+unix:///run/rest.sock:/path/")
            self.origin, self.path, user, password = f"http+unix://{socket}", path or "/", None, None
        else:
            try:
                parts = urlsplit(url)
                user, password, _ = parts.username, parts.password, parts.port
            except ValueError:
                raise LocationInvalid(f"{shown}: {NO_ADDRESS}") from None
            if not parts.hostname:
                raise LocationInvalid(f"{shown}: the URL names no host")
            if parts.query or parts.fragment:
                raise LocationInvalid(f"{shown}: a repository's URL has no query and no fragment: write ? as %3F and # as %23")
            self.origin = f"{scheme}://{parts.netloc.rpartition('@')[2]}"
            self.path = parts.path
        self.path = quote(self.path.encode("utf-8", "surrogateescape"), safe="/%:@!$&'()*+,;=~-._")
        if user is None and password is None:
            user, password = (transport.environment.get(f"RESTIC_REST_{name}") for name in ("USERNAME", "PASSWORD"))
        else:
            user, password = (unquote(text or "", errors="surrogateescape") for text in (user, password))
        self.headers = dict(NONE)
        if user or password:
            secret = base64.b64encode(f"{user or ''}:{password or ''}".encode("utf-8", "surrogateescape"))
            self.headers["Authorization"] = f"Basic {secret.decode()}"


class RestStorage(Storage):
    """A repository at *path* of the server behind *http*; *headers* go with every request."""

    def __init__(self, http: Http, path: str, location: str, connections: int, headers: dict[str, str]) -> None:
        self._http = http
        self._path = path if path.endswith("/") else f"{path}/"
        self._location = location
        self._connections = connections
        self._headers = {"Accept": V2, **headers}

    @property
    def location(self) -> str:
        """The URL, without a password."""
        return self._location

    @property
    def connections(self) -> int:
        """How many requests may run at once."""
        return self._connections

    def _ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Content = b"",
        *,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
    ) -> Reply:
        """A request to the server, which never answers a page for people."""
        reply = self._http.request(method, target, headers, body, into=into, limit=limit)
        if reply.ok and is_page(reply):
            raise StorageError(f"{self._location}: a web page answers, not a REST server")
        return reply

    def _target(self, kind: FileKind, name: str) -> str:
        path = path_of(kind, name)
        return self._path + (path if kind is not FileKind.PACK else f"data/{name}")  # the server spreads packs itself

    def create(self) -> None:
        """Ask the server to make the folders."""
        reply = self._ask("POST", f"{self._path}?create=true", self._headers)
        if not reply.ok:
            raise told(reply, f"{self._location}: the server does not create the repository")

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """See `Storage`. Where the server replaces nothing, another file of that name is removed first."""
        del metadata
        reply = self._post(kind, name, data)
        if reply.status == 403:
            found = self._hash_of_stored(kind, name)
            if found == hash_content(data):
                return  # of this content already: of an earlier try, or of somebody who had the same
            if found is not None:
                self.remove(kind, name)
                reply = self._post(kind, name, data)
        if not reply.ok:
            raise told(reply, f"save {name_of(kind, name)}", name_of(kind, name))

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """See `Storage`. rest-server never replaces a file; others are asked before."""
        if self.exists(kind, name):
            raise already_there(kind, name)
        reply = self._post(kind, name, data)
        if reply.status == 403 and self.exists(kind, name):
            raise already_there(kind, name)
        if not reply.ok:
            raise told(reply, f"save {name_of(kind, name)}", name_of(kind, name))

    def _post(self, kind: FileKind, name: str, data: Content) -> Reply:
        headers = {**self._headers, "Content-Type": "application/octet-stream"}
        return self._ask("POST", self._target(kind, name), headers, data)

    def _hash_of_stored(self, kind: FileKind, name: str) -> bytes | None:
        try:
            return hash_file(self, kind, name)[0]
        except FileMissing:
            return None

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Storage`."""
        if kind is FileKind.CONFIG and (offset or length is not None):
            # rest-server gives the whole config, whatever part of it is asked for.
            try:
                whole = self.load(kind, name)
            except FileUnusable:
                pass  # it is too large to be one, but others give a part
            else:
                return whole[offset : offset + check_range(kind, name, len(whole), offset, length)]
        if length == 0 or (offset and length is None):
            length = check_range(kind, name, self.size(kind, name), offset, length)
            if not length:
                return b""
        limit = KINDS[kind].max_size if length is None else length
        reply = self._get(kind, name, offset, length, None, limit)
        if length is not None and len(reply.body) != length:
            check_range(kind, name, self.size(kind, name), offset, length)
            raise AnswerCut(f"{name_of(kind, name)}: {len(reply.body)} of {length} bytes from {offset} arrived")
        return reply.body

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """See `Storage`."""
        if kind is FileKind.CONFIG:
            target[:] = self.load(kind, name, offset, len(target))
        elif len(target):
            self._get(kind, name, offset, len(target), target, 0)
        else:
            self.load(kind, name, offset, 0)

    def _get(self, kind: FileKind, name: str, offset: int, length: int | None, into: memoryview | None, limit: int) -> Reply:
        end = "" if length is None else offset + length - 1
        headers = {**self._headers, "Range": f"bytes={offset}-{end}"}
        try:
            reply = self._ask("GET", self._target(kind, name), headers, into=into, limit=limit)
        except (AnswerCut, FileUnusable):
            # Was it the file that is too short or too large, or did the answer lose something on its way?
            check_range(kind, name, self.size(kind, name), offset, length)
            raise
        if reply.status == 416:
            size = self.size(kind, name)
            if not size and not offset and length is None:
                return reply._replace(status=200, body=b"")  # nothing has no first byte
            check_range(kind, name, size, offset, length)
        if reply.status not in (200, 206):
            raise told(reply, f"load {name_of(kind, name)}", name_of(kind, name))
        return reply

    def size(self, kind: FileKind, name: str) -> int:
        """See `Storage`."""
        reply = self._ask("HEAD", self._target(kind, name), self._headers)
        if not reply.ok:
            raise told(reply, f"stat {name_of(kind, name)}", name_of(kind, name))
        return length_in(reply, f"stat {name_of(kind, name)}", name_of(kind, name))

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """See `Storage`."""
        folder = folder_of(kind)
        reply = self._ask("GET", f"{self._path}{folder}/", self._headers, limit=_LARGEST_LIST)
        if reply.status == 404 and not (reply.headers.get("Server") or "").startswith("rclone/"):
            return
        if not reply.ok:
            raise told(reply, f"list {folder}")
        if reply.body.count(b",") > 2 * (len(reply.body) // _SHORTEST + _MOST_SHORTER):
            raise StorageError(f"list {folder}: what the server answers is no list of files")
        version = 2 if reply.headers.get("Content-Type") == V2 else 1
        try:
            if version == 2:
                for file in read_json(reply.body, _LIST_V2):
                    if is_hex_id(file.name) and file.size >= 0:
                        yield file.name, file.size
                return
            names = [name for name in read_json(reply.body, _LIST_V1) if is_hex_id(name)]
        except ValueError:
            raise StorageError(f"list {folder}: what the server answers is no list of files") from None
        yield from self._with_sizes(kind, names)

    def _with_sizes(self, kind: FileKind, names: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Each name with its size, for which the server is asked, as many at once as may be."""
        from concurrent.futures import ThreadPoolExecutor

        def sized(name: str) -> tuple[str, int] | None:
            try:
                return name, self.size(kind, name)
            except FileMissing:
                return None  # removed since

        with ThreadPoolExecutor(self._connections, thread_name_prefix="sizes") as threads:
            for start in range(0, len(names), _SIZED_AT_ONCE):
                yield from filter(None, threads.map(sized, names[start : start + _SIZED_AT_ONCE]))

    def remove(self, kind: FileKind, name: str) -> None:
        """See `Storage`."""
        reply = self._ask("DELETE", self._target(kind, name), self._headers)
        if not reply.ok:
            raise told(reply, f"remove {name_of(kind, name)}", name_of(kind, name))
