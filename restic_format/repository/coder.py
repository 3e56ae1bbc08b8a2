"""Blobs between plaintext and what a pack holds: compressed, sealed, verified.

Two ways lead to the same bytes: the compiled kernel, which does a blob in one call without the interpreter lock, and the
libraries' Python bindings, which always work and are the oracle. What the kernel refuses the other way explains.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from restic_format.errors import DamagedFile
from restic_format.native import blobs
from restic_format.repository.cipher import BlobCipher, Buffer
from restic_format.repository.compression import SMALL, Compressor, Parameters, parameters_for
from restic_spec.crypto import IV_SIZE, MasterKey
from restic_spec.errors import LengthInvalid, SpecError
from restic_spec.ids import verify_id
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry
from restic_spec.unpacked import decompress

_GROUP_SIZE = 8 << 20
"""Bytes of plaintext that are opened at once: well compressed blobs may be far larger than the packs they are in."""


class PackHash(Protocol):
    """The SHA-256 of a pack, in the making."""

    def update(self, data: Buffer, /) -> None:
        """Append *data*."""

    def digest(self) -> bytes:
        """The hash of all so far."""


class BlobCoder:
    """Seals and opens blobs of one repository, from any thread."""

    def __init__(self, key: MasterKey, cipher: BlobCipher, version: int, compression: str, *, extra_verify: bool) -> None:
        self._key = key
        self._cipher = cipher
        self._version = version
        self._compressor = Compressor(compression)
        self._mode = compression
        self._extra_verify = extra_verify
        self._kernel = None if blobs.UNAVAILABLE is not None else _Kernels(key)

    @property
    def context(self) -> blobs.Context | None:
        """The kernel's context for this thread, where there is a kernel."""
        return None if self._kernel is None else self._kernel.context

    def _compresses(self, blob_type: BlobType) -> bool:
        return self._version > 1 and (self._mode != "off" or blob_type is BlobType.TREE)

    def seal(self, blob_type: BlobType, blob_id: bytes, data: Buffer) -> tuple[bytes, int | None]:
        """Sealed bytes and, where compressed, the plaintext's length. Data that do not shrink are stored as they are.

        Raises:
            DamagedFile: what was sealed does not open to the same blob.
        """
        if self._kernel is not None:
            parameters = parameters_for(self._mode, len(data)) if self._compresses(blob_type) else None
            always = blob_type is BlobType.TREE
            done = self._kernel.seal(data, parameters, always, blob_id if self._extra_verify else None)
            if done is not None:
                return done[0], done[1] or None
        return self._seal(blob_type, blob_id, data)

    def seal_many(self, blob_type: BlobType, items: Sequence[tuple[bytes, Buffer]]) -> list[tuple[bytes, int | None]]:
        """`seal` for several blobs, each given by id and data; with the kernel in one call. Raises as `seal`."""
        if len(items) == 1:
            [(blob_id, data)] = items
            return [self.seal(blob_type, blob_id, data)]
        done: list[tuple[bytes, int] | None] = [None] * len(items)
        if self._kernel is not None:
            mode = self._mode if self._compresses(blob_type) else None
            done = self._kernel.seal_many(items, mode, blob_type is BlobType.TREE, self._extra_verify)
        return [
            self._seal(blob_type, blob_id, data) if sealed is None else (sealed[0], sealed[1] or None)
            for sealed, (blob_id, data) in zip(done, items, strict=True)
        ]

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
        if self._kernel is not None:
            plaintext = self._kernel.open(sealed, size, entry.uncompressed_length is not None, entry.id)
            if plaintext is not None:
                return plaintext
        return self._open(entry, sealed)

    def open_many(
        self, data: Buffer, start: int, entries: Sequence[PackEntry]
    ) -> Iterator[tuple[PackEntry, bytes | memoryview | SpecError]]:
        """The plaintexts of *entries* from the piece of a pack *data*, which begins at *start*; or what is wrong with each.

        Plaintexts are held a group at a time: at most 8 MiB, or one blob.
        """
        for group in _groups(entries):
            opened: list[memoryview | None] = [None] * len(group)
            if self._kernel is not None and _bounded(group):
                opened = self._kernel.context.open_many(data, _ranges(group, start), True)
            for entry, plain in zip(group, opened, strict=True):
                yield entry, self._try_open(entry, data, start) if plain is None else plain

    def pack_hash(self) -> PackHash:
        """A new SHA-256 for `verify_many` to go on with."""
        return hashlib.sha256() if self._kernel is None else blobs.Sha256()

    def verify_many(
        self, data: Buffer, start: int, entries: Sequence[PackEntry], pack_hash: PackHash
    ) -> list[tuple[PackEntry, SpecError]]:
        """Which of *entries* are damaged, and how; otherwise like `open_many`. All of *data* is appended to *pack_hash*."""
        intact = [False] * len(entries)
        if self._kernel is not None and isinstance(pack_hash, blobs.Sha256) and _bounded(entries):
            intact = self._kernel.context.open_many(data, _ranges(entries, start), False, pack_hash)
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


def _groups(entries: Sequence[PackEntry]) -> Iterator[Sequence[PackEntry]]:
    first = size = 0
    for number, entry in enumerate(entries):
        if number > first and size + entry.plain_length > _GROUP_SIZE:
            yield entries[first:number]
            first, size = number, 0
        size += entry.plain_length
    if first < len(entries):
        yield entries[first:]


def _ranges(entries: Sequence[PackEntry], start: int) -> list[tuple[int, int, int, bool, bytes]]:
    return [
        (entry.offset - start, entry.length, entry.plain_length, entry.uncompressed_length is not None, entry.id)
        for entry in entries
    ]


class _Kernels(threading.local):
    """Each thread's kernel context."""

    def __init__(self, key: MasterKey) -> None:
        self.context = blobs.Context(key.encrypt, key.mac_k, key.mac_r)
        self._zstd: dict[Parameters, blobs.Zstd] = {}

    def seal(self, data: Buffer, parameters: Parameters | None, always: bool, verify: bytes | None) -> tuple[bytes, int] | None:
        zstd = None if parameters is None else self._parameters(parameters)
        return self.context.seal(data, os.urandom(IV_SIZE), zstd, always, verify)

    def seal_many(
        self, items: Sequence[tuple[bytes, Buffer]], mode: str | None, always: bool, verify: bool
    ) -> list[tuple[bytes, int] | None]:
        small = large = None
        if mode is not None:
            small, large = self._parameters(parameters_for(mode, 0)), self._parameters(parameters_for(mode, SMALL))
        pairs = [(data, blob_id) for blob_id, data in items]
        return self.context.seal_many(pairs, os.urandom(IV_SIZE * len(pairs)), small, large, SMALL, always, verify)

    def _parameters(self, parameters: Parameters) -> blobs.Zstd:
        zstd = self._zstd.get(parameters)
        if zstd is None:
            zstd = self._zstd[parameters] = blobs.Zstd(*parameters)
        return zstd

    def open(self, sealed: Buffer, size: int, compressed: bool, blob_id: bytes) -> bytes | None:
        return self.context.open(sealed, size, compressed, blob_id)
