"""Salvaging damaged packs: the blobs in them that are intact are put into new packs, then the damaged ones go.

The header of a pack and the index say what should be in it. A blob is verified, down to the hash of its plaintext, before it is
moved, and the new packs are read back. The new packs and an index that lists them are stored before the damaged packs leave the
index, and those are removed last (ORDER-3).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from restic_format.errors import (
    AlreadyLocked,
    FileMissing,
    FileUnusable,
    InvalidLock,
    LockLost,
    ResticFormatError,
    SpecError,
    StorageError,
    UsageError,
)
from restic_format.maintenance.restrictions import check_is_whole, check_may_remove
from restic_format.repository import Repository
from restic_format.repository.coder import check_size
from restic_format.repository.indexwriter import IndexChange, load_index_file, rewrite_index
from restic_format.repository.packs import Run, coalesce
from restic_format.repository.writer import BlobWriter
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry

SALVAGING, REWRITING, OLD_INDEXES, REMOVING = "pack files", "indexes processed", "old indexes deleted", "files deleted"
"""The stages that `Advance` names."""

_COPY_PIECE = 4 << 20
"""Bytes of a pack that are copied at once."""

Key = tuple[BlobType, bytes]


class DamagedPack(NamedTuple):
    """A pack that is to be salvaged: the bytes of its file, and the blobs that it should hold by its header and the index."""

    size: int
    entries: list[PackEntry]


@dataclass
class SalvagePlan:
    """What salvaging some packs would do."""

    repository: Repository
    packs: dict[bytes, DamagedPack] = field(default_factory=dict)


class LostBlob(NamedTuple):
    """A blob of a damaged pack that could not be saved, and of which there is no other copy."""

    type: BlobType
    id: bytes
    pack: bytes
    reason: ResticFormatError


class Salvage(NamedTuple):
    """What was done."""

    saved: int
    """Blobs that are in new packs now."""
    lost: list[LostBlob]
    removed: list[bytes]
    """Packs that are gone."""
    left: dict[bytes, ResticFormatError]
    """Packs that nothing needs any more and that could not be removed; prune does so."""


def plan(repository: Repository, packs: Iterable[bytes]) -> SalvagePlan:
    """Find out what should be in *packs*; the index must be loaded. Nothing changes.

    Raises:
        UsageError: there is no such pack, or this repository must not be repaired so (`restrictions`).
        StorageError: a pack cannot be read.
    """
    check_is_whole(repository, "repair packs")
    check_may_remove(repository, "repair packs")
    made = SalvagePlan(repository)
    wanted = set(packs)
    listed = dict(repository.index.by_pack(wanted))
    for pack in sorted(wanted):
        try:
            size = repository.storage.size(FileKind.PACK, pack.hex())
        except FileMissing:
            raise UsageError(
                f"pack {pack.hex()} is not in the repository; if the index lists it, `repair index` removes it from there"
            ) from None
        entries = dict.fromkeys(listed.get(pack, ()))
        with suppress(SpecError, FileUnusable):
            entries |= dict.fromkeys(repository.packs.header(pack, size))
        made.packs[pack] = DamagedPack(size, sorted(entries, key=lambda entry: entry.offset))
    return made


def keep_copy(repository: Repository, pack: bytes, size: int, folder: str) -> str:
    """Copy the file of a pack of *size* bytes into *folder*, as it is; the path of the copy.

    It is called ``pack-`` and the id. A file of that name which differs is left alone, and the copy is called otherwise.

    Raises:
        StorageError: the pack cannot be read.
        OSError: the copy cannot be written.
    """
    number = 0
    while True:
        path = os.path.join(folder, f"pack-{pack.hex()}" + (f".{number}" if number else ""))
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            if _is_copy(repository, pack, size, path):
                return path
            number += 1
            continue
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in _pieces(repository, pack, size):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(path)
            raise
        return path


def _pieces(repository: Repository, pack: bytes, size: int) -> Iterator[memoryview]:
    for start in range(0, size, _COPY_PIECE):
        yield repository.packs.read(pack, start, min(_COPY_PIECE, size - start))


def _is_copy(repository: Repository, pack: bytes, size: int, path: str) -> bool:
    """Whether the file at *path* has the same bytes as the pack."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(file.fileno()).st_size != size:
            return False
        return all(file.read(len(piece)) == piece for piece in _pieces(repository, pack, size))


def execute(made: SalvagePlan, *, progress: Progress[Advance | LostBlob] = silent, cancel: Cancel | None = None) -> Salvage:
    """Salvage the packs as planned. To be called under an exclusive lock; *progress* is told of every `LostBlob` at once.

    Raises:
        ResticFormatError: something could not be read or stored; all packs are still there and in the index.
        Interrupted: it was cancelled; likewise.
    """
    repository = made.repository
    salvager = _Salvager(made, progress, cancel)
    salvager.run()
    rewrite_index(
        repository,
        IndexChange(drop=set(made.packs)),
        progress=lambda done, total: progress(Advance(REWRITING, done, total)),
        removing=lambda done, total: progress(Advance(OLD_INDEXES, done, total)),
        cancel=cancel,
    )
    removed: list[bytes] = []
    left: dict[bytes, ResticFormatError] = {}
    progress(Advance(REMOVING, 0, len(made.packs)))
    for pack in made.packs:
        try:
            repository.remove(FileKind.PACK, pack)
            removed.append(pack)
        except StorageError as error:
            left[pack] = error
        progress(Advance(REMOVING, len(removed), len(made.packs)))
    return Salvage(len(salvager.saved), salvager.lost, removed, left)


