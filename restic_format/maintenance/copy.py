"""Copying snapshots into another repository, with its own key and perhaps another version.

Blobs go as they are cut: each is verified on its way, sealed with the other key, and compressed anew only where the target's
version demands or allows what the source's did not. A snapshot is stored when everything it needs is stored and in an index
(ORDER-1); one that needs a blob that is missing or damaged is not copied, and the others are. What was copied before is found
by ``original`` (SNAP-7, SNAP-19), and blobs that are there already are not read again, so that an interrupted copy goes on
where it was.

Memory: some 45 bytes for each blob that the snapshots need, 45 more for each that is copied in a snapshot, and a few ranges of
packs at a time.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from restic_format.errors import (
    BlobMissing,
    DamagedFile,
    FileMissing,
    FileUnusable,
    ResticFormatError,
    SpecError,
)
from restic_format.repository import Repository
from restic_format.repository.coder import check_size
from restic_format.repository.packs import Run, coalesce
from restic_format.repository.warming import make_ready
from restic_format.repository.writer import BlobWriter
from restic_format.snapshots.find import FoundSnapshot, SnapshotFilter, filter_snapshots
from restic_format.snapshots.used import UsedBlobs, find_used
from restic_format.storage.warming import WarmUp
from restic_format.work import Cancel, Progress, WorkerPool, silent
from restic_spec.ids import ID_SIZE, parse_id
from restic_spec.pack import BlobType, PackEntry
from restic_spec.snapshot import Snapshot

_PACKS_IN_BATCH = 100
"""Packs' worth of blobs after which, and ..."""
_BATCH_SECONDS = 60.0
"""... seconds after which snapshots are stored, not each with an index of its own."""
_MOST_TOLD = 100
"""Damaged or missing blobs of a snapshot that are told."""
_TYPES = (BlobType.DATA, BlobType.TREE)
_PLACE = struct.Struct(f">IBII{ID_SIZE}s")
"""A blob in a pack: offset, type, sealed length, the plaintext's if it is compressed, id; in bytes by offset."""


class Skipped(NamedTuple):
    """A snapshot that was copied before."""

    source: FoundSnapshot
    copy: FoundSnapshot


@dataclass(frozen=True)
class CopyPlan:
    """Which snapshots would be copied, from `plan_copy`."""

    source: Repository
    target: Repository
    snapshots: Sequence[FoundSnapshot]
    """To be copied, in this order."""
    skipped: Sequence[Skipped]
    """Copied before."""

    @property
    def same_chunks(self) -> bool:
        """Whether both repositories cut files at the same places, so that copies and new backups share their data."""
        return self.source.chunker_polynomial == self.target.chunker_polynomial


class CopyStarted(NamedTuple):
    """Told when a snapshot's turn has come."""

    snapshot: FoundSnapshot


class BlobsFound(NamedTuple):
    """Told when it is known what of a snapshot is to be copied; the packs are counted down by `PackCopied`."""

    snapshot: FoundSnapshot
    blobs: int
    size: int
    """Their bytes as they are stored in the source."""
    packs: int


class PackCopied(NamedTuple):
    """Told when all wanted blobs of a pack have been copied."""

    size: int
    """Their bytes as they are stored in the source."""


class BlobsCopied(NamedTuple):
    """Told when the blobs of a snapshot have been copied."""

    snapshot: FoundSnapshot


class BatchEnds(NamedTuple):
    """Told when the index is written, before so many snapshots are stored."""

    snapshots: int


class SnapshotCopied(NamedTuple):
    """Told when a snapshot is stored in the target."""

    source: FoundSnapshot
    id: bytes
    """Its id there."""


class SnapshotFailed(NamedTuple):
    """Told when a snapshot cannot be copied: its tree or some of its blobs are missing or damaged."""

    source: FoundSnapshot
    errors: Sequence[ResticFormatError]
    """The first ones."""
    total: int
    """Errors in all."""


CopyEvent = CopyStarted | BlobsFound | WarmUp | PackCopied | BlobsCopied | BatchEnds | SnapshotCopied | SnapshotFailed


@dataclass
class CopyResult:
    """What was copied."""

    copied: list[SnapshotCopied] = field(default_factory=list)
    failed: list[SnapshotFailed] = field(default_factory=list)
    blobs: int = 0
    """Blobs that are new in the target."""
    size: int = 0
    """Their bytes as they are stored in the target."""


