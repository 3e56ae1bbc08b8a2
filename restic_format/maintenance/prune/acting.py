"""Doing what a plan says, in an order in which nothing is lost whenever it ends."""

from __future__ import annotations

from restic_format.errors import UsageError
from restic_format.maintenance.prune.errors import PlanOutdated, PruneRefused
from restic_format.maintenance.prune.lockfree import execute_lock_free
from restic_format.maintenance.prune.records import FileGone, PruneEvent, PrunePlan, PruneResult, Stage
from restic_format.maintenance.prune.removing import Remover
from restic_format.maintenance.prune.repacking import repack
from restic_format.maintenance.restrictions import check_may_remove
from restic_format.repository import Repository
from restic_format.repository.index import BlobIndex
from restic_format.repository.indexwriter import IndexChange, IndexWriter, rewrite_index
from restic_format.work import Advance, Cancel, Later, Progress, silent
from restic_spec.index import index_pack
from restic_spec.layout import FileKind


def execute(plan: PrunePlan, *, progress: Progress[PruneEvent] = silent, cancel: Cancel | None = None) -> PruneResult:
    """Do what *plan* says. To be called once, under the lock that it was made under: exclusive, or shared if it is lock-free.

    Packs that cannot be removed are told and stay for the next prune; whatever else fails ends it.

    Raises:
        UsageError: no lock is held, the plan was carried out before, or the repository is append-only.
        PruneRefused: the repository is append-only (RUSTIC-1).
        PlanOutdated: somebody has changed the repository since.
        DamagedFile: a blob that is to be moved has no intact copy; nothing that was indexed is removed.
        ResticFormatError: something could not be read or stored; no pack that is needed is removed.
        Interrupted: it was cancelled; likewise.
    """
    repository = plan.repository
    if repository.before_changes is None:
        raise UsageError("prune removes what others may rely on: it must hold a lock of the repository")
    if repository.settings.append_only:
        raise PruneRefused("the repository is append-only, its config says so: nothing was removed")
    if plan.carried_out:
        raise UsageError("a plan can be carried out once; make another one")
    check_may_remove(repository, "prune")
    plan.carried_out = True
    result = PruneResult()
    if plan.options.lock_free:
        execute_lock_free(plan, result, Remover(repository, result, progress, cancel), progress, cancel)
    else:
        _check_unchanged(plan)
        _execute(plan, result, progress, cancel)
    # What is in memory is outdated now.
    repository.index = BlobIndex()
    plan.kept = None
    return result


def _check_unchanged(plan: PrunePlan) -> None:
    """Under an exclusive lock nobody changes anything; but the plan may have been made before."""
    repository = plan.repository
    found = Later(lambda: {snapshot for snapshot, _ in repository.list(FileKind.SNAPSHOT)}, now=not repository.storage.at_hand)
    indexes = {index for index, _ in repository.list(FileKind.INDEX)}
    snapshots = found.get()
    if not snapshots <= plan.known.snapshots or indexes != plan.known.indexes:
        raise PlanOutdated("the repository was changed after the plan was made; nothing was done: make another plan")


def _execute(plan: PrunePlan, result: PruneResult, progress: Progress[PruneEvent], cancel: Cancel | None) -> None:
    repository = plan.repository
    remover = Remover(repository, result, progress, cancel)
    remover.remove(Stage.UNREFERENCED, list(plan.unreferenced))
    repack(plan, result, progress, cancel)
    going = [*plan.remove, *plan.repack, *plan.overdue]
    if plan.options.recover_no_free_space:
        _remove_index(plan, progress)
    elif going or plan.forget or plan.unmark:
        change = IndexChange(drop={*going, *plan.forget}, unmark=set(plan.unmark))
        result.indexes = rewrite_index(
            repository,
            change,
            progress=lambda done, total: progress(Advance(Stage.REWRITE, done, total)),
            removing=lambda done, total: progress(Advance(Stage.REMOVE_OLD_INDEX, done, total)),
            cancel=cancel,
        )
        result.unmarked = plan.unmark
    remover.remove(Stage.REMOVE, going)
    if plan.options.recover_no_free_space:
        result.indexes = _save_index(repository, {*going, *plan.forget}, progress)


def _remove_index(plan: PrunePlan, progress: Progress[PruneEvent]) -> None:
    repository = plan.repository
    for done, file_id in enumerate(sorted(plan.known.indexes)):
        progress(Advance(Stage.REMOVE_INDEX, done, len(plan.known.indexes)))
        repository.remove(FileKind.INDEX, file_id)
        progress(FileGone(FileKind.INDEX, file_id))
    progress(Advance(Stage.REMOVE_INDEX, len(plan.known.indexes), len(plan.known.indexes)))


def _save_index(repository: Repository, gone: set[bytes], progress: Progress[PruneEvent]) -> list[bytes]:
    """Write the index in memory, without the packs that are gone."""
    writer = IndexWriter(repository)
    left = [pack for pack in repository.index.packs() if pack.id not in gone]
    for done, pack in enumerate(left):
        progress(Advance(Stage.SAVE_INDEX, done, len(left)))
        writer.add(index_pack(pack.id, pack.entries()))
    writer.flush()
    progress(Advance(Stage.SAVE_INDEX, len(left), len(left)))
    return writer.written