class _Salvager:
    def __init__(self, made: SalvagePlan, progress: Progress[Advance | LostBlob], cancel: Cancel | None) -> None:
        self.repository = made.repository
        self.packs = made.packs
        self.progress = progress
        self.cancel = cancel
        self.writer: BlobWriter = made.repository.writer()
        self.saved: set[Key] = set()
        self.lost: list[LostBlob] = []
        self._failed: dict[Key, tuple[bytes, ResticFormatError]] = {}
        """Blobs of which no copy was intact so far."""

    def run(self) -> None:
        """Copy what is intact, make sure that it can be read, and name what is lost."""
        try:
            self._copy_all()
            self.writer.flush()
        except (LockLost, AlreadyLocked, InvalidLock):
            self.writer.discard()  # Others may change the repository now.
            raise
        except BaseException:
            with suppress(ResticFormatError):
                self.writer.abandon()
            raise
        self._read_back()
        readable = self._readable(self._failed.keys() - self.saved)
        for key, (pack, error) in self._failed.items():
            if key not in self.saved and key not in readable:
                lost = LostBlob(*key, pack, error)
                self.lost.append(lost)
                self.progress(lost)

    def _read_back(self) -> None:
        """Make sure that the new packs and their indexes are what was written."""
        for file_id in self.writer.indexes:
            self.repository.check_stored(FileKind.INDEX, file_id)
            for record in load_index_file(self.repository, file_id).all_packs():
                if self.cancel is not None:
                    self.cancel.check()
                self.repository.check_stored(FileKind.PACK, bytes.fromhex(record.id))

    def _copy_all(self) -> None:
        self.progress(Advance(SALVAGING, 0, len(self.packs)))
        for done, (pack, damaged) in enumerate(self.packs.items(), 1):
            # Where a header and the index disagree about a blob, one of them may be right: it is tried once more.
            rest = damaged.entries
            while rest:
                self._copy(pack, _first_of_each(rest))
                rest = _others(rest)
            self.progress(Advance(SALVAGING, done, len(self.packs)))

    def _copy(self, pack: bytes, entries: Iterable[PackEntry]) -> None:
        """Copy those of *entries*, no two of which are the same blob, that are intact and were not copied before."""
        wanted = []
        for entry in entries:
            if (entry.type, entry.id) in self.saved:
                continue
            try:
                check_size(entry)
                wanted.append(entry)
            except SpecError as error:
                self._fail(pack, entry, error)
        for run in coalesce(wanted, lambda entry: entry.offset, lambda entry: entry.length):
            self._copy_run(pack, run)

    def _copy_run(self, pack: bytes, run: Run[PackEntry], *, last: bool = False) -> None:
        """Copy what is intact; the rest is read once more by itself, a transfer may have been at fault. *last* fails it."""
        if self.cancel is not None:
            self.cancel.check()
        try:
            data = self.repository.packs.read(pack, run.offset, run.length)
        except FileUnusable as error:  # It was cut short.
            failed: list[tuple[PackEntry, ResticFormatError]] = [(entry, error) for entry in run.items]
            were_read = len(run.items) == 1  # Of several nobody knows which are there.
        else:
            failed = []
            were_read = True
            for entry, outcome in self.writer.copy_sealed(data, run.offset, run.items, again=True):
                if isinstance(outcome, SpecError):
                    failed.append((entry, outcome))
                else:
                    self.saved.add((entry.type, entry.id))
        for entry, reason in failed:
            if last:
                self._fail(pack, entry, reason)
            else:
                self._copy_run(pack, Run(entry.offset, entry.length, [entry]), last=were_read)

    def _fail(self, pack: bytes, entry: PackEntry, error: ResticFormatError) -> None:
        self._failed.setdefault((entry.type, entry.id), (pack, error))

    def _readable(self, keys: Iterable[Key]) -> set[Key]:
        """Those blobs of which a pack that stays holds an intact copy."""
        copies: dict[bytes, list[PackEntry]] = {}
        for key in keys:
            for location in self.repository.index.lookup_all(*key):
                if location.pack not in self.packs:
                    copies.setdefault(location.pack, []).append(location.entry(*key))
        found: set[Key] = set()
        for pack, entries in copies.items():
            if self.cancel is not None:
                self.cancel.check()
            wanted = [entry for entry in entries if (entry.type, entry.id) not in found]
            for entry, opened in self.repository.packs.blobs(pack, wanted):
                if not isinstance(opened, ResticFormatError):
                    found.add((entry.type, entry.id))
        return found


def _first_of_each(entries: Iterable[PackEntry]) -> list[PackEntry]:
    """The first entry of each blob."""
    first: dict[Key, PackEntry] = {}
    for entry in entries:
        first.setdefault((entry.type, entry.id), entry)
    return list(first.values())


def _others(entries: Iterable[PackEntry]) -> list[PackEntry]:
    """All entries but the first of each blob."""
    seen: set[Key] = set()
    others = []
    for entry in entries:
        if (entry.type, entry.id) in seen:
            others.append(entry)
        seen.add((entry.type, entry.id))
    return others
