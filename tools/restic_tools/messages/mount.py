"""The message of ``mount``, of which restic prints text only."""

from __future__ import annotations

import msgspec


class Mounted(msgspec.Struct):
    """``mount``: the repository can be looked at now."""

    message_type: str
    """``mounted``."""
    mountpoint: str
    """Where, as it was given."""
