"""What shows Azure who asks: the account's key, a shared access signature, or a token.

A key signs each request, so that it never leaves this machine. A signature stands in every address, a token in a header: both
go over TLS only.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from restic_format.errors import UsageError

if TYPE_CHECKING:
    from restic_format.storage.cloudtokens import TokenSource

VERSION = "2021-12-02"
"""The version of Azure's interface that is spoken: the first with the tier Cold."""

_SIGNED = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"),
    *("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)
"""The headers whose values are signed, in this order, besides those that begin with ``x-ms-``."""

_UNPROVEN = ("AuthenticationFailed", "InvalidAuthenticationInfo")
"""Answers to a signature that is not right."""

_SIGNATURE = re.compile(r"[!-~]+\Z")


class Access(ABC):
    """Makes requests ones that Azure accepts. Any thread may use it."""

    @abstractmethod
    def address(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str], size: int) -> str:
        """The target of a request with a body of *size* bytes; what proves who asks is added to it or to *headers*.

        *path* is percent-encoded, *query* is not. Raises `StorageError` where no token can be had.
        """

    def refused(self, headers: Mapping[str, str]) -> bool:
        """Told that Azure did not accept the proof in *headers*: whether another one may be accepted."""
        del headers
        return False

    def trouble(self, code: str) -> str:
        """What may be wrong with the proof when Azure answers *code*, for people; "" for nothing that is known."""
        del code
        return ""


class SharedKey(Access):
    """Signs with the key of *account*."""

    def __init__(self, account: str, key: str) -> None:
        """*key* is in base64. Raises `UsageError` where it is not."""
        self._account = account
        try:
            self._key = base64.b64decode(key.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise UsageError("AZURE_ACCOUNT_KEY is not the key of an account: it is not in base64") from None

    def address(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str], size: int) -> str:
        """See `Access`."""
        headers["x-ms-date"] = formatdate(usegmt=True)
        known = {name.lower(): value.strip() for name, value in headers.items()}
        known["content-length"] = str(size) if size else ""
        own = "".join(f"{name}:{known[name]}\n" for name in sorted(known) if name.startswith("x-ms-"))
        resource = "".join(f"\n{name.lower()}:{query[name]}" for name in sorted(query, key=str.lower))
        values = "\n".join(known.get(name, "") for name in _SIGNED)
        text = f"{method}\n{values}\n{own}/{self._account}{path}{resource}"
        signature = base64.b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()
        headers["Authorization"] = f"SharedKey {self._account}:{signature}"
        return _with_query(path, urlencode(query, quote_via=quote))

    def trouble(self, code: str) -> str:
        """That the key may be another account's."""
        return "is AZURE_ACCOUNT_KEY the key of this account?" if code in _UNPROVEN else ""


class SharedAccessSignature(Access):
    """Adds a *signature* that somebody with the key has made: ``sv=…&sig=…``, also with a ``?`` before it."""

    def __init__(self, signature: str) -> None:
        """Raises `UsageError` where it cannot be one."""
        self._signature = signature.strip().removeprefix("?")
        if not _SIGNATURE.match(self._signature) or "#" in self._signature:
            raise UsageError("AZURE_ACCOUNT_SAS is not a shared access signature: it has characters that none has")

    def address(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str], size: int) -> str:
        """See `Access`."""
        del method, headers, size
        own = urlencode(query, quote_via=quote)
        return _with_query(path, f"{own}&{self._signature}" if own else self._signature)

    def trouble(self, code: str) -> str:
        """When the signature ended, if it did."""
        del code
        ends = dict(parse_qsl(self._signature)).get("se", "")
        try:
            moment = datetime.fromisoformat(ends)
        except ValueError:
            return ""
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return "" if datetime.now(UTC) < moment else f"AZURE_ACCOUNT_SAS was valid until {moment:%Y-%m-%d %H:%M %Z}"


class Token(Access):
    """Sends the tokens that *source* gives."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def address(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str], size: int) -> str:
        """See `Access`."""
        del method, size
        headers["Authorization"] = f"Bearer {self._source.token()}"
        return _with_query(path, urlencode(query, quote_via=quote))

    def refused(self, headers: Mapping[str, str]) -> bool:
        """Forget the token: there may be a new one."""
        return self._source.renew(headers["Authorization"].removeprefix("Bearer "))


def _with_query(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path
