"""Putting sealed blobs into packs.

Trees and data go to separate packs (PACK-15). Several packs of a type are open at once and blobs go to one of them at
random, so that pack sizes do not tell chunk boundaries (PACK-21). What is sealed goes to the storage at once, and is hashed on
the way; a full pack goes to an uploader, which closes it with a header that is opened and parsed again before the pack is
stored (PACK-17).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from restic_format.errors import DamagedFile
from restic_format.repository.cipher import Buffer, Cipher
from restic_format.repository.coder import GROUP_COUNT, Coder, Hash, groups
from restic_format.repository.header import PackRecord, encode_entries, record_of
from restic_format.storage import Writer
from restic_spec.crypto import OVERHEAD
from restic_spec.errors import HeaderInvalid
from restic_spec.pack import LENGTH_SIZE, MAX_HEADER_SIZE, BlobType, PackEntry, encode_length

DEFAULT_PACK_SIZE = 16 << 20
"""Bytes a pack should reach (PACK-18)."""

MIN_PACK_SIZE = 4 << 20
MAX_PACK_SIZE = 128 << 20

_CHOICE = 2
"""Packs of a type among which one is drawn."""

_GATHERED = 256 << 10
"""Bytes that are worth a call to the storage; fewer wait for more."""

SAMPLE = 32
"""Of so many packs that are begun one is hashed by hashlib as well."""

_HEADER_ROOM = 64 * GROUP_COUNT
"""Bytes of a header that are kept free for the blobs added next."""


class OpenPack:
    """A pack that is being filled. One thread at a time may use it."""

    def __init__(self, begin: Callable[[], Writer], pack_hash: Hash, *, checked: bool = False) -> None:
        """With *checked* its hash is worked out a second time, by hashlib, and must be the same."""
        self.entries: list[PackEntry] = []
        self.size = 0
        """Bytes of its blobs."""
        self.header_size = OVERHEAD + LENGTH_SIZE
        self._begin = begin
        self._writer: Writer | None = None
        self._waiting = bytearray()
        self._hash = pack_hash
        self._second_hash = hashlib.sha256() if checked else None

    def add(self, coder: Coder, blob_type: BlobType, blobs: Sequence[tuple[bytes, Buffer]]) -> list[int]:
        """Seal and append *blobs*, given by id and data; the bytes each takes with its entry in the header."""
        pieces, lengths = coder.seal_many(blob_type, blobs, self._hash)
        self._append(pieces)
        taken = []
        for (blob_id, _), (length, uncompressed_length) in zip(blobs, lengths, strict=True):
            entry = PackEntry(blob_type, blob_id, self.size, length, uncompressed_length)
            self._note(entry)
            taken.append(length + entry.header_size)
        return taken

    def add_sealed(self, entries: Sequence[PackEntry], pieces: Sequence[Buffer]) -> None:
        """Append blobs of other packs, *entries* there; *pieces* are what they are sealed as, one after the other."""
        for piece in pieces:
            self._hash.update(piece)
        self._append(pieces)
        for entry in entries:
            self._note(PackEntry(entry.type, entry.id, self.size, entry.length, entry.uncompressed_length))

    def _note(self, entry: PackEntry) -> None:
        self.entries.append(entry)
        self.size += entry.length
        self.header_size += entry.header_size

    def is_full(self, target: int) -> bool:
        """Whether it has *target* bytes, or as many entries as a header may list."""
        return self.size + self.header_size >= target or self.header_size + _HEADER_ROOM > MAX_HEADER_SIZE

    def take_over(self, other: OpenPack) -> None:
        """Append everything of *other*, which is dropped."""
        for piece in other._written().contents():
            self._hash.update(piece)
            self._append([piece])
        for entry in other.entries:
            self._note(entry._replace(offset=self.size))
        other.abort()

    def _append(self, pieces: Sequence[Buffer]) -> None:
        if len(self._waiting) + sum(map(len, pieces)) < _GATHERED:
            for piece in pieces:
                self._waiting += piece
        else:
            self._written(pieces)

    def _written(self, pieces: Sequence[Buffer] = ()) -> Writer:
        """The file, with everything that waits and then *pieces* in it."""
        if self._writer is None:
            self._writer = self._begin()
        if self._waiting or pieces:
            self._writer.append([self._waiting, *pieces])
            if self._second_hash is not None:
                for piece in (self._waiting, *pieces):
                    self._second_hash.update(piece)
            self._waiting = bytearray()
        return self._writer

    def finish(self, cipher: Cipher, version: int) -> PackRecord:
        """Close the pack with its header and store it, in a repository of *version*; its record for the index.

        The header is opened again, and the record made of what can be read in it (PACK-17).

        Raises:
            HeaderInvalid: the header does not open to what was written.
            DamagedFile: its hash is another one when it is worked out again.
            StorageError: it could not be stored.
        """
        try:
            header = encode_entries(self.entries)
            sealed = cipher.seal(header)
            if cipher.open(sealed) != header:
                raise HeaderInvalid(
                    "pack header differs from what was written; memory or processor are unreliable", clause="PACK-17"
                )
            end = sealed + encode_length(len(sealed))
            self._hash.update(end)
            pack_id = self._hash.digest()
            writer = self._written([end])
            if self._second_hash is not None and self._second_hash.digest() != pack_id:
                raise DamagedFile(f"pack {pack_id.hex()[:8]} has two hashes; memory or processor are unreliable")
            record = record_of(pack_id, header, version, len(sealed), self.size + len(end))
            writer.finish(pack_id.hex())
        except BaseException:
            self.abort()
            raise
        return record

    def abort(self) -> None:
        """Drop the pack."""
        if self._writer is not None:
            self._writer.abort()


class Packer:
    """Seals blobs into packs, from any thread, and gives full packs to *deliver*: those with as many bytes as *targets* say.

    After a failure every call reports it: blobs that were added are lost.
    """

    def __init__(
        self,
        coder: Coder,
        targets: Mapping[BlobType, int],
        begin: Callable[[BlobType], Writer],
        deliver: Callable[[OpenPack], None],
    ) -> None:
        self._coder = coder
        self._targets = targets
        self._begin = begin
        self._deliver = deliver
        self._lock = threading.Lock()
        self._begun = itertools.count()
        self._idle: dict[BlobType, list[OpenPack]] = {kind: [] for kind in BlobType}
        self._failure: BaseException | None = None

    def add(self, blob_type: BlobType, blobs: Sequence[tuple[bytes, Buffer]]) -> list[int]:
        """Seal *blobs*, given by id and data, and append them to packs; the bytes each takes with its entry in the header."""
        taken: list[int] = []
        for group in groups(blobs, lambda blob: len(blob[1])):
            with self._open_pack(blob_type) as pack:
                taken += pack.add(self._coder, blob_type, group)
        return taken

    def add_sealed(self, entries: Sequence[PackEntry], pieces: Sequence[Buffer]) -> None:
        """Append a few blobs of one type to some pack (see `OpenPack.add_sealed`)."""
        with self._open_pack(entries[0].type) as pack:
            pack.add_sealed(entries, pieces)

    @contextmanager
    def _open_pack(self, blob_type: BlobType) -> Iterator[OpenPack]:
        """A pack for the block to add to, which is delivered afterwards if it is full."""
        pack = self._take(blob_type)
        try:
            yield pack
            if pack.is_full(self._targets[blob_type]):
                self._deliver(pack)
                return
            with self._lock:
                self._check()
                self._idle[blob_type].append(pack)
        except BaseException as error:
            pack.abort()
            self.fail(error)
            raise

    def _take(self, blob_type: BlobType) -> OpenPack:
        """One of the packs that nobody is filling; there are always some to choose from."""
        with self._lock:
            self._check()
            idle = self._idle[blob_type]
            while len(idle) < _CHOICE:
                checked = next(self._begun) % SAMPLE == 0
                idle.append(OpenPack(partial(self._begin, blob_type), self._coder.pack_hash(), checked=checked))
            return idle.pop(os.urandom(1)[0] % len(idle))

    def flush(self) -> None:
        """Finish every open pack; those of a type that fit one pack together become one."""
        for kind in BlobType:
            with self._lock:
                self._check()
                packs, self._idle[kind] = self._idle[kind], []
            try:
                packs = self._merge(packs, self._targets[kind])
                while packs:
                    self._deliver(packs.pop())
            except BaseException as error:
                self._drop(packs)
                self.fail(error)
                raise

    @staticmethod
    def _merge(packs: list[OpenPack], target: int) -> list[OpenPack]:
        used = sorted((pack for pack in packs if pack.entries), key=lambda pack: pack.size)
        if len(used) < 2 or sum(pack.size + pack.header_size for pack in used) >= target:
            return used
        *smaller, largest = used
        for pack in smaller:
            largest.take_over(pack)
        return [largest]

    def fail(self, error: BaseException) -> None:
        """Drop every open pack: nothing more can be stored, because of *error*."""
        with self._lock:
            self._failure = self._failure or error
            for packs in self._idle.values():
                self._drop(packs)
                packs.clear()

    @staticmethod
    def _drop(packs: Sequence[OpenPack]) -> None:
        for pack in packs:
            pack.abort()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
