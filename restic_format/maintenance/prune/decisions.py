"""What becomes of each pack: restic's rules, so that the same options remove and repack the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from restic_format.maintenance.prune.errors import PackSizeDiffers, PacksMissing
from restic_format.maintenance.prune.records import SMALL_PACK, PruneOptions, PruneStatistics
from restic_format.native.table import HAS_DATA, HAS_TREES, PackUse
from restic_spec.constants import COMPRESSED_ENTRY_SIZE, LENGTH_SIZE, OVERHEAD, PLAIN_ENTRY_SIZE

WORTH_MERGING = 10
"""So many small packs are worth being made into larger ones."""


@dataclass
class Decisions:
    """What becomes of the packs; ids in the lists."""

    statistics: PruneStatistics = field(default_factory=PruneStatistics)
    unreferenced: dict[bytes, int] = field(default_factory=dict)
    repack: list[bytes] = field(default_factory=list)
    remove: list[bytes] = field(default_factory=list)
    forget: list[bytes] = field(default_factory=list)
    unmark: list[bytes] = field(default_factory=list)
    marked_unused: list[bytes] = field(default_factory=list)


class _Candidate(NamedTuple):
    """A pack that could be repacked."""

    id: bytes
    use: PackUse
    used_size: int
    """With the pack's header."""
    must_compress: bool

    @property
    def size(self) -> int:
        return self.used_size + self.use.unused_size

    @property
    def only_data(self) -> bool:
        return self.use.types == HAS_DATA


def decide(
    options: PruneOptions,
    version: int,
    ids: Sequence[bytes],
    packs: Sequence[PackUse],
    sizes: Mapping[bytes, int],
    marked: Collection[bytes],
) -> Decisions:
    """What becomes of the packs *ids* of the index, which have *packs*, and of the files *sizes*, given by id and bytes.

    Packs *marked* for deletion are not counted, unless they are needed.

    Raises:
        PacksMissing, PackSizeDiffers: one that is needed is missing, or has another size.
    """
    found = Decisions()
    candidates: list[_Candidate] = []
    small: list[_Candidate] = []
    small_size = SMALL_PACK if options.small_pack is None else options.small_pack
    missing: list[bytes] = []
    for pack, use in zip(ids, packs, strict=True):
        size = sizes.get(pack)
        if pack in marked and not use.used:
            (found.marked_unused if size is not None else found.forget).append(pack)
            found.statistics.packs.marked += 1
            continue
        if pack in marked:
            found.unmark.append(pack)
            found.statistics.packs.unmark += 1
        _count(found.statistics, use)
        if size is None:
            if use.used:
                missing.append(pack)
            else:
                found.forget.append(pack)
                _count_removed(found.statistics, use)
            continue
        candidate = _look_at(options, version, found, pack, use, size)
        if candidate is None:
            continue
        if use.unused or use.types == HAS_DATA | HAS_TREES or candidate.must_compress:
            candidates.append(candidate)
        elif size >= small_size:
            found.statistics.packs.keep += 1
        else:
            small.append(candidate)
    if missing:
        raise PacksMissing(
            "packs from index missing in repo; run check, which says what is lost and how to repair it",
            [
                f"The index references {len(missing)} needed pack files which are missing from the repository:",
                *(f"  {pack.hex()}" for pack in missing),
            ],
        )
    known = set(ids)
    found.unreferenced = {pack: size for pack, size in sizes.items() if pack not in known}
    found.statistics.size.unreferenced = sum(found.unreferenced.values())
    if len(small) < WORTH_MERGING:
        found.statistics.packs.keep += len(small)
    else:
        candidates += small
    _choose(options, found, candidates, small_size)
    counts = found.statistics.packs
    counts.unreferenced, counts.repack, counts.remove = len(found.unreferenced), len(found.repack), len(found.remove)
    if version < 2:
        found.statistics.size.uncompressed = 0
    return found


