"""Repositories in Azure Blob Storage: ``azure:container:/path``.

A file is one block blob. Every upload carries its MD5, which Azure compares; what is larger than `_SINGLE` goes in blocks that
become a blob together. Azure shows what is stored in every listing that begins afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from http.client import responses
from time import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from restic_format.errors import AccessDenied, FileCold, FileMissing, StorageError, UsageError
from restic_format.storage.azureaccess import VERSION, Access, SharedAccessSignature, SharedKey, Token
from restic_format.storage.base import Content, Storage, already_there, pieces_of
from restic_format.storage.cloudkeys import Pages, bucket_and_prefix, check_md5, check_sender, md5_of, object_in, server_of
from restic_format.storage.extended import AzureOptions, read_options
from restic_format.storage.http.pool import Pool
from restic_format.storage.http.replies import length_in, status_text, told
from restic_format.storage.http.reply import LARGEST_BODY, NONE, Http, Reply
from restic_format.storage.objects import ObjectStorage, ObjectStore
from restic_format.storage.transport import Transport
from restic_format.words import visible
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_SINGLE = 256 << 20
"""Bytes that are stored with one request."""

_BLOCK = 100 << 20
"""Bytes of a block of what is larger."""

_PAGE = 5000
"""Names in one answer of a listing, the most that Azure gives."""

_TIERS = ("Hot", "Cool", "Cold", "Archive")

_ACCOUNT = re.compile(r"[A-Za-z0-9-]{1,63}\Z")

_SKEW = 600
"""Seconds by which clocks may differ before they are named as what may be wrong."""

_COLD = ("BlobArchived", "BlobBeingRehydrated")
"""Answers that mean: in the tier Archive, from which nothing can be read."""

_NEVER = ("BlobImmutableDueToPolicy", "AccountIsDisabled", "FeatureNotSupported")
"""Answers besides 401 and 403 that mean: not allowed, now or later."""


def open_azure(rest: str, options: Mapping[str, str], transport: Transport) -> Storage:
    """The storage at ``azure:`` *rest*, which is ``container:/path``.

    $AZURE_ACCOUNT_NAME is the account; $AZURE_ACCOUNT_KEY, $AZURE_ACCOUNT_SAS, or else what azure-identity finds opens it.
    $AZURE_ENDPOINT_SUFFIX names another cloud, the option ``endpoint`` one server.

    Raises:
        LocationInvalid: not of that form.
        UsageError: an option, a variable or a certificate that makes no sense, or a library that is missing.
    """
    container, prefix = bucket_and_prefix("azure", rest)
    known = read_options(AzureOptions, "azure", options)
    environment = transport.environment
    account = environment.get("AZURE_ACCOUNT_NAME", "")
    if not account:
        raise UsageError("unable to open Azure backend: Account name ($AZURE_ACCOUNT_NAME) is empty")
    if not _ACCOUNT.match(account):
        raise UsageError("AZURE_ACCOUNT_NAME is not the name of an account: it has characters that none has")
    suffix = environment.get("AZURE_ENDPOINT_SUFFIX") or "core.windows.net"
    origin, path = server_of(
        known.endpoint or f"https://{account}.blob.{suffix}",
        "option azure.endpoint" if known.endpoint else "AZURE_ENDPOINT_SUFFIX",
    )
    access = _access(account, transport)
    if not origin.startswith("https://") and not isinstance(access, SharedKey):
        raise UsageError("a signature or a token for Azure is sent over https:// only; see option azure.endpoint")
    store = AzureStore(
        Pool(origin, transport, known.connections),
        access,
        f"{path}/{quote(container, safe='')}",
        location=visible(f"azure:{container}:/{prefix}"),
        connections=known.connections,
        tier=_tier(known.access_tier, transport),
    )
    return ObjectStorage(store, prefix)


def _access(account: str, transport: Transport) -> Access:
    environment = transport.environment
    if key := environment.get("AZURE_ACCOUNT_KEY"):
        return SharedKey(account, key)
    if signature := environment.get("AZURE_ACCOUNT_SAS"):
        return SharedAccessSignature(signature)
    from restic_format.storage.azuretokens import azure_tokens

    return Token(azure_tokens(transport))


def _tier(wanted: str, transport: Transport) -> str:
    """The tier of that name; "", which is the account's, for one that Azure does not have."""
    found = next((tier for tier in _TIERS if tier.lower() == wanted.lower()), "")
    if wanted and not found:
        transport.report(f"option azure.access-tier: {visible(wanted[:80])} is none of {', '.join(_TIERS)}; it is ignored")
    return found


