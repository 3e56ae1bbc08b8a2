"""Encryption and authentication: AES-256 in counter mode, then Poly1305-AES over the ciphertext.

A sealed message is ``IV (16) || ciphertext || MAC (16)``. The IV is both the initial counter block and, encrypted with the
MAC's AES key, the one-time pad of Poly1305. The MAC covers the ciphertext only, neither kind nor name of a file
(CRYPTO-10), and is checked before a byte is decrypted.

`cryptography` does the work. It is imported where it is needed: many programs only want the constants and the key.
"""

from __future__ import annotations

import os

import msgspec

from restic_spec.constants import DERIVED_KEY_SIZE, ENCRYPT_KEY_SIZE, MAC_K_SIZE, MAC_R_SIZE
from restic_spec.constants import IV_SIZE as IV_SIZE
from restic_spec.constants import MAC_SIZE as MAC_SIZE
from restic_spec.constants import OVERHEAD as OVERHEAD
from restic_spec.errors import LengthInvalid, MacInvalid


class MasterKey(msgspec.Struct, frozen=True):
    """Key material for one repository or, derived from a password, for one key file.

    ``encrypt``: AES-256 key, 32 bytes. ``mac_k``: AES-128 key of Poly1305-AES, 16 bytes. ``mac_r``: the Poly1305
    multiplier, 16 bytes (clamped by the algorithm, CRYPTO-6).

    Raises:
        LengthInvalid: a part has another size (CRYPTO-2), or consists of zeros (CRYPTO-11).
    """

    encrypt: bytes
    mac_k: bytes
    mac_r: bytes

    def __post_init__(self) -> None:
        if (len(self.encrypt), len(self.mac_k), len(self.mac_r)) != (ENCRYPT_KEY_SIZE, MAC_K_SIZE, MAC_R_SIZE):
            wanted = f"{ENCRYPT_KEY_SIZE} + {MAC_K_SIZE} + {MAC_R_SIZE}"
            raise LengthInvalid(f"key material must be {wanted} bytes", clause="CRYPTO-2")
        if not (any(self.encrypt) and any(self.mac_k) and any(self.mac_r)):
            raise LengthInvalid("key material consists of zeros: there is no key in it", clause="CRYPTO-11")

    def __repr__(self) -> str:
        return "MasterKey(…)"

    __str__ = __repr__

    @classmethod
    def generate(cls) -> MasterKey:
        """Fresh key material from the operating system's random source."""
        return cls(os.urandom(ENCRYPT_KEY_SIZE), os.urandom(MAC_K_SIZE), clamp(os.urandom(MAC_R_SIZE)))

    @classmethod
    def from_derived(cls, derived: bytes) -> MasterKey:
        """Split the 64 bytes that the key derivation function yields: AES key, then the MAC's k and r (KEY-4)."""
        if len(derived) != DERIVED_KEY_SIZE:
            raise LengthInvalid(f"derived key has {len(derived)} bytes, not {DERIVED_KEY_SIZE}", clause="KEY-4")
        mac_k, mac_r = ENCRYPT_KEY_SIZE, ENCRYPT_KEY_SIZE + MAC_K_SIZE
        return cls(derived[:mac_k], derived[mac_k:mac_r], derived[mac_r:])


def clamp(r: bytes) -> bytes:
    """Clear the bits of *r* (16 bytes) that Poly1305 requires to be zero (CRYPTO-6)."""
    value = int.from_bytes(r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    return value.to_bytes(MAC_R_SIZE, "little")


def poly1305_key(key: MasterKey, iv: bytes) -> bytes:
    """The 32-byte one-time key ``r || AES-128(k, iv)`` that authenticates the message with this *iv* (CRYPTO-5)."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    # ECB of a single block is the plain block cipher, which is what Poly1305-AES asks for.
    encryptor = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor()
    return key.mac_r + encryptor.update(iv)


def seal(key: MasterKey, plaintext: bytes | bytearray | memoryview, iv: bytes | None = None) -> bytes:
    """Encrypt (CRYPTO-3) and authenticate (CRYPTO-5) *plaintext*; the result is ``OVERHEAD`` bytes longer.

    *iv* (16 bytes) is drawn at random unless given; only test vectors give it, for an IV must never be used twice (CRYPTO-7).

    Raises:
        LengthInvalid: *iv* has another length.
        MacInvalid: *iv* is all zeros.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    if iv is None:
        iv = os.urandom(IV_SIZE)
    elif len(iv) != IV_SIZE:
        raise LengthInvalid(f"IV has {len(iv)} bytes, not {IV_SIZE}", clause="CRYPTO-1")
    check_iv(iv)
    encryptor = Cipher(algorithms.AES(key.encrypt), modes.CTR(iv)).encryptor()
    ciphertext = encryptor.update(plaintext)
    return b"".join((iv, ciphertext, Poly1305.generate_tag(poly1305_key(key, iv), ciphertext)))


def check_iv(iv: bytes) -> None:
    """Raise `MacInvalid` for an IV of zeros (CRYPTO-8)."""
    if not any(iv):
        raise MacInvalid("IV consists of zeros, as in a block of storage that was wiped", clause="CRYPTO-8")


def open_sealed(key: MasterKey, sealed: bytes | bytearray | memoryview) -> bytes:
    """Verify and decrypt a sealed message.

    Raises:
        LengthInvalid: shorter than IV and MAC together.
        MacInvalid: the MAC does not fit, or the IV is all zeros; nothing has been decrypted.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    view = memoryview(sealed)
    if len(view) < OVERHEAD:
        raise LengthInvalid(f"sealed message of {len(view)} bytes is shorter than IV and MAC", clause="CRYPTO-1")
    iv = bytes(view[:IV_SIZE])
    check_iv(iv)
    ciphertext = view[IV_SIZE:-MAC_SIZE]
    try:
        Poly1305.verify_tag(poly1305_key(key, iv), ciphertext, bytes(view[-MAC_SIZE:]))
    except InvalidSignature:
        raise MacInvalid("ciphertext verification failed", clause="CRYPTO-4") from None
    return Cipher(algorithms.AES(key.encrypt), modes.CTR(iv)).decryptor().update(ciphertext)
