"""Index files: which blobs are where in which packs.

An index repeats what pack headers say (INDEX-7), so that nobody has to read them; it can always be rebuilt from the packs. That
of a repository is the union of its files (INDEX-8).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

import msgspec

from restic_spec import gojson, wire
from restic_spec.crypto import OVERHEAD
from restic_spec.errors import JsonInvalid
from restic_spec.ids import is_hex_id
from restic_spec.pack import BlobType, PackEntry

T = TypeVar("T")

FULL_BLOBS = 50_000
"""Blobs after which restic writes an index file out and starts another (INDEX-11)."""

FULL_AGE = 600.0
"""Seconds after which an index that holds something counts as full (INDEX-11)."""


class IndexBlob(msgspec.Struct, omit_defaults=True, gc=False):
    """One blob in a pack."""

    id: str
    """SHA-256 of the plaintext, hexadecimal (INDEX-3)."""
    type: str
    """``data`` or ``tree`` (INDEX-4)."""
    offset: int
    """Where the sealed blob starts in the pack, bytes (INDEX-5)."""
    length: int
    """Sealed bytes (INDEX-5)."""
    uncompressed_length: int | None = 0
    """Plaintext bytes, 0 (left out) where the blob is stored uncompressed (INDEX-6); rustic also writes null (RUSTIC-7)."""


class IndexPack(msgspec.Struct, omit_defaults=True):
    """A pack and its blobs."""

    id: str
    """The pack's id, hexadecimal (INDEX-3)."""
    blobs: list[IndexBlob]
    """Its blobs; the order has no meaning, and is kept (INDEX-12)."""
    time: str | None = None
    """rustic: when the pack was written, or marked for deletion (RUSTIC-2)."""
    size: int | None = None
    """rustic: size of the pack in bytes (RUSTIC-2)."""


class IndexFile(wire.Document):
    """The decrypted content of a file in ``index/``."""

    supersedes: list[str] = msgspec.field(default_factory=list)
    """Ids of indexes this one replaces; no longer written (INDEX-9)."""
    packs: list[IndexPack] | msgspec.UnsetType | None = msgspec.UNSET
    """The packs that are in use (INDEX-1); absent and null mean none (INDEX-10)."""
    packs_to_delete: list[IndexPack] = msgspec.field(default_factory=list)
    """rustic: packs marked for deletion; restic does not see them (RUSTIC-2)."""

    def all_packs(self) -> list[IndexPack]:
        """The packs in use, [] where the field is absent or null (INDEX-10)."""
        return self.packs or []


_TYPES = {blob_type.value: blob_type for blob_type in BlobType}
_NAMES = {blob_type: name for name, blob_type in _TYPES.items()}
_decoder = msgspec.json.Decoder(IndexFile)
_OLD_FORMAT = msgspec.json.Decoder(list[IndexPack])
_pack_decoder = msgspec.json.Decoder(IndexPack)
_raw_packs = msgspec.json.Decoder(list[msgspec.Raw] | None)
_superseded = msgspec.json.Decoder(list[str] | None)


def decode_index(raw: bytes, what: str = "index") -> IndexFile:
    """Parse an index; the oldest format (a bare array of packs, INDEX-13, DIFF-6) is understood too.

    Raises:
        JsonInvalid: not of this schema, an invalid id, or an unknown blob type.
    """
    if raw[:1] == b"[":
        index = IndexFile(packs=wire.decode_known(_OLD_FORMAT, raw, what, "INDEX-1"))
    else:
        index = wire.decode_known(_decoder, raw, what, "INDEX-1")
        index.keep_extra(wire.raw_members(raw, what, "INDEX-1"), what)
    for record in index.all_packs():
        check_pack(record, what)
    for record in index.packs_to_delete:
        check_pack(record, what)
    return index


