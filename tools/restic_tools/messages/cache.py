"""The messages of ``cache``, which restic prints as text only."""

from __future__ import annotations

import msgspec


class CacheInfo(msgspec.Struct, omit_defaults=True):
    """``cache``: one cache; the command prints an array of them, longest unused first."""

    repository_id: str
    """The name of its folder."""
    last_used: str
    """RFC 3339."""
    old: bool
    """Whether it was not used for as long as ``--max-age`` says."""
    size: int | None = None
    """Bytes; not with ``--no-size``."""


class CachesRemoved(msgspec.Struct):
    """``cache --cleanup``: what was removed."""

    message_type: str
    """``summary``."""
    removed: list[str]
    """Names of the folders that are gone."""
    failed: list[str]
    """Names of those that could not be removed."""
