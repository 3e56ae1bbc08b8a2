"""Sealing and opening many messages: the specification's `seal` and `open_sealed` with cipher contexts kept per thread.

Setting up an AES context costs more than encrypting a small blob. The kernel does both with the machine's libcrypto; where
there is no kernel, and to say what is wrong with a message, `cryptography` is imported, which takes longer than opening a
repository otherwise does. A property test proves all forms equal.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from restic_format.native import blobs
from restic_spec.crypto import IV_SIZE, MAC_SIZE, OVERHEAD, MasterKey, check_iv
from restic_spec.errors import LengthInvalid, MacInvalid

Buffer = bytes | bytearray | memoryview


class _Kernel(threading.local):
    """One thread's context of the kernel."""

    def __init__(self, key: MasterKey) -> None:
        self.context = blobs.Context(key.encrypt, key.mac_k, key.mac_r)


class _Contexts(threading.local):
    """One thread's contexts; they are stateful and must not be shared."""

    def __init__(self, key: MasterKey) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self.counter: Any = Cipher(algorithms.AES(key.encrypt), modes.CTR(bytes(IV_SIZE))).encryptor()
        self.block = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor()


class Libraries:
    """Seals and opens with `cryptography`."""

    def __init__(self, key: MasterKey) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.poly1305 import Poly1305

        self.contexts = _Contexts(key)
        self.mac_r = key.mac_r
        self.verify_tag = Poly1305.verify_tag
        self.generate_tag = Poly1305.generate_tag
        self.invalid = InvalidSignature

    def seal(self, plaintext: Buffer, iv: bytes) -> bytes:
        """The sealed message."""
        sealed = bytearray(len(plaintext) + OVERHEAD)
        self.seal_into(plaintext, iv, memoryview(sealed))
        return bytes(sealed)

    def seal_into(self, plaintext: Buffer, iv: bytes, target: memoryview) -> int:
        """Seal into the beginning of *target*, which may be longer than the sealed message; gives the length of that."""
        contexts = self.contexts
        end = IV_SIZE + len(plaintext)
        target[:IV_SIZE] = iv
        contexts.counter.reset_nonce(iv)
        # The library asks for room for a block more than it fills; the MAC comes there.
        contexts.counter.update_into(plaintext, target[IV_SIZE : end + MAC_SIZE])
        tag = self.generate_tag(self.mac_r + contexts.block.update(iv), target[IV_SIZE:end])
        target[end : end + MAC_SIZE] = tag
        return end + MAC_SIZE

    def open(self, sealed: Buffer) -> bytes:
        """The plaintext."""
        plaintext: bytes = self.contexts.counter.update(self._ciphertext(sealed))
        return plaintext

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
            self.verify_tag(self.mac_r + contexts.block.update(iv), ciphertext, bytes(view[-MAC_SIZE:]))
        except self.invalid:
            raise MacInvalid("ciphertext verification failed", clause="CRYPTO-4") from None
        contexts.counter.reset_nonce(iv)
        return ciphertext


class BlobCipher:
    """Seals and opens with one master key, from any thread."""

    def __init__(self, key: MasterKey) -> None:
        self.key = key
        self._kernel = None if blobs.UNAVAILABLE is not None else _Kernel(key)
        self._libraries: Libraries | None = None

    @property
    def context(self) -> blobs.Context | None:
        """The kernel's context for this thread, where there is a kernel."""
        return None if self._kernel is None else self._kernel.context

    @property
    def libraries(self) -> Libraries:
        """The libraries' bindings, which work without a kernel, too."""
        if self._libraries is None:
            self._libraries = Libraries(self.key)
        return self._libraries

    def seal(self, plaintext: Buffer) -> bytes:
        """``IV || ciphertext || MAC`` under a fresh random IV (CRYPTO-1, CRYPTO-7)."""
        iv = os.urandom(IV_SIZE)
        context = self.context
        if context is not None:
            done = context.seal(plaintext, iv)
            if done is not None:
                return done
        return self.libraries.seal(plaintext, iv)

    def open(self, sealed: Buffer) -> bytes:
        """Verify, then decrypt (CRYPTO-4).

        Raises:
            LengthInvalid, MacInvalid: see `restic_spec.crypto.open_sealed`.
        """
        context = self.context
        if context is not None and len(sealed) >= OVERHEAD:
            plaintext = context.open(sealed, len(sealed) - OVERHEAD, False)
            if plaintext is not None:
                return plaintext
        return self.libraries.open(sealed)

    def open_into(self, sealed: Buffer, target: memoryview) -> None:
        """`open` into memory of just the plaintext's length. Raises as `open`."""
        if len(sealed) != len(target) + OVERHEAD:
            raise LengthInvalid(f"sealed message of {len(sealed)} bytes is not of {len(target)}", clause="CRYPTO-1")
        context = self.context
        if context is None or not context.open_into(sealed, target):
            target[:] = self.libraries.open(sealed)
