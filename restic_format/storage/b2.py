"""Repositories in Backblaze B2: ``b2:bucket``, ``b2:bucket:prefix``, by B2's own interface.

An upload goes to an address that B2 gives for it, one for each that runs at a time, and carries the SHA-1 of its content. B2
keeps every version of a file until it is removed.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha1
from posixpath import normpath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from restic_format.errors import AccessDenied, AnswerCut, FileMissing, LocationInvalid, NoSpace, StorageError, UsageError
from restic_format.storage.base import Content, Storage, pieces_of
from restic_format.storage.cloudkeys import Pages
from restic_format.storage.extended import B2Options, read_options
from restic_format.storage.http.addresses import Address, address_of
from restic_format.storage.http.jsons import read_json
from restic_format.storage.http.pool import Pool
from restic_format.storage.http.replies import length_in, part_of, told
from restic_format.storage.http.reply import NONE, Http, Reply
from restic_format.storage.locations import Options
from restic_format.storage.objects import ObjectStorage, ObjectStore
from restic_format.storage.transport import Transport
from restic_spec.layout import FileKind

T = TypeVar("T")

_SERVICE = "https://api.backblazeb2.com"
"""Where an account is looked up, unless $B2_ENVIRONMENT names another place, as for Backblaze's own command."""

_PAGE = 10_000
"""Files of a listing that are asked for at once, the most that B2 gives."""

_UPLOADS = 5
"""Addresses that are tried for an upload: that one is refused because its server has too much to do is usual."""

_NAME = re.compile(r"[a-zA-Z0-9-]+")


class Place(NamedTuple):
    """Where in an account a repository is."""

    bucket: str
    prefix: str


def parse_place(rest: str) -> Place:
    """The place that ``b2:`` *rest* names: ``bucket`` or ``bucket:prefix``.

    Raises:
        LocationInvalid: it names none.
    """
    bucket, _, prefix = rest.partition(":")
    wrong = ""
    if not bucket:
        wrong = "bucket name not found"
    elif len(bucket) < 6:
        wrong = "bucket name is too short"
    elif len(bucket) > 50:
        wrong = "bucket name is too long"
    elif not _NAME.fullmatch(bucket):
        wrong = "bucket name contains invalid characters, allowed are: a-z, 0-9, dash (-)"
    if wrong:
        raise LocationInvalid(f"parsing repository location failed: {wrong}")
    prefix = normpath(prefix).lstrip("/") if prefix else ""
    if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in prefix):
        raise LocationInvalid("parsing repository location failed: the prefix has characters that B2 does not take")
    return Place(bucket, "" if prefix == "." else prefix)


