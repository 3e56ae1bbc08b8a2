"""Blobs between plaintext and what a pack holds: compressed, sealed, verified.

Two ways lead to the same bytes: the compiled kernel, which does a blob in one call without the interpreter lock, and the
libraries' Python bindings, which always work and are the oracle. What the kernel refuses the other way explains.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from restic_format.errors import DamagedFile
from restic_format.native import blobs
from restic_format.repository.cipher import BlobCipher, Buffer
from restic_format.repository.compression import SMALL, Compressor, Parameters, parameters_for
from restic_spec.crypto import IV_SIZE, MasterKey
from restic_spec.errors import LengthInvalid, SpecError
from restic_spec.ids import verify_id
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry
from restic_spec.unpacked import decompress


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


class _Kernels(threading.local):
    """Each thread's kernel context."""

    def __init__(self, key: MasterKey) -> None:
        self._context = blobs.Context(key.encrypt, key.mac_k, key.mac_r)
        self._zstd: dict[Parameters, blobs.Zstd] = {}

    def seal(self, data: Buffer, parameters: Parameters | None, always: bool, verify: bytes | None) -> tuple[bytes, int] | None:
        zstd = None if parameters is None else self._parameters(parameters)
        return self._context.seal(data, os.urandom(IV_SIZE), zstd, always, verify)

    def seal_many(
        self, items: Sequence[tuple[bytes, Buffer]], mode: str | None, always: bool, verify: bool
    ) -> list[tuple[bytes, int] | None]:
        small = large = None
        if mode is not None:
            small, large = self._parameters(parameters_for(mode, 0)), self._parameters(parameters_for(mode, SMALL))
        pairs = [(data, blob_id) for blob_id, data in items]
        return self._context.seal_many(pairs, os.urandom(IV_SIZE * len(pairs)), small, large, SMALL, always, verify)

    def _parameters(self, parameters: Parameters) -> blobs.Zstd:
        zstd = self._zstd.get(parameters)
        if zstd is None:
            zstd = self._zstd[parameters] = blobs.Zstd(*parameters)
        return zstd

    def open(self, sealed: Buffer, size: int, compressed: bool, blob_id: bytes) -> bytes | None:
        return self._context.open(sealed, size, compressed, blob_id)
