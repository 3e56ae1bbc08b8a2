"""Blobs on their way into the repository: packs are filled and stored, then an index says what is in them (ORDER-1)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from restic_format.errors import UsageError
from restic_format.repository.cipher import BlobCipher, Buffer
from restic_format.repository.coder import BlobCoder
from restic_format.repository.packer import OpenPack, Packer
from restic_format.work import JobQueue
from restic_spec.index import FULL_AGE, FULL_BLOBS, IndexPack, encode_packs, index_pack
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

if TYPE_CHECKING:
    from restic_format.repository.repository import Repository


class SavedBlob(NamedTuple):
    """What became of a blob: its id, whether it was there already, plaintext bytes, bytes newly stored."""

    id: bytes
    known: bool
    length: int
    stored: int


class BlobWriter:
    """What `Repository.save_blobs` and `Repository.flush` do; any thread may use it."""

    def __init__(self, repo: Repository, coder: BlobCoder, cipher: BlobCipher) -> None:
        self._repo = repo
        self._cipher = cipher
        self._packer = Packer(coder, repo.pack_size, lambda: repo.storage.begin(FileKind.PACK), self._deliver)
        self._uploader: JobQueue[OpenPack] | None = None
        self._lock = threading.Lock()
        self._in_flight: set[tuple[BlobType, bytes]] = set()
        self._unindexed: list[IndexPack] = []
        self._unindexed_blobs = 0
        self._index_started = time.monotonic()

    def save(self, blob_type: BlobType, blobs: Sequence[tuple[bytes, Buffer]]) -> Sequence[SavedBlob]:
        """See `Repository.save_blobs`."""
        claimed = self._claim(blob_type, blobs)
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

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is stored or being stored."""
        return (blob_type, blob_id) in self._in_flight or self._repo.index.has(blob_type, blob_id)

    def _claim(self, blob_type: BlobType, blobs: Sequence[tuple[bytes, Buffer]]) -> Sequence[int]:
        """Which of *blobs*, by number, the caller must store: the repository has them not, and nobody else will store them."""
        claimed = []
        with self._lock:
            for number, (blob_id, _) in enumerate(blobs):
                if not self.has(blob_type, blob_id):
                    self._in_flight.add((blob_type, blob_id))
                    claimed.append(number)
        return claimed

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
        pack_id = pack.finish(self._cipher)
        self._repo.index.add_pack(pack_id, pack.entries)
        with self._lock:
            self._in_flight.difference_update([(entry.type, entry.id) for entry in pack.entries])
            if not self._unindexed:
                self._index_started = time.monotonic()
            self._unindexed.append(index_pack(pack_id, pack.entries))
            self._unindexed_blobs += len(pack.entries)
            age = time.monotonic() - self._index_started
            full = self._take_unindexed() if self._unindexed_blobs >= FULL_BLOBS or age > FULL_AGE else []
        self._save_index(full)

    def _take_unindexed(self) -> Sequence[IndexPack]:
        packs, self._unindexed, self._unindexed_blobs = self._unindexed, [], 0
        return packs

    def _save_index(self, packs: Sequence[IndexPack]) -> None:
        if packs:
            self._repo.save_unpacked(FileKind.INDEX, encode_packs(list(packs)))

    def flush(self) -> None:
        """See `Repository.flush`."""
        self._packer.flush()
        self._finish_uploads()
        self._finish_index()

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

    def _finish_index(self) -> None:
        with self._lock:
            packs = self._take_unindexed()
        self._save_index(packs)

    def abandon(self) -> None:
        """See `Repository.abandon`."""
        self.discard()
        try:
            self._finish_uploads()
        finally:
            self._finish_index()

    def discard(self) -> None:
        """See `Repository.discard`."""
        self._packer.fail(UsageError("the repository was given up; open it again to go on"))
