"""The coder that does many blobs in one call of compiled code, without the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from restic_format.native import blobs
from restic_format.repository.cipher import Buffer, NativeCipher
from restic_format.repository.coder import Coder, Hash, Item, PackCheck, Range, Sealed, is_bounded
from restic_format.repository.compression import SMALL, Compression, Parameters
from restic_spec.crypto import IV_SIZE
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry

if TYPE_CHECKING:
    from restic_format.repository.librarycoder import LibraryCoder


class NativeCoder(Coder):
    """A `Coder` that uses `restic_format.native.blobs`; what that refuses the library's coder does, or explains."""

    def __init__(self, cipher: NativeCipher, compression: Compression, *, extra_verify: bool) -> None:
        super().__init__(cipher, compression, extra_verify=extra_verify)
        self._native = cipher
        self._zstd = [_zstd(compression.parameters(size)) for size in (0, SMALL)]

    @cached_property
    def _library(self) -> LibraryCoder:
        from restic_format.repository.librarycoder import LibraryCoder

        return LibraryCoder(self.cipher.library, self._compression, extra_verify=self._extra_verify)

    def pack_hash(self) -> Hash:
        """See `Coder`."""
        return blobs.Sha256()

    def seal_many(self, blob_type: BlobType, items: Sequence[Item], pack_hash: Hash) -> Sealed:
        """See `Coder`."""
        assert isinstance(pack_hash, blobs.Sha256)
        small, large = self._zstd if self._compression.compresses(blob_type) else (None, None)
        ivs = os.urandom(IV_SIZE * len(items))
        always = self._compression.keeps_longer(blob_type)
        context = self._native.context
        done = context.seal_many(items, ivs, small, large, SMALL, always, self._extra_verify, pack_hash)
        return self._library.seal_many(blob_type, items, pack_hash) if done is None else ([done[0]], done[1])

    def seal_again(self, source: Coder, data: Buffer, messages: Sequence[tuple[int, int]]) -> Buffer:
        """See `Coder`."""
        sealed = None
        if isinstance(source, NativeCoder):
            ivs = os.urandom(IV_SIZE * len(messages))
            sealed = self._native.context.seal_again(source._native.context, data, messages, ivs, self._extra_verify)
        return super().seal_again(source, data, messages) if sealed is None else sealed

    def check_pack(self, header: bytes) -> PackCheck:
        """See `Coder`."""
        return blobs.PackCheck(self._native.context, header, MAX_BLOB_SIZE)

    def _open_batch(self, data: Buffer, ranges: Sequence[Range], *, again: bool = False) -> Sequence[memoryview | None]:
        return self._native.context.open_many(data, ranges, True, again=again)

    def _verify_batch(self, data: Buffer, ranges: Sequence[Range], pack_hash: Hash | None) -> Sequence[bool]:
        assert pack_hash is None or isinstance(pack_hash, blobs.Sha256)
        return self._native.context.open_many(data, ranges, False, pack_hash)

    def _open_exactly(self, entry: PackEntry, sealed: Buffer) -> bytes:
        plaintext = None
        if is_bounded(entry):
            compressed = entry.uncompressed_length is not None
            plaintext = self._native.context.open(sealed, entry.plain_length, compressed, entry.id)
        return super()._open_exactly(entry, sealed) if plaintext is None else plaintext


def _zstd(parameters: Parameters) -> blobs.Zstd:
    return blobs.Zstd(*parameters)
