"""The coder that works with the libraries' Python bindings alone.

A small blob is a matter of microseconds, nearly all of them with the interpreter's lock, so the loop that opens many does
without anything it can do without; like its native twin it only tells that something is wrong with a blob.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections.abc import Sequence

import zstandard

from restic_format.errors import DamagedFile
from restic_format.repository.cipher import Buffer, LibraryCipher
from restic_format.repository.coder import (
    Coder,
    Hash,
    Item,
    PackCheck,
    Range,
    Sealed,
    expand,
    is_bounded,
    name_of,
    sealed_bound,
)
from restic_format.repository.compression import Compression
from restic_format.repository.header import decode_entries
from restic_spec.config import MAX_VERSION
from restic_spec.crypto import IV_SIZE, MAC_SIZE, OVERHEAD
from restic_spec.errors import SpecError
from restic_spec.ids import id_of, verify_id
from restic_spec.pack import LENGTH_SIZE, BlobType, PackEntry, decode_length
from restic_spec.unpacked import MAX_WINDOW

_ALONE = 1 << 10
"""Sealed bytes a blob up to which one thread at a time opens them: two would wake each other for the interpreter's lock at
every blob, and take longer together than one after the other."""
_KEPT_MEMORY = 16 << 20
"""Bytes of memory of each kind that a thread keeps."""
_NO_IV = bytes(IV_SIZE)


class LibraryCoder(Coder):
    """A `Coder` that uses `cryptography` and `zstandard`."""

    def __init__(self, cipher: LibraryCipher, compression: Compression, *, extra_verify: bool) -> None:
        super().__init__(cipher, compression, extra_verify=extra_verify)
        self._library = cipher
        self._kept = _Kept()
        self._turn = threading.Lock()

    def pack_hash(self) -> Hash:
        """See `Coder`."""
        return hashlib.sha256()

    def seal_many(self, blob_type: BlobType, items: Sequence[Item], pack_hash: Hash) -> Sealed:
        """See `Coder`."""
        ivs = os.urandom(IV_SIZE * len(items))
        room = self._kept.sealed.of_size(sum(sealed_bound(len(data)) for _, data in items))
        entries = []
        end = 0
        for number, (blob_id, data) in enumerate(items):
            stored, uncompressed_length = self._compression.apply(blob_type, data)
            length = self._library.seal_into(stored, ivs[IV_SIZE * number : IV_SIZE * (number + 1)], room[end:])
            entries.append(PackEntry(blob_type, blob_id, end, length, uncompressed_length))
            end += length
        sealed = room[:end]
        if self._extra_verify:
            self._verify_sealed(entries, sealed)
        pack_hash.update(sealed)
        return [sealed], [(entry.length, entry.uncompressed_length) for entry in entries]

    def _verify_sealed(self, entries: Sequence[PackEntry], sealed: memoryview) -> None:
        """Open everything again and compare the hashes."""
        try:
            for entry in entries:
                room = self._kept.opened.of_size(entry.length)
                opened = self._library.open_within(sealed[entry.offset : entry.offset + entry.length], room)
                verify_id(expand(entry, opened), entry.id, name_of(entry))
        except SpecError as error:
            raise DamagedFile(f"{name_of(entry)} differs after sealing; memory or processor are unreliable", error) from error

    def check_pack(self, header: bytes) -> PackCheck:
        """See `Coder`."""
        return _LibraryPackCheck(self, header)

    def _open_batch(self, data: Buffer, ranges: Sequence[Range], *, again: bool = False) -> Sequence[bytes | memoryview | None]:
        return self._in_turn(data, ranges, again, keep=True)

    def _verify_batch(self, data: Buffer, ranges: Sequence[Range], pack_hash: Hash | None) -> Sequence[bool]:
        if pack_hash is not None:
            pack_hash.update(data)
        return [plain is not None for plain in self._in_turn(data, ranges, True, keep=False)]

    def _in_turn(
        self, data: Buffer, ranges: Sequence[Range], again: bool, *, keep: bool
    ) -> Sequence[bytes | memoryview | None]:
        if len(data) > _ALONE * len(ranges):
            return self._open_loop(memoryview(data), ranges, again, keep)
        with self._turn:
            return self._open_loop(memoryview(data), ranges, again, keep)

    def _open_loop(
        self, data: memoryview, ranges: Sequence[Range], again: bool, keep: bool
    ) -> Sequence[bytes | memoryview | None]:
        """See `_open_batch`; without *keep* something empty stands for what is intact."""
        library, room = self._library, self._kept.opened
        contexts, mac_r, verify = library.contexts, library.key.mac_r, library.verify_tag
        mac_key, set_iv = contexts.block.update, contexts.counter.reset_nonce
        decrypt, decrypt_into = contexts.counter.update, contexts.counter.update_into
        decompress, announced = self._kept.decompress, zstandard.frame_content_size
        failures = (library.invalid, zstandard.ZstdError)
        total = len(data)
        plain: bytes | memoryview
        opened: list[bytes | memoryview | None] = [None] * len(ranges)
        used = 0
        for number, (start, length, size, compressed, blob_id) in enumerate(ranges):
            end = start + length
            iv = bytes(data[start : start + IV_SIZE])
            if length < OVERHEAD or start < 0 or end > total or iv == _NO_IV:
                continue
            ciphertext = data[start + IV_SIZE : end - MAC_SIZE]
            try:
                verify(mac_r + mac_key(iv), ciphertext, bytes(data[end - MAC_SIZE : end]))
                set_iv(iv)
                if compressed:
                    target = room.of_size(used + length)[used:]
                    plain = target[: decrypt_into(ciphertext, target)]
                    if announced(plain) not in (size, -1):
                        continue
                    # Frames of little announce nothing: then this is the memory they are given.
                    plain = decompress(plain, max_output_size=size, allow_extra_data=False)
                elif again:
                    target = room.of_size(used + length)[used:]
                    plain = target[: decrypt_into(ciphertext, target)]
                else:
                    plain = decrypt(ciphertext)
            except failures:
                continue
            if len(plain) != size or id_of(plain) != blob_id:
                continue
            opened[number] = plain if keep else b""
            if keep and again and not compressed:
                used += size
        return opened


class _Room:
    """Memory that is used again, unless it is much. Pages are taken when they are first used."""

    def __init__(self) -> None:
        self._memory = memoryview(b"")

    def of_size(self, size: int) -> memoryview:
        """At least *size* bytes, the same as before where there are so many, whatever is in them."""
        if size <= len(self._memory):
            return self._memory
        memory = memoryview(mmap.mmap(-1, size + size // 4, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        if len(memory) <= _KEPT_MEMORY:
            self._memory = memory
        return memory


class _Kept(threading.local):
    """One thread's decompressor, and memory for what is sealed and what is opened."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompress
        self.sealed = _Room()
        self.opened = _Room()