def decode_outline(raw: bytes, what: str = "index") -> tuple[list[msgspec.Raw], list[msgspec.Raw]]:
    """The records of an index's packs, and of those marked for deletion, each for `decode_pack`: an index of many small ones
    takes far less memory so than in one go.

    Raises:
        JsonInvalid: as `decode_index`, but that records are not looked at.
    """
    if raw[:1] == b"[":
        return wire.decode_known(_raw_packs, raw, what, "INDEX-1"), []
    members = wire.raw_members(raw, what, "INDEX-1")
    IndexFile().keep_extra(members, what)

    def member(decoder: msgspec.json.Decoder[list[T] | None], name: str) -> list[T]:
        found: list[T] | None = wire.decode_known(decoder, memoryview(members.get(name, b"null")), what, "INDEX-1")
        return found or []

    member(_superseded, "supersedes")
    return member(_raw_packs, "packs"), member(_raw_packs, "packs_to_delete")


def decode_pack(raw: msgspec.Raw, what: str = "index") -> IndexPack:
    """One record of `decode_outline`.

    Raises:
        JsonInvalid: not of this schema, or something in it is impossible.
    """
    pack: IndexPack = wire.decode_known(_pack_decoder, memoryview(raw), what, "INDEX-1")
    check_pack(pack, what)
    return pack


def encode_index(index: IndexFile) -> bytes:
    """The plaintext to store for *index*: JSON and, like a tree and unlike other files, a newline (INDEX-2)."""
    return wire.encode(index) + b"\n"


def check_pack(pack: IndexPack, what: str = "index") -> None:
    """Check what the types of the fields leave open; `decode_index` has done so with every pack.

    Raises:
        JsonInvalid: an id, type or length is impossible.
    """
    if not is_hex_id(pack.id):
        raise JsonInvalid(f"{pack.id[:80]!r} is not a pack id", object=what, clause="INDEX-3")
    for blob in pack.blobs:
        if blob.type not in _TYPES:
            raise JsonInvalid(f"unknown blob type {blob.type[:20]!r}", object=what, clause="INDEX-4")
        if not is_hex_id(blob.id):
            raise JsonInvalid(f"{blob.id[:80]!r} is not a blob id", object=what, clause="INDEX-3")
        lengths_fit = OVERHEAD <= blob.length < 1 << 32 and 0 <= (blob.uncompressed_length or 0) < 1 << 32
        if not (lengths_fit and 0 <= blob.offset < 1 << 32):
            raise JsonInvalid(f"blob {blob.id} has an impossible range", object=what, clause="INDEX-5")


def entries_of(pack: IndexPack) -> list[PackEntry]:
    """The blobs of a pack of a decoded index, with binary ids."""
    return [
        PackEntry(_TYPES[blob.type], bytes.fromhex(blob.id), blob.offset, blob.length, blob.uncompressed_length or None)
        for blob in pack.blobs
    ]


def index_pack(pack_id: bytes, entries: Iterable[PackEntry]) -> IndexPack:
    """The index's record of a pack."""
    blobs = [
        IndexBlob(blob_id.hex(), _NAMES[kind], offset, length, uncompressed_length or 0)
        for kind, blob_id, offset, length, uncompressed_length in entries
    ]
    return IndexPack(pack_id.hex(), blobs)


def encode_pack(pack: IndexPack) -> bytes:
    """The record of *pack* as an index has it, for `encode_records`."""
    return gojson.encode(pack)


def encode_records(packs: Sequence[IndexPack | msgspec.Raw], marked: Sequence[IndexPack | msgspec.Raw]) -> bytes:
    """The plaintext of a new index of *packs* and those *marked* for deletion; each may come as its encoded record."""
    return encode_index(IndexFile(packs=cast("list[IndexPack]", packs), packs_to_delete=cast("list[IndexPack]", marked)))


def encode_packs(packs: list[IndexPack]) -> bytes:
    """The plaintext of a new index that holds *packs*."""
    return encode_index(IndexFile(packs=packs))
