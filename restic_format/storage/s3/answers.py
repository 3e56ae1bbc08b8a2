"""What a server of S3 answers in XML: errors, pages of a listing.

It is not trusted: a document that declares entities, has another encoding or too many elements is refused before it is read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from restic_format.durations import duration_text
from restic_format.errors import AccessDenied, FileCold, FileMissing, FileUnusable, NoSpace, StorageError
from restic_format.storage.http import replies
from restic_format.storage.http.reply import Reply

LARGEST_PAGE = 16 << 20
"""Bytes that a page of a listing may have."""

_MOST_ELEMENTS = 200_000

_DECLARATION = re.compile(rb"<!(?!\[CDATA\[|--)")
"""What begins a declaration: nothing in an answer of S3 does."""

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

_CLASSES: dict[str, type[StorageError]] = {
    "NoSuchKey": FileMissing,
    "NoSuchBucket": FileMissing,
    "InvalidRange": FileUnusable,
    "InvalidObjectState": FileCold,
    "ExpiredToken": AccessDenied,
    "InvalidToken": AccessDenied,
    "XMinioStorageFull": NoSpace,
    "QuotaExceeded": NoSpace,
}
"""Errors whose code says more than the status."""

_PASSING = frozenset({"RequestTimeout", "SlowDown", "ServiceUnavailable", "InternalError", "OperationAborted"})
"""Errors after which the same request may succeed, whatever the status is."""

_ADVICE = {
    "NoSuchBucket": "init makes it",
    "InvalidAccessKeyId": "the server does not know this access key",
    "SignatureDoesNotMatch": "the secret key is another one than the server's, or something changes requests on their way",
    "InvalidObjectState": "-o s3.enable-restore=true brings it back from cold storage first",
    "ExpiredToken": "ask for new credentials",
}


class Failure(NamedTuple):
    """What the body of an error says; all "" where it says nothing."""

    code: str = ""
    message: str = ""
    region: str = ""


def document(body: bytes) -> ElementTree.Element:
    """The root of a document.

    Raises:
        ValueError: it is none, or it is not safe to read.
    """
    # Zeros are in every document that is written in UTF-16, and in no other.
    if _DECLARATION.search(body) or b"\0" in body or body.count(b"<") > _MOST_ELEMENTS:
        raise ValueError("not a document that a server of S3 writes")
    try:
        return ElementTree.fromstring(body, ElementTree.XMLParser(encoding="utf-8"))
    except ElementTree.ParseError as error:
        raise ValueError("not XML") from error


def failure_of(reply: Reply) -> Failure:
    """What an answer that is an error says."""
    headers = reply.headers
    region = headers.get("x-amz-bucket-region") or ""
    try:
        root = document(reply.body)
    except ValueError:
        found = Failure(headers.get("x-minio-error-code") or "", (headers.get("x-minio-error-desc") or "").strip('"'), region)
    else:
        named = {_name(child): (child.text or "").strip() for child in root} if _name(root) == "Error" else {}
        found = Failure(named.get("Code", ""), named.get("Message", ""), named.get("Region", "") or region)
    return found if _REGION.fullmatch(found.region) else found._replace(region="")


def told(reply: Reply, what: str, object: str = "") -> StorageError:
    """The error that an answer means for *what* was done: ``load data/…: 403 Forbidden: AccessDenied: …``."""
    failure = failure_of(reply)
    text = ": ".join(filter(None, (failure.code, failure.message)))
    if failure.code == "RequestTimeTooSkewed":
        return AccessDenied(f"{what}: {replies.status_text(reply, failure.code)}: {_skew(reply)}", object=object)
    if failure.code in _PASSING:
        return StorageError(f"{what}: {replies.status_text(reply, text)}", object=object)
    advice = _ADVICE.get(failure.code, "")
    said = replies.status_text(reply, text)
    if advice:
        said = f"{said.rstrip('.')}; {advice}"
    if (kind := _CLASSES.get(failure.code)) is not None:
        return kind(f"{what}: {said}", object=object)
    general = replies.told(reply, what, object, text)
    return type(general)(f"{what}: {said}", object=object)


def _skew(reply: Reply) -> str:
    """By how much the clocks differ."""
    try:
        seconds = time.time() - parsedate_to_datetime(reply.headers.get("Date") or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return "the clock of this machine and that of the server differ; set this one"
    late = duration_text(float(abs(round(seconds))))
    return f"the clock of this machine is {late} {'ahead of' if seconds > 0 else 'behind'} that of the server; set it"


class Page(NamedTuple):
    """A page of a listing."""

    objects: list[tuple[str, int]]
    """Keys and sizes."""
    more: bool
    """Whether others follow."""
    next: str
    """What to ask the next page with, "" where the answer does not say it."""


def page_of(body: bytes, prefix: str) -> Page:
    """What a page of a listing of *prefix* says, of either version.

    Raises:
        ValueError: it is none, or of something else.
    """
    root = document(body)
    if _name(root) != "ListBucketResult":
        raise ValueError("not a listing")
    space = root.tag[: -len("ListBucketResult")]
    encoded = root.findtext(f"{space}EncodingType") == "url"
    listed = root.findtext(f"{space}Prefix") or ""
    if listed and prefix not in (listed, unquote_plus(listed)):
        raise ValueError("the answer to another question")
    objects = [
        (unquote_plus(key) if encoded else key, _size(size))
        for key, size in _objects(root, f"{space}Contents", f"{space}Key", f"{space}Size")
    ]
    following = root.findtext(f"{space}NextContinuationToken") or ""
    if not following and (marker := root.findtext(f"{space}NextMarker")):
        following = unquote_plus(marker) if encoded else marker
    return Page(objects, root.findtext(f"{space}IsTruncated") == "true", following)


def _objects(root: ElementTree.Element, contents: str, key: str, size: str) -> Iterator[tuple[str, str]]:
    for entry in root.iterfind(contents):
        yield entry.findtext(key) or "", entry.findtext(size) or ""


def _size(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError("a size that is no number")
    return int(text)


def bucket_region(body: bytes) -> str:
    """The region in the answer to the question where a bucket is.

    Raises:
        ValueError: it says none.
    """
    root = document(body)
    text = (root.text or "").strip()
    region = {"": "us-east-1", "EU": "eu-west-1"}.get(text, text)
    if _name(root) != "LocationConstraint" or not _REGION.fullmatch(region):
        raise ValueError("not a location")
    return region


def _name(element: ElementTree.Element) -> str:
    """The name of an element without its name space."""
    return element.tag.rpartition("}")[2]
