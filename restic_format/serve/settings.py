"""What a server is asked to do: rest-server's options."""

from __future__ import annotations

from typing import NamedTuple


class Settings(NamedTuple):
    """How to serve the folder *path*."""

    path: str
    """The data folder; made where it is missing."""
    listen: str = ":8000"
    """``host:port``, ``:port`` or ``unix:/path``."""
    users: str = ""
    """The file with users and hashes of their passwords; "" for ``.htpasswd`` in the data folder."""
    no_auth: bool = False
    """Let everybody do everything."""
    user_header: str = ""
    """The header in which a proxy says who the user is."""
    private: bool = False
    """Let users use only repositories below the folder with their name."""
    append_only: bool = False
    """Let nobody remove anything but locks."""
    max_size: int = 0
    """Bytes that the data folder may hold; 0 for any number."""
    verify: bool = True
    """Hold uploads against their names."""
    group: bool = False
    """Let the group of the folder use what is made."""
    tls: bool = False
    tls_certificate: str = ""
    """PEM file; "" for ``public_key`` in the data folder."""
    tls_key: str = ""
    """PEM file; "" for ``private_key`` in the data folder."""
    tls_minimum: str = "1.2"
    """``1.2`` or ``1.3``."""
    metrics: bool = False
    """Tell Prometheus at ``/metrics`` what was done."""
    open_metrics: bool = False
    """Let everybody see the metrics."""
    log: str = ""
    """File for a line about each request; ``-`` for standard output."""
    debug: bool = False
    """Report every request."""
