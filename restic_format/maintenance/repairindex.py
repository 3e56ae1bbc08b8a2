"""Repairing the index: the headers of packs replace what index files say wrongly, or not at all.

The index is compared with the packs that are there. The header of each pack that no index lists, or lists otherwise than its
file is, says what is in it; records of packs that are gone leave the index; damaged index files are replaced. New index files
are stored before an old one is removed (ORDER-4), so that whoever is killed in between leaves an index that is as good as
before. Memory: the index, and the size of every pack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from restic_format.errors import DamagedFile, FileMissing, FileUnusable, ResticFormatError, StorageError
from restic_format.maintenance.restrictions import check_is_whole, check_may_remove
from restic_format.repository import Repository, loading
from restic_format.repository.header import PackRecord
from restic_format.repository.indexwriter import IndexChange, rewrite_index
from restic_format.work import Advance, Cancel, Progress, in_order, silent
from restic_spec.layout import FileKind

LOADING, READING, REWRITING, REMOVING = "indexes", "packs", "indexes processed", "old indexes deleted"
"""The stages that `Advance` names."""


class OtherSize(NamedTuple):
    """A pack whose file is not as the index says: bytes it has, and bytes that its record implies.

    They are equal where only the places of the blobs in it cannot be right.
    """

    actual: int
    expected: int


@dataclass
class IndexRepairPlan:
    """What a repair of the index would do."""

    repository: Repository
    read_all: bool
    """Whether the headers of all packs are read, whatever the index says."""
    damaged: dict[bytes, ResticFormatError] = field(default_factory=dict)
    """Index files that cannot be used and will be removed, with what is wrong with each."""
    unlisted: dict[bytes, int] = field(default_factory=dict)
    """Packs that no index lists and that will enter it, with the bytes of each."""
    resized: dict[bytes, OtherSize] = field(default_factory=dict)
    """Packs that are not as the index says, and whose records will be replaced."""
    gone: list[bytes] = field(default_factory=list)
    """Packs that the index lists and that are not there: their records leave it."""
    files: list[bytes] = field(default_factory=list)
    """The index files that were looked at."""
    reading: dict[bytes, int] = field(default_factory=dict)
    """Packs whose headers will be read, with the bytes of each."""


class IndexRepair(NamedTuple):
    """What was done."""

    entered: int
    """Packs whose headers have been read and are in the index now."""
    skipped: dict[bytes, ResticFormatError]
    """Packs that have no header that can be used; they were left alone."""
    unreadable: dict[bytes, ResticFormatError]
    """Packs that the storage could not read: nothing is known about them, and what the index says about them stays."""
    written: list[bytes]
    """Ids of the new index files."""


def plan(
    repository: Repository, *, read_all: bool = False, progress: Progress[Advance] = silent, cancel: Cancel | None = None
) -> IndexRepairPlan:
    """Compare the index with the packs. To be called under an exclusive lock; nothing changes, but for the index in memory.

    Packs that are marked for deletion stay marked (RUSTIC-2).

    Raises:
        UsageError: this repository must not be repaired so (`restrictions`).
        StorageError: an index file cannot be read, or the packs cannot be listed.
        Interrupted: it was cancelled.
    """
    check_is_whole(repository, "repair index")
    check_may_remove(repository, "repair index")
    made = IndexRepairPlan(repository, read_all, files=[file_id for file_id, _ in repository.list(FileKind.INDEX)])

    def note_damaged(file_id: bytes, error: ResticFormatError) -> None:
        if not isinstance(error, DamagedFile | FileUnusable):
            raise error  # Nothing is known about it.
        made.damaged[file_id] = error

    # Without the cache of the index, which knows nothing of what has become of the files.
    loading.load_index(repository, None, lambda done, total: progress(Advance(LOADING, done, total)), note_damaged)
    sizes = dict(repository.list(FileKind.PACK))
    index = repository.index
    for listed in index.packs():
        if cancel is not None:
            cancel.check()
        size = sizes.get(listed.id)
        if size is None and (size := _size_of(repository, listed.id)) is not None:
            sizes[listed.id] = size
        layout = listed.layout()
        if size is None:
            made.gone.append(listed.id)
        elif size != layout.size or layout.gaps:
            made.resized[listed.id] = OtherSize(size, layout.size)
    for pack in index.marked:
        if pack not in sizes and not index.has_pack(pack) and _size_of(repository, pack) is None:
            made.gone.append(pack)
    made.unlisted = {pack: size for pack, size in sizes.items() if not index.has_pack(pack) and pack not in index.marked}
    if read_all:
        made.reading = {pack: size for pack, size in sizes.items() if pack not in index.marked or index.has_pack(pack)}
    else:
        made.reading = made.unlisted | {pack: size.actual for pack, size in made.resized.items()}
    return made


def execute(made: IndexRepairPlan, *, progress: Progress[Advance] = silent, cancel: Cancel | None = None) -> IndexRepair:
    """Repair the index as planned, under the same lock.

    Raises:
        ResticFormatError: something could not be read or stored; the index is as good as before, or better.
        Interrupted: it was cancelled; likewise.
    """
    entered = 0
    skipped: dict[bytes, ResticFormatError] = {}
    unreadable: dict[bytes, ResticFormatError] = {}
    dropped = set(made.gone)
    obsolete: set[bytes] = set()

    def records() -> Iterator[PackRecord]:
        nonlocal entered
        progress(Advance(READING, 0, len(made.reading)))
        for done, (pack, found) in enumerate(_headers(made.repository, made.reading, cancel), 1):
            if isinstance(found, PackRecord):
                entered += 1
                dropped.add(pack)
                yield found
            elif isinstance(found, StorageError) and found.may_be_intact:
                unreadable[pack] = found
            else:
                skipped[pack] = found
                if (size := made.resized.get(pack)) is not None and size.actual != size.expected:
                    dropped.add(pack)
            progress(Advance(READING, done, len(made.reading)))
        index = made.repository.index
        kept = (pack for pack in (*skipped, *unreadable) if index.has_pack(pack) and pack not in dropped)
        if made.read_all and not index.marked and not any(True for _ in kept):
            obsolete.update(made.files)  # All that stays in the index has been read.

    def still_damaged(file_id: bytes, error: ResticFormatError) -> None:
        if file_id not in made.damaged:
            raise error  # The packs it lists have not been read.

    written = rewrite_index(
        made.repository,
        IndexChange(drop=dropped, add=records() if made.reading else (), files=obsolete),
        damaged=still_damaged,
        progress=lambda done, total: progress(Advance(REWRITING, done, total)),
        removing=lambda done, total: progress(Advance(REMOVING, done, total)),
        cancel=cancel,
    )
    return IndexRepair(entered, skipped, unreadable, written)


def _size_of(repository: Repository, pack: bytes) -> int | None:
    """The bytes of a pack that was not in the list, if it is there all the same."""
    try:
        return repository.storage.size(FileKind.PACK, pack.hex())
    except FileMissing:
        return None


def _headers(
    repository: Repository, sizes: dict[bytes, int], cancel: Cancel | None
) -> Iterator[tuple[bytes, PackRecord | ResticFormatError]]:
    """The record of each of the packs, or why that cannot be told."""

    def read(pack: bytes) -> PackRecord:
        return repository.packs.record(pack, sizes[pack])

    workers = repository.storage.readers
    with contextlib.closing(in_order(read, list(sizes), name="headers", workers=workers, ahead=2 * workers)) as headers:
        for pack, found in headers:
            if cancel is not None:
                cancel.check()
            if isinstance(found, Exception) and not isinstance(found, ResticFormatError):
                raise found
            yield pack, found
