"""Scanning: sealed blobs are found in a pack of which nobody knows any more what is in it.

A sealed message ends where its MAC fits. A compressed blob says itself where it ends: the plaintext is a zstd frame, a row of
blocks that each begin with their length. For the others the MAC of every possible length is computed, each from the one before.
Where no message begins, what has been damaged is passed over: the next compressed blob, and the next tree, are known by the
first bytes of their plaintext. What follows after a damaged blob that is not compressed is found only if it is one of these.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from restic_format.repository.coder import MAX_SEALED_SIZE
from restic_format.work import Cancel
from restic_spec.crypto import IV_SIZE, MAC_SIZE, OVERHEAD, MasterKey, open_sealed, poly1305_key
from restic_spec.errors import SpecError
from restic_spec.formats import FORMATS
from restic_spec.pack import LENGTH_SIZE, MAX_BLOB_SIZE, BlobType, PackEntry, decode_header
from restic_spec.unpacked import decompress

_FRAME = b"\x28\xb5\x2f\xfd"
"""What every zstd frame begins with (RFC 8878)."""
_TREE = b'{"nodes":'

_P = (1 << 130) - 5
_BLOCK = 16
_WINDOWS = 1 << 14
"""Places that are looked at together for the begin of a plaintext."""
_STEPS = 1 << 26
"""Lengths that are tried in one pack: about a minute."""
_DECRYPTED = 64 << 10
"""Bytes that are decrypted at once in the search for the end of a frame."""


class Scanner:
    """Finds sealed blobs in bytes of a pack. One thread at a time."""

    def __init__(
        self,
        key: MasterKey,
        version: int,
        cancel: Cancel | None = None,
        *,
        steps: int = _STEPS,
        seconds: float | None = None,
    ) -> None:
        """At most *steps* lengths are tried, for *seconds* from now on at most, None for no such bound."""
        self._key = key
        self._version = version
        self._cancel = cancel
        self._steps = steps
        """How many lengths may still be tried."""
        self._end = None if seconds is None else time.monotonic() + seconds
        self._compresses = FORMATS[version].compresses

    @property
    def is_over(self) -> bool:
        """Whether time is up: what was not found may be there all the same."""
        return self._end is not None and time.monotonic() >= self._end

    def scan(self, data: bytes | memoryview, offset: int = 0, *, ends_pack: bool = True) -> Iterator[PackEntry]:
        """The blobs in *data*, which stands in its pack from *offset* on, up to the pack's end where *ends_pack* is true.

        Each has been opened, and its id is the hash of its content. A blob whose content looks like a tree comes twice, as
        nobody can tell whether it is one, or a file with the same content.

        Raises:
            Interrupted: it was cancelled.
        """
        view = memoryview(data)
        place = 0
        while len(view) - place > OVERHEAD:
            if self._cancel is not None:
                self._cancel.check()
            if self.is_over:
                return
            end = self._end_of(view, place)
            if end is None:
                following = self._next(view, place + 1)
                if following is None:
                    return
                place = following
                continue
            if not (ends_pack and end == len(view) - LENGTH_SIZE and self._is_header(view[place:end])):
                yield from self._entries(view[place:end], offset + place)
            place = end

    def _entries(self, sealed: memoryview, offset: int) -> Iterator[PackEntry]:
        stored = open_sealed(self._key, sealed)
        plain, expanded = stored, None
        if self._compresses and stored.startswith(_FRAME):
            try:
                plain = decompress(stored, MAX_BLOB_SIZE, "PACK-12")
                expanded = len(plain)
            except SpecError:
                plain = stored  # A file that only begins like a frame, stored as it is.
        ident = hashlib.sha256(plain).digest()
        if plain.startswith(_TREE):
            yield PackEntry(BlobType.TREE, ident, offset, len(sealed), expanded)
        yield PackEntry(BlobType.DATA, ident, offset, len(sealed), expanded)

    def _is_header(self, sealed: memoryview) -> bool:
        try:
            return bool(decode_header(open_sealed(self._key, sealed), self._version))
        except SpecError:
            return False

    def _end_of(self, view: memoryview, place: int) -> int | None:
        """Where the message ends that begins at *place*; None where none does."""
        if not any(view[place : place + IV_SIZE]):
            return None
        size = _FrameReader(self._key, view[place : place + MAX_SEALED_SIZE]).size() if self._compresses else None
        if size is None:
            return self._end_by_mac(view, place)
        end = place + OVERHEAD + size
        if end > len(view):
            return None
        try:
            open_sealed(self._key, view[place:end])
        except SpecError:
            return None
        return end

    def _end_by_mac(self, view: memoryview, place: int) -> int | None:
        """Where a message ends by its MAC: the shortest one that fits."""
        iv = bytes(view[place : place + IV_SIZE])
        secret = poly1305_key(self._key, iv)
        r = int.from_bytes(secret[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
        s = int.from_bytes(secret[16:], "little")
        begin = place + IV_SIZE
        most = min(len(view) - begin - MAC_SIZE, MAX_BLOB_SIZE, self._steps)
        # One copy of what is looked at: slices of it are quick.
        text = bytes(view[begin : begin + most + MAC_SIZE])
        total = 0
        mask = (1 << 128) - 1
        from_bytes = int.from_bytes
        for start in range(0, most, _BLOCK):
            if not start % (1 << 14):
                if self._cancel is not None:
                    self._cancel.check()
                if self.is_over:
                    return None
            block = text[start : start + _BLOCK]
            for length in range(1, min(_BLOCK, most - start) + 1):
                added = total + from_bytes(block[:length], "little") + (1 << 8 * length)
                end = start + length
                if (added * r % _P + s) & mask == from_bytes(text[end : end + MAC_SIZE], "little"):
                    self._steps -= end
                    return begin + end + MAC_SIZE
            total = (total + from_bytes(block, "little") + (1 << 8 * len(block))) * r % _P
        self._steps -= max(most, 0)
        return None

    def _next(self, view: memoryview, place: int) -> int | None:
        """The next place, from *place* on, at which a frame or a tree may begin."""
        encryptor = Cipher(algorithms.AES(self._key.encrypt), modes.ECB()).encryptor()
        known = (_FRAME, _TREE[:4]) if self._compresses else (_TREE[:4],)
        last = len(view) - OVERHEAD
        while place < last and not self.is_over:
            if self._cancel is not None:
                self._cancel.check()
            count = min(_WINDOWS, last - place)
            text = bytes(view[place : place + count + IV_SIZE + 4])
            stream = encryptor.update(b"".join([text[at : at + IV_SIZE] for at in range(count)]))
            for at in range(count):
                first = bytes(a ^ b for a, b in zip(stream[at * 16 : at * 16 + 4], text[at + 16 : at + 20], strict=True))
                if first in known:
                    return place + at
            place += count
        return None


class _FrameReader:
    """Reads how long the zstd frame is that a sealed message may hold, of which *sealed* is the begin and what follows."""

    def __init__(self, key: MasterKey, sealed: memoryview) -> None:
        self._sealed = sealed[IV_SIZE:]
        self._decryptor = Cipher(algorithms.AES(key.encrypt), modes.CTR(bytes(sealed[:IV_SIZE]))).decryptor()
        self._plain = bytearray()

    def size(self) -> int | None:
        """Bytes of the frame; None where it is none, or does not end."""
        if self._read(0, 5)[:4] != _FRAME:
            return None
        flags = self._read(4, 1)[0]
        single = flags >> 5 & 1
        content = (1 if single else 0, 2, 4, 8)[flags >> 6]
        place = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3] + content
        while True:
            head = int.from_bytes(self._read(place, 3), "little")
            kind, length = head >> 1 & 3, head >> 3
            if kind == 3:
                return None
            place += 3 + (1 if kind == 1 else length)
            if place > len(self._sealed):
                return None
            if head & 1:
                return place + (4 if flags & 4 else 0)

    def _read(self, place: int, length: int) -> bytes:
        """*length* bytes of the plaintext; zeros behind the end: to `size` these are blocks of no bytes, none the last."""
        while len(self._plain) < place + length and len(self._plain) < len(self._sealed):
            done = len(self._plain)
            self._plain += self._decryptor.update(self._sealed[done : done + _DECRYPTED])
        return bytes(self._plain[place : place + length]).ljust(length, b"\0")
