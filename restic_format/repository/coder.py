"""Blobs between plaintext and what a pack holds: compressed, sealed, verified.

Two ways lead to the same bytes: the compiled kernel, which does a blob in one call without the interpreter lock, and the
libraries' Python bindings, which always work and are the oracle. What the kernel refuses the other way explains.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from restic_format.errors import DamagedFile
from restic_format.native import blobs
from restic_format.native.blobs.hashes import Sha256, ids_of
from restic_format.repository.cipher import BlobCipher, Buffer
from restic_format.repository.compression import SMALL, Compressor, Parameters, parameters_for
from restic_format.repository.opening import Opener, Range
from restic_spec.crypto import IV_SIZE, OVERHEAD
from restic_spec.errors import CompressionInvalid, LengthInvalid, SpecError
from restic_spec.ids import verify_id
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry
from restic_spec.unpacked import decompress, expand_pieces

GROUP_SIZE = 8 << 20
"""Bytes of plaintext that are sealed or opened at once: well compressed blobs may be far larger than the packs they are in."""


GROUP_COUNT = 1024
"""Blobs that are sealed or opened at once."""

T = TypeVar("T")
Stored = TypeVar("Stored", bytes, memoryview)


class BlobCoder:
    """Seals and opens blobs of one repository, from any thread."""

    def __init__(self, cipher: BlobCipher, version: int, compression: str, *, extra_verify: bool) -> None:
        self.cipher = cipher
        self._version = version
        self._compressor = Compressor(compression)
        self._mode = compression
        self._extra_verify = extra_verify
        self._rooms = _Rooms()
        self._opener = Opener(cipher)

    @property
    def context(self) -> blobs.Context | None:
        """The kernel's context for this thread, where there is a kernel."""
        return self.cipher.context

    def same_key(self, other: BlobCoder) -> bool:
        """Whether both seal with the same master key."""
        return self.cipher.key == other.cipher.key

    def may_keep(self, entry: PackEntry, *, recompress: bool = False) -> bool:
        """Whether a blob sealed elsewhere may be stored here in the form it has there (PACK-9, PACK-19).

        With *recompress* those that are uncompressed and would not be here may not.
        """
        if entry.uncompressed_length is not None:
            return self._version > 1
        return not (entry.length > OVERHEAD and (recompress or entry.type is BlobType.TREE) and self._compresses(entry.type))

    def _compresses(self, blob_type: BlobType) -> bool:
        return self._version > 1 and (self._mode != "off" or blob_type is BlobType.TREE)

    def seal_many(
        self, blob_type: BlobType, items: Sequence[tuple[bytes, Buffer]], pack_hash: Sha256
    ) -> tuple[Sequence[Buffer], Sequence[tuple[int, int | None]]]:
        """Seal blobs, each given by id and data, for a pack whose hash goes on with *pack_hash*.

        Gives the sealed bytes, in pieces that are good until this thread seals again, and for each blob its length there and,
        where compressed, the plaintext's. Data that do not shrink are stored as they are.

        Raises:
            DamagedFile: what was sealed does not open to the same blob.
        """
        context = self.context
        if context is not None:
            small = large = None
            if self._compresses(blob_type):
                small, large = _zstd(parameters_for(self._mode, 0)), _zstd(parameters_for(self._mode, SMALL))
            ivs = os.urandom(IV_SIZE * len(items))
            always = blob_type is BlobType.TREE
            done = context.seal_many(items, ivs, small, large, SMALL, always, self._extra_verify, pack_hash)
            if done is not None:
                return [done[0]], done[1]
        return self._seal_many(blob_type, items, pack_hash)

    def _seal_many(
        self, blob_type: BlobType, items: Sequence[tuple[bytes, Buffer]], pack_hash: Sha256
    ) -> tuple[Sequence[Buffer], Sequence[tuple[int, int | None]]]:
        ivs = os.urandom(IV_SIZE * len(items))
        room = self._rooms.sealed.of_size(sum(_bound(len(data)) for _, data in items))
        seal_into = self.cipher.libraries.seal_into
        entries = []
        end = 0
        for number, (blob_id, data) in enumerate(items):
            stored, uncompressed_length = self._compress(blob_type, data)
            length = seal_into(stored, ivs[IV_SIZE * number : IV_SIZE * (number + 1)], room[end:])
            entries.append(PackEntry(blob_type, blob_id, end, length, uncompressed_length))
            end += length
        sealed = room[:end]
        if self._extra_verify:
            self._verify_sealed(entries, sealed, pack_hash)
        else:
            pack_hash.update(sealed)
        return [sealed], [(entry.length, entry.uncompressed_length) for entry in entries]

    def _compress(self, blob_type: BlobType, data: Buffer) -> tuple[Buffer, int | None]:
        """What is to be sealed for *data*, and how long these are where that is compressed."""
        if self._compresses(blob_type) and len(data):
            compressed = self._compressor.compress(data)
            if len(compressed) < len(data) or blob_type is BlobType.TREE:
                return compressed, len(data)
        return data, None

    def _verify_sealed(self, entries: Sequence[PackEntry], sealed: memoryview, pack_hash: Sha256) -> None:
        """Open everything again and compare the hashes; *pack_hash* goes on with *sealed*."""
        room = self._rooms.opened.of_size(len(sealed))
        libraries = self.cipher.libraries
        try:
            plaintexts = []
            for entry in entries:
                end = entry.offset + entry.length
                opened = libraries.open_within(sealed[entry.offset : end], room[entry.offset : end])
                plaintexts.append(self._expand(entry, opened))
            for entry, plaintext, found in zip(entries, plaintexts, ids_of(plaintexts, pack_hash, sealed), strict=True):
                if found != entry.id:
                    verify_id(plaintext, entry.id, _name(entry))
        except SpecError as error:
            raise DamagedFile(f"{_name(entry)} differs after sealing; memory or processor are unreliable", error) from error

    def open(self, entry: PackEntry, sealed: Buffer) -> bytes:
        """Verify, decrypt, expand and hash-check a blob's sealed bytes, in this order (PACK-13).

        The plaintext of a compressed blob may have another length than *entry* states: the id is the judge (PACK-22).

        Raises:
            SpecError: with the layer that failed.
        """
        try:
            return self._open_exactly(entry, sealed)
        except (LengthInvalid, CompressionInvalid):
            if entry.uncompressed_length is None or len(sealed) != entry.length:
                raise
            plaintext = self._judged_by_id(entry, sealed)
            if plaintext is None:
                raise
            return plaintext

    def _open_exactly(self, entry: PackEntry, sealed: Buffer) -> bytes:
        """`open` for a blob that must have the length the entry states."""
        if not is_bounded(entry):
            raise LengthInvalid(f"blob of {entry.plain_length} bytes is over the bound of {MAX_BLOB_SIZE}", clause="PACK-14")
        context = self.context
        if context is not None:
            plaintext = context.open(sealed, entry.plain_length, entry.uncompressed_length is not None, entry.id)
            if plaintext is not None:
                return plaintext
        plaintext = self._expand(entry, self.cipher.open(sealed))
        verify_id(plaintext, entry.id, _name(entry))
        return plaintext

    def _judged_by_id(self, entry: PackEntry, sealed: Buffer) -> bytes | None:
        """The plaintext of a compressed blob whose stated length is wrong, if it hashes to the id (PACK-22).

        It is hashed piece by piece before memory is taken for all of it: a frame may expand to far more than its blob.
        """
        frame = self.cipher.open(sealed)
        found = hashlib.sha256()
        size = 0
        try:
            for piece in expand_pieces(frame, MAX_BLOB_SIZE, "PACK-14"):
                found.update(piece)
                size += len(piece)
        except SpecError:
            return None
        return decompress(frame, size, "PACK-12") if found.digest() == entry.id else None

    def open_many(
        self, data: Buffer, start: int, entries: Sequence[PackEntry]
    ) -> Iterator[tuple[PackEntry, bytes | memoryview | SpecError]]:
        """The plaintexts of *entries* from the piece of a pack *data*, which begins at *start*; or what is wrong with each.

        Here a wrong length is an error: others rely on it for where the next blob goes.
        Plaintexts are held a group at a time: at most 8 MiB, or one blob.
        """
        for group in groups(entries, lambda entry: entry.plain_length):
            opened: Sequence[bytes | memoryview | None] = [None] * len(group)
            if all(map(is_bounded, group)):
                opened = (self.context or self._opener).open_many(data, _ranges(group, start), True)
            for entry, plain in zip(group, opened, strict=True):
                yield entry, self._try_open(entry, data, start) if plain is None else plain

    def open_ranges(self, data: Buffer, ranges: Sequence[Range]) -> Sequence[bytes | memoryview | None]:
        """The plaintexts of blobs that are together no more than is opened at once; None where anything is wrong with one.

        They are good until this thread opens some again.
        """
        return (self.context or self._opener).open_many(data, ranges, True, again=True)

    def pack_hash(self) -> Sha256:
        """A new SHA-256 for `seal_many` or `verify_many` to go on with."""
        return Sha256()

    def verify_many(
        self, data: Buffer, start: int, entries: Sequence[PackEntry], pack_hash: Sha256
    ) -> list[tuple[PackEntry, SpecError]]:
        """Which of *entries* are damaged, and how; otherwise like `open_many`. All of *data* is appended to *pack_hash*."""
        intact = [False] * len(entries)
        if all(map(is_bounded, entries)):
            intact = (self.context or self._opener).open_many(data, _ranges(entries, start), False, pack_hash)
        else:
            pack_hash.update(data)
        suspect = [entry for well, entry in zip(intact, entries, strict=True) if not well]
        results = [(entry, self._try_open(entry, data, start)) for entry in suspect]
        return [(entry, error) for entry, error in results if isinstance(error, SpecError)]

    def _try_open(self, entry: PackEntry, data: Buffer, start: int) -> bytes | SpecError:
        try:
            return self._open_exactly(entry, memoryview(data)[entry.offset - start : entry.offset - start + entry.length])
        except SpecError as error:
            return error

    @staticmethod
    def _expand(entry: PackEntry, stored: Stored) -> bytes | Stored:
        """The plaintext of what was *stored* in the sealed message."""
        if entry.uncompressed_length is None:
            return stored
        plaintext = decompress(stored, entry.uncompressed_length, "PACK-12")
        if len(plaintext) != entry.uncompressed_length:
            raise LengthInvalid(f"blob expands to {len(plaintext)} bytes, not {entry.uncompressed_length}", clause="PACK-12")
        return plaintext


