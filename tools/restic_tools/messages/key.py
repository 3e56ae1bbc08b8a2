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
