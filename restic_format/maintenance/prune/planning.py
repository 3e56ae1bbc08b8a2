"""Making the plan: what snapshots use, which copy of it is kept, and what becomes of each pack (ORDER-10)."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from restic_format.errors import BlobMissing, DamagedFile, UsageError
from restic_format.maintenance.prune.decisions import Decisions, decide, file_size
from restic_format.maintenance.prune.errors import IndexIncomplete, PruneRefused
from restic_format.maintenance.prune.markedpacks import load_marked, overdue_packs
from restic_format.maintenance.prune.records import (
    Known,
    PackForgotten,
    PruneEvent,
    PruneOptions,
    PrunePlan,
    PruneStatistics,
    Stage,
    Unindexed,
)
from restic_format.native.table import GOES, MARKED, MISSING, REPACKED, STAYS, STORED, PackUse
from restic_format.repository import Repository
from restic_format.repository.index import IndexUse
from restic_format.repository.loading import each_loaded
from restic_format.snapshots.used import MOST_MISSING, UsedInIndex, add_used
from restic_format.work import Advance, Cancel, Later, Progress, silent
from restic_spec.ids import is_hex_id
from restic_spec.layout import FileKind

_STEPS = 100
"""In how many steps at most the snapshots are gone through, for progress."""


def plan(
    repository: Repository,
    options: PruneOptions | None = None,
    *,
    ignore: Collection[bytes] = (),
    progress: Progress[PruneEvent] = silent,
    cancel: Cancel | None = None,
) -> PrunePlan:
    """What is to be done so that nothing remains that the snapshots do not need; nothing is changed.

    To be called under the lock that `execute` needs, unless it is not called. The index is loaded anew. Snapshots to *ignore*
    count as removed.

    Raises:
        UsageError: the options contradict each other or the repository.
        PruneRefused: something that is needed is missing or is not as the index says.
        ResticFormatError: an index, a snapshot or a tree cannot be read, so that it is not known what is needed.
    """
    options = options or PruneOptions()
    _check_options(repository, options)
    # Snapshots first (ORDER-2): whatever these need is in the index that is loaded afterwards.
    snapshots = frozenset(snapshot for snapshot, _ in repository.list(FileKind.SNAPSHOT))
    if not snapshots and not repository.storage.has_place(FileKind.SNAPSHOT):
        raise PruneRefused("the folder of the snapshots is missing: without it everything would count as unused; bring it back")
    _load_index(repository, progress)
    packs_ahead = Later(lambda: dict(repository.list(FileKind.PACK)), now=not repository.storage.at_hand, name="list packs")
    marked = load_marked(repository)
    used = find_needed(repository, snapshots.difference(ignore), progress, cancel)
    ids = repository.index.pack_ids()
    progress(Advance(Stage.PACKS, 0, len(ids)))
    sizes = packs_ahead.get()
    packs = choose_copies(used.marks, ids, sizes, marked)
    found = decide(options, repository.version, ids, packs, sizes, marked)
    overdue = found.marked_unused
    undated: list[bytes] = []
    if options.lock_free:
        overdue, undated = overdue_packs(marked, found.marked_unused, time.time_ns(), options.keep_delete)
    count_overdue(found.statistics, overdue, sizes)
    for pack in found.forget:
        progress(PackForgotten(pack))
    for pack in found.unreferenced:
        progress(Unindexed(pack))
    progress(Advance(Stage.PACKS, len(ids) - len(found.forget), len(ids)))
    return PrunePlan(
        repository,
        options,
        found.statistics,
        unreferenced=found.unreferenced,
        repack=found.repack,
        remove=found.remove,
        forget=found.forget,
        unmark=found.unmark,
        overdue=overdue,
        undated=undated,
        known=Known(snapshots, repository.index_files),
        kept=used.marks.kept(_fates(ids, found)) if found.repack else None,
    )


def choose_copies(
    marks: IndexUse, ids: Sequence[bytes], sizes: Mapping[bytes, int], marked: Collection[bytes]
) -> list[PackUse]:
    """Which copies are kept in the packs *ids*, given the files there are by id and size, and those *marked* for deletion.

    A pack of another size than the index says is as good as none, where there are other copies.
    """
    trust = bytes(MISSING if pack not in sizes else MARKED if pack in marked else STORED for pack in ids)
    packs = marks.choose(trust)
    wrong = {
        number
        for number, (pack, use) in enumerate(zip(ids, packs, strict=True))
        if use.used and sizes.get(pack, file_size(use)) != file_size(use)
    }
    if not wrong:
        return packs
    return marks.choose(bytes(MISSING if number in wrong else level for number, level in enumerate(trust)))


def count_overdue(statistics: PruneStatistics, overdue: Collection[bytes], sizes: Mapping[bytes, int]) -> None:
    """Count packs that were marked for deletion, and are removed now, as files that no index lists."""
    statistics.packs.unreferenced += len(overdue)
    statistics.size.unreferenced += sum(sizes[pack] for pack in overdue)


def _check_options(repository: Repository, options: PruneOptions) -> None:
    if repository.storage.connections < 2:
        raise UsageError("prune requires a backend connection limit of at least two")
    if repository.version < 2 and options.repack_uncompressed:
        raise UsageError("compression requires at least repository format version 2")
    if options.small_pack is not None and options.small_pack > repository.pack_size:
        raise UsageError("repack-smaller-than exceeds repository packsize")
    if options.lock_free and options.recover_no_free_space:
        raise UsageError("removing the index first needs the repository for itself: it cannot be done lock-free")


def _load_index(repository: Repository, progress: Progress[PruneEvent]) -> None:
    try:
        repository.load_index(lambda done, total: progress(Advance(Stage.INDEX, done, total)))
    except DamagedFile as error:
        raise PruneRefused(str(error)) from error


def find_needed(
    repository: Repository,
    snapshots: Collection[bytes],
    progress: Progress[PruneEvent] = silent,
    cancel: Cancel | None = None,
) -> UsedInIndex:
    """What *snapshots* use, all of which must be in the index. Raises as `plan`."""
    roots = [root for _, root in each_loaded(repository, sorted(snapshots), partial(_root, repository), together=16)]
    used = UsedInIndex(repository.index)
    progress(Advance(Stage.SNAPSHOTS, 0, len(roots)))
    step = -(-len(roots) // _STEPS) or 1
    try:
        for start in range(0, len(roots), step):
            add_used(repository, roots[start : start + step], used, cancel=cancel)
            progress(Advance(Stage.SNAPSHOTS, min(start + step, len(roots)), len(roots)))
    except BlobMissing as error:
        raise PruneRefused(f"failed finding blobs: {error}") from error
    except DamagedFile as error:
        raise PruneRefused(f"failed finding blobs: {error}; run check, which says how to repair it") from error
    if len(used.missing):
        more = [] if len(used.missing) < MOST_MISSING else ["and more"]
        raise IndexIncomplete(
            "index is not complete: data seems to be missing, and nothing was removed; run repair index, then check",
            [f"data blob {blob.hex()} not found in the index" for blob in used.missing] + more,
        )
    return used


def _root(repository: Repository, snapshot: bytes) -> bytes:
    unknown = "so that it is not known what it needs"
    try:
        tree = repository.load_snapshot(snapshot, keep_unknown=False).tree
    except DamagedFile as error:
        advice = f"get the file snapshots/{snapshot.hex()} back from a copy of the repository, or remove it if there is none"
        raise PruneRefused(f"snapshot {snapshot.hex()} cannot be read, {unknown}; {advice}: {error}") from error
    if not isinstance(tree, str) or not is_hex_id(tree):
        raise PruneRefused(f"snapshot {snapshot.hex()} has no tree, {unknown}: forget it")
    return bytes.fromhex(tree)


def _fates(ids: list[bytes], found: Decisions) -> bytes:
    goes = {*found.remove, *found.forget, *found.marked_unused}
    repacked = set(found.repack)
    return bytes(REPACKED if pack in repacked else GOES if pack in goes else STAYS for pack in ids)
