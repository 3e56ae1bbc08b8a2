"""Blobs between plaintext and what a pack holds: compressed, sealed, verified.

There are two coders, which give and take the same bytes: `NativeCoder` does many blobs in one call without the interpreter
lock, `LibraryCoder` uses the libraries' Python bindings, always works, and is the oracle. `make_coder` chooses; nobody else
asks which it is. A coder is used from any thread.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from restic_format.errors import DamagedFile
from restic_format.repository.cipher import Buffer, Cipher, NativeCipher
from restic_spec.crypto import OVERHEAD
from restic_spec.errors import CompressionInvalid, LengthInvalid, SpecError
from restic_spec.ids import verify_id
from restic_spec.pack import MAX_BLOB_SIZE, BlobType, PackEntry
from restic_spec.unpacked import decompress, expand_pieces

if TYPE_CHECKING:
    from restic_format.repository.compression import Compression

GROUP_SIZE = 8 << 20
"""Bytes of plaintext that are sealed or opened at once: well compressed blobs may be far larger than the packs they are in."""

GROUP_COUNT = 1024
"""Blobs that are sealed or opened at once."""

T = TypeVar("T")
Stored = TypeVar("Stored", bytes, memoryview)

Range = tuple[int, int, int, bool, bytes]
"""A blob to be opened: start and sealed length in the data, plaintext length, whether it is compressed, id."""

Item = tuple[bytes, Buffer]
"""A blob to be sealed: id and plaintext."""

Sealed = tuple[Sequence[Buffer], Sequence[tuple[int, int | None]]]
"""Sealed blobs one after the other, in pieces; and for each its length there and, where it is compressed, the plaintext's."""


def make_coder(cipher: Cipher, compression: Compression, *, extra_verify: bool) -> Coder:
    """The fastest coder there is for *cipher*. With *extra_verify* everything that is sealed is opened again and compared."""
    if isinstance(cipher, NativeCipher):
        from restic_format.repository.nativecoder import NativeCoder

        return NativeCoder(cipher, compression, extra_verify=extra_verify)
    from restic_format.repository.librarycoder import LibraryCoder

    return LibraryCoder(cipher.library, compression, extra_verify=extra_verify)


class Hash(Protocol):
    """A SHA-256 that goes on from call to call, of the form that a coder works with: see `Coder.pack_hash`."""

    def update(self, data: Buffer, /) -> None:
        """Append *data*."""

    def digest(self) -> bytes:
        """The hash of all that was appended."""


class PackCheck(Protocol):
    """Checks a pack piece by piece: it must have the header that was given, and the blobs that this lists."""

    @property
    def fits(self) -> bool:
        """Whether no blob is over the bound; otherwise the pack is not for this."""

    def ahead(self, most: int) -> int:
        """How many bytes `take` wants next: whole blobs of about *most* bytes, with the last of them the header; then 0."""

    def take(self, data: Buffer) -> bool:
        """Check *data*, as many bytes as `ahead` said; whether all is well."""

    def digest(self) -> bytes:
        """The hash of all that was taken."""