def plan_copy(
    source: Repository,
    target: Repository,
    names: Sequence[str] = (),
    wanted: SnapshotFilter | None = None,
    *,
    damaged: Callable[[Repository, str, ResticFormatError], None] | None = None,
) -> CopyPlan:
    """Find the snapshots of *source* that *names* mean, or all *wanted*, and which of them *target* has (SNAP-19).

    A snapshot that cannot be found or read goes to *damaged*, with the repository and its name, or is raised.
    """

    def told(repository: Repository) -> Callable[[str, ResticFormatError], None] | None:
        return None if damaged is None else lambda name, error: damaged(repository, name, error)

    copies: dict[str, list[FoundSnapshot]] = {}
    for found in filter_snapshots(target, (), wanted, told(target)):
        for name in {found.id.hex(), found.snapshot.original} - {None}:
            copies.setdefault(str(name), []).append(found)
    snapshots: list[FoundSnapshot] = []
    skipped: list[Skipped] = []
    for found in filter_snapshots(source, names, wanted, told(source)):
        known = copies.get(found.snapshot.original or found.id.hex(), ())
        copy = next((item for item in known if is_copy(item.snapshot, found.snapshot)), None)
        if copy is None:
            snapshots.append(found)
        else:
            skipped.append(Skipped(found, copy))
    return CopyPlan(source, target, snapshots, skipped)


