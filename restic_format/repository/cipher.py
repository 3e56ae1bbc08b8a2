"""Sealing and opening messages with one master key: the specification's `seal` and `open_sealed`, with contexts that are kept.

Setting up an AES context costs more than encrypting a small message, so every thread keeps its own. `NativeCipher` uses the
machine's libcrypto, `LibraryCipher` the package `cryptography`, which takes longer to import than opening a repository takes
otherwise. What the native form refuses the library explains. A property test proves all forms equal.
"""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import Any, Protocol

from restic_format.native import blobs
from restic_spec.crypto import IV_SIZE, MAC_SIZE, OVERHEAD, MasterKey, check_iv
from restic_spec.errors import LengthInvalid, MacInvalid

Buffer = bytes | bytearray | memoryview


class Cipher(Protocol):
    """Seals and opens with one master key, from any thread."""

    @property
    def key(self) -> MasterKey:
        """The master key."""

    @property
    def library(self) -> LibraryCipher:
        """The library's form: it always works, and its errors say what is wrong."""

    def seal(self, plaintext: Buffer) -> bytes:
        """``IV || ciphertext || MAC`` under a fresh random IV (CRYPTO-1, CRYPTO-7)."""

    def open(self, sealed: Buffer) -> bytes:
        """Verify, then decrypt (CRYPTO-4).

        Raises:
            LengthInvalid, MacInvalid: see `restic_spec.crypto.open_sealed`.
        """

    def open_into(self, sealed: Buffer, target: memoryview) -> None:
        """`open` into memory of just the plaintext's length. Raises as `open`."""


def make_cipher(key: MasterKey) -> Cipher:
    """The fastest cipher this machine has."""
    return LibraryCipher(key) if blobs.UNAVAILABLE is not None else NativeCipher(key)


class LibraryCipher:
    """A `Cipher` that uses the package `cryptography`."""

    def __init__(self, key: MasterKey) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.poly1305 import Poly1305

        self.key = key
        self.contexts = _LibraryContexts(key)
        self.verify_tag = Poly1305.verify_tag
        self.generate_tag = Poly1305.generate_tag
        self.invalid = InvalidSignature

    @property
    def library(self) -> LibraryCipher:
        """The cipher itself."""
        return self

    def seal(self, plaintext: Buffer) -> bytes:
        """See `Cipher`."""
        sealed = bytearray(len(plaintext) + OVERHEAD)
        self.seal_into(plaintext, os.urandom(IV_SIZE), memoryview(sealed))
        return bytes(sealed)

    def seal_into(self, plaintext: Buffer, iv: bytes, target: memoryview) -> int:
        """Seal into the beginning of *target*, which may be longer than the sealed message; gives the length of that."""
        contexts = self.contexts
        end = IV_SIZE + len(plaintext)
        target[:IV_SIZE] = iv
        contexts.counter.reset_nonce(iv)
        # The library asks for room for a block more than it fills; the MAC comes there.
        contexts.counter.update_into(plaintext, target[IV_SIZE : end + MAC_SIZE])
        tag = self.generate_tag(self.key.mac_r + contexts.block.update(iv), target[IV_SIZE:end])
        target[end : end + MAC_SIZE] = tag
        return end + MAC_SIZE

    def open(self, sealed: Buffer) -> bytes:
        """See `Cipher`."""
        plaintext: bytes = self.contexts.counter.update(self._ciphertext(sealed))
        return plaintext

    def open_into(self, sealed: Buffer, target: memoryview) -> None:
        """See `Cipher`."""
        _check_length(sealed, target)
        target[:] = self.open(sealed)

    def open_within(self, sealed: Buffer, room: memoryview) -> memoryview:
        """The plaintext, at the beginning of *room*, which has as many bytes as *sealed*."""
        return room[: self.contexts.counter.update_into(self._ciphertext(sealed), room)]

    def _ciphertext(self, sealed: Buffer) -> memoryview:
        """What is to be decrypted, after the MAC was found to fit; the counter begins at the IV."""
        view = memoryview(sealed)
        if len(view) < OVERHEAD:
            raise LengthInvalid(f"sealed message of {len(view)} bytes is shorter than IV and MAC", clause="CRYPTO-1")
        contexts = self.contexts
        iv = bytes(view[:IV_SIZE])
        check_iv(iv)
        ciphertext = view[IV_SIZE:-MAC_SIZE]
        try:
            self.verify_tag(self.key.mac_r + contexts.block.update(iv), ciphertext, bytes(view[-MAC_SIZE:]))
        except self.invalid:
            raise MacInvalid("ciphertext verification failed", clause="CRYPTO-4") from None
        contexts.counter.reset_nonce(iv)
        return ciphertext


class NativeCipher:
    """A `Cipher` that uses the machine's libcrypto."""

    def __init__(self, key: MasterKey) -> None:
        self.key = key
        self._contexts = _NativeContexts(key)

    @property
    def context(self) -> blobs.Context:
        """This thread's native context."""
        return self._contexts.context

    @cached_property
    def library(self) -> LibraryCipher:
        """See `Cipher`."""
        return LibraryCipher(self.key)

    def seal(self, plaintext: Buffer) -> bytes:
        """See `Cipher`."""
        return self.context.seal(plaintext, os.urandom(IV_SIZE)) or self.library.seal(plaintext)

    def open(self, sealed: Buffer) -> bytes:
        """See `Cipher`."""
        plaintext = None
        if len(sealed) >= OVERHEAD:
            plaintext = self.context.open(sealed, len(sealed) - OVERHEAD, False)
        return self.library.open(sealed) if plaintext is None else plaintext

    def open_into(self, sealed: Buffer, target: memoryview) -> None:
        """See `Cipher`."""
        _check_length(sealed, target)
        if not self.context.open_into(sealed, target):
            self.library.open_into(sealed, target)


class _LibraryContexts(threading.local):
    """One thread's contexts; they are stateful and must not be shared."""

    def __init__(self, key: MasterKey) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self.counter: Any = Cipher(algorithms.AES(key.encrypt), modes.CTR(bytes(IV_SIZE))).encryptor()
        self.block = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor()


class _NativeContexts(threading.local):
    """One thread's native context."""

    def __init__(self, key: MasterKey) -> None:
        self.context = blobs.Context(key.encrypt, key.mac_k, key.mac_r)


def _check_length(sealed: Buffer, target: memoryview) -> None:
    if len(sealed) != len(target) + OVERHEAD:
        raise LengthInvalid(f"sealed message of {len(sealed)} bytes is not of {len(target)}", clause="CRYPTO-1")
