"""The message of ``serve``."""

from __future__ import annotations

import msgspec


class ListeningMessage(msgspec.Struct):
    """``listening``: the server takes requests."""

    message_type: str
    location: str
    """What clients write behind ``rest:``."""
    path: str
    """The data folder."""
    authentication: bool
    append_only: bool
    private_repos: bool
    tls: bool