class Coder(ABC):
    """Seals and opens the blobs of one repository."""

    def __init__(self, cipher: Cipher, compression: Compression, *, extra_verify: bool) -> None:
        self.cipher = cipher
        self._compression = compression
        self._extra_verify = extra_verify

    @abstractmethod
    def seal_many(self, blob_type: BlobType, items: Sequence[Item], pack_hash: Hash) -> Sealed:
        """Seal blobs for a pack whose hash goes on with *pack_hash*; the pieces are good until this thread seals again.

        Data that do not shrink are stored as they are.

        Raises:
            DamagedFile: what was sealed does not open to the same blob.
        """

    def seal_again(self, source: Coder, data: Buffer, messages: Sequence[tuple[int, int]]) -> Buffer:
        """Sealed messages in *data*, given by place and length, which *source* opens, sealed anew one after the other.

        What is inside is not looked at. Good until this thread seals again.

        Raises:
            SpecError: one of them does not open.
            DamagedFile: what was sealed does not open to the same.
        """
        view = memoryview(data)
        sealed = bytearray()
        for start, length in messages:
            inside = source.cipher.open(view[start : start + length])
            message = self.cipher.seal(inside)
            if self._extra_verify and self.cipher.open(message) != inside:
                raise DamagedFile("a blob differs after sealing; memory or processor are unreliable")
            sealed += message
        return sealed

    @abstractmethod
    def _open_batch(self, data: Buffer, ranges: Sequence[Range], *, again: bool = False) -> Sequence[bytes | memoryview | None]:
        """The plaintexts of *ranges* of *data*, None where anything is wrong; with *again* good until the thread's next call.

        Each is authenticated before it is decrypted, expands to just the length it must have, and hashes to its id.
        """

    @abstractmethod
    def _verify_batch(self, data: Buffer, ranges: Sequence[Range], pack_hash: Hash | None) -> Sequence[bool]:
        """Which of *ranges* `_open_batch` would open; all of *data* is appended to *pack_hash*, if there is one."""

    @abstractmethod
    def check_pack(self, header: bytes) -> PackCheck:
        """A `PackCheck` for a pack that must have *header* (its plaintext)."""

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

    def open_many(
        self, data: Buffer, start: int, entries: Sequence[PackEntry], *, again: bool = False
    ) -> Iterator[tuple[PackEntry, bytes | memoryview | SpecError]]:
        """The plaintexts of *entries* from the piece of a pack *data*, which begins at *start*; or what is wrong with each.

        Here a wrong length is an error: others rely on it for where the next blob goes. Plaintexts are held a group at a
        time: at most 8 MiB, or one blob. With *again* they are in memory that is used again: good until this thread opens
        other blobs in this way.
        """
        for group in groups(entries, lambda entry: entry.plain_length):
            opened: Sequence[bytes | memoryview | None] = [None] * len(group)
            if all(map(is_bounded, group)):
                opened = self._open_batch(data, _ranges(group, start), again=again)
            for entry, plain in zip(group, opened, strict=True):
                yield entry, self._explain(entry, data, start) if plain is None else plain

    def open_ranges(self, data: Buffer, ranges: Sequence[Range]) -> Sequence[bytes | memoryview | None]:
        """The plaintexts of blobs that are together no more than is opened at once; None where anything is wrong with one.

        They are good until this thread opens some again. `open_many` says what is wrong.
        """
        return self._open_batch(data, ranges, again=True)

    def verify_many(
        self, data: Buffer, start: int, entries: Sequence[PackEntry], pack_hash: Hash | None = None
    ) -> list[tuple[PackEntry, SpecError]]:
        """Which of *entries* are damaged, and how; otherwise like `open_many`. All of *data* is appended to a *pack_hash*."""
        intact: Sequence[bool] = [False] * len(entries)
        if all(map(is_bounded, entries)):
            intact = self._verify_batch(data, _ranges(entries, start), pack_hash)
        elif pack_hash is not None:
            pack_hash.update(data)
        suspect = [entry for well, entry in zip(intact, entries, strict=True) if not well]
        results = [(entry, self._explain(entry, data, start)) for entry in suspect]
        return [(entry, error) for entry, error in results if isinstance(error, SpecError)]

    @abstractmethod
    def pack_hash(self) -> Hash:
        """A new SHA-256 for `seal_many` or `verify_many` to go on with."""

    def same_key(self, other: Coder) -> bool:
        """Whether both seal with the same master key."""
        return self.cipher.key == other.cipher.key

    def may_keep(self, entry: PackEntry, *, recompress: bool = False) -> bool:
        """Whether a blob sealed elsewhere may be stored here in the form it has there (PACK-9, PACK-19).

        With *recompress* those that are uncompressed and would not be here may not.
        """
        if entry.uncompressed_length is not None:
            return self._compression.allowed
        return not (recompress or entry.type is BlobType.TREE) or not self._compression.compresses(entry.type)

    def _open_exactly(self, entry: PackEntry, sealed: Buffer) -> bytes:
        """`open` for a blob that must have the length the entry states."""
        if not is_bounded(entry):
            raise LengthInvalid(f"blob of {entry.plain_length} bytes is over the bound of {MAX_BLOB_SIZE}", clause="PACK-14")
        plaintext = expand(entry, self.cipher.open(sealed))
        verify_id(plaintext, entry.id, name_of(entry))
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

    def _explain(self, entry: PackEntry, data: Buffer, start: int) -> bytes | SpecError:
        """What is wrong with a blob; its plaintext where nothing is after all."""
        try:
            return self._open_exactly(entry, memoryview(data)[entry.offset - start : entry.offset - start + entry.length])
        except SpecError as error:
            # The frames it came through hold the data, and would keep them as long as somebody keeps the error.
            error.__context__ = None
            return error.with_traceback(None)


def expand(entry: PackEntry, stored: Stored) -> bytes | Stored:
    """The plaintext of what was *stored* in a blob's sealed message.

    Raises:
        CompressionInvalid, LengthInvalid: it does not expand to just the length it must have (PACK-12).
    """
    if entry.uncompressed_length is None:
        return stored
    plaintext = decompress(stored, entry.uncompressed_length, "PACK-12")
    if len(plaintext) != entry.uncompressed_length:
        raise LengthInvalid(f"blob expands to {len(plaintext)} bytes, not {entry.uncompressed_length}", clause="PACK-12")
    return plaintext


def sealed_bound(size: int) -> int:
    """Bytes a blob of *size* bytes may take sealed: data that do not compress grow a little."""
    return size + size // 256 + 128 + OVERHEAD


MAX_SEALED_SIZE = sealed_bound(MAX_BLOB_SIZE)
"""Sealed bytes a blob may have."""


def check_size(entry: PackEntry) -> None:
    """Refuse a blob over the bound before its sealed bytes are read; no program writes blobs near it (PACK-14).

    Raises:
        LengthInvalid: they are over the bound.
    """
    most = MAX_BLOB_SIZE + OVERHEAD if entry.uncompressed_length is None else MAX_SEALED_SIZE
    if entry.length > most:
        raise LengthInvalid(f"blob of {entry.length} sealed bytes is over the bound of {most}", clause="PACK-14")


def is_bounded(entry: PackEntry) -> bool:
    """Whether neither the sealed bytes of a blob nor its plaintext are over the bound."""
    return 0 <= entry.plain_length <= MAX_BLOB_SIZE and entry.length <= MAX_SEALED_SIZE


def name_of(entry: PackEntry) -> str:
    """A blob's type and the beginning of its id, for messages."""
    return f"{entry.type.value} blob {entry.id.hex()[:8]}"


def groups(items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """*items* in groups that are sealed or opened at once: 8 MiB of plaintext or one blob, and not too many."""
    first = size = 0
    for number, item in enumerate(items):
        if number > first and (size + size_of(item) > GROUP_SIZE or number == first + GROUP_COUNT):
            yield items[first:number]
            first, size = number, 0
        size += size_of(item)
    if first < len(items):
        yield items[first:]


def _ranges(entries: Sequence[PackEntry], start: int) -> list[Range]:
    return [
        (entry.offset - start, entry.length, entry.plain_length, entry.uncompressed_length is not None, entry.id)
        for entry in entries
    ]
