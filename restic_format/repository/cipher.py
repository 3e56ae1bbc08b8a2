"""Sealing and opening many blobs: the specification's `seal` and `open_sealed` with cipher contexts kept per thread.

Setting up an AES context costs more than encrypting a small blob. A property test proves both forms equal.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from restic_spec.crypto import IV_SIZE, MAC_SIZE, OVERHEAD, MasterKey, check_iv
from restic_spec.errors import LengthInvalid, MacInvalid

Buffer = bytes | bytearray | memoryview


class _Contexts(threading.local):
    """One thread's contexts; they are stateful and must not be shared."""

    def __init__(self, key: MasterKey) -> None:
        self.counter: Any = Cipher(algorithms.AES(key.encrypt), modes.CTR(bytes(IV_SIZE))).encryptor()
        self.block = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor()


class BlobCipher:
    """Seals and opens with one master key, from any thread."""

    def __init__(self, key: MasterKey) -> None:
        self._contexts = _Contexts(key)
        self._mac_r = key.mac_r

    def seal(self, plaintext: Buffer) -> bytes:
        """``IV || ciphertext || MAC`` under a fresh random IV (CRYPTO-1, CRYPTO-7)."""
        contexts = self._contexts
        iv = os.urandom(IV_SIZE)
        contexts.counter.reset_nonce(iv)
        ciphertext = contexts.counter.update(plaintext)
        tag = Poly1305.generate_tag(self._mac_r + contexts.block.update(iv), ciphertext)
        return b"".join((iv, ciphertext, tag))

    def open(self, sealed: Buffer) -> bytes:
        """Verify, then decrypt (CRYPTO-4).

        Raises:
            LengthInvalid, MacInvalid: see `restic_spec.crypto.open_sealed`.
        """
        view = memoryview(sealed)
        if len(view) < OVERHEAD:
            raise LengthInvalid(f"sealed message of {len(view)} bytes is shorter than IV and MAC", clause="CRYPTO-1")
        contexts = self._contexts
        iv = bytes(view[:IV_SIZE])
        check_iv(iv)
        ciphertext = view[IV_SIZE:-MAC_SIZE]
        try:
            Poly1305.verify_tag(self._mac_r + contexts.block.update(iv), ciphertext, bytes(view[-MAC_SIZE:]))
        except InvalidSignature:
            raise MacInvalid("ciphertext verification failed", clause="CRYPTO-4") from None
        contexts.counter.reset_nonce(iv)
        plaintext: bytes = contexts.counter.update(ciphertext)
        return plaintext
