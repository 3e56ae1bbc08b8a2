"""Blobs on their way into the repository: packs are filled and stored, then an index says what is in them (ORDER-1)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from restic_format.errors import AlreadyLocked, Interrupted, InvalidLock, LockLost, UsageError
from restic_format.repository.cipher import Buffer
from restic_format.repository.coder import GROUP_COUNT, Coder
from restic_format.repository.index import BlobIndex
from restic_format.repository.indexwriter import IndexWriter, check_written
from restic_format.repository.packer import OpenPack, Packer
from restic_format.storage import Content, Writer
from restic_format.work import Cancel, JobQueue
from restic_spec.errors import SpecError
from restic_spec.ids import ID_SIZE, id_of
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry

if TYPE_CHECKING:
    from restic_format.repository.repository import Repository


_TOGETHER = 1 << 20
"""Sealed bytes that are moved into the same pack together; so far a pack may grow above its target."""


class SavedBlob(NamedTuple):
    """What became of a blob: its id, whether it was there already, plaintext bytes, bytes newly stored."""

    id: bytes
    known: bool
    length: int
    stored: int


class BlobWriter:
    """Stores blobs: compressed, sealed, put into packs, listed in the index. Any thread may use it.

    A blob is safe in the repository only after `flush`. A writer that has failed, or was given up with `abandon` or `discard`,
    stores nothing more.
    """

    def __init__(self, repository: Repository, stored: Callable[[bytes, int], None] | None = None) -> None:
        """*stored* is told of each new pack and its size in bytes, from any thread."""
        self._repo = repository
        self._stored = stored
        self._coder = repository.coder
        self._packer = Packer(repository.coder, repository.pack_targets(), self._begin, self._deliver)
        self._index = IndexWriter(repository)
        self._uploader: JobQueue[OpenPack] | None = None
        self._lock = threading.Lock()
        self._in_flight: set[tuple[BlobType, bytes]] = set()
        self._read_back = 0
        """So many of `indexes` have been read back."""

    def save_blob(self, blob_type: BlobType, data: Buffer) -> SavedBlob:
        """`save` for one blob."""
        return self.save(blob_type, [(id_of(data), data)])[0]

    def save(self, blob_type: BlobType, blobs: Sequence[tuple[bytes, Buffer]], *, again: bool = False) -> Sequence[SavedBlob]:
        """Store *blobs*, given by id and data, but for those that are stored or being stored (ORDER-8).

        *again* stores those that the repository has, as their copy there is damaged: the caller asks for each of them once.

        Raises:
            ResticFormatError: these or earlier blobs could not be stored.
        """
        claimed = self._claim(blob_type, blobs, again=again)
        saved = [SavedBlob(blob_id, True, len(data), 0) for blob_id, data in blobs]
        if not claimed:
            return saved
        try:
            taken = self._packer.add(blob_type, [blobs[number] for number in claimed])
            for number, entry_size in zip(claimed, taken, strict=True):
                blob_id, data = blobs[number]
                saved[number] = SavedBlob(blob_id, False, len(data), entry_size)
        except BaseException:
            with self._lock:
                self._in_flight.difference_update((blob_type, blobs[number][0]) for number in claimed)
            raise
        return saved

    def copy_sealed(
        self,
        data: Buffer,
        start: int,
        entries: Sequence[PackEntry],
        *,
        source: Coder | None = None,
        again: bool = False,
        recompress: bool = False,
    ) -> Iterator[tuple[PackEntry, SavedBlob | SpecError]]:
        """Store the blobs *entries* of a pack, of which *data* is the piece from *start* on, or say what is wrong with each.

        Each blob is verified, down to the hash of its plaintext. What would be stored in the same form is then moved as it
        is, without being compressed again, and without being sealed again unless *source*, the coder of the repository it
        comes from, has another key. *recompress* gives blobs that are stored uncompressed another chance, as version 2 and
        the chosen compression have it. *again* stores blobs the repository has, for a pack that is to go: the caller asks for
        each of them once.

        Raises:
            ResticFormatError: these or earlier blobs could not be stored.
        """
        coder = source or self._coder
        damaged = {entry for entry, _ in coder.verify_many(data, start, entries)}
        if coder.same_key(self._coder):
            source = None
        view = memoryview(data)
        waiting: list[PackEntry] = []
        size = 0
        for entry in entries:
            as_it_is = entry not in damaged and self._coder.may_keep(entry, recompress=recompress)
            full = size >= _TOGETHER or len(waiting) == GROUP_COUNT
            if waiting and (full or not as_it_is or waiting[0].type is not entry.type):
                yield from self._move(waiting, view, start, source, again)
                waiting, size = [], 0
            if as_it_is:
                waiting.append(entry)
                size += entry.length
                continue
            try:
                # Where only the stated length is wrong, the blob is put right on the way (PACK-22).
                sealed = view[entry.offset - start : entry.offset - start + entry.length]
                yield entry, self._store_again(entry, coder.open(entry, sealed), again)
            except SpecError as error:
                yield entry, error
        if waiting:
            yield from self._move(waiting, view, start, source, again)

    def _move(
        self, entries: Sequence[PackEntry], data: memoryview, start: int, source: Coder | None, again: bool
    ) -> list[tuple[PackEntry, SavedBlob]]:
        """Store blobs of one type in the form they have in *data*, sealed anew where *source* has another key."""
        results: list[tuple[PackEntry, SavedBlob]] = []
        wanted = []
        with self._lock:
            for entry in entries:
                known = not again and self.has(entry.type, entry.id)
                if not known:
                    self._in_flight.add((entry.type, entry.id))
                    wanted.append(entry)
                stored = 0 if known else entry.length + entry.header_size
                results.append((entry, SavedBlob(entry.id, known, entry.plain_length, stored)))
        if not wanted:
            return results
        try:
            if source is None:
                pieces: list[Buffer] = list(_neighbours(wanted, data, start))
            else:
                pieces = [self._coder.seal_again(source, data, [(entry.offset - start, entry.length) for entry in wanted])]
            self._packer.add_sealed(wanted, pieces)
        except BaseException:
            with self._lock:
                self._in_flight.difference_update((entry.type, entry.id) for entry in wanted)
            raise
        return results

    def _store_again(self, entry: PackEntry, plaintext: bytes, again: bool) -> SavedBlob:
        """Store one blob that comes from a pack in another form than it has there."""
        key = entry.type, entry.id
        with self._lock:
            if not again and self.has(*key):
                return SavedBlob(entry.id, True, len(plaintext), 0)
            self._in_flight.add(key)
        try:
            [taken] = self._packer.add(entry.type, [(entry.id, plaintext)])
        except BaseException:
            with self._lock:
                self._in_flight.discard(key)
            raise
        return SavedBlob(entry.id, False, len(plaintext), taken)

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is stored or being stored."""
        return (blob_type, blob_id) in self._in_flight or self._repo.index.has(blob_type, blob_id)

    @property
    def indexes(self) -> Sequence[bytes]:
        """Ids of the index files written so far."""
        return self._index.written

    def flush(self) -> None:
        """Finish open packs and write the index: afterwards every saved blob is findable.

        Raises:
            ResticFormatError: something could not be stored.
        """
        self._packer.flush()
        self._finish_uploads()
        self._index.flush()

    def read_back(self, cancel: Cancel | None = None) -> None:
        """Read back the index files written since this was last called, and the packs they list: see `check_written`."""
        check_written(self._repo, self.indexes[self._read_back :], cancel)
        self._read_back = len(self.indexes)

    def abandon(self) -> None:
        """After a failure: keep what is stored findable, drop the rest. Raises as `flush`."""
        self.discard()
        try:
            self._finish_uploads()
        finally:
            self._index.flush()

    def keep_stored(self, failure: BaseException) -> None:
        """End after *failure*, which is to be raised then, so that what was stored need not be stored again.

        Nothing is listed when the lock is lost. What was saved before an interruption is stored to the end. What fails now is
        told with *failure*.
        """
        if isinstance(failure, LockLost | AlreadyLocked | InvalidLock):
            # Others may have removed packs that no index lists: ours must not be listed now.
            self.discard()
            return
        try:
            if isinstance(failure, Interrupted):
                self.flush()
            else:
                self.abandon()
        except Exception as error:  # noqa: BLE001 - the first failure is the one to tell
            failure.add_note(f"then the index could not be written either: {error}")

    def discard(self) -> None:
        """Drop every pack that is not full yet; nothing more can be saved."""
        self._packer.fail(UsageError("the writer was given up; begin another one to go on"))

    def _claim(self, blob_type: BlobType, blobs: Sequence[tuple[bytes, Buffer]], *, again: bool = False) -> Sequence[int]:
        """Which of *blobs*, by number, the caller must store: the repository has them not, and nobody else will store them."""
        claimed = []
        with self._lock:
            for number, (blob_id, _) in enumerate(blobs):
                if again or not self.has(blob_type, blob_id):
                    self._in_flight.add((blob_type, blob_id))
                    claimed.append(number)
        return claimed

    def _begin(self, blob_type: BlobType) -> Writer:
        return self._repo.storage.begin(FileKind.PACK, metadata=blob_type is BlobType.TREE)

    def _deliver(self, pack: OpenPack) -> None:
        with self._lock:
            if self._uploader is None:
                self._uploader = JobQueue("upload", self._repo.storage.connections, self._store_pack, OpenPack.abort)
            uploader = self._uploader
        uploader.submit(pack)

    def _store_pack(self, pack: OpenPack) -> None:
        try:
            self._repo.may_change(FileKind.PACK)
        except BaseException:
            pack.abort()
            raise
        record = pack.finish(self._coder.cipher, self._repo.version)
        if self._stored is not None:
            self._stored(record.id, pack.size + pack.header_size)
        self._repo.index.add_pack(record.id, pack.entries)
        with self._lock:
            self._in_flight.difference_update([(entry.type, entry.id) for entry in pack.entries])
        pack.entries.clear()  # If the index file is full now, much memory is needed.
        self._index.add(record)

    def _finish_uploads(self) -> None:
        with self._lock:
            uploader, self._uploader = self._uploader, None
        if uploader is not None:
            try:
                uploader.wait()
            except BaseException as error:
                self._packer.fail(error)
                raise
            finally:
                uploader.close()


