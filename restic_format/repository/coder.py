"""Blobs between plaintext and what a pack holds: compressed, sealed, verified.

Two ways lead to the same bytes: the compiled kernel, which does a blob in one call without the interpreter lock, and the
libraries' Python bindings, which always work and are the oracle. What the kernel refuses the other way explains.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from restic_format.errors import DamagedFile
from restic_format.native import blobs, hashes
from restic_format.repository.cipher import BlobCipher, Buffer
from restic_format.repository.compression import SMALL, Compressor, Parameters, parameters_for
from restic_spec.crypto import IV_SIZE
from restic_spec.errors import LengthInvalid, SpecError
from restic_spec.ids import verify_id
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry
from restic_spec.unpacked import decompress

GROUP_SIZE = 8 << 20
"""Bytes of plaintext that are sealed or opened at once: well compressed blobs may be far larger than the packs they are in."""


GROUP_COUNT = 1024
"""Blobs that are sealed or opened at once."""

T = TypeVar("T")


class PackHash(Protocol):
    """The SHA-256 of a pack, in the making."""

    def update(self, data: Buffer, /) -> None:
        """Append *data*."""

    def digest(self) -> bytes:
        """The hash of all so far."""


class BlobCoder:
    """Seals and opens blobs of one repository, from any thread."""

    def __init__(self, cipher: BlobCipher, version: int, compression: str, *, extra_verify: bool) -> None:
        self._cipher = cipher
        self._version = version
        self._compressor = Compressor(compression)
        self._mode = compression
        self._extra_verify = extra_verify

    @property
    def context(self) -> blobs.Context | None:
        """The kernel's context for this thread, where there is a kernel."""
        return self._cipher.context

    def _compresses(self, blob_type: BlobType) -> bool:
        return self._version > 1 and (self._mode != "off" or blob_type is BlobType.TREE)

    def seal_many(
        self, blob_type: BlobType, items: Sequence[tuple[bytes, Buffer]], pack_hash: PackHash
    ) -> tuple[Sequence[Buffer], Sequence[tuple[int, int | None]]]:
        """Seal blobs, each given by id and data, for a pack whose hash goes on with *pack_hash*.

        Gives the sealed bytes, in pieces that are good until this thread seals again, and for each blob its length there and,
        where compressed, the plaintext's. Data that do not shrink are stored as they are.

        Raises:
            DamagedFile: what was sealed does not open to the same blob.
        """
        context = self.context
        if context is not None and isinstance(pack_hash, hashes.Sha256):
            small = large = None
            if self._compresses(blob_type):
                small, large = _zstd(parameters_for(self._mode, 0)), _zstd(parameters_for(self._mode, SMALL))
            ivs = os.urandom(IV_SIZE * len(items))
            always = blob_type is BlobType.TREE
            done = context.seal_many(items, ivs, small, large, SMALL, always, self._extra_verify, pack_hash)
            if done is not None:
                return [done[0]], done[1]
        coded = [self._seal(blob_type, blob_id, data) for blob_id, data in items]
        for sealed, _ in coded:
            pack_hash.update(sealed)
        return [sealed for sealed, _ in coded], [(len(sealed), uncompressed) for sealed, uncompressed in coded]

    def _seal(self, blob_type: BlobType, blob_id: bytes, data: Buffer) -> tuple[bytes, int | None]:
        stored: Buffer = data
        uncompressed_length: int | None = None
        if self._compresses(blob_type) and len(data):
            compressed = self._compressor.compress(data)
            if len(compressed) < len(data) or blob_type is BlobType.TREE:
                stored, uncompressed_length = compressed, len(data)
        sealed = self._cipher.seal(stored)
        if self._extra_verify:
            try:
                self._open(PackEntry(blob_type, blob_id, 0, len(sealed), uncompressed_length), sealed)
            except SpecError as error:
                raise DamagedFile(
                    f"{blob_type.value} blob {blob_id.hex()[:8]} differs after sealing; memory or processor are unreliable",
                    error,
                ) from error
        return sealed, uncompressed_length

    def open(self, entry: PackEntry, sealed: Buffer) -> bytes:
        """Verify, decrypt, expand and hash-check a blob's sealed bytes, in this order (PACK-13).

        Raises:
            SpecError: with the layer that failed.
        """
        size = entry.plain_length
        if not 0 <= size <= MAX_BLOB_SIZE:
            raise LengthInvalid(f"blob of {size} bytes is over the bound of {MAX_BLOB_SIZE}", clause="PACK-14")
        context = self.context
        if context is not None:
            plaintext = context.open(sealed, size, entry.uncompressed_length is not None, entry.id)
            if plaintext is not None:
                return plaintext
        return self._open(entry, sealed)

    def open_many(
        self, data: Buffer, start: int, entries: Sequence[PackEntry]
    ) -> Iterator[tuple[PackEntry, bytes | memoryview | SpecError]]:
        """The plaintexts of *entries* from the piece of a pack *data*, which begins at *start*; or what is wrong with each.

        Plaintexts are held a group at a time: at most 8 MiB, or one blob.
        """
        for group in groups(entries, lambda entry: entry.plain_length):
            context = self.context
            opened: list[memoryview | None] = [None] * len(group)
            if context is not None and _bounded(group):
                opened = context.open_many(data, _ranges(group, start), True)
            for entry, plain in zip(group, opened, strict=True):
                yield entry, self._try_open(entry, data, start) if plain is None else plain

    def pack_hash(self) -> PackHash:
        """A new SHA-256 for `seal_many` or `verify_many` to go on with."""
        return hashes.Sha256()

    def verify_many(
        self, data: Buffer, start: int, entries: Sequence[PackEntry], pack_hash: PackHash
    ) -> list[tuple[PackEntry, SpecError]]:
        """Which of *entries* are damaged, and how; otherwise like `open_many`. All of *data* is appended to *pack_hash*."""
        intact = [False] * len(entries)
        context = self.context
        if context is not None and isinstance(pack_hash, hashes.Sha256) and _bounded(entries):
            intact = context.open_many(data, _ranges(entries, start), False, pack_hash)
        else:
            pack_hash.update(data)
        suspect = [entry for well, entry in zip(intact, entries, strict=True) if not well]
        results = [(entry, self._try_open(entry, data, start)) for entry in suspect]
        return [(entry, error) for entry, error in results if isinstance(error, SpecError)]

    def _try_open(self, entry: PackEntry, data: Buffer, start: int) -> bytes | SpecError:
        try:
            return self.open(entry, memoryview(data)[entry.offset - start : entry.offset - start + entry.length])
        except SpecError as error:
            return error

    def _open(self, entry: PackEntry, sealed: Buffer) -> bytes:
        plaintext = self._cipher.open(sealed)
        if entry.uncompressed_length is not None:
            plaintext = decompress(plaintext, entry.uncompressed_length, "PACK-12")
            if len(plaintext) != entry.uncompressed_length:
                raise LengthInvalid(
                    f"blob expands to {len(plaintext)} bytes, not {entry.uncompressed_length}", clause="PACK-12"
                )
        verify_id(plaintext, entry.id, f"{entry.type.value} blob {entry.id.hex()[:8]}")
        return plaintext


def _bounded(entries: Sequence[PackEntry]) -> bool:
    return all(0 <= entry.plain_length <= MAX_BLOB_SIZE for entry in entries)


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