def is_copy(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots say the same, apart from what a copy changes (SNAP-19)."""
    return (
        one.time_ns == other.time_ns
        and one.tree == other.tree
        and (one.hostname, one.username, one.uid, one.gid) == (other.hostname, other.username, other.uid, other.gid)
        and one.excludes == other.excludes
        and _same_members(one.path_list(), other.path_list())
        and _same_members(one.tags, other.tags)
    )


def _same_members(one: Sequence[str], other: Sequence[str]) -> bool:
    return len(one) == len(other) and set(one) >= set(other)


def copy(plan: CopyPlan, *, progress: Progress[CopyEvent] = silent, cancel: Cancel | None = None) -> CopyResult:
    """Copy the snapshots of *plan*; the indexes of both repositories must be loaded, and both be locked.

    Raises:
        StorageError: a storage fails; what is copied so far is kept where that is possible, and need not be copied again.
        Interrupted: it was cancelled; likewise.
    """
    return _Copy(plan, progress, cancel or Cancel()).run()


class _Copy:
    """One run of `copy`."""

    def __init__(self, plan: CopyPlan, progress: Progress[CopyEvent], cancel: Cancel) -> None:
        self._source, self._target = plan.source, plan.target
        self._plan = plan
        self._progress = progress
        self._cancel = cancel
        self._recompress = plan.source.version < plan.target.version
        self._used = UsedBlobs()
        self._result = CopyResult()

    def run(self) -> CopyResult:
        """Copy batch by batch: blobs, their index, then the snapshots."""
        waiting = list(reversed(self._plan.snapshots))
        while waiting:
            started, size = time.monotonic(), 0
            most = self._target.pack_size * _PACKS_IN_BATCH
            batch: list[FoundSnapshot] = []
            writer = self._target.writer()
            try:
                while waiting and (size < most or time.monotonic() - started < _BATCH_SECONDS):
                    found = waiting.pop()
                    self._progress(CopyStarted(found))
                    copied = _BlobCopy(self, writer, found)
                    if copied.run():
                        batch.append(found)
                    size += copied.size
                writer.flush()
            except BaseException as failure:
                writer.keep_stored(failure)
                raise
            self._store(batch)
        return self._result

    def _store(self, batch: Sequence[FoundSnapshot]) -> None:
        self._progress(BatchEnds(len(batch)))
        for found in batch:
            self._cancel.check()
            snapshot = self._source.load_snapshot(found.id)  # with what is not known of it (SNAP-10)
            if not self._target.index.has(BlobType.TREE, bytes.fromhex(snapshot.tree or "")):
                raise DamagedFile(f"snapshot {found.short_id} is not copied: its tree is not in the target's index")
            snapshot.parent = None
            snapshot.original = snapshot.original or found.id.hex()
            stored = SnapshotCopied(found, self._target.save_snapshot(snapshot))
            self._result.copied.append(stored)
            self._progress(stored)


class _BlobCopy:
    """The blobs that one snapshot needs and the target does not have."""

    def __init__(self, run: _Copy, writer: BlobWriter, found: FoundSnapshot) -> None:
        self._run = run
        self._source, self._target = run._source, run._target
        self._writer = writer
        self._found = found
        self._errors: list[ResticFormatError] = []
        self._count = 0
        self._lock = threading.Lock()
        self.size = 0
        """Bytes to be copied."""

    def run(self) -> bool:
        """Copy them; whether the target has now all that the snapshot needs, when the writer is flushed."""
        run = self._run
        known = len(run._used.trees), len(run._used.data)
        try:
            if not self._found.snapshot.tree:
                raise DamagedFile(f"snapshot {self._found.short_id} has no tree")
            root = parse_id(self._found.snapshot.tree)
            find_used(self._source, [root], used=run._used, cancel=run._cancel)
        except (DamagedFile, BlobMissing, SpecError) as error:
            self._fail(error)
        else:
            packs = self._wanted(known)
            run._progress(BlobsFound(self._found, sum(map(len, packs.values())) // _PLACE.size, self.size, len(packs)))
            if not self._count:
                make_ready(self._source, list(packs), run._progress, run._cancel)
                self._copy_packs(packs)
                self._look_again(known)
            run._progress(BlobsCopied(self._found))
        if self._count:
            # What the next snapshot shares with this one must be looked at again.
            run._used = UsedBlobs()
            failed = SnapshotFailed(self._found, self._errors, self._count)
            run._result.failed.append(failed)
            run._progress(failed)
        return not self._count

    def _fail(self, error: ResticFormatError) -> None:
        with self._lock:
            self._count += 1
            if len(self._errors) < _MOST_TOLD:
                self._errors.append(error)

    def _wanted(self, known: tuple[int, int]) -> dict[bytes, bytearray]:
        """What is to be copied from each pack: a `_PLACE` for each blob."""
        packs: dict[bytes, bytearray] = {}
        lookup, has = self._source.index.lookup, self._writer.has
        used = self._run._used
        for blob_type, ids in ((BlobType.TREE, used.trees.since(known[0])), (BlobType.DATA, used.data.since(known[1]))):
            code = _TYPES.index(blob_type)
            for start in range(0, len(ids), ID_SIZE):
                blob_id = ids[start : start + ID_SIZE]
                if has(blob_type, blob_id):
                    continue
                location = lookup(blob_type, blob_id)
                if location is None:
                    self._fail(BlobMissing.of(blob_type, blob_id.hex()))
                    continue
                pack, offset, length, plain = location
                packs.setdefault(pack, bytearray()).extend(_PLACE.pack(offset, code, length, plain or 0, blob_id))
                self.size += length
        return packs

    def _look_again(self, known: tuple[int, int]) -> None:
        """Fail unless the target has everything by now: nothing may name what is not there."""
        used, has = self._run._used, self._writer.has
        for blob_type, ids in ((BlobType.TREE, used.trees.since(known[0])), (BlobType.DATA, used.data.since(known[1]))):
            for start in range(0, len(ids), ID_SIZE):
                if not has(blob_type, ids[start : start + ID_SIZE]) and not self._count:
                    self._fail(BlobMissing.of(blob_type, ids[start : start + ID_SIZE].hex()))

    def _copy_packs(self, packs: dict[bytes, bytearray]) -> None:
        pool = WorkerPool(
            "copy", min(self._source.storage.readers, len(packs)), lambda: self._work(jobs), cancel=self._run._cancel
        )
        jobs = pool.share(packs.items())
        if packs:
            with pool:
                pass

    def _work(self, jobs: Iterable[tuple[bytes, bytearray]]) -> None:
        for pack, blobs in jobs:
            size = 0
            entries = _entries(blobs)
            for run in coalesce(entries, lambda entry: entry.offset, lambda entry: entry.length):
                if self._run._cancel.is_set():
                    return
                self._copy_range(pack, run)
                size += sum(entry.length for entry in run.items)
            self._run._progress(PackCopied(size))

    def _copy_range(self, pack: bytes, run: Run[PackEntry]) -> None:
        try:
            for entry in run.items:
                check_size(entry)
            data = self._source.packs.read(pack, run.offset, run.length)
        except (SpecError, FileMissing, FileUnusable):
            for entry in run.items:
                self._copy_other(entry)
            return
        recompress = self._run._recompress
        copied = self._writer.copy_sealed(data, run.offset, run.items, source=self._source.coder, recompress=recompress)
        blobs = size = 0
        for entry, outcome in copied:
            if isinstance(outcome, SpecError):
                self._copy_other(entry)
            elif not outcome.known:
                blobs += 1
                size += outcome.stored
        self._count_new(blobs, size)

    def _copy_other(self, entry: PackEntry) -> None:
        """Copy a blob from another place than where it was looked for, if there is one where it is intact."""
        try:
            plaintext = self._source.load_blob(entry.type, entry.id)
        except (DamagedFile, BlobMissing) as error:
            self._fail(error)
            return
        [saved] = self._writer.save(entry.type, [(entry.id, plaintext)])
        if not saved.known:
            self._count_new(1, saved.stored)

    def _count_new(self, blobs: int, size: int) -> None:
        with self._lock:
            self._run._result.blobs += blobs
            self._run._result.size += size


def _entries(blobs: bytearray) -> Iterator[PackEntry]:
    """The blobs of a pack, each a `_PLACE`, by offset."""
    places = bytes(blobs)
    for place in sorted(places[start : start + _PLACE.size] for start in range(0, len(places), _PLACE.size)):
        offset, code, length, plain, blob_id = _PLACE.unpack(place)
        yield PackEntry(_TYPES[code], blob_id, offset, length, plain or None)
