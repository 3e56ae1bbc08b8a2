"""The messages of ``prune`` and ``forget --prune``. restic 0.19.1 has none; the names are those of its statistics."""

from __future__ import annotations

import msgspec


class PruneBlobs(msgspec.Struct):
    """Blobs: copies that are kept, other copies of these, unused ones; those that go with their pack or by repacking."""

    used: int
    duplicate: int
    unused: int
    remove: int
    repack: int
    repackrm: int
    total: int


class PruneSizes(msgspec.Struct):
    """The same in bytes; and files that no index lists, and packs that stay uncompressed."""

    used: int
    duplicate: int
    unused: int
    remove: int
    repack: int
    repackrm: int
    unref: int
    uncompressed: int
    total: int


class PrunePacks(msgspec.Struct):
    """Packs: what they are, and what becomes of them."""

    used: int
    unused: int
    partly_used: int
    unref: int
    keep: int
    repack: int
    remove: int


class PruneSummary(msgspec.Struct):
    """``prune``: the plan, and what came of it; of a dry run the plan only."""

    message_type: str
    dry_run: bool
    blobs: PruneBlobs
    size: PruneSizes
    packs: PrunePacks
    files_removed: int
    files_not_removed: int
    packs_marked: int
    packs_unmarked: int
