"""The messages of ``du``."""

from __future__ import annotations

import msgspec


class CostMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a snapshot, directory or type of files costs, in bytes; members that do not apply are left out."""

    id: str = ""
    """Of a snapshot, as the next ones."""
    time: str = ""
    hostname: str = ""
    paths: list[str] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    path: str = ""
    """Of a directory."""
    depth: int | None = None
    """How far the directory is below the one that was asked for."""
    type: str | None = None
    """What the names of these files end with."""
    blob_type: str | None = None
    """``tree`` for what trees cost, ``data`` for files of a type."""
    entries: int | None = None
    """Files, directories and other entries."""
    size: int | None = None
    """Of files, as they are restored."""
    stored: int | None = None
    """Of the blobs that are needed, as stored."""
    unique: int | None = None
    """Of those that no other row needs."""
    shared: int | None = None
    """Of those that another row needs, too."""
    freed: int | None = None
    """Of those that nothing else in the repository needs."""


class StoredMessage(msgspec.Struct):
    """What there is in the whole repository, in bytes as stored."""

    stored: int
    """Every copy of every blob."""
    needed: int
    """What snapshots need."""
    unneeded: int
    """What no snapshot needs, and further copies."""


class CostsMessage(msgspec.Struct):
    """``du``: what was asked for."""

    by: str
    """``snapshot``, ``directory`` or ``type``."""
    rows: list[CostMessage]
    total: CostMessage
    """All rows, also those that --top leaves out."""
    repository: StoredMessage
