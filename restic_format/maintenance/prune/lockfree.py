"""A prune that needs no exclusive lock: what is not needed is marked, and removed by a later run (RUSTIC-9).

A backup that runs meanwhile may rely on a pack that is being marked. So nothing is removed that was not marked for a while, and
what a snapshot needs that came in the meantime is unmarked, at once or by the next run.
"""

from __future__ import annotations

from collections.abc import Collection

from restic_format.errors import ResticFormatError
from restic_format.maintenance.prune.markedpacks import load_marked
from restic_format.maintenance.prune.planning import find_needed
from restic_format.maintenance.prune.records import PruneEvent, PrunePlan, PruneResult, Stage
from restic_format.maintenance.prune.removing import Remover
from restic_format.maintenance.prune.repacking import repack
from restic_format.native.table import MARKED, STORED
from restic_format.repository import Repository
from restic_format.repository.indexwriter import IndexChange, rewrite_index
from restic_format.work import Advance, Cancel, Progress
from restic_spec.index import IndexPack, index_pack
from restic_spec.layout import FileKind


def execute_lock_free(
    plan: PrunePlan, result: PruneResult, remover: Remover, progress: Progress[PruneEvent], cancel: Cancel | None
) -> None:
    """Do what *plan* says; see `execute`."""
    repository = plan.repository
    leftover = _leftover(plan)
    repack(plan, result, progress, cancel)
    marking = {*plan.remove, *plan.repack}
    seen = {snapshot for snapshot, _ in repository.list(FileKind.SNAPSHOT)}
    spared = _needed_since(plan, seen - plan.known.snapshots, marking, cancel)
    marking -= spared
    overdue = [pack for pack in plan.overdue if pack not in spared]
    unmark = {*plan.unmark, *spared.intersection(plan.overdue)}
    change = IndexChange(
        drop=set(plan.forget),
        drop_marked=set(overdue),
        mark={*marking, *plan.undated},
        unmark=unmark,
        add_marked=leftover,
    )
    if marking or overdue or unmark or leftover or plan.forget or plan.undated:
        result.indexes = rewrite_index(
            repository,
            change,
            progress=lambda done, total: progress(Advance(Stage.REWRITE, done, total)),
            removing=lambda done, total: progress(Advance(Stage.REMOVE_OLD_INDEX, done, total)),
            cancel=cancel,
        )
    late = {snapshot for snapshot, _ in repository.list(FileKind.SNAPSHOT)} - seen
    needed = _needed_since(plan, late, marking, cancel) if late else set()
    if needed:
        result.indexes += rewrite_index(repository, IndexChange(unmark=needed))
    result.marked = sorted({*marking, *(bytes.fromhex(record.id) for record in leftover)} - needed)
    result.unmarked = sorted(unmark | needed)
    remover.remove(Stage.REMOVE, [pack for pack in overdue if pack not in needed])


def _needed_since(
    plan: PrunePlan, snapshots: Collection[bytes], marking: Collection[bytes], cancel: Cancel | None
) -> set[bytes]:
    """Which packs that are marked, or about to be, are needed by *snapshots*, which came since the plan was made, or are listed
    as in use by now.
    """
    repository = plan.repository
    unchanged = {index for index, _ in repository.list(FileKind.INDEX)} == plan.known.indexes
    if not snapshots and (unchanged or not plan.overdue):
        return set()
    repository.load_index()
    marked = load_marked(repository)
    used = find_needed(repository, snapshots, cancel=cancel)
    ids = repository.index.pack_ids()
    trust = bytes(MARKED if pack in marked or pack in marking else STORED for pack in ids)
    needed = {pack for pack, level, use in zip(ids, trust, used.marks.choose(trust), strict=True) if level and use.used}
    return needed.union(pack for pack in plan.overdue if pack not in marked and repository.index.has_pack(pack))


def _leftover(plan: PrunePlan) -> list[IndexPack]:
    """Records of files that no index lists, and that nobody is about to list: none while anybody else uses the repository."""
    repository = plan.repository
    locks = sum(1 for _ in repository.list(FileKind.LOCK))
    if locks > 1 or {index for index, _ in repository.list(FileKind.INDEX)} != plan.known.indexes:
        return []
    return [_record(repository, pack, size) for pack, size in plan.unreferenced.items()]


def _record(repository: Repository, pack: bytes, size: int) -> IndexPack:
    try:
        return index_pack(pack, repository.packs.header(pack, size))
    except ResticFormatError:
        return IndexPack(pack.hex(), [])  # What is not a whole pack is not needed either.
