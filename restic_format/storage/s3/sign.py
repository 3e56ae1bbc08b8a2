"""Signatures of requests to S3: version 4 of Amazon's, in the header Authorization.

The hash of a body stands in a header that is signed: the server refuses a body that is not what was sent. A file of a
repository has this hash as its name, so that nothing needs to be hashed for it.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from restic_format.storage.base import Content, hash_content

EMPTY = hashlib.sha256().hexdigest()
"""The hash of no body."""


class Keys(NamedTuple):
    """What requests are signed with. As text it shows nothing of that."""

    access_key: str
    secret_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "Keys()"


def hash_of(body: Content) -> str:
    """SHA-256 of a body, hexadecimal."""
    return hash_content(body).hex()


def path_of_key(base: str, key: str) -> str:
    """The path of an object behind *base*, percent-encoded as it is signed."""
    return base + quote(key.encode("utf-8", "surrogateescape"), safe="/-._~")


def query_of(arguments: Mapping[str, str]) -> str:
    """A query, percent-encoded and in the order in which it is signed."""
    return "&".join(
        f"{name}={quote(text.encode('utf-8', 'surrogateescape'), safe='-._~')}" for name, text in sorted(arguments.items())
    )


class Signer:
    """Signs requests for *service* in *region*."""

    def __init__(self, region: str, service: str = "s3") -> None:
        self.region = region
        self._service = service
        self._derived: tuple[str, str, bytes] = ("", "", b"")

    def headers(
        self, keys: Keys, method: str, host: str, path: str, query: str, headers: Mapping[str, str], body_hash: str, now: float
    ) -> dict[str, str]:
        """*headers* with those that sign the request, all of which are signed.

        *path* and *query* are encoded, *host* is what the header Host says, *now* are seconds since the epoch.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        signed = {**headers, "x-amz-content-sha256": body_hash, "x-amz-date": moment}
        if keys.session_token:
            signed["x-amz-security-token"] = keys.session_token
        lines = sorted((name.lower(), " ".join(text.split())) for name, text in (*signed.items(), ("host", host)))
        names = ";".join(name for name, _ in lines)
        listed = "".join(f"{name}:{text}\n" for name, text in lines)
        request = f"{method}\n{path}\n{query}\n{listed}\n{names}\n{body_hash}"
        scope = f"{moment[:8]}/{self.region}/{self._service}/aws4_request"
        hashed = hashlib.sha256(request.encode("utf-8", "surrogateescape")).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}"
        signature = hmac.digest(self._key(keys.secret_key, moment[:8]), text.encode(), "sha256").hex()
        signed["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _key(self, secret: str, day: str) -> bytes:
        """The key of a day, which is derived once."""
        derived = self._derived
        if derived[:2] != (secret, day):
            key = f"AWS4{secret}".encode("utf-8", "surrogateescape")
            for word in (day, self.region, self._service, "aws4_request"):
                key = hmac.digest(key, word.encode(), "sha256")
            self._derived = derived = (secret, day, key)
        return derived[2]
