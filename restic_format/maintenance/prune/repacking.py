"""Moving the blobs that are kept out of packs that go."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable

from restic_format.errors import DamagedFile, ResticFormatError, StorageError
from restic_format.maintenance.prune.records import PruneEvent, PrunePlan, PruneResult, Stage
from restic_format.repository import Repository
from restic_format.repository.indexwriter import check_indexes
from restic_format.repository.packs import coalesce
from restic_format.repository.warming import make_ready
from restic_format.repository.writer import BlobWriter
from restic_format.storage.cache import without_cache
from restic_format.work import Advance, Cancel, Progress, WorkerPool, do_all
from restic_spec.layout import FileKind
from restic_spec.pack import PackEntry


def repack(plan: PrunePlan, result: PruneResult, progress: Progress[PruneEvent], cancel: Cancel | None) -> None:
    """Store the blobs that are kept of the packs that `plan.repack` names once more, and write the index of the new packs.

    Only these blobs are read, and each is verified. One that is damaged comes from another copy, if there is an intact one. At
    the end every new pack is there in its full size, and so is the index that lists it.

    Raises:
        DamagedFile: there is none, also when it is read again; what was stored by then is in the index.
        ResticFormatError: something cannot be read or stored; likewise as far as it can be.
        Interrupted: it was cancelled; likewise.
    """
    if not plan.repack:
        return
    make_ready(plan.repository, plan.repack, progress, cancel)
    sizes: dict[bytes, int] = {}
    writer = plan.repository.writer(stored=sizes.__setitem__)
    try:
        _Repacker(plan, result, writer, progress).run(cancel)
        writer.flush()
    except BaseException:
        with contextlib.suppress(ResticFormatError):  # the first failure is the one to tell
            writer.abandon()
        raise
    check_indexes(plan.repository, writer.indexes)
    storage = without_cache(plan.repository.storage)

    def check_size(pack: bytes) -> None:
        if storage.size(FileKind.PACK, pack.hex()) != sizes[pack]:
            raise DamagedFile(f"new pack {pack.hex()} was stored, but is not whole; nothing was removed: try again", pack=pack)

    do_all(check_size, list(sizes), workers=storage.readers, name="sizes")


class _Repacker:
    def __init__(self, plan: PrunePlan, result: PruneResult, writer: BlobWriter, progress: Progress[PruneEvent]) -> None:
        assert plan.kept is not None
        self._repository: Repository = plan.repository
        self._packs = plan.repack
        self._kept = plan.kept
        self._recompress = plan.repository.version >= 2
        self._result = result
        self._writer = writer
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0

    def run(self, cancel: Cancel | None) -> None:
        numbers = {pack: number for number, pack in enumerate(self._repository.index.pack_ids())}
        self._progress(Advance(Stage.REPACK, 0, len(self._packs)))
        pool = WorkerPool("repack", self._repository.storage.readers, lambda: self._work(shared, numbers), cancel=cancel)
        shared = pool.share(self._packs)
        with pool:
            pass

    def _work(self, packs: Iterable[bytes], numbers: dict[bytes, int]) -> None:
        for pack in packs:
            entries = self._kept.entries(numbers[pack])
            for run in coalesce(entries, lambda entry: entry.offset, lambda entry: entry.length):
                self._move(pack, run.offset, run.length, run.items)
            with self._lock:
                self._done += 1
                self._result.repacked_bytes += sum(entry.length for entry in entries)
                self._progress(Advance(Stage.REPACK, self._done, len(self._packs)))

    def _move(self, pack: bytes, offset: int, length: int, entries: list[PackEntry]) -> None:
        try:
            data = self._repository.packs.read(pack, offset, length)
        except ResticFormatError as error:
            for entry in entries:
                self._move_other_copy(pack, entry, error)
            return
        # What is damaged is looked for elsewhere afterwards: that reads into the same memory.
        failed = []
        for entry, moved in self._writer.copy_sealed(data, offset, entries, again=True, recompress=self._recompress):
            if isinstance(moved, ResticFormatError):
                failed.append((entry, moved))
        for entry, reason in failed:
            self._move_other_copy(pack, entry, reason)

    def _move_other_copy(self, pack: bytes, entry: PackEntry, failure: ResticFormatError) -> None:
        """Move a blob from another place, or after all from where it is: a transfer may have been at fault."""
        others = self._repository.index.lookup_all(entry.type, entry.id)
        for location in sorted(others, key=lambda place: (place.pack, place.offset) == (pack, entry.offset)):
            copy = location.entry(entry.type, entry.id)
            try:
                data = self._repository.packs.read(location.pack, copy.offset, copy.length)
            except ResticFormatError:
                continue
            [(_, moved)] = self._writer.copy_sealed(data, copy.offset, [copy], again=True, recompress=self._recompress)
            if not isinstance(moved, ResticFormatError):
                return
        if isinstance(failure, StorageError) and failure.may_be_intact:
            raise failure  # Nothing is known about the blob.
        what = (
            f"{entry.type.value} blob {entry.id.hex()[:8]} in pack {pack.hex()[:8]} cannot be read, and nothing that is needed "
            f"was removed: run repair packs {pack.hex()}, then repair snapshots, then prune again"
        )
        raise DamagedFile(what, failure, pack=pack) from failure
