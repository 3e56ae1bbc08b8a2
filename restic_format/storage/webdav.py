"""Repositories on WebDAV servers: Nextcloud, ownCloud, Apache, nginx and what else speaks it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit
from xml.parsers import expat

from restic_format.errors import AnswerCut, FileMissing, LocationInvalid, StorageError
from restic_format.storage.base import Content
from restic_format.storage.folders import Entry, FolderMissing, FolderStore, NotBegun
from restic_format.storage.http.pool import ConnectionWasClosed, Pool
from restic_format.storage.http.replies import part_of, told
from restic_format.storage.http.reply import Http, Reply
from restic_format.storage.transport import Transport
from restic_format.words import visible
from restic_spec.ids import is_hex_id

_LARGEST_LIST = 256 << 20
"""Bytes that the list of a folder may have: some hundred thousand files."""

_ASKED = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>'
    b"<getcontentlength/><resourcetype/><getlastmodified/></prop></propfind>"
)


class WebdavOptions(NamedTuple):
    """The options of OpenDAL's service ``webdav``."""

    endpoint: str = ""
    root: str = ""
    username: str = ""
    password: str = ""
    token: str = ""
    disable_copy: str = ""
    """Has no effect: nothing is copied."""
    disable_create_dir: str = ""
    """Has no effect: folders are made."""


def open_webdav(options: WebdavOptions, transport: Transport, connections: int) -> FolderStore:
    """The folder that *options* name on a server.

    Raises:
        LocationInvalid: no endpoint, or none that can be.
        UsageError: a certificate that makes no sense.
    """
    endpoint = options.endpoint.rstrip("/")
    if not endpoint:
        raise LocationInvalid("opendal:webdav: no server is named: -o opendal.endpoint=https://host/path")
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise LocationInvalid("opendal:webdav: the endpoint is neither http:// nor https:// with a host")
    user, password = options.username, options.password
    if parts.username is not None and not user:
        user, password = unquote(parts.username), unquote(parts.password or "")
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    headers = {}
    if options.token:
        headers["Authorization"] = f"Bearer {options.token}"
    elif user or password:
        secret = base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape"))
        headers["Authorization"] = f"Basic {secret.decode()}"
    root = "/".join(word for text in (unquote(parts.path), options.root) for word in text.split("/") if word)
    if ".." in root.split("/"):
        raise LocationInvalid("opendal:webdav: a path with '..' in it")
    return WebdavStore(Pool(origin, transport, connections, once=("PUT",)), origin, root, headers, connections)


class _Unable(StorageError):
    """The server has not what is needed."""

    permanent = True


