"""The messages of ``diff``."""

from __future__ import annotations

import msgspec


class ChangeMessage(msgspec.Struct):
    """``change``: an item that differs."""

    message_type: str
    path: str
    """That of a directory ends with ``/``."""
    modifier: str


class SideCounts(msgspec.Struct):
    """What is on one side only."""

    files: int
    dirs: int
    others: int
    data_blobs: int
    tree_blobs: int
    bytes: int


class StatisticsMessage(msgspec.Struct):
    """``statistics``: what the differences come to; the last message."""

    message_type: str
    source_snapshot: str
    """As it was given, like ``target_snapshot``."""
    target_snapshot: str
    changed_files: int
    added: SideCounts
    removed: SideCounts
