"""The message of ``unlock``, of which restic prints nothing with ``--json``."""

from __future__ import annotations

import msgspec


class LocksRemoved(msgspec.Struct):
    """``unlock``: the outcome."""

    message_type: str
    """``summary``."""
    removed_locks: int
    removed_unfinished_files: int