class WebdavStore(FolderStore):
    """The folder *root* of a WebDAV server; *headers* go with every request."""

    def __init__(self, http: Http, origin: str, root: str, headers: dict[str, str], connections: int) -> None:
        super().__init__()
        self._http = http
        self._origin = origin
        self._root = root
        self._headers = headers
        self._connections = connections

    @property
    def location(self) -> str:
        """The folder."""
        return f"opendal:webdav ({self._origin}/{visible(self._root)})"

    @property
    def connections(self) -> int:
        """How many requests may run at once."""
        return self._connections

    def _target(self, path: str, *, folder: bool = False) -> str:
        return _quoted("/".join(filter(None, (self._root, path))), folder=folder)

    def _send(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: Content = b"",
        *,
        into: memoryview | None = None,
        limit: int = 1 << 20,
    ) -> Reply:
        return self._http.request(method, target, {**self._headers, **(headers or {})}, body, into=into, limit=limit)

    def entries(self, folder: str) -> Sequence[Entry]:
        """What is in *folder*."""
        target, what = self._target(folder, folder=True), f"list {folder or '/'}"
        reply = self._send("PROPFIND", target, {"Depth": "1", "Content-Type": "application/xml"}, _ASKED, limit=_LARGEST_LIST)
        if reply.status != 207:
            raise self._told(reply, what)
        itself = _unquoted(target).rstrip("/")
        found = []
        for path, entry in _Listing(what).read(reply.body):
            # A proxy may have changed what stands before the path.
            is_itself = path == itself or (entry.is_folder and path.endswith(itself))
            if entry.name and not is_itself:
                try:
                    found.append(entry if entry.size >= 0 else entry._replace(size=self.size(f"{folder}/{entry.name}")))
                except FileMissing:
                    continue  # it is told of without its size because it was removed meanwhile
        return found

    def make_folder(self, folder: str) -> None:
        """Make *folder*; for "" those above it too that are not there."""
        if folder:
            self._must_be(self._send("MKCOL", self._target(folder, folder=True)), folder)
        elif self._root:
            self._make_root(self._root)

    def _make_root(self, path: str) -> None:
        """Make *path*, from below: the server may not let everybody look at what is above."""
        above = path.rpartition("/")[0]
        reply = self._send("MKCOL", _quoted(path, folder=True))
        if reply.status in (404, 409) and above:
            with suppress(StorageError):
                self._make_root(above)
            reply = self._send("MKCOL", _quoted(path, folder=True))
        self._must_be(reply, path)

    def _must_be(self, reply: Reply, folder: str) -> None:
        if not reply.ok and reply.status != 405:  # 405: it is there
            raise self._told(reply, f"make folder {folder}")

    def write(self, path: str, data: Content) -> None:
        """Write a file."""
        try:
            reply = self._send("PUT", self._target(path), {"Content-Type": "application/octet-stream"}, data)
        except ConnectionWasClosed as error:
            raise NotBegun(error.what) from None
        if reply.status in (404, 409):
            raise FolderMissing(self._told(reply, f"upload {path}").what)
        if not reply.ok:
            raise self._told(reply, f"upload {path}")

    def rename(self, path: str, to: str, *, replace: bool) -> bool:
        """Give a file another name."""
        destination = self._origin + self._target(to)
        reply = self._send("MOVE", self._target(path), {"Destination": destination, "Overwrite": "T" if replace else "F"})
        if reply.status == 412 and not replace:
            return False
        if reply.status in (405, 501):
            raise _Unable(f"rename {path}: the server cannot rename files: {reply.status} {visible(reply.reason)}")
        if not reply.ok:
            raise self._told(reply, f"rename {path}")
        return True

    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """Read a part of a file."""
        return self._read(key, offset, length, None, limit).body

    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """Read a part of a file into *target*."""
        self._read(key, offset, len(target), target, 0)

    def _read(self, key: str, offset: int, length: int | None, into: memoryview | None, limit: int) -> Reply:
        headers = dict(part_of(offset, length))
        reply = self._send("GET", self._target(key), headers, into=into, limit=limit)
        if reply.status not in (200, 206):
            raise self._told(reply, f"load {key}")
        where = reply.headers.get("Content-Range") or f"bytes {offset}-"
        if (offset and reply.status == 200) or not where.startswith(f"bytes {offset}-"):
            raise AnswerCut(f"load {key}: the server sends another part of the file than the one that was asked for")
        return reply

    def size(self, key: str) -> int:
        """Bytes of a file."""
        reply = self._send("HEAD", self._target(key))
        if not reply.ok:
            raise self._told(reply, f"stat {key}")
        length = reply.headers.get("Content-Length") or ""
        if _is_number(length):
            return int(length)
        reply = self._send("PROPFIND", self._target(key), {"Depth": "0", "Content-Type": "application/xml"}, _ASKED)
        if reply.status != 207:
            raise self._told(reply, f"stat {key}")
        for _, entry in _Listing(f"stat {key}").read(reply.body):
            return entry.size
        raise FileMissing(f"stat {key}: no such file")

    def delete(self, key: str) -> None:
        """Remove a file."""
        reply = self._send("DELETE", self._target(key))
        if not reply.ok:
            raise self._told(reply, f"remove {key}")

    def _told(self, reply: Reply, what: str) -> StorageError:
        return told(reply, visible(what), text=_message(reply.body))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class _Listing:
    """Reads the answer to PROPFIND: paths with what is known of each."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: list[tuple[str, Entry]] = []
        self._texts: dict[str, str] = {}
        self._inside = ""
        self._is_folder = False
        self._begun = False

    def read(self, body: bytes) -> list[tuple[str, Entry]]:
        """The entries: path as the server writes it, without ``/`` at its end, and name, size, kind, time."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._refuse
        try:
            parser.Parse(body, True)
        except (expat.ExpatError, ValueError, _Refused):
            raise StorageError(f"{self._what}: what the server answers is no list of files") from None
        return self._found

    def _refuse(self, *_: object) -> None:
        raise _Refused

    def _start(self, name: str, attributes: object) -> None:
        del attributes
        if not self._begun and name != "DAV: multistatus":
            raise _Refused
        self._begun = True
        if name == "DAV: response":
            self._texts, self._is_folder = {}, False
        elif name == "DAV: collection":
            self._is_folder = True
        self._inside = name if name in _KEPT else ""

    def _text(self, text: str) -> None:
        if self._inside:
            self._texts[self._inside] = self._texts.get(self._inside, "") + text
            if len(self._texts[self._inside]) > _LONGEST_TEXT:
                raise _Refused

    def _end(self, name: str) -> None:
        self._inside = ""
        if name != "DAV: response":
            return
        href, length, modified = (self._texts.get(name, "").strip() for name in _KEPT)
        path = _unquoted(urlsplit(href).path if "://" in href else href.partition("?")[0]).rstrip("/")
        if not self._is_folder and not _is_number(length):
            if not is_hex_id(path.rpartition("/")[2]):
                return
            length = "-1"  # one of our files: left out, it would be taken for missing
        size = 0 if self._is_folder else int(length)
        self._found.append((path, Entry(path.rpartition("/")[2], size, self._is_folder, _time(modified))))


_KEPT = ("DAV: href", "DAV: getcontentlength", "DAV: getlastmodified")


_LONGEST_TEXT = 64 << 10
"""Characters of a path, a size or a time; what is longer would be put together from ever more pieces."""


class _Refused(Exception):
    """What such answers have not: a document type, another root, a path without an end."""


def _quoted(path: str, *, folder: bool) -> str:
    target = "/" + quote(path.encode("utf-8", "surrogateescape"), safe="/!$&'()*+,;=:@-._~")
    return f"{target}/" if folder and path else target


def _unquoted(target: str) -> str:
    return unquote(target, errors="surrogateescape")


def _time(text: str) -> float | None:
    with suppress(ValueError, TypeError, OverflowError, OSError):
        found: datetime = parsedate_to_datetime(text)
        return found.timestamp()
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def _message(body: bytes) -> str | None:
    """What the server says in XML (as Nextcloud and ownCloud do); None where it says nothing in that form."""
    _, mark, rest = body.partition(b"message>")
    if not mark or not body.lstrip().startswith(b"<?xml"):
        return None
    return rest.partition(b"<")[0].decode("utf-8", "replace").strip()
