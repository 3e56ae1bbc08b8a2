"""Addresses of servers, as other servers or the environment give them: taken apart, and refused where they are none."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import quote, urlsplit

NO_ADDRESS = "no host with a number as its port; in a password / is written %2F, # %23, ? %3F and @ %40"
"""What is wrong with an address that cannot be taken apart. What stands where the port should is not shown: it may be the
beginning of a password."""


class Address(NamedTuple):
    """An address in its parts."""

    origin: str
    """Scheme, host and port, as a pool of connections takes them."""
    target: str
    """Path and query, percent-encoded; "" for none."""


def address_of(url: str, schemes: Collection[str] = ("http", "https")) -> Address | None:
    """The parts of *url*; None where it is no address of a server, or its scheme is another than *schemes*.

    A user's name and password in it are left out.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    if not known or any(not " " < char < "\x7f" for char in parts.netloc):
        return None
    query = f"?{parts.query}" if parts.query else ""
    return Address(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", quote(parts.path + query, safe="/%?:@!$&'()*+,;=~-._")
    )
