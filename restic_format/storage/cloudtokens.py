"""Tokens that vendors' libraries get: how long one is used, and how those libraries reach their servers."""

from __future__ import annotations

import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, NamedTuple

from restic_format.errors import UsageError
from restic_format.storage.http.pool import Origin, proxy_for
from restic_format.storage.transport import Transport

if TYPE_CHECKING:
    import requests

EARLY = 300.0
"""Seconds before its end from which on a token is not used any more."""

_TIMES = (30.0, 60.0)
"""Seconds to connect, and to wait for an answer, where the library says nothing."""

_REDIRECTS = 3

_PATIENCE = 5.0
"""Seconds after which a token that a server refuses is worth a new one."""


class Lent(NamedTuple):
    """A token, and when it ends, in seconds since the epoch."""

    token: str
    ends: float


class TokenSource:
    """Gives the token that *fetch* got, and a new one in time. Any thread may ask; one of them fetches."""

    def __init__(self, fetch: Callable[[], Lent], *, clock: Callable[[], float] = time.time) -> None:
        """*fetch* raises `StorageError`."""
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._lent: Lent | None = None
        self._since = 0.0

    def token(self) -> str:
        """The token to send now. Raises what *fetch* does."""
        with self._lock:
            now = self._clock()
            # One that is short-lived from the beginning is used for half of its time.
            if self._lent is None or now >= max(self._lent.ends - EARLY, (self._since + self._lent.ends) / 2):
                self._lent, self._since = self._fetch(), now
            return self._lent.token

    def renew(self, refused: str) -> bool:
        """Told that a server refused a token: whether there is another, or one may be had."""
        with self._lock:
            if self._lent is None or self._lent.token != refused:
                return True
            if self._clock() - self._since < _PATIENCE:
                return False
            self._lent = None
            return True


class GivenToken(TokenSource):
    """One token that somebody has got elsewhere, of which nobody knows how long it is valid."""

    def __init__(self, token: str, variable: str) -> None:
        """Raises `UsageError` where the variable's text cannot be a token."""
        if not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(f"{variable} is not a token: it has characters that none has")
        super().__init__(lambda: Lent(token, float("inf")))

    def renew(self, refused: str) -> bool:
        """There is no other."""
        del refused
        return False


def session_for(transport: Transport) -> requests.Session:
    """A session of ``requests`` for a vendor's library, with the certificates, proxies and user agent of *transport*.

    What the library wishes for in these is left aside.

    Raises:
        UsageError: a file of certificates cannot be read.
    """
    import requests
    from requests.adapters import HTTPAdapter

    roots = _Roots(transport.ca_certificates)

    class Adapter(HTTPAdapter):  # type: ignore[misc]
        def send(self, request, stream=False, timeout=None, verify=True, cert=None, proxies=None):  # type: ignore[no-untyped-def]
            del verify, cert, proxies
            return super().send(
                request,
                stream=stream,
                timeout=timeout or _TIMES,
                verify=transport.verify and (roots.path or True),
                cert=transport.client_certificate or None,
                proxies=_proxies(request.url or "", transport.environment),
            )

    session = requests.Session()
    session.trust_env = False
    session.max_redirects = _REDIRECTS
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter())
    if transport.user_agent:
        session.headers["User-Agent"] = transport.user_agent
    return session


class _Roots:
    """One file with all roots to trust, or a folder of them: the system's where no *files* are given; "" where it has none."""

    def __init__(self, files: tuple[str, ...]) -> None:
        self._together: IO[bytes] | None = None
        if not files:
            system = ssl.get_default_verify_paths()
            self.path = system.cafile or system.capath or ""
        elif len(files) == 1:
            self.path = files[0]
        else:
            self._together = tempfile.NamedTemporaryFile(suffix=".pem")  # noqa: SIM115 - it goes with the session
            for path in files:
                self._together.write(_content(path) + b"\n")
            self._together.flush()
            self.path = self._together.name


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{path}: cannot be used as a certificate: {error.strerror}") from None


def _proxies(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The proxy for *url*, as ``requests`` takes it. A machine's own metadata service is never behind one."""
    origin = Origin(url)
    if origin.host.startswith("169.254.") or origin.host == "metadata.google.internal":
        return {}
    if proxy_for(origin, environment) is None:
        return {}
    variable = "HTTPS_PROXY" if origin.tls else "HTTP_PROXY"
    proxy = environment.get(variable) or environment.get(variable.lower()) or ""
    return {"https" if origin.tls else "http": proxy if "://" in proxy else f"http://{proxy}"}