class Key(NamedTuple):
    """An application key. As text it does not show the secret."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Key({self.id!r})"


def open_b2(rest: str, options: Options, transport: Transport) -> Storage:
    """The storage at ``b2:`` *rest*; the application key comes from the environment of *transport*.

    Raises:
        LocationInvalid: no such location.
        UsageError: an option that makes no sense, or no key.
    """
    place = parse_place(rest)
    known = read_options(B2Options, "b2", options)
    environment = transport.environment
    key = Key(environment.get("B2_ACCOUNT_ID") or "", environment.get("B2_ACCOUNT_KEY") or "")
    if not key.id:
        raise UsageError("unable to open B2 backend: Account ID ($B2_ACCOUNT_ID) is empty")
    if not key.secret:
        raise UsageError("unable to open B2 backend: Key ($B2_ACCOUNT_KEY) is empty")
    service = environment.get("B2_ENVIRONMENT") or "production"
    address = address_of(_SERVICE if service == "production" else service)
    if address is None:
        raise UsageError("unable to open B2 backend: $B2_ENVIRONMENT is neither 'production' nor the address of a server")
    store = B2Store(place.bucket, key, transport, known.connections, service=address.origin, location=f"b2:{rest}")
    return ObjectStorage(store, place.prefix)


class _StorageApi(msgspec.Struct, rename="camel"):
    api_url: str
    download_url: str
    bucket_id: str | None = None
    bucket_name: str | None = None
    capabilities: list[str] = []


class _ApiInfo(msgspec.Struct, rename="camel"):
    storage_api: _StorageApi


class _Authorized(msgspec.Struct, rename="camel"):
    account_id: str
    authorization_token: str
    api_info: _ApiInfo


class _Bucket(msgspec.Struct, rename="camel"):
    bucket_id: str
    bucket_name: str


class _Buckets(msgspec.Struct):
    buckets: list[_Bucket]


class _UploadUrl(msgspec.Struct, rename="camel"):
    upload_url: str
    authorization_token: str


class _File(msgspec.Struct, rename="camel"):
    file_name: str
    action: str
    file_id: str | None = None
    content_length: int | None = None
    content_sha1: str | None = None


class _Files(msgspec.Struct, rename="camel"):
    files: list[_File]
    next_file_name: str | None = None
    next_file_id: str | None = None


class _Refusal(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Session(NamedTuple):
    """A sign-in that is in use."""

    account: str
    token: str
    api: Http
    downloads: Http
    may_delete: bool
    bucket: str
    """Id of the only bucket that the key is for, where it is ours; else ""."""

    def __repr__(self) -> str:
        return f"_Session({self.account!r})"


class _Upload(NamedTuple):
    """Where one upload at a time may go."""

    http: Http
    path: str
    token: str

    def __repr__(self) -> str:
        return "_Upload()"


class B2Store(ObjectStore):
    """The files in *bucket*; *service* is the server that knows the account of *key*."""

    def __init__(
        self,
        bucket: str,
        key: Key,
        transport: Transport,
        connections: int,
        *,
        service: str = _SERVICE,
        location: str = "",
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._transport = transport
        self._connections = connections
        self._service = service
        self._location = location or f"b2:{bucket}"
        self._turn = threading.Lock()
        self._session: _Session | None = None
        self._bucket_id = ""
        self._uploads: list[_Upload] = []

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
            session, self._session = self._session, None
            uploads, self._uploads = self._uploads, []
        for http in [upload.http for upload in uploads] + ([session.api, session.downloads] if session else []):
            http.close()

    def create(self) -> None:
        """Make the bucket, a private one, where it is missing."""
        try:
            self._id()
        except FileMissing:
            wanted = {"bucketName": self._bucket, "bucketType": "allPrivate"}
            self._bucket_id = self._call("b2_create_bucket", wanted, _Bucket, account=True).bucket_id

    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        """See `ObjectStore`. Where an address for uploads is refused another one is asked for."""
        del kind, metadata, sha256
        found, size = sha1(usedforsecurity=False), 0
        for piece in pieces_of(data):
            found.update(piece)
            size += memoryview(piece).nbytes
        headers = {
            "X-Bz-File-Name": _quoted(key),
            "Content-Type": "application/octet-stream",
            "X-Bz-Content-Sha1": found.hexdigest(),
        }
        reply = self._uploaded(headers, data)
        if not reply.ok:
            raise _failed(reply, f"save {key}", key)
        stored = _decoded(reply, _File, f"save {key}")
        if stored.file_name != key or stored.content_length != size or stored.content_sha1 != found.hexdigest():
            raise StorageError(f"save {key}: what the server has stored is not what was sent", object=key)

    def _uploaded(self, headers: Mapping[str, str], data: Content) -> Reply:
        """The answer to an upload, by another address than the first where that is refused."""
        for left in range(_UPLOADS)[::-1]:
            upload = self._upload()
            try:
                reply = upload.http.request("POST", upload.path, {**headers, "Authorization": upload.token}, data)
            except BaseException:
                upload.http.close()
                raise
            if reply.ok:
                with self._turn:
                    self._uploads.append(upload)
                break
            upload.http.close()
            if not left or not _elsewhere(reply):
                break
        return reply

    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """See `ObjectStore`."""
        return self._get(key, part_of(offset, length), None, limit).body

    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """See `ObjectStore`."""
        self._get(key, part_of(offset, len(target)), target, len(target))

    def _get(self, key: str, headers: Mapping[str, str], into: memoryview | None, limit: int) -> Reply:
        reply = self._download("GET", key, headers, into, limit)
        if not reply.ok:
            raise _failed(reply, f"load {key}", key)
        if headers and reply.status != 206:
            raise AnswerCut(f"load {key}: the server does not give the part that was asked for", object=key)
        return reply

    def size(self, key: str) -> int:
        """See `ObjectStore`."""
        reply = self._download("HEAD", key, NONE, None, 0)
        if not reply.ok:
            raise _failed(reply, f"stat {key}", key)
        return length_in(reply, f"stat {key}", key)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `ObjectStore`. Of a file with several versions the newest is meant; what is hidden is not among them."""
        start = ""
        pages = Pages(f"list {prefix}")
        while True:
            asked = {"maxFileCount": _PAGE, "prefix": prefix} | ({"startFileName": start} if start else {})
            page = self._call("b2_list_file_names", asked, _Files, f"list {prefix}")
            for found in page.files:
                size = found.content_length
                if found.action == "upload" and size is not None and size >= 0 and found.file_name.startswith(prefix):
                    yield found.file_name, size
            if not page.next_file_name:
                return
            if page.next_file_name <= start:
                raise StorageError(f"list {prefix}: the server gives the same files again and again")
            start = pages.next(page.next_file_name, len(page.files))

    def delete(self, key: str) -> None:
        """Remove every version, the oldest first; a key that may not do that hides the file instead, as restic does."""
        versions = self._versions(key)
        if not versions or versions[0].action != "upload":
            raise FileMissing(f"remove {key}: no such file", object=key)
        if self._signed_in(None).may_delete:
            try:
                for version in versions[::-1]:
                    asked = {"fileName": key, "fileId": version.file_id}
                    self._call("b2_delete_file_version", asked, _Any, f"remove {key}", bucket=False)
            except AccessDenied:
                pass
            else:
                return
        self._call("b2_hide_file", {"fileName": key}, _Any, f"remove {key}")

    def _versions(self, key: str) -> Sequence[_File]:
        """What there is of a file, the newest first: versions, and marks that hide those before them."""
        asked = {"maxFileCount": _PAGE, "prefix": key, "startFileName": key}
        page = self._call("b2_list_file_versions", asked, _Files, f"remove {key}")
        return [found for found in page.files if found.file_name == key and found.action in ("upload", "hide")]

    def _id(self) -> str:
        """The id of the bucket. Raises `FileMissing`."""
        if not self._bucket_id:
            self._bucket_id = self._signed_in(None).bucket
        if not self._bucket_id:
            found = self._call("b2_list_buckets", {"bucketName": self._bucket}, _Buckets, bucket=False, account=True)
            self._bucket_id = next((each.bucket_id for each in found.buckets if each.bucket_name == self._bucket), "")
        if not self._bucket_id:
            raise FileMissing(f"{self._location}: {self._bucket}: bucket not found", object=self._bucket)
        return self._bucket_id

    def _call(
        self, name: str, asked: dict[str, Any], kind: type[T], what: str = "", *, bucket: bool = True, account: bool = False
    ) -> T:
        """One call of B2's interface, signed in anew where the session has expired."""
        what = what or f"{self._location}: {name}"
        if account:
            bucket = False
        if bucket:
            asked = {"bucketId": self._id(), **asked}
        used = None
        for _ in range(2):
            session = self._signed_in(used)
            body = msgspec.json.encode({"accountId": session.account, **asked} if account else asked)
            reply = session.api.request("POST", f"/b2api/v3/{name}", {"Authorization": session.token}, body)
            if not _expired(reply):
                break
            used = session
        if not reply.ok:
            raise _failed(reply, what)
        return _decoded(reply, kind, what)

    def _download(self, method: str, key: str, headers: Mapping[str, str], into: memoryview | None, limit: int) -> Reply:
        used = None
        for _ in range(2):
            session = self._signed_in(used)
            target = f"/file/{self._bucket}/{_quoted(key)}"
            asked = {**headers, "Authorization": session.token}
            reply = session.downloads.request(method, target, asked, into=into, limit=limit)
            # An answer to HEAD has no body that says why.
            if not (_expired(reply) or (method == "HEAD" and reply.status == 401)):
                break
            used = session
        return reply

    def _upload(self) -> _Upload:
        """An address that nobody uploads to; it goes back when the upload has succeeded."""
        with self._turn:
            if self._uploads:
                return self._uploads.pop()
        given = self._call("b2_get_upload_url", {}, _UploadUrl)
        address = self._address(given.upload_url)
        return _Upload(Pool(address.origin, self._transport, 1), address.target, given.authorization_token)

    def _signed_in(self, expired: _Session | None) -> _Session:
        """The session in use, or a new one: where there is none, or it is the one that has *expired*."""
        with self._turn:
            if self._session is None or self._session is expired:
                self._session = self._sign_in(self._session)
            return self._session

    def _sign_in(self, before: _Session | None) -> _Session:
        secret = f"{self._key.id}:{self._key.secret}".encode("utf-8", "surrogateescape")
        http = Pool(self._service, self._transport, 1)
        try:
            reply = http.request(
                "GET", "/b2api/v3/b2_authorize_account", {"Authorization": f"Basic {base64.b64encode(secret).decode()}"}
            )
        finally:
            http.close()
        if not reply.ok:
            raise _failed(reply, f"{self._location}: signing in")
        account = _decoded(reply, _Authorized, f"{self._location}: signing in")
        given = account.api_info.storage_api
        if before is not None:
            before.api.close()
            before.downloads.close()
        if given.bucket_name and given.bucket_name != self._bucket:
            raise AccessDenied(f"{self._location}: the application key is for another bucket")
        return _Session(
            account.account_id,
            account.authorization_token,
            Pool(self._address(given.api_url).origin, self._transport, self._connections),
            Pool(self._address(given.download_url).origin, self._transport, self._connections),
            "deleteFiles" in given.capabilities,
            (given.bucket_id or "") if given.bucket_name else "",
        )

    def _address(self, url: str) -> Address:
        """An address that B2 sends us to: reached no less safely than B2 itself."""
        address = address_of(url, {"https", self._service.partition("://")[0]})
        if address is None:
            raise StorageError(f"{self._location}: B2 names a server whose address does not begin with https://")
        return address