def file_size(use: PackUse) -> int:
    """The size that the file of a pack has, in bytes, if its blobs and their header are all that is in it."""
    compressed = use.used + use.unused - use.plain
    header = OVERHEAD + LENGTH_SIZE + use.plain * PLAIN_ENTRY_SIZE + compressed * COMPRESSED_ENTRY_SIZE
    return use.used_size + use.unused_size + header


def _count(statistics: PruneStatistics, use: PackUse) -> None:
    blobs, size = statistics.blobs, statistics.size
    blobs.used += use.used
    size.used += use.used_size
    blobs.duplicate += use.copies
    size.duplicate += use.copies_size
    blobs.unused += use.unused - use.copies
    size.unused += use.unused_size - use.copies_size


def _count_removed(statistics: PruneStatistics, use: PackUse) -> None:
    statistics.blobs.remove += use.unused
    statistics.size.remove += use.unused_size


def _look_at(options: PruneOptions, version: int, found: Decisions, pack: bytes, use: PackUse, size: int) -> _Candidate | None:
    """Count a pack that is there; it as a candidate, None where it is decided already. Raises `PackSizeDiffers`."""
    statistics = found.statistics
    must_compress = version >= 2 and use.plain > 0 and (use.types == HAS_TREES or options.repack_uncompressed)
    candidate = _Candidate(pack, use, file_size(use) - use.unused_size, must_compress)
    if use.used and candidate.size != size:
        raise PackSizeDiffers(
            "pack size does not match calculated size from index; run repair index",
            [f"pack {pack.hex()[:8]}: calculated size {candidate.size} does not match real size {size}"],
        )
    if not use.used:
        statistics.packs.unused += 1
    elif not use.unused:
        statistics.packs.used += 1
    else:
        statistics.packs.partly_used += 1
    if use.plain:
        statistics.size.uncompressed += candidate.size
    if not use.used:
        found.remove.append(pack)
        _count_removed(statistics, use)
        return None
    if options.repack_cacheable_only and candidate.only_data:
        statistics.packs.keep += 1
        return None
    return candidate


def _choose(options: PruneOptions, found: Decisions, candidates: list[_Candidate], small_size: int) -> None:
    """Which of the candidates are repacked: those that gain most first, until what may stay unused is reached."""

    def order(candidate: _Candidate) -> tuple[bool, bool, float]:
        return candidate.only_data, candidate.size >= small_size, -candidate.use.unused_size / candidate.used_size

    statistics = found.statistics
    may_stay = _may_stay(options, statistics, candidates)
    most = float("inf") if options.max_repack is None else options.max_repack
    if options.recover_no_free_space:
        most = 0
    for candidate in sorted(candidates, key=order):
        enough = statistics.size.unused_after < may_stay and candidate.size >= small_size
        needed = not candidate.only_data or candidate.must_compress
        if statistics.size.repack + candidate.size >= most or (enough and not needed):
            statistics.packs.keep += 1
            continue
        found.repack.append(candidate.id)
        statistics.blobs.repack += candidate.use.used + candidate.use.unused
        statistics.size.repack += candidate.size
        statistics.blobs.repack_remove += candidate.use.unused
        statistics.size.repack_remove += candidate.use.unused_size
        if candidate.use.plain:
            statistics.size.uncompressed -= candidate.size


def _may_stay(options: PruneOptions, statistics: PruneStatistics, candidates: list[_Candidate]) -> float:
    """Bytes that may stay unused.

    Where blobs are stored several times, restic chooses copies by chance, and with them where it stops: what its last pack
    frees beyond the limit is unused here unless we go as much further. Other copies can make as much unused in a pack as there
    are surplus ones.
    """
    limit = options.max_unused.limit(statistics.size.used)
    surplus = statistics.size.duplicate
    if not surplus:
        return limit
    data = [candidate for candidate in candidates if candidate.only_data]
    beyond = max((one.use.unused_size + min(one.use.used_size, surplus) for one in data), default=0)
    compressed = sum(one.use.unused_size for one in data if one.must_compress)
    return max(limit - beyond - (compressed + surplus if compressed else 0), 0)
