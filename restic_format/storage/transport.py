"""How a storage reaches its server: what the location does not say.

The command line fills it from its options and the environment; whoever uses the library gives what is needed. The engine itself
looks at no environment variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from restic_format.storage.limited import Pace

STUCK_AFTER = 300.0
"""Seconds without progress after which a request is given up and repeated."""


def _ignore(line: str) -> None:
    del line


def _never() -> bool:
    return False


class Transport(NamedTuple):
    """Certificates, proxies, credentials and limits for the way to a server. As text it shows none of them."""

    environment: Mapping[str, str] = MappingProxyType({})
    """Environment variables: credentials, proxies and what else restic takes from there."""
    ca_certificates: tuple[str, ...] = ()
    """PEM files with the roots to trust, instead of the system's."""
    client_certificate: str = ""
    """PEM file with the client's certificate and private key."""
    verify: bool = True
    """Whether the server's certificate is verified."""
    user_agent: str = ""
    """The HTTP user agent to send."""
    stuck_after: float = STUCK_AFTER
    """Seconds without progress after which a request is given up."""
    upload: Pace | None = None
    """Asked before each piece that is sent."""
    download: Pace | None = None
    """Asked after each piece that was received."""
    report: Callable[[str], object] = _ignore
    """Told, line by line, what goes wrong and is tried again, and what child processes print."""
    stopping: Callable[[], bool] = _never
    """Whether somebody asked to stop: then nothing is waited for any more."""

    def __repr__(self) -> str:
        return "Transport()"


DIRECT = Transport()
"""No credentials, no proxies, the system's certificates, no limits."""