class _Any(msgspec.Struct):
    """An answer of which only that it is one matters."""


def _quoted(key: str) -> str:
    return quote(key, safe="/", errors="surrogateescape")


def _refusal(reply: Reply) -> _Refusal:
    try:
        return read_json(reply.body, msgspec.json.Decoder(_Refusal))
    except ValueError:
        return _Refusal()


def _expired(reply: Reply) -> bool:
    return reply.status == 401 and _refusal(reply).code in ("expired_auth_token", "bad_auth_token")


def _elsewhere(reply: Reply) -> bool:
    """Whether an upload that was refused is to go to another address: this one is too busy, has expired, or is in use."""
    if reply.status == 400:
        return "more than one upload using auth token" in _refusal(reply).message
    return reply.status in (401, 408) or reply.status >= 500


def _failed(reply: Reply, what: str, object: str = "") -> StorageError:
    said = _refusal(reply)
    if reply.status == 401 and said.code == "unauthorized":
        return told(reply, what, object, text="there is no such application key, or it may not do this")
    if said.code == "storage_cap_exceeded":
        return NoSpace(f"{what}: {reply.status} {said.message or said.code}", object=object)
    return told(reply, what, object, text=said.message or said.code or None)


def _decoded(reply: Reply, kind: type[T], what: str) -> T:
    try:
        return read_json(reply.body, msgspec.json.Decoder(kind))
    except ValueError:
        raise StorageError(f"{what}: what the server answers is none of B2's answers") from None
