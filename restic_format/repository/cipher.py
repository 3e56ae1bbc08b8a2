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


class _Libraries:
    """Seals and opens with `cryptography`."""

    def __init__(self, key: MasterKey) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.poly1305 import Poly1305

        self._contexts = _Contexts(key)
        self._mac_r = key.mac_r
        self._poly1305 = Poly1305
        self._invalid = InvalidSignature

    def seal(self, plaintext: Buffer, iv: bytes) -> bytes:
        contexts = self._contexts
        contexts.counter.reset_nonce(iv)
        ciphertext = contexts.counter.update(plaintext)
        tag = self._poly1305.generate_tag(self._mac_r + contexts.block.update(iv), ciphertext)
        return b"".join((iv, ciphertext, tag))

    def open(self, sealed: Buffer) -> bytes:
        view = memoryview(sealed)
        if len(view) < OVERHEAD:
            raise LengthInvalid(f"sealed message of {len(view)} bytes is shorter than IV and MAC", clause="CRYPTO-1")
        contexts = self._contexts
        iv = bytes(view[:IV_SIZE])
        check_iv(iv)
        ciphertext = view[IV_SIZE:-MAC_SIZE]
        try:
            self._poly1305.verify_tag(self._mac_r + contexts.block.update(iv), ciphertext, bytes(view[-MAC_SIZE:]))
        except self._invalid:
            raise MacInvalid("ciphertext verification failed", clause="CRYPTO-4") from None
        contexts.counter.reset_nonce(iv)
        plaintext: bytes = contexts.counter.update(ciphertext)
        return plaintext


class BlobCipher:
    """Seals and opens with one master key, from any thread."""

    def __init__(self, key: MasterKey) -> None:
        self._key = key
        self._kernel = None if blobs.UNAVAILABLE is not None else _Kernel(key)
        self._libraries: _Libraries | None = None

    @property
    def context(self) -> blobs.Context | None:
        """The kernel's context for this thread, where there is a kernel."""
        return None if self._kernel is None else self._kernel.context

    @property
    def _twin(self) -> _Libraries:
        if self._libraries is None:
            self._libraries = _Libraries(self._key)
        return self._libraries

    def seal(self, plaintext: Buffer) -> bytes:
        """``IV || ciphertext || MAC`` under a fresh random IV (CRYPTO-1, CRYPTO-7)."""
        iv = os.urandom(IV_SIZE)
        context = self.context
        if context is not None:
            done = context.seal(plaintext, iv)
            if done is not None:
                return done
        return self._twin.seal(plaintext, iv)

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
        return self._twin.open(sealed)

    def open_into(self, sealed: Buffer, target: memoryview) -> None:
        """`open` into memory of just the plaintext's length. Raises as `open`."""
        if len(sealed) != len(target) + OVERHEAD:
            raise LengthInvalid(f"sealed message of {len(sealed)} bytes is not of {len(target)}", clause="CRYPTO-1")
        context = self.context
        if context is None or not context.open_into(sealed, target):
            target[:] = self._twin.open(sealed)
