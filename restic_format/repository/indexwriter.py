"""Writing index files: new ones for new packs, and the rewriting of those that are there.

An index file is written when it is full, so that there are few (INDEX-11). Rewriting reads the old files one by one; the new
ones are stored before any of the old ones is removed (ORDER-3, ORDER-4), so that at every moment the index is whole.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from restic_format.errors import DamagedFile, FileMissing, FileUnusable, SpecError
from restic_format.native.table import decode_index as decode_columns
from restic_format.repository.header import PackRecord
from restic_format.repository.loading import each_loaded
from restic_format.work import JobQueue, do_all, silent
from restic_spec import gotime
from restic_spec.index import (
    FULL_AGE,
    FULL_BLOBS,
    IndexFile,
    IndexPack,
    decode_index,
    decode_outline,
    decode_pack,
    encode_pack,
    encode_records,
)
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from restic_format.repository.repository import Repository
    from restic_format.work import Cancel

_FEW_BLOBS = FULL_BLOBS // 2
"""An index file with fewer blobs is written anew with others, where indexes are rewritten at all."""

_MOST_OF_A_PACK, _MOST_OF_A_BLOB = 1024, 256
"""Bytes that a record in an index and each blob in it take at most, unless there is more in it than we know."""


class _Full(NamedTuple):
    """What an index file is made of."""

    packs: list[IndexPack | PackRecord]
    marked: list[IndexPack | PackRecord]


class IndexWriter:
    """Collects the records of packs and writes an index file whenever there is enough for one. Any thread may use it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._packs: list[IndexPack | PackRecord] = []
        self._marked: list[IndexPack | PackRecord] = []
        self._rows = 0
        self._started = time.monotonic()
        self.written: list[bytes] = []
        """Ids of the index files written so far."""
        self.used = False
        """Whether anything was added."""
        self._queue: JobQueue[_Full] | None = None

    def add(self, pack: IndexPack | PackRecord, *, marked: bool = False) -> None:
        """Enter a pack that is stored, as one to be deleted where it is *marked* (RUSTIC-2).

        Raises:
            ResticFormatError: the index file that was full by now could not be stored.
        """
        with self._lock:
            self.used = True
            if not self._rows:
                self._started = time.monotonic()
            (self._marked if marked else self._packs).append(pack)
            self._rows += _count(pack) or 1  # packs without blobs must not add up without end
            full = self._rows >= FULL_BLOBS or time.monotonic() - self._started > FULL_AGE
            taken = self._take() if full else None
        self._save(taken)

    def flush(self) -> None:
        """Write what is left: afterwards everything that was added is in some index file. Raises as `add`."""
        with self._lock:
            taken = self._take() if self._rows else None
        self._save(taken)
        if self._queue is not None:
            self._queue.wait()

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Store files in a thread of its own for the length of a ``with`` block, while the next one is being filled."""
        self._queue = JobQueue("index", 1, self._store, silent)
        try:
            yield
        finally:
            queue, self._queue = self._queue, None
            queue.close()

    def _take(self) -> _Full:
        taken = _Full(self._packs, self._marked)
        self._packs, self._marked, self._rows = [], [], 0
        return taken

    def _save(self, index: _Full | None) -> None:
        if index is None:
            return
        if self._queue is None:
            self._store(index)
        else:
            self._queue.submit(index)

    def _store(self, index: _Full) -> None:
        packs, marked = ([_encoded(pack) for pack in packs] for packs in index)
        self.written.append(self._repository.save_unpacked(FileKind.INDEX, encode_records(packs, marked)))


class _EachOnce(IndexWriter):
    """Leaves out records that were added before. An interrupted rewriting leaves some in old files and new ones; both in one
    file would be an error to restic's check.
    """

    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self._added: set[tuple[bytes, bool, int]] = set()

    def add(self, pack: IndexPack | PackRecord, *, marked: bool = False) -> None:
        """Enter a pack, see `IndexWriter.add`."""
        record = _id(pack), marked, hash(pack.json if isinstance(pack, PackRecord) else encode_pack(pack))
        if record not in self._added:
            self._added.add(record)
            super().add(pack, marked=marked)


class IndexChange(msgspec.Struct):
    """What becomes of the packs in the index. A pack that is named twice is dealt with as the first of these says."""

    drop: Container[bytes] = frozenset()
    """Packs that leave the index, marked or not."""
    drop_marked: Container[bytes] = frozenset()
    """Packs that leave the index where they are marked for deletion; a record that has one in use stays."""
    mark: Container[bytes] = frozenset()
    """Packs that are marked for deletion from now on, as rustic does: restic does not see them any more (RUSTIC-2)."""
    unmark: Container[bytes] = frozenset()
    """Packs that were marked and are in use again."""
    add: Iterable[IndexPack | PackRecord] = msgspec.field(default_factory=list)
    """Records of packs that come in, taken one by one before the rest is looked at; with `drop` one can be replaced, as each
    must be that comes encoded."""
    files: Container[bytes] = frozenset()
    """Index files that go without a look into them: all in them that stays is among what comes in."""
    add_marked: Iterable[IndexPack] = msgspec.field(default_factory=list)
    """Records of packs that come in marked for deletion from now on."""


def rewrite_index(
    repository: Repository,
    change: IndexChange,
    *,
    damaged: Callable[[bytes, DamagedFile | FileUnusable], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    removing: Callable[[int, int], None] | None = None,
    cancel: Cancel | None = None,
) -> list[bytes]:
    """Write anew every index file that *change* concerns, and the small ones beside; the ids of the new files.

    To be called under an exclusive lock, or under a shared one where nothing is dropped that anybody may still rely on. One old
    file and three new ones are in memory at a time; where a request takes its time, as many old ones as are read at once. Old
    files are removed when all new ones are stored and have been read back. One that is *damaged* is told and removed with the
    others; without that callback it is raised, and nothing is removed. *progress* gets files dealt with and files in all, then
    *removing* the same for those that go.

    Raises:
        ResticFormatError: something could not be read or stored; the index is as whole as before.
        Interrupted: it was cancelled; likewise.
    """
    files = [file_id for file_id, _ in repository.list(FileKind.INDEX)]
    writer = _EachOnce(repository)
    with writer.beside():
        replaced = _write_anew(repository, writer, change, files, damaged, progress, cancel)
        writer.flush()
    check_indexes(repository, writer.written)
    if progress is not None:
        progress(len(files), len(files))
    _remove(repository, [file_id for file_id in replaced if file_id not in writer.written], removing)
    return writer.written


def _write_anew(
    repository: Repository,
    writer: IndexWriter,
    change: IndexChange,
    files: Sequence[bytes],
    damaged: Callable[[bytes, DamagedFile | FileUnusable], None] | None,
    progress: Callable[[int, int], None] | None,
    cancel: Cancel | None,
) -> list[bytes]:
    """Give *writer* what comes in, and what stays of the *files* that go: these."""
    replaced: list[bytes] = []
    small: list[bytes] = []
    for record in change.add:
        writer.add(record)

    def load(file_id: bytes) -> _Old | DamagedFile | FileUnusable | None:
        if file_id in change.files:
            return None
        try:
            return _load(repository, file_id)
        except (DamagedFile, FileUnusable) as error:
            return error

    for done, (file_id, old) in enumerate(each_loaded(repository, files, load)):
        if cancel is not None:
            cancel.check()
        if progress is not None:
            progress(done, len(files))
        if old is None:
            replaced.append(file_id)
            continue
        if isinstance(old, DamagedFile | FileUnusable):
            if damaged is None:
                raise old
            damaged(file_id, old)
            replaced.append(file_id)
            continue
        if not _concerns(change, old):
            if sum(map(_count, (*old.packs, *old.marked))) < _FEW_BLOBS:
                small.append(file_id)
            continue
        _rewrite(writer, change, old)
        replaced.append(file_id)
    for record in change.add_marked:
        record.time = _now()
        writer.add(record, marked=True)
    if replaced or writer.used or len(small) > 1:
        for _, old in each_loaded(repository, small, partial(_load, repository)):
            _rewrite(writer, change, old)
        replaced += small
    return replaced


def _remove(repository: Repository, files: Sequence[bytes], removing: Callable[[int, int], None] | None) -> None:
    """Remove index files that are replaced."""
    done = itertools.count(1)
    if removing is not None:
        removing(0, len(files))

    def remove(file_id: bytes) -> None:
        with contextlib.suppress(FileMissing):
            repository.remove(FileKind.INDEX, file_id)
        if removing is not None:
            removing(next(done), len(files))

    do_all(remove, files, workers=repository.storage.connections, name="remove")


def check_indexes(repository: Repository, indexes: Sequence[bytes], cancel: Cancel | None = None) -> None:
    """Read new index files back, several at the same time. Raises as `Repository.check_stored`."""
    do_all(partial(repository.check_stored, FileKind.INDEX), indexes, workers=repository.storage.readers, cancel=cancel)


def check_written(repository: Repository, indexes: Iterable[bytes], cancel: Cancel | None = None) -> None:
    """Read new index files back, and all packs they list, before what these replace is removed.

    Raises:
        DamagedFile, FileMissing, StorageError: one of them is not what was written, or cannot be read.
        Interrupted: it was cancelled.
    """
    for file_id in indexes:
        repository.check_stored(FileKind.INDEX, file_id)
        packs = [_id(record) for record in _load(repository, file_id).packs]
        check_pack = partial(repository.check_stored, FileKind.PACK)
        do_all(check_pack, packs, workers=repository.storage.readers, name="read back", cancel=cancel)


def load_index_file(repository: Repository, file_id: bytes) -> IndexFile:
    """Read and parse an index file, with everything that is in it.

    Raises:
        DamagedFile: it is not an index.
        FileMissing, StorageError: it cannot be read.
    """
    return _decode(repository.load_unpacked(FileKind.INDEX, file_id), file_id)


def _decode(raw: bytes, file_id: bytes) -> IndexFile:
    try:
        return decode_index(raw, f"index {file_id.hex()[:8]}")
    except SpecError as error:
        raise DamagedFile(f"index/{file_id.hex()}", error) from error


def _encoded(pack: IndexPack | PackRecord) -> IndexPack | msgspec.Raw:
    return msgspec.Raw(pack.json) if isinstance(pack, PackRecord) else pack


def _id(pack: IndexPack | PackRecord) -> bytes:
    return pack.id if isinstance(pack, PackRecord) else bytes.fromhex(pack.id)


def _count(pack: IndexPack | PackRecord) -> int:
    return pack.blobs if isinstance(pack, PackRecord) else len(pack.blobs)


class _Old(NamedTuple):
    """An index file that may be written anew."""

    packs: Sequence[IndexPack | PackRecord]
    marked: Sequence[IndexPack]
    supersedes: bool


def _load(repository: Repository, file_id: bytes) -> _Old:
    """An index file, its records as they stand there if they are of the usual form. Raises as `load_index_file`."""
    raw = repository.load_unpacked(FileKind.INDEX, file_id)
    columns = decode_columns(raw)
    if columns is not None and not columns.marked() and b'"supersedes"' not in raw:
        listed = columns.records()
        if len(raw) <= _MOST_OF_A_PACK * (1 + len(listed)) + _MOST_OF_A_BLOB * sum(blobs for _, blobs in listed):
            with contextlib.suppress(SpecError):
                records, _ = decode_outline(raw)
                named = zip(listed, records, strict=True)
                return _Old([PackRecord(pack, bytes(record), blobs) for (pack, blobs), record in named], [], False)
    old = _decode(raw, file_id)
    return _Old(old.all_packs(), old.packs_to_delete, bool(old.supersedes))


def _concerns(change: IndexChange, index: _Old) -> bool:
    """Whether the file cannot stay as it is."""
    return (
        index.supersedes
        or any(pack in change.drop or pack in change.mark for pack in map(_id, index.packs))
        or any(
            pack in change.drop or pack in change.drop_marked or pack in change.unmark or pack in change.mark
            for pack in map(_id, index.marked)
        )
    )


def _rewrite(writer: IndexWriter, change: IndexChange, index: _Old) -> None:
    for pack in index.packs:
        pack_id = _id(pack)
        if pack_id in change.drop:
            continue
        if pack_id in change.mark:
            marked = decode_pack(msgspec.Raw(pack.json)) if isinstance(pack, PackRecord) else pack
            marked.time = _now()
            writer.add(marked, marked=True)
        else:
            writer.add(pack)
    for pack in index.marked:
        pack_id = _id(pack)
        if pack_id in change.drop or pack_id in change.drop_marked:
            continue
        if pack_id in change.mark:
            pack.time = _now()
        writer.add(pack, marked=pack_id not in change.unmark)


def _now() -> str:
    return gotime.format_ns(time.time_ns())