class DryBlobWriter(BlobWriter):
    """Does everything but store: for a dry run that says how much would be stored. The repository does not change."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self._would_have = BlobIndex()

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is stored, or would be by now."""
        return super().has(blob_type, blob_id) or self._would_have.has(blob_type, blob_id)

    def _begin(self, blob_type: BlobType) -> Writer:
        del blob_type
        return _Forgotten()

    def _deliver(self, pack: OpenPack) -> None:
        self._would_have.add_pack(bytes(ID_SIZE), pack.entries)
        with self._lock:
            self._in_flight.difference_update([(entry.type, entry.id) for entry in pack.entries])


class _Forgotten:
    """A file that is forgotten as it is written."""

    def append(self, data: Content) -> None:
        """Do nothing."""

    def contents(self) -> Iterator[bytes]:
        """There are none."""
        return iter(())

    def finish(self, name: str) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


def _neighbours(entries: Sequence[PackEntry], data: memoryview, start: int) -> Iterator[memoryview]:
    """The sealed bytes of *entries*, in as few pieces of *data* as they are in."""
    begin = end = entries[0].offset
    for entry in entries:
        if entry.offset != end:
            yield data[begin - start : end - start]
            begin = entry.offset
        end = entry.offset + entry.length
    yield data[begin - start : end - start]
