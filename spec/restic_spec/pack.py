"""Packs: sealed blobs one after the other, then a sealed header that lists them, then the header's length.

``blob₁ … blobₙ || header || length (u32, little endian)``. Offsets are not stored: a blob starts where the one before it
ends, the first at 0, in the header's order (PACK-1, PACK-10). The bytes themselves are declared in `restic_spec.binary`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from restic_spec.constants import (
    COMPRESSED_ENTRY_SIZE as COMPRESSED_ENTRY_SIZE,
)
from restic_spec.constants import (
    KIND_COMPRESSED_DATA,
    KIND_COMPRESSED_TREE,
    KIND_DATA,
    KIND_TREE,
)
from restic_spec.constants import (
    LENGTH_SIZE as LENGTH_SIZE,
)
from restic_spec.constants import (
    MAX_HEADER_SIZE as MAX_HEADER_SIZE,
)
from restic_spec.constants import (
    OVERHEAD as OVERHEAD,
)
from restic_spec.constants import (
    PLAIN_ENTRY_SIZE as PLAIN_ENTRY_SIZE,
)
from restic_spec.errors import HeaderInvalid, LengthInvalid
from restic_spec.formats import FORMATS

MAX_BLOB_SIZE = 1 << 29
"""Bytes of plaintext a blob may have here; a bound on memory, far above any chunker maximum."""


class BlobType(Enum):
    """What a blob holds; the value is its name in an index (INDEX-4). Ids are looked up together with it (TREE-24)."""

    DATA = "data"
    TREE = "tree"

    # There is one object of each: the enumeration's own hash, of the name, is called by Python for every blob.
    __hash__ = object.__hash__


class PackEntry(NamedTuple):
    """One blob of a pack.

    ``length`` counts the sealed bytes; ``uncompressed_length`` the plaintext's, None where it is stored uncompressed.
    """

    type: BlobType
    id: bytes
    offset: int
    length: int
    uncompressed_length: int | None

    @property
    def plain_length(self) -> int:
        """Bytes of the blob's plaintext."""
        return self.length - OVERHEAD if self.uncompressed_length is None else self.uncompressed_length

    @property
    def header_size(self) -> int:
        """Bytes of this entry in the header."""
        return PLAIN_ENTRY_SIZE if self.uncompressed_length is None else COMPRESSED_ENTRY_SIZE


_KIND_OF = {
    (BlobType.DATA, False): KIND_DATA,
    (BlobType.TREE, False): KIND_TREE,
    (BlobType.DATA, True): KIND_COMPRESSED_DATA,
    (BlobType.TREE, True): KIND_COMPRESSED_TREE,
}
_TYPE_OF = {kind: key for key, kind in _KIND_OF.items()}


def encode_entry(entry: PackEntry) -> bytes:
    """The header's bytes for one blob."""
    compressed = entry.uncompressed_length is not None
    from restic_spec.binary import ENTRY

    encoded: bytes = ENTRY.build(
        {
            "kind": _KIND_OF[entry.type, compressed],
            "length": entry.length,
            "uncompressed_length": entry.uncompressed_length,
            "id": entry.id,
        }
    )
    return encoded


def encode_header(entries: Iterable[PackEntry]) -> bytes:
    """The plaintext of a pack's header; offsets must already be what the order implies."""
    return b"".join(map(encode_entry, entries))


def decode_header(header: bytes, version: int = 2) -> list[PackEntry]:
    """Parse the opened header of a pack in a repository of *version*; offsets follow from the order (PACK-10).

    Raises:
        HeaderInvalid: an unknown kind, a compressed one in version 1, a length no blob can have, an entry cut short, or no
            entry at all.
    """
    stream = memoryview(header)
    entries: list[PackEntry] = []
    position = offset = 0
    while position < len(stream):
        entry = _decode_entry(bytes(stream[position : position + COMPRESSED_ENTRY_SIZE]), offset, len(entries))
        if entry.uncompressed_length is not None and not FORMATS[version].compresses:
            raise HeaderInvalid(f"pack header entry {len(entries)} is compressed, in version {version}", clause="PACK-9")
        entries.append(entry)
        position += entry.header_size
        offset += entry.length
    if not entries:
        raise HeaderInvalid("pack header lists no blob", clause="PACK-7")
    return entries


def _decode_entry(raw: bytes, offset: int, number: int) -> PackEntry:
    from restic_spec.binary import ENTRY, ConstructError, violations

    try:
        parsed = ENTRY.parse(raw)
    except ConstructError:
        raise HeaderInvalid(f"pack header is cut short in entry {number}", clause="PACK-6") from None
    for violation in violations(ENTRY, parsed):
        raise type(violation)(f"pack header entry {number} {violation.what}", clause=violation.clause)
    blob_type, compressed = _TYPE_OF[int(parsed.kind)]
    return PackEntry(blob_type, parsed.id, offset, parsed.length, parsed.uncompressed_length if compressed else None)


def encode_length(length: int) -> bytes:
    """The pack's last four bytes for a sealed header of *length* bytes (PACK-2): `restic_spec.binary.LENGTH_FIELD`."""
    return length.to_bytes(LENGTH_SIZE, "little")


def decode_length(field: bytes | memoryview) -> int:
    """Reverse `encode_length`."""
    return int.from_bytes(field, "little")


def header_length(trailer: bytes | memoryview, pack_size: int) -> int:
    """Length of the sealed header, from the pack's last bytes (*trailer*, at least four) and the size of the pack.

    Raises:
        LengthInvalid: the pack is too small, or the length cannot be that of a header in it.
    """
    if len(trailer) < LENGTH_SIZE or pack_size < OVERHEAD + PLAIN_ENTRY_SIZE + LENGTH_SIZE:
        raise LengthInvalid(f"pack of {pack_size} bytes is too short to hold a header", clause="PACK-2")
    length = decode_length(trailer[-LENGTH_SIZE:])
    if length > MAX_HEADER_SIZE:
        raise LengthInvalid(f"pack header of {length} bytes is over the bound of {MAX_HEADER_SIZE}", clause="PACK-4")
    if length < OVERHEAD + PLAIN_ENTRY_SIZE:
        raise LengthInvalid(f"pack header of {length} bytes is too short for a single entry", clause="PACK-3")
    if length + LENGTH_SIZE > pack_size:
        raise LengthInvalid(f"pack header of {length} bytes does not fit a pack of {pack_size}", clause="PACK-3")
    return length


def check_layout(entries: list[PackEntry], sealed_header: int, pack_size: int) -> None:
    """Check that blobs, header and length field fill a pack of *pack_size* bytes exactly.

    Raises:
        HeaderInvalid: they do not.
    """
    check_size(sum(entry.length for entry in entries), sealed_header, pack_size)


def check_size(sealed_blobs: int, sealed_header: int, pack_size: int) -> None:
    """`check_layout` for blobs of *sealed_blobs* bytes in all. Raises likewise."""
    expected = sealed_blobs + sealed_header + LENGTH_SIZE
    if expected != pack_size:
        raise HeaderInvalid(f"pack has {pack_size} bytes, its header accounts for {expected}", clause="PACK-11")
