"""Removing packs, and telling which could not be removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from restic_format.errors import FileMissing, StorageError
from restic_format.maintenance.prune.records import FileGone, FileStays, PruneEvent, PruneResult, Stage
from restic_format.repository import Repository
from restic_format.work import Advance, Cancel, Progress, WorkerPool
from restic_spec.layout import FileKind


class Remover:
    """Removes packs, several at once."""

    def __init__(
        self, repository: Repository, result: PruneResult, progress: Progress[PruneEvent], cancel: Cancel | None
    ) -> None:
        self._repository = repository
        self._result = result
        self._progress = progress
        self._cancel = cancel

    def remove(self, stage: Stage, packs: Sequence[bytes]) -> None:
        """Remove *packs*; those that cannot be are told."""
        if self._cancel is not None:
            self._cancel.check()
        if not packs:
            return
        self._progress(Advance(stage, 0, len(packs)))
        before = len(self._result.removed)

        def count() -> None:
            self._progress(Advance(stage, len(self._result.removed) - before, len(packs)))

        pool = WorkerPool(
            "remove", self._repository.storage.connections, lambda: self._remove_some(shared, count), cancel=self._cancel
        )
        shared = pool.share(packs)
        with pool:
            pass

    def _remove_some(self, packs: Iterable[bytes], count: Callable[[], None]) -> None:
        for pack in packs:
            try:
                self._repository.remove(FileKind.PACK, pack)
            except FileMissing:
                pass
            except StorageError as error:
                self._result.not_removed.append(pack)
                self._progress(FileStays(FileKind.PACK, pack, str(error)))
                continue
            self._result.removed.append(pack)
            self._progress(FileGone(FileKind.PACK, pack))
            count()
