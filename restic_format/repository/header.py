"""Pack headers in bulk: what `restic_spec.pack` declares, with `struct`; a property test proves both equal."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from restic_spec.crypto import OVERHEAD
from restic_spec.pack import BlobType, PackEntry, decode_header

_PLAIN = struct.Struct("<BI32s")
_COMPRESSED = struct.Struct("<BII32s")


def encode_entries(entries: Iterable[PackEntry]) -> bytes:
    """The plaintext of a header (PACK-5, PACK-6)."""
    return b"".join(
        [
            _PLAIN.pack(entry.type is BlobType.TREE, entry.length, entry.id)
            if entry.uncompressed_length is None
            else _COMPRESSED.pack(2 + (entry.type is BlobType.TREE), entry.length, entry.uncompressed_length, entry.id)
            for entry in entries
        ]
    )


def decode_entries(header: bytes, version: int) -> list[PackEntry]:
    """The blobs an opened header lists in a repository of *version*, as `restic_spec.pack.decode_header` gives them.

    Raises:
        HeaderInvalid: see there.
    """
    entries: list[PackEntry] = []
    position = offset = 0
    known_kinds = 4 if version > 1 else 2
    try:
        while position < len(header):
            kind = header[position]
            uncompressed_length: int | None = None
            if kind < 2:
                _, length, blob_id = _PLAIN.unpack_from(header, position)
                position += _PLAIN.size
            else:
                _, length, uncompressed_length, blob_id = _COMPRESSED.unpack_from(header, position)
                position += _COMPRESSED.size
            if kind >= known_kinds or length < OVERHEAD or uncompressed_length == 0:
                return decode_header(header, version)
            entries.append(
                PackEntry(BlobType.TREE if kind & 1 else BlobType.DATA, blob_id, offset, length, uncompressed_length)
            )
            offset += length
    except struct.error:
        entries = []
    return entries or decode_header(header, version)
