"""Judges: whether a candidate for a sealed message is what was there before the damage (SOLVE-3).

A candidate's MAC fits by the way it was found, so that it proves nothing; a judge looks at what the MAC cannot know: the
SHA-256 of the content or of the file, or that a document is one. Places are those in the sealed message, IV and MAC included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

from restic_spec.crypto import IV_SIZE, MAC_SIZE, MasterKey
from restic_spec.errors import SpecError
from restic_spec.pack import MAX_BLOB_SIZE
from restic_spec.solving import Buffer, Candidate
from restic_spec.unpacked import decompress

Edits = Sequence[Candidate]
"""What stands elsewhere than was read: pieces that do not overlap, in order."""


class Judge(Protocol):
    """Judges candidates for one message, from any thread."""

    @property
    def certain(self) -> bool:
        """Whether it knows every byte: then it accepts nothing but the right one, whatever it is asked."""

    def accepts(self, edits: Edits) -> bool:
        """Whether the message with these *edits* is the right one."""

    def series(self, start: int) -> Callable[[Candidate], bool]:
        """The same for many single edits at or behind *start*; for one thread."""


def edited(data: Buffer, edits: Edits) -> bytearray:
    """A copy of *data* with *edits* in it."""
    copy = bytearray(data)
    for start, content in edits:
        copy[start : start + len(content)] = content
    return copy


class FileJudge:
    """Judges a file of one sealed message by its name, the SHA-256 of all of its bytes (LAYOUT-1)."""

    certain = True

    def __init__(self, data: Buffer, file_id: bytes) -> None:
        self._data = memoryview(data)
        self._id = file_id

    def accepts(self, edits: Edits) -> bool:
        """See `Judge`."""
        return hashlib.sha256(edited(self._data, edits)).digest() == self._id

    def series(self, start: int) -> Callable[[Candidate], bool]:
        """See `Judge`."""
        return _hashed(self._data, start, self._id, lambda candidate: candidate)


class ContentJudge:
    """Judges a blob by its id: SHA-256 of what is decrypted and, where it has an *uncompressed_length*, expanded (LAYOUT-6).

    The MAC is not looked at. Memory is bounded by the stated length; a longer one than a blob may have is never accepted
    (PACK-14).
    """

    certain = True

    def __init__(self, key: MasterKey, sealed: Buffer, uncompressed_length: int | None, blob_id: bytes) -> None:
        self._key = key
        self._sealed = memoryview(sealed)
        self._length = uncompressed_length
        self._id = blob_id
        self._image = decrypted(key, self._sealed)
        self._possible = (len(sealed) if uncompressed_length is None else uncompressed_length) <= MAX_BLOB_SIZE

    def accepts(self, edits: Edits) -> bool:
        """See `Judge`."""
        return self.plaintext(edits) is not None

    def plaintext(self, edits: Edits) -> bytes | None:
        """What the blob holds with these *edits*; None where it is not the right one."""
        if any(start < IV_SIZE for start, _content in edits):
            image = decrypted(self._key, edited(self._sealed, edits))
        else:
            image = bytes(
                edited(self._image, [self._opened(edit) for edit in edits if edit.start < len(self._sealed) - MAC_SIZE])
            )
        return self._judged(image)

    def _judged(self, image: bytes | bytearray) -> bytes | None:
        return content_of(image, self._length, self._id) if self._possible else None

    def _opened(self, edit: Candidate) -> Candidate:
        """An edit of the ciphertext as one of the plaintext: a bit that is wrong in one is wrong in the other (CRYPTO-3)."""
        start, content = edit.start - IV_SIZE, edit.content[: len(self._sealed) - MAC_SIZE - edit.start]
        end = start + len(content)
        keystream = _xor(self._image[start:end], self._sealed[edit.start : edit.start + len(content)])
        return Candidate(start, _xor(content, keystream))

    def series(self, start: int) -> Callable[[Candidate], bool]:
        """See `Judge`."""
        if self._length is None:
            return _hashed(memoryview(self._image), start - IV_SIZE, self._id, self._opened)
        image = bytearray(self._image)

        def accepts(candidate: Candidate) -> bool:
            place, content = self._opened(candidate)
            before = image[place : place + len(content)]
            image[place : place + len(content)] = content
            try:
                return self._judged(image) is not None
            finally:
                image[place : place + len(content)] = before

        return accepts


class DocumentJudge:
    """Judges a sealed document by what it is: *parse* raises where its plaintext is none. For what has no SHA-256 of its own:
    the config, the master key in a key file, the header of a pack.
    """

    certain = False

    def __init__(self, key: MasterKey, sealed: Buffer, parse: Callable[[bytes], object]) -> None:
        self._key = key
        self._sealed = sealed
        self._parse = parse

    def accepts(self, edits: Edits) -> bool:
        """See `Judge`."""
        try:
            self._parse(decrypted(self._key, edited(self._sealed, edits)))
        except SpecError:
            return False
        return True

    def series(self, start: int) -> Callable[[Candidate], bool]:
        """See `Judge`."""
        del start
        return lambda candidate: self.accepts([candidate])


def content_of(image: bytes | bytearray, uncompressed_length: int | None, blob_id: bytes) -> bytes | None:
    """What a blob holds whose decrypted bytes are *image*; None where it is not the blob with this id (PACK-13)."""
    plaintext = bytes(image)
    if uncompressed_length is not None:
        try:
            plaintext = decompress(plaintext, min(uncompressed_length, MAX_BLOB_SIZE), "PACK-12")
        except SpecError:
            return None
    return plaintext if hashlib.sha256(plaintext).digest() == blob_id else None


def decrypted(key: MasterKey, sealed: Buffer) -> bytes:
    """The plaintext of a sealed message whose MAC is not looked at: to be judged before it is used."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    view = memoryview(sealed)
    cipher = Cipher(algorithms.AES(key.encrypt), modes.CTR(bytes(view[:IV_SIZE])))
    plaintext: bytes = cipher.decryptor().update(view[IV_SIZE:-MAC_SIZE])
    return plaintext


def _hashed(
    image: memoryview, start: int, wanted: bytes, opened: Callable[[Candidate], Candidate]
) -> Callable[[Candidate], bool]:
    """Judges by the hash of *image*; what stands before *start* is hashed once."""
    prefix = hashlib.sha256(image[:start])

    def accepts(candidate: Candidate) -> bool:
        place, content = opened(candidate)
        found = prefix.copy()
        found.update(image[start:place])
        found.update(content)
        found.update(image[place + len(content) :])
        return found.digest() == wanted

    return accepts


def _xor(one: Buffer, other: Buffer) -> bytes:
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")
