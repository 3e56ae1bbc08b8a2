"""Blobs: the contents of packs, opened one by one.

The readable form of what an engine does in bulk: authenticate and decrypt, expand, compare the hash, in this order (PACK-13).
"""

from __future__ import annotations

import zstandard

from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.errors import LengthInvalid
from restic_spec.formats import FORMATS
from restic_spec.ids import id_of, verify_id
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry
from restic_spec.unpacked import decompress


def open_blob(key: MasterKey, entry: PackEntry, sealed: bytes | memoryview) -> bytes:
    """The plaintext of the blob *entry* describes, from its *sealed* bytes in the pack.

    Raises:
        LengthInvalid: not as many bytes as the entry says, a stated length beyond `MAX_BLOB_SIZE` (PACK-14), or a frame that
            expands to another length than stated (PACK-12).
        MacInvalid: the bytes are damaged or sealed under another key.
        CompressionInvalid: the frame is broken.
        IdMismatch: authentic bytes of another blob.
    """
    what = f"{entry.type.value} blob {entry.id.hex()}"
    if len(sealed) != entry.length:
        raise LengthInvalid(f"{len(sealed)} bytes instead of {entry.length}", object=what, clause="PACK-1")
    if entry.plain_length > MAX_BLOB_SIZE:
        raise LengthInvalid(f"{entry.plain_length} bytes are beyond the bound", object=what, clause="PACK-14")
    plaintext = open_sealed(key, sealed)
    if entry.uncompressed_length is not None:
        plaintext = decompress(plaintext, entry.uncompressed_length, "PACK-12")
        if len(plaintext) != entry.uncompressed_length:
            raise LengthInvalid(
                f"expands to {len(plaintext)} bytes instead of {entry.uncompressed_length}", object=what, clause="PACK-12"
            )
    verify_id(plaintext, entry.id, what)
    return plaintext


def seal_blob(
    key: MasterKey, blob_type: BlobType, plaintext: bytes, *, offset: int, version: int = 2, level: int | None = 3
) -> tuple[PackEntry, bytes]:
    """The entry and the sealed bytes of a blob that will stand at *offset* of a pack.

    Version 1 never compresses (PACK-9). In version 2 trees always are, data unless *level* is None, an empty blob is not
    (PACK-19, PACK-20). The id is the hash of *plaintext* (LAYOUT-6), whatever is stored.
    """
    if not FORMATS[version].compresses or not plaintext or (level is None and blob_type is BlobType.DATA):
        sealed = seal(key, plaintext)
        return PackEntry(blob_type, id_of(plaintext), offset, len(sealed), None), sealed
    sealed = seal(key, zstandard.ZstdCompressor(level=level or 3).compress(plaintext))
    return PackEntry(blob_type, id_of(plaintext), offset, len(sealed), len(plaintext)), sealed
