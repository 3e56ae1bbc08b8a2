"""The records of a prune: its options, the plan, what was counted, what happens, and the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from restic_format.repository.packer import MIN_PACK_SIZE
from restic_format.storage.warming import WarmUp
from restic_format.work import Advance
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from restic_format.repository import Repository
    from restic_format.repository.index import KeptBlobs

KEEP_DELETE = 23 * 3600.0
"""Seconds for which packs stay marked before they are removed (RUSTIC-9)."""

SMALL_PACK = MIN_PACK_SIZE // 5 * 4
"""Bytes below which a pack counts as small unless told otherwise."""


@dataclass(frozen=True)
class MaxUnused:
    """How much unused data may stay: so many *percent* of all data, or a number of *bytes*, or without either any."""

    percent: float | None = None
    bytes: int | None = None

    def limit(self, used: int) -> float:
        """Bytes that may stay unused beside *used* bytes."""
        if self.bytes is not None:
            return self.bytes
        if self.percent is not None:
            return int(self.percent / (100 - self.percent) * used)
        return float("inf")


@dataclass(frozen=True)
class PruneOptions:
    """What a prune may do. Sizes are bytes."""

    max_unused: MaxUnused = MaxUnused(percent=5)
    max_repack: int | None = None
    """Stop choosing packs to repack before so much is repacked; None: never."""
    small_pack: int | None = None
    """Repack packs below this size, if there are ten; None for `SMALL_PACK`."""
    repack_cacheable_only: bool = False
    """Leave packs of data alone."""
    repack_uncompressed: bool = False
    """Repack packs that have uncompressed data (version 2)."""
    recover_no_free_space: bool = False
    """Remove the index first, for a storage that is full: nothing is repacked. Unsafe until it has ended."""
    lock_free: bool = False
    """Mark packs instead of removing them, and remove those that were marked before *keep_delete* seconds."""
    keep_delete: float = KEEP_DELETE


@dataclass
class BlobCounts:
    """Blobs: copies that are kept, further copies, and unused ones; what is removed with its pack, and by repacking."""

    used: int = 0
    duplicate: int = 0
    unused: int = 0
    remove: int = 0
    repack: int = 0
    repack_remove: int = 0

    @property
    def total(self) -> int:
        """All there are."""
        return self.used + self.duplicate + self.unused

    @property
    def total_remove(self) -> int:
        """All that go."""
        return self.remove + self.repack_remove


@dataclass
class SizeCounts(BlobCounts):
    """The same in sealed bytes; and those of files that no index lists, and of packs that stay uncompressed."""

    unreferenced: int = 0
    uncompressed: int = 0

    @property
    def total(self) -> int:
        """All there are."""
        return super().total + self.unreferenced

    @property
    def total_remove(self) -> int:
        """All that go."""
        return super().total_remove + self.unreferenced

    @property
    def unused_after(self) -> int:
        """What stays without being needed."""
        return self.duplicate + self.unused - self.remove - self.repack_remove


@dataclass
class PackCounts:
    """Packs: what they are, and what becomes of them."""

    used: int = 0
    unused: int = 0
    partly_used: int = 0
    unreferenced: int = 0
    keep: int = 0
    repack: int = 0
    remove: int = 0
    marked: int = 0
    """Marked before, not removed yet."""
    unmark: int = 0
    """Marked before, but needed."""


@dataclass
class PruneStatistics:
    """What a prune found and means to do."""

    blobs: BlobCounts = field(default_factory=BlobCounts)
    size: SizeCounts = field(default_factory=SizeCounts)
    packs: PackCounts = field(default_factory=PackCounts)


@dataclass
class PrunePlan:
    """What a prune will do. `execute` does it, once; until then nothing has changed."""

    repository: Repository
    options: PruneOptions
    statistics: PruneStatistics
    unreferenced: dict[bytes, int]
    """Files that no index lists, and their sizes; removed first, or marked with `lock_free` if nobody else holds a lock."""
    repack: list[bytes]
    """Packs of which only some blobs are kept, or that are too small: these blobs are moved, then the packs go."""
    remove: list[bytes]
    """Packs of which nothing is needed."""
    forget: list[bytes]
    """Packs that are in the index but not in the storage, and are not needed."""
    unmark: list[bytes]
    """Packs that were marked for deletion and are needed."""
    overdue: list[bytes]
    """Packs that were marked for long enough, and are not needed: they are removed."""
    undated: list[bytes]
    """Packs that were marked nobody knows when, and are not needed: from now on, with `lock_free`."""
    known: Known
    """What there was when the plan was made."""
    kept: KeptBlobs | None = None
    """The blobs to be moved; None where nothing is repacked, and when the plan has been carried out."""
    carried_out: bool = False
    """Whether `execute` has begun."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(
            self.unreferenced or self.repack or self.remove or self.forget or self.unmark or self.overdue or self.undated
        )


class Known(NamedTuple):
    """The snapshots and index files of a repository at some time."""

    snapshots: frozenset[bytes]
    indexes: frozenset[bytes]


class Stage(StrEnum):
    """What is going on, in `Advance.stage`; the number counts."""

    INDEX = "index"
    """Loading the index: files."""
    SNAPSHOTS = "snapshots"
    """Finding what is used: snapshots."""
    PACKS = "packs"
    """Looking at packs: packs."""
    UNREFERENCED = "unreferenced"
    """Removing files that no index lists: files."""
    REPACK = "repack"
    """Repacking: packs."""
    REWRITE = "rewrite"
    """Writing the index anew: files."""
    REMOVE_OLD_INDEX = "remove old index"
    """Removing the index files that are replaced: files."""
    REMOVE = "remove"
    """Removing packs: files."""
    REMOVE_INDEX = "remove index"
    """Removing the index, with `PruneOptions.recover_no_free_space`: files."""
    SAVE_INDEX = "save index"
    """Writing it again afterwards: packs."""


class FileGone(NamedTuple):
    """A file was removed."""

    kind: FileKind
    id: bytes


class FileStays(NamedTuple):
    """A file could not be removed. The next prune will try again."""

    kind: FileKind
    id: bytes
    reason: str


class PackForgotten(NamedTuple):
    """A pack that no longer exists, and is not needed, will leave the index."""

    id: bytes


class Unindexed(NamedTuple):
    """A file that no index lists will be removed."""

    id: bytes


PruneEvent = Advance | FileGone | FileStays | PackForgotten | Unindexed | WarmUp


@dataclass
class PruneResult:
    """What a prune did."""

    removed: list[bytes] = field(default_factory=list)
    """Packs and other files in their place that are gone."""
    not_removed: list[bytes] = field(default_factory=list)
    """Those that could not be removed."""
    repacked_bytes: int = 0
    """Sealed bytes that were moved."""
    marked: list[bytes] = field(default_factory=list)
    """Packs that were marked for deletion."""
    unmarked: list[bytes] = field(default_factory=list)
    """Packs that had been marked, and are needed."""
    indexes: list[bytes] = field(default_factory=list)
    """Index files that were written in place of others."""
