"""The message of those commands that wait for packs from cold storage."""

from __future__ import annotations

import msgspec


class WarmUpMessage(msgspec.Struct):
    """``restore``, ``copy``: so many packs, of so many bytes, must be brought back from cold storage first."""

    message_type: str
    packs: int
    bytes: int
