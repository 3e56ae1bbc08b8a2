"""The message of ``init``."""

from __future__ import annotations

import msgspec


class Initialized(msgspec.Struct):
    """``init``: the repository that was made."""

    message_type: str
    id: str
    repository: str