class AzureStore(ObjectStore):
    """A container, reached through *http*: *root* is its percent-encoded path, *tier* that of new blobs, "" for none."""

    def __init__(self, http: Http, access: Access, root: str, *, location: str, connections: int = 5, tier: str = "") -> None:
        self._http = http
        self._access = access
        self._root = root
        self._location = location
        self._connections = connections
        self._tier = tier
        self._page = _PAGE

    @property
    def location(self) -> str:
        """The container and the path in it."""
        return self._location

    @property
    def connections(self) -> int:
        """How many requests may run at once."""
        return self._connections

    @property
    def lists_at_once(self) -> bool:
        """Azure is consistent: what is stored is listed."""
        return True

    def create(self) -> None:
        """Make the container, if it is not there."""
        container = {"restype": "container"}
        try:
            self._ask("GET", "", container)
            return
        except AccessDenied as error:
            if not isinstance(error, _Refused) or not error.code.startswith("Authorization"):
                raise
            return  # what may only use blobs need not see the container
        except FileMissing:
            pass
        try:
            self._ask("PUT", "", container)
        except _Refused as error:
            if error.code != "ContainerAlreadyExists":
                raise

    def put(self, key: str, data: Content, *, kind: FileKind, metadata: bool, sha256: str) -> None:
        """Store a blob, with the tier that is wished for; Archive is for packs with data only."""
        del sha256
        tier = self._tier if self._tier != "Archive" or (kind is FileKind.PACK and not metadata) else ""
        self._put(key, data, {"x-ms-access-tier": tier} if tier else {})

    def put_new(self, key: str, data: Content, *, kind: FileKind) -> None:
        """Store a blob if there is none: Azure decides who was first."""
        try:
            self._put(key, data, {"If-None-Match": "*"})
        except _Refused as error:
            if error.code in ("BlobAlreadyExists", "ConditionNotMet"):
                raise already_there(kind, object_in(key).rpartition("/")[2] if kind is not FileKind.CONFIG else "") from None
            raise

    def _put(self, key: str, data: Content, headers: dict[str, str]) -> None:
        pieces = [memoryview(piece).cast("B") for piece in pieces_of(data) if len(piece)]
        if sum(map(len, pieces)) <= _SINGLE:
            self._ask("PUT", key, {}, {"x-ms-blob-type": "BlockBlob", **headers}, pieces, checked=True)
            return
        blocks = []
        for block in _cut(pieces, _BLOCK):
            # The name of a block says what is in it: two writers of one file cannot mix theirs up.
            blocks.append(md5_of(block))
            self._ask("PUT", key, {"comp": "block", "blockid": blocks[-1]}, {}, block, checked=True)
        listed = "".join(f"<Latest>{block}</Latest>" for block in blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        self._ask("PUT", key, {"comp": "blocklist"}, headers, [memoryview(body)], checked=True)

    def get(self, key: str, offset: int, length: int | None, limit: int) -> bytes:
        """Read a range; all of a blob must have the hash that Azure names."""
        wanted = _range(offset, length)
        reply = self._ask("GET", key, {}, wanted, limit=limit)
        return reply.body if wanted else check_md5(reply.body, reply.headers.get("Content-MD5") or "", key)

    def get_into(self, key: str, offset: int, target: memoryview) -> None:
        """Read a range into *target*."""
        self._ask("GET", key, {}, _range(offset, len(target)), into=target)

    def size(self, key: str) -> int:
        """Bytes of a blob."""
        return length_in(self._ask("HEAD", key, {}), f"HEAD {object_in(key)}", object_in(key))

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and sizes of blobs, page by page."""
        query = {"restype": "container", "comp": "list", "prefix": prefix, "maxresults": str(self._page)}
        pages = Pages(f"list {prefix}")
        while True:
            reply = self._ask("GET", "", query, shown=pages.what)
            try:
                found, marker = _listed(reply.body, prefix)
            except ValueError:
                raise StorageError(f"{pages.what}: what Azure answers is not a list of these blobs") from None
            yield from found
            if not marker:
                return
            query["marker"] = pages.next(marker, len(found))

    def delete(self, key: str) -> None:
        """Remove a blob."""
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
        body: Sequence[memoryview] = (),
        *,
        checked: bool = False,
        into: memoryview | None = None,
        limit: int = LARGEST_BODY,
        shown: str = "",
    ) -> Reply:
        """One request about a blob, or about the container where *key* is "". Raises `StorageError` for other than success."""
        sent = {"x-ms-version": VERSION, **headers}
        if checked:
            sent["Content-MD5"] = md5_of(body)
        path = f"{self._root}/{quote(key)}" if key else self._root
        size = sum(map(len, body))
        target = self._access.address(method, path, query, sent, size)
        reply = self._http.request(method, target, sent, body, into=into, limit=limit)
        if reply.status == 401 and self._access.refused(sent):
            target = self._access.address(method, path, query, sent, size)
            reply = self._http.request(method, target, sent, body, into=into, limit=limit)
        what = shown or f"{method} {object_in(key) if key else self._location}"
        if reply.ok or reply.status == 404:
            check_sender(reply, "x-ms-", what)
        if reply.ok:
            return reply
        raise self._told(reply, what, key)

    def _told(self, reply: Reply, what: str, key: str) -> StorageError:
        """The error that Azure's answer means: its code and its words."""
        code = reply.headers.get("x-ms-error-code") or ""
        said = f"{code}: {_message(reply.body)}".strip(": ")
        object = object_in(key) if key else ""
        if reply.status == 404 and code == "ContainerNotFound":
            said = f"{self._location.split(':')[1]} is not a container of this account; init makes it"
        reply = reply._replace(reason=responses.get(reply.status, ""))  # Azurite has its whole message there
        if reply.status in (401, 403) or code == "InvalidAuthenticationInfo":
            hint = _skew(reply) or self._access.trouble(code)
            text = status_text(reply, said.rstrip(".")) + (f"; {hint}" if hint else "")
            return _Refused(f"{what}: {text}", object, code)
        if code in _COLD:
            advice = "set its tier to Hot, Cool or Cold, which takes hours, and try again"
            return FileCold(f"{what}: {status_text(reply, said.rstrip('.'))}; {advice}", object=object)
        if reply.status == 412 or code in _NEVER or code.endswith("AlreadyExists"):
            return _Refused(f"{what}: {status_text(reply, said)}", object, code)
        return told(reply, what, object, said)


class _Refused(AccessDenied):
    """Azure does not do it, now or later; *code* is its word for why."""

    def __init__(self, what: str, object: str, code: str) -> None:
        super().__init__(what, object=object)
        self.code = code


def _cut(pieces: list[memoryview], size: int) -> Iterator[list[memoryview]]:
    """*pieces* in groups of *size* bytes; the last one has what is left."""
    group: list[memoryview] = []
    room = size
    for piece in pieces:
        rest = piece
        while len(rest):
            group.append(rest[:room])
            rest = rest[room:]
            room -= len(group[-1])
            if not room:
                yield group
                group, room = [], size
    if group:
        yield group


def _range(offset: int, length: int | None) -> dict[str, str]:
    if length is None:
        return {"x-ms-range": f"bytes={offset}-"} if offset else {}
    return {"x-ms-range": f"bytes={offset}-{offset + length - 1}"}


_MOST_TAGS = 1_000_000
"""Tags in a document: a page has 5,000 blobs at most, with some twenty properties each."""


def _xml(body: bytes) -> Element:
    """The document in *body*. Raises `ValueError` where there is none, or where it has entities of its own."""
    from xml.etree import ElementTree

    text = body.decode("utf-8-sig")
    if "<!DOCTYPE" in text:
        raise ValueError("a document type")
    if body.count(b"<") > _MOST_TAGS:
        raise ValueError("more than any page has")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None


def _listed(body: bytes, prefix: str) -> tuple[list[tuple[str, int]], str]:
    """Names and sizes on a page, and where the next one begins, "" after the last.

    Raises:
        ValueError: it is no list of what begins with *prefix*.
    """
    root = _xml(body)
    if root.tag != "EnumerationResults" or root.findtext("Prefix") != prefix or root.find("Blobs") is None:
        raise ValueError(root.tag)
    found = []
    for blob in root.iterfind("Blobs/Blob"):
        name, size = blob.findtext("Name") or "", blob.findtext("Properties/Content-Length") or ""
        if size.isdecimal() and len(size) <= 18:
            found.append((name, int(size)))
    return found, root.findtext("NextMarker") or ""


def _message(body: bytes) -> str:
    """Azure's words in an error: the message, and what it says about authentication; without the number of the request."""
    try:
        root = _xml(body)
    except ValueError:
        return ""
    words = [(root.findtext(name) or "").strip().partition("\n")[0] for name in ("Message", "AuthenticationErrorDetail")]
    return " ".join(filter(None, words))


def _skew(reply: Reply) -> str:
    """Whether the clock of this machine is far from the server's."""
    try:
        ahead = time() - parsedate_to_datetime(reply.headers.get("Date") or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return ""
    if abs(ahead) < _SKEW:
        return ""
    return f"the clock of this machine is {abs(ahead) / 60:.0f} minutes {'ahead' if ahead > 0 else 'behind'}"
