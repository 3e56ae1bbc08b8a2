"""What a repository's config says about writing to it: rustic's members, honoured by everything that writes (RUSTIC-10)."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import NamedTuple

from restic_format.native.table import HAS_DATA, HAS_TREES, STORED
from restic_format.repository.index import BlobIndex
from restic_format.repository.packer import DEFAULT_PACK_SIZE, MAX_PACK_SIZE
from restic_spec.config import Config
from restic_spec.errors import SpecError
from restic_spec.pack import BlobType
from restic_spec.rustic import (
    DEFAULT_DATA_PACK_SIZE,
    DEFAULT_GROW_FACTOR,
    DEFAULT_TREE_PACK_SIZE,
    MAX_LEVEL,
    MIN_LEVEL,
    ConfigMembers,
    config_members,
)

SMALLEST_PACK_SIZE = 1 << 20
"""Bytes that packs have at least, whatever a config says, but for the last ones."""


class PackSizes(NamedTuple):
    """How large packs of one type become: *size* bytes, more the more there is, but not more than *limit*."""

    size: int
    grow_factor: int
    limit: int

    def target(self, stored: int) -> int:
        """The size of a new pack where packs of its type have *stored* bytes in all."""
        wanted = min(self.size + self.grow_factor * isqrt(stored), self.limit)
        return min(max(wanted, SMALLEST_PACK_SIZE), MAX_PACK_SIZE)


class Settings(NamedTuple):
    """What the config says about writing; without it restic's defaults."""

    level: int | None = None
    """zstd's level, 0 for no compression; None where the config says nothing."""
    extra_verify: bool = True
    """Whether what is stored is opened again before."""
    append_only: bool = False
    """Whether nothing may be removed."""
    packs: dict[BlobType, PackSizes | None] = dict.fromkeys(BlobType)
    """How large packs become, None where the config says nothing."""

    @classmethod
    def of(cls, config: Config) -> Settings:
        """The settings of *config*; restic's where rustic's members are not what they must be: it can be read all the same."""
        try:
            members = config_members(config)
        except SpecError:
            return cls()
        level = members.compression
        return cls(
            None if level is None else min(max(level, MIN_LEVEL), MAX_LEVEL),
            members.extra_verify is not False,
            members.append_only is True,
            {BlobType.DATA: _data_packs(members), BlobType.TREE: _tree_packs(members)},
        )

    def targets(self, index: BlobIndex) -> dict[BlobType, int]:
        """The size of new packs by type, given all packs there are."""
        stored = stored_bytes(index) if any(sizes and sizes.grow_factor for sizes in self.packs.values()) else {}
        return {
            kind: DEFAULT_PACK_SIZE if sizes is None else sizes.target(stored.get(kind, 0))
            for kind, sizes in self.packs.items()
        }


def stored_bytes(index: BlobIndex) -> dict[BlobType, int]:
    """Sealed bytes of the blobs in all packs, by type."""
    found = dict.fromkeys(BlobType, 0)
    for kind, size in pack_sizes(index):
        found[kind] += size
    return found


def pack_sizes(index: BlobIndex) -> Iterator[tuple[BlobType, int]]:
    """The type of every pack that has blobs, and their sealed bytes; one with both types counts as one of trees."""
    for pack in index.use().choose(bytes([STORED]) * len(index.pack_ids())):
        if pack.types & (HAS_DATA | HAS_TREES):
            yield BlobType.TREE if pack.types & HAS_TREES else BlobType.DATA, pack.unused_size


def _data_packs(members: ConfigMembers) -> PackSizes | None:
    return _sizes(
        members.datapack_size, members.datapack_growfactor, members.datapack_size_limit, default=DEFAULT_DATA_PACK_SIZE
    )


def _tree_packs(members: ConfigMembers) -> PackSizes | None:
    return _sizes(
        members.treepack_size, members.treepack_growfactor, members.treepack_size_limit, default=DEFAULT_TREE_PACK_SIZE
    )


def _sizes(size: int | None, grow_factor: int | None, limit: int | None, *, default: int) -> PackSizes | None:
    if size is None and grow_factor is None and limit is None:
        return None
    return PackSizes(
        default if size is None else size,
        DEFAULT_GROW_FACTOR if grow_factor is None else grow_factor,
        MAX_PACK_SIZE if limit is None else limit,
    )
