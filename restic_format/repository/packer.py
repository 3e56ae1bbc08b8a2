"""Putting sealed blobs into packs.

Trees and data go to separate packs (PACK-15). Several packs of a type are open at once and a blob goes to one of them at
random, so that pack sizes do not tell chunk boundaries (PACK-21). A full pack is closed with its header, which is opened and
parsed again before anything is stored (PACK-17), then handed to an uploader.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from queue import Queue

from restic_format.repository.cipher import BlobCipher
from restic_format.repository.header import decode_entries, encode_entries
from restic_spec.crypto import OVERHEAD
from restic_spec.errors import HeaderInvalid
from restic_spec.pack import LENGTH_SIZE, MAX_HEADER_SIZE, BlobType, PackEntry, encode_length

DEFAULT_PACK_SIZE = 16 << 20
"""Bytes a pack should reach (PACK-18)."""

MIN_PACK_SIZE = 4 << 20
MAX_PACK_SIZE = 128 << 20

_OPEN_PACKS = 2
"""Packs of each type that are filled at the same time."""


class FinishedPack:
    """A complete pack in memory: id, bytes, entries."""

    def __init__(self, parts: list[bytes], entries: list[PackEntry]) -> None:
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        self.id = digest.digest()
        self.parts = parts
        """The file's bytes, in pieces that were never copied together."""
        self.entries = entries


class _OpenPack:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.entries: list[PackEntry] = []
        self.header_size = OVERHEAD + LENGTH_SIZE

    def append(self, blob_type: BlobType, blob_id: bytes, sealed: bytes, uncompressed_length: int | None) -> int:
        entry = PackEntry(blob_type, blob_id, self.size, len(sealed), uncompressed_length)
        self.parts.append(sealed)
        self.size += len(sealed)
        self.entries.append(entry)
        self.header_size += entry.header_size
        return len(sealed) + entry.header_size

    def is_full(self, target: int) -> bool:
        # One more entry must still fit the header.
        return self.size + self.header_size >= target or self.header_size + 64 > MAX_HEADER_SIZE

    def finish(self, cipher: BlobCipher) -> FinishedPack:
        header = encode_entries(self.entries)
        sealed = cipher.seal(header)
        if decode_entries(cipher.open(sealed)) != self.entries:
            raise HeaderInvalid(
                "pack header differs from what was written; memory or processor are unreliable", clause="PACK-17"
            )
        return FinishedPack([*self.parts, sealed, encode_length(len(sealed))], self.entries)


class Packer:
    """Collects sealed blobs and gives finished packs to *deliver*, from whichever thread fills them."""

    def __init__(self, cipher: BlobCipher, pack_size: int, deliver: Callable[[FinishedPack], None]) -> None:
        self._cipher = cipher
        self._pack_size = pack_size
        self._deliver = deliver
        self._lock = threading.Lock()
        self._open: dict[BlobType, list[_OpenPack | None]] = {kind: [None] * _OPEN_PACKS for kind in BlobType}

    def add(self, blob_type: BlobType, blob_id: bytes, sealed: bytes, uncompressed_length: int | None) -> int:
        """Append a blob; delivers the pack if that fills it. Gives the bytes it takes with its entry in the header."""
        full: _OpenPack | None = None
        with self._lock:
            packs = self._open[blob_type]
            slot = secrets.randbelow(_OPEN_PACKS)
            pack = packs[slot] = packs[slot] or _OpenPack()
            taken = pack.append(blob_type, blob_id, sealed, uncompressed_length)
            if pack.is_full(self._pack_size):
                full, packs[slot] = pack, None
        if full is not None:
            self._deliver(full.finish(self._cipher))
        return taken

    def flush(self) -> None:
        """Finish every open pack; those of a type that fit one pack together become one."""
        with self._lock:
            left = [pack for packs in self._open.values() for pack in self._merge(packs)]
            self._open = {kind: [None] * _OPEN_PACKS for kind in BlobType}
        for pack in left:
            self._deliver(pack.finish(self._cipher))

    def _merge(self, packs: list[_OpenPack | None]) -> list[_OpenPack]:
        left = [pack for pack in packs if pack is not None]
        if len(left) < 2 or sum(pack.size + pack.header_size for pack in left) >= self._pack_size:
            return left
        target, *others = left
        for other in others:
            target.parts += other.parts
            target.entries += [entry._replace(offset=entry.offset + target.size) for entry in other.entries]
            target.size += other.size
            target.header_size += sum(entry.header_size for entry in other.entries)
        return [target]


class Uploader:
    """A few threads that store finished packs, so that workers need not wait for the disk; the queue is bounded.

    A failed upload is reported at the next `submit` or `wait`, and nothing is stored after it.
    """

    def __init__(self, store: Callable[[FinishedPack], None], threads: int) -> None:
        self._store = store
        self._queue: Queue[FinishedPack | None] = Queue(maxsize=1)
        self._threads = [threading.Thread(target=self._run, daemon=True, name=f"upload-{n}") for n in range(threads)]
        self._error: BaseException | None = None
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while (pack := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._store(pack)
            except BaseException as error:  # noqa: BLE001 - reported to whoever submits or waits next
                self._error = error
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def submit(self, pack: FinishedPack) -> None:
        """Queue a pack, waiting while the queue is full."""
        self._check()
        self._queue.put(pack)

    def wait(self) -> None:
        """Return when everything submitted is stored."""
        self._queue.join()
        self._check()

    def close(self) -> None:
        """Stop the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
