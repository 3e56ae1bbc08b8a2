"""Where a repository in S3 is: which server, which bucket, which prefix; and how the server names a bucket in addresses."""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from restic_format.errors import LocationInvalid
from restic_format.storage.http.addresses import NO_ADDRESS

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{1,61}[A-Za-z0-9]")

_AMAZON = re.compile(r"s3[.-](?:(?:accelerate|dualstack|fips)[.-])*(?:(?P<region>[a-z0-9-]+)\.)?amazonaws\.com(?:\.cn)?")
"""A server of Amazon's for all buckets of a region, or for all regions."""

_FIXED = re.compile(r"s3-fips|s3[.-]accelerate|vpce-|\.private\.|fips\.dualstack")
"""Servers of Amazon's that are not changed for that of the bucket's region."""

_NAMES_IN_HOST = (".amazonaws.com", ".amazonaws.com.cn", ".aliyuncs.com")
_GOOGLE = "storage.googleapis.com"

DEFAULT_REGION = "us-east-1"


class S3Location(NamedTuple):
    """A location behind ``s3:``."""

    tls: bool
    endpoint: str
    """Host, and port where it is not the usual one."""
    bucket: str
    prefix: str
    """Before the keys of all files, without ``/`` at its end; "" for none."""

    @property
    def text(self) -> str:
        """The location, as it may be shown."""
        path = "/".join(filter(None, (self.bucket, self.prefix)))
        return f"s3:{'https' if self.tls else 'http'}://{self.endpoint}/{path}"


def parse(rest: str) -> S3Location:
    """What stands behind ``s3:``: ``http://host:port/bucket/prefix``, ``host/bucket/prefix`` or ``//host/bucket/prefix``.

    Raises:
        LocationInvalid: no host, or no bucket.
    """
    if rest.startswith("http"):
        try:
            url = urlsplit(rest)
            host, _ = url.hostname, url.port
        except ValueError:
            raise _invalid(NO_ADDRESS) from None
        if url.scheme not in ("http", "https") or not host:
            raise _invalid("invalid format, host/region or bucket name not found")
        endpoint, tls, path = url.netloc.rpartition("@")[2], url.scheme == "https", unquote(url.path)
        if not path:
            raise _invalid("bucket name not found")
        bucket, _, prefix = path[1:].partition("/")
    else:
        endpoint, _, path = rest.removeprefix("//").partition("/")
        tls, (bucket, _, prefix) = True, path.partition("/")
        if not endpoint:
            raise _invalid("invalid format, host/region or bucket name not found")
    if not bucket:
        raise _invalid("bucket name cannot be empty")
    if not _BUCKET.fullmatch(bucket) or any(pair in bucket for pair in ("..", ".-", "-.")):
        raise _invalid("this cannot be the name of a bucket: it has 3 to 63 letters, digits, points and hyphens")
    # As restic: a slash at its beginning is part of the keys.
    cleaned = posixpath.normpath(prefix)
    if cleaned.startswith("//"):
        cleaned = cleaned[1:]
    if cleaned == "/":
        raise _invalid("the prefix has nothing but slashes")
    return S3Location(tls, endpoint, bucket, "" if cleaned == "." else cleaned)


def _invalid(what: str) -> LocationInvalid:
    return LocationInvalid(f"parsing repository location failed: s3: {what}")


class Route(NamedTuple):
    """How requests for a bucket are addressed and signed."""

    region: str
    origin: str
    """The server, with ``http://`` or ``https://``."""
    base: str
    """What stands before every key in paths: ``/``, or the bucket between two of them."""


def route(where: S3Location, lookup: str, region: str) -> Route:
    """The way to the bucket of *where*, which is in *region*; "" where that is not known.

    *lookup* says where the bucket's name stands: ``dns`` in the host, ``path`` in the path, ``auto`` as the server expects it.
    """
    endpoint = where.endpoint
    known = region or region_of(endpoint) or DEFAULT_REGION
    if is_amazon(endpoint) and region and not _FIXED.search(endpoint):
        endpoint = f"s3.dualstack.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    in_host = lookup == "dns" or (lookup != "path" and not (where.tls and "." in where.bucket) and _expects_host(endpoint))
    scheme = "https" if where.tls else "http"
    if in_host:
        return Route(known, f"{scheme}://{where.bucket}.{endpoint}", "/")
    return Route(known, f"{scheme}://{endpoint}", f"/{where.bucket}/")


def is_amazon(endpoint: str) -> bool:
    """Whether Amazon runs the server."""
    return endpoint.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def region_of(endpoint: str) -> str:
    """The region that the name of a server of Amazon's tells; "" for the one of all regions, and for other servers."""
    found = _AMAZON.fullmatch(endpoint)
    return (found["region"] or "") if found else ""


def _expects_host(endpoint: str) -> bool:
    return endpoint == _GOOGLE or endpoint.endswith(_NAMES_IN_HOST)