class _Room:
    """Memory that is used again; it grows as needed. Pages are taken when they are first used."""

    def __init__(self) -> None:
        self._memory = memoryview(b"")

    def of_size(self, size: int) -> memoryview:
        """The same *size* bytes as before, whatever is in them."""
        if len(self._memory) < size:
            self._memory = memoryview(b"")
            self._memory = memoryview(mmap.mmap(-1, size + size // 4, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        return self._memory[:size]


class _Rooms(threading.local):
    """One thread's memory for what is sealed, and what that opens to."""

    def __init__(self) -> None:
        self.sealed = _Room()
        self.opened = _Room()


def _bound(size: int) -> int:
    """Bytes a blob of *size* bytes may take sealed: what does not shrink grows a little in zstd's hands."""
    return size + size // 256 + 128 + OVERHEAD


MAX_SEALED_SIZE = _bound(MAX_BLOB_SIZE)
"""Sealed bytes a blob may have."""


def _name(entry: PackEntry) -> str:
    return f"{entry.type.value} blob {entry.id.hex()[:8]}"


def check_size(entry: PackEntry) -> None:
    """To be called before a blob's sealed bytes are read: nobody writes blobs near the bound (PACK-14).

    Raises:
        LengthInvalid: they are over the bound.
    """
    most = MAX_BLOB_SIZE + OVERHEAD if entry.uncompressed_length is None else MAX_SEALED_SIZE
    if entry.length > most:
        raise LengthInvalid(f"blob of {entry.length} sealed bytes is over the bound of {most}", clause="PACK-14")


def is_bounded(entry: PackEntry) -> bool:
    """Whether neither the sealed bytes of a blob nor its plaintext are over the bound."""
    return 0 <= entry.plain_length <= MAX_BLOB_SIZE and entry.length <= MAX_SEALED_SIZE


def groups(items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """*items* in runs of what is coded at once: 8 MiB of plaintext or one blob, and not too many."""
    first = size = 0
    for number, item in enumerate(items):
        if number > first and (size + size_of(item) > GROUP_SIZE or number == first + GROUP_COUNT):
            yield items[first:number]
            first, size = number, 0
        size += size_of(item)
    if first < len(items):
        yield items[first:]


def _ranges(entries: Sequence[PackEntry], start: int) -> list[tuple[int, int, int, bool, bytes]]:
    return [
        (entry.offset - start, entry.length, entry.plain_length, entry.uncompressed_length is not None, entry.id)
        for entry in entries
    ]


@functools.cache
def _zstd(parameters: Parameters) -> blobs.Zstd:
    return blobs.Zstd(*parameters)
