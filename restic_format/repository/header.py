"""Pack headers in bulk: what `restic_spec.pack` declares, with `struct`; a property test proves both equal."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from restic_format.native.table import pack_record
from restic_spec.constants import (
    COMPRESSED_ENTRY,
    COMPRESSED_KINDS,
    KIND_COMPRESSED_DATA,
    KIND_COMPRESSED_TREE,
    KIND_DATA,
    KIND_TREE,
    OVERHEAD,
    PLAIN_ENTRY,
)
from restic_spec.formats import FORMATS
from restic_spec.index import encode_pack, index_pack
from restic_spec.pack import BlobType, PackEntry, check_layout, check_size, decode_header

_PLAIN = struct.Struct(PLAIN_ENTRY)
_COMPRESSED = struct.Struct(COMPRESSED_ENTRY)
_PLAIN_KIND = {BlobType.DATA: KIND_DATA, BlobType.TREE: KIND_TREE}
_COMPRESSED_KIND = {BlobType.DATA: KIND_COMPRESSED_DATA, BlobType.TREE: KIND_COMPRESSED_TREE}
_TYPE = {**{kind: name for name, kind in _PLAIN_KIND.items()}, **{kind: name for name, kind in _COMPRESSED_KIND.items()}}


class PackRecord(NamedTuple):
    """A pack's record in an index, as it stands there."""

    id: bytes
    """Of the pack."""
    json: bytes
    blobs: int
    """How many it lists."""


def encode_entries(entries: Iterable[PackEntry]) -> bytes:
    """The plaintext of a header (PACK-5, PACK-6)."""
    return b"".join(
        [
            _PLAIN.pack(_PLAIN_KIND[entry.type], entry.length, entry.id)
            if entry.uncompressed_length is None
            else _COMPRESSED.pack(_COMPRESSED_KIND[entry.type], entry.length, entry.uncompressed_length, entry.id)
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
    known_kinds = FORMATS[version].kinds
    try:
        while position < len(header):
            kind = header[position]
            uncompressed_length: int | None = None
            if kind < COMPRESSED_KINDS:
                _, length, blob_id = _PLAIN.unpack_from(header, position)
                position += _PLAIN.size
            else:
                _, length, uncompressed_length, blob_id = _COMPRESSED.unpack_from(header, position)
                position += _COMPRESSED.size
            if kind not in known_kinds or length < OVERHEAD or uncompressed_length == 0:
                return decode_header(header, version)
            entries.append(PackEntry(_TYPE[kind], blob_id, offset, length, uncompressed_length))
            offset += length
    except struct.error:
        entries = []
    return entries or decode_header(header, version)


def record_of(pack_id: bytes, header: bytes, version: int, sealed_header: int, pack_size: int) -> PackRecord:
    """The record of a pack whose opened *header* is *sealed_header* bytes sealed, in a file of *pack_size* bytes.

    Raises:
        HeaderInvalid: as `decode_entries`, or it does not account for the pack's size.
    """
    written = pack_record(pack_id, header, FORMATS[version].compresses)
    if written is None:
        entries = decode_entries(header, version)
        check_layout(entries, sealed_header, pack_size)
        return PackRecord(pack_id, encode_pack(index_pack(pack_id, entries)), len(entries))
    json, blobs, sealed = written
    check_size(sealed, sealed_header, pack_size)
    return PackRecord(pack_id, json, blobs)
