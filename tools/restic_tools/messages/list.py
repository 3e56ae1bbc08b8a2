"""The message of ``list``, which restic prints as text only."""

from __future__ import annotations

import msgspec


class ListedObject(msgspec.Struct):
    """``list``: one object."""

    message_type: str
    """``object``."""
    type: str
    """``pack``, ``index``, ``snapshot``, ``key`` or ``lock``; for ``list blobs`` the blob's, ``data`` or ``tree``."""
    id: str
