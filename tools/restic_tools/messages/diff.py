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


class LocalSideCounts(msgspec.Struct):
    """``diff`` with a local path: what is on one side only."""

    files: int
    dirs: int
    others: int
    bytes: int
    """Of files."""


class LocalStatisticsMessage(msgspec.Struct):
    """``diff`` with a local path: ``statistics``, the last message."""

    message_type: str
    source_snapshot: str
    """As it was given."""
    source_path: str
    """The path in the snapshot."""
    target_path: str
    """The local path, absolute."""
    changed_files: int
    added: LocalSideCounts
    removed: LocalSideCounts
    files_read: int
    """Local files that were read to be compared."""
    bytes_read: int
