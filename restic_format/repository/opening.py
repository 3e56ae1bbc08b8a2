"""Many blobs opened by the libraries' bindings: the twin of the kernel's `Context.open_many`.

Like that it only tells that something is wrong with a blob; `restic_format.repository.coder` then says what. A small blob is a
matter of microseconds, nearly all of them with the interpreter's lock, so the loop does without anything it can do without.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import zstandard

from restic_format.native.blobs import hashes
from restic_format.repository.cipher import BlobCipher, Buffer
from restic_spec.crypto import IV_SIZE, MAC_SIZE, OVERHEAD
from restic_spec.unpacked import MAX_WINDOW

if TYPE_CHECKING:
    from restic_format.native.blobs.hashes import Sha256

Range = tuple[int, int, int, bool, bytes]
"""A blob to be opened: start and sealed length in the data, plaintext length, whether it is compressed, id."""

_AT_ONCE = 2 << 20
"""Bytes of plaintext that nobody wants and that are hashed at once."""
_KEPT_MEMORY = 16 << 20
"""Bytes of memory for plaintexts that a thread keeps."""
_ALONE = 1 << 10
"""Sealed bytes a blob up to which one thread at a time opens them: two would wake each other for the interpreter's lock at
every blob, and take longer together than one after the other."""
_NO_IV = bytes(IV_SIZE)


class _Room(threading.local):
    """One thread's decompressor and memory."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompress
        self._memory = memoryview(bytearray())

    def memory(self, size: int) -> memoryview:
        """Memory of at least *size* bytes, the same again each time unless it is much."""
        if size <= len(self._memory):
            return self._memory
        memory = memoryview(bytearray(size + size // 4))
        if len(memory) <= _KEPT_MEMORY:
            self._memory = memory
        return memory


class Opener:
    """Opens blobs from any thread."""

    def __init__(self, cipher: BlobCipher) -> None:
        self._cipher = cipher
        self._room = _Room()
        self._turn = threading.Lock()

    @overload
    def open_many(
        self, data: Buffer, entries: Sequence[Range], keep: Literal[True], pack: Sha256 | None = None, again: bool = False
    ) -> list[bytes | memoryview | None]: ...
    @overload
    def open_many(
        self, data: Buffer, entries: Sequence[Range], keep: Literal[False], pack: Sha256 | None = None, again: bool = False
    ) -> list[bool]: ...
    def open_many(
        self, data: Buffer, entries: Sequence[Range], keep: bool, pack: Sha256 | None = None, again: bool = False
    ) -> list[bytes | memoryview | None] | list[bool]:
        """The plaintexts of *entries*, None where anything is wrong; or without *keep* only which are intact.

        Each is authenticated before it is decrypted, expanded into no more than the length it must have, and hashes to its
        id. With *pack* all of *data* is appended to that hash on the way; with *again* the plaintexts are good until this
        thread's next call.
        """
        opened: list[bytes | memoryview | None] = [None] * len(entries)
        if len(data) > _ALONE * len(entries):
            self._open(memoryview(data), entries, keep, again or not keep, pack, opened)
        else:
            with self._turn:
                self._open(memoryview(data), entries, keep, again or not keep, pack, opened)
        return opened if keep else [plain is not None for plain in opened]

    def _open(
        self,
        data: memoryview,
        entries: Sequence[Range],
        keep: bool,
        again: bool,
        pack: Sha256 | None,
        opened: list[bytes | memoryview | None],
    ) -> None:
        libraries, room = self._cipher.libraries, self._room
        contexts, mac_r, verify = libraries.contexts, libraries.mac_r, libraries.verify_tag
        mac_key, set_iv = contexts.block.update, contexts.counter.reset_nonce
        decrypt, decrypt_into = contexts.counter.update, contexts.counter.update_into
        memory, decompress, announced = room.memory, room.decompress, zstandard.frame_content_size
        failures = (libraries.invalid, zstandard.ZstdError)
        total = len(data)
        plain: bytes | memoryview
        waiting: list[bytes | memoryview] = []
        numbers: list[int] = []
        held = used = hashed = 0
        for number, (start, length, size, compressed, _) in enumerate(entries):
            end = start + length
            iv = bytes(data[start : start + IV_SIZE])
            if length < OVERHEAD or start < 0 or end > total or iv == _NO_IV:
                continue
            ciphertext = data[start + IV_SIZE : end - MAC_SIZE]
            try:
                verify(mac_r + mac_key(iv), ciphertext, bytes(data[end - MAC_SIZE : end]))
                set_iv(iv)
                if compressed:
                    target = memory(used + length)[used:]
                    plain = target[: decrypt_into(ciphertext, target)]
                    if announced(plain) not in (size, -1):
                        continue
                    # Frames of little announce nothing: then this is the memory they are given.
                    plain = decompress(plain, max_output_size=size, allow_extra_data=False)
                elif again:
                    target = memory(used + length)[used:]
                    plain = target[: decrypt_into(ciphertext, target)]
                    used += len(plain)
                else:
                    plain = decrypt(ciphertext)
            except failures:
                continue
            if len(plain) != size:
                continue
            waiting.append(plain)
            numbers.append(number)
            held += size
            if held >= _AT_ONCE and not keep:
                _compare(waiting, numbers, entries, keep, opened, pack, data[hashed:end])
                waiting, numbers, held, used, hashed = [], [], 0, 0, max(hashed, end)
        _compare(waiting, numbers, entries, keep, opened, pack, data[hashed:])


def _compare(
    plains: Sequence[bytes | memoryview],
    numbers: Sequence[int],
    entries: Sequence[Range],
    keep: bool,
    opened: list[bytes | memoryview | None],
    pack: Sha256 | None,
    data: memoryview,
) -> None:
    """Enter into *opened* what hashes to its id; *data* are appended to *pack*."""
    for plain, number, blob_id in zip(plains, numbers, hashes.ids_of(plains, pack, data), strict=True):
        if blob_id == entries[number][4]:
            opened[number] = plain if keep else b""
