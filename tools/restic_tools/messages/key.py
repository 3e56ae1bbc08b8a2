"""The messages of ``key``."""

from __future__ import annotations

import msgspec


class KeyInfo(msgspec.Struct, rename={"user_name": "userName", "host_name": "hostName"}):
    """``key list``: one key."""

    current: bool
    id: str
    user_name: str
    host_name: str
    created: str


class KeySaved(msgspec.Struct):
    """``key add`` and ``key passwd``: there is a new key; restic prints text."""

    message_type: str
    """``key_saved``."""
    id: str
    removed_id: str
    """The key that the new one replaces; empty for ``key add``."""


class KeyRemoved(msgspec.Struct):
    """``key remove``: the key is gone; restic prints nothing."""

    message_type: str
    """``key_removed``."""
    id: str