class _LibraryPackCheck:
    """A `PackCheck`, piece by piece with `LibraryCoder.verify_many`."""

    def __init__(self, coder: LibraryCoder, header: bytes) -> None:
        self._coder = coder
        self._header = header
        try:
            self._entries = decode_entries(header, MAX_VERSION)[::-1]
        except SpecError:
            self._entries = []
        self.fits = all(map(is_bounded, self._entries))
        self._done = 0
        self._ended = False
        self._hash = coder.pack_hash()

    def ahead(self, most: int) -> int:
        """See `PackCheck`."""
        size = 0
        for entry in reversed(self._entries):
            if size and size + entry.length > most:
                return size
            size += entry.length
        return 0 if self._ended else size + len(self._header) + OVERHEAD + LENGTH_SIZE

    def take(self, data: Buffer) -> bool:
        """See `PackCheck`."""
        start, size = self._done, 0
        inside = []
        while self._entries and size + self._entries[-1].length <= len(data):
            inside.append(self._entries.pop())
            size += inside[-1].length
        well = not self._coder.verify_many(data, start, inside, self._hash)
        self._done += len(data)
        if (self._entries and size < len(data)) or not data:
            # Fewer bytes than `ahead` said: the pack ends here.
            self._entries.clear()
            self._ended, well = True, False
        elif not self._entries and size < len(data):
            self._ended = True
            well = self._is_tail(memoryview(data)[size:]) and well
        return well

    def _is_tail(self, tail: memoryview) -> bool:
        try:
            sealed = tail[:-LENGTH_SIZE]
            return decode_length(tail[-LENGTH_SIZE:]) == len(sealed) and self._coder.cipher.open(sealed) == self._header
        except SpecError:
            return False

    def digest(self) -> bytes:
        """See `PackCheck`."""
        return self._hash.digest()
