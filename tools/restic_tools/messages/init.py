"""The message of ``init``."""

from __future__ import annotations

import msgspec


class HotHalfMade(msgspec.Struct):
    """``init --hot-only``: what the hot half of a repository lacked was copied there."""

    message_type: str
    repository: str
    """Where the hot half is."""
    files: int
    """Files that were copied."""


class Initialized(msgspec.Struct):
    """``init``: the repository that was made."""

    message_type: str
    id: str
    repository: str
