"""Key files: how a password opens the repository's master key.

A key file is plain JSON (KEY-1). scrypt derives 64 bytes from password and salt (KEY-4); they seal the JSON of the master key
in ``data`` (KEY-7). A repository has one master key and any number of key files that hold it (KEY-10).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from restic_spec import gojson, gotime, wire
from restic_spec.constants import DERIVED_KEY_SIZE
from restic_spec.crypto import MasterKey, open_sealed, seal
from restic_spec.errors import JsonInvalid, KdfInvalid, KdfUnavailable

SALT_SIZE = 64
"""Bytes of salt (KEY-5)."""

MAX_KDF_MEMORY = 1 << 30
"""Bytes scrypt may take (128 · r · (N + p)); parameters beyond it are refused before memory is taken (KEY-6)."""

MAX_KDF_WORK = 1 << 25
"""Bound on N · r · p, so that hostile parameters cannot stall a machine: twenty times what restic uses today."""


class Kdf(msgspec.Struct, frozen=True):
    """scrypt parameters and salt.

    Raises:
        KdfInvalid: parameters that make no sense or cost too much (KEY-6), or a salt of another length (KEY-5).
    """

    N: int
    r: int
    p: int
    salt: bytes

    def __post_init__(self) -> None:
        if self.N < 2 or self.N & (self.N - 1) or self.r < 1 or self.p < 1:
            raise KdfInvalid(f"scrypt parameters N={self.N} r={self.r} p={self.p} make no sense", clause="KEY-6")
        if 128 * self.r * (self.N + self.p) > MAX_KDF_MEMORY or self.N * self.r * self.p > MAX_KDF_WORK:
            raise KdfInvalid(
                f"scrypt parameters N={self.N} r={self.r} p={self.p} exceed what this program will compute",
                clause="KEY-6",
            )
        if len(self.salt) != SALT_SIZE:
            raise KdfInvalid(f"salt has {len(self.salt)} bytes, not {SALT_SIZE}", clause="KEY-5")


class KeyFile(wire.Document):
    """A file in ``keys/``; its name is the SHA-256 of its bytes. Fields in stored order (KEY-2)."""

    created: str | None = None
    """When the key was added (KEY-2), RFC 3339; rustic may leave it out (KEY-12)."""
    username: str | None = None
    """User who added it (KEY-2); rustic may leave it out (KEY-12)."""
    hostname: str | None = None
    """Host it was added on (KEY-2); rustic may leave it out (KEY-12)."""
    kdf: str = ""
    """Name of the key derivation function: ``scrypt``, the only one (KEY-3)."""
    N: int | None = None
    """scrypt's cost, a power of two (KEY-6)."""
    r: int | None = None
    """scrypt's block size (KEY-6)."""
    p: int | None = None
    """scrypt's parallelisation (KEY-6)."""
    salt: bytes | None = None
    """64 random bytes that scrypt takes beside the password (KEY-5), base64 in JSON (KEY-8)."""
    data: bytes | None = None
    """The sealed master key (KEY-7), base64 in JSON (KEY-8)."""

    def derivation(self) -> Kdf:
        """The checked scrypt parameters.

        Raises:
            KdfInvalid: another function, or parameters that are missing, senseless or out of bounds.
        """
        if self.kdf != "scrypt":
            raise KdfInvalid(f"key derivation function {self.kdf!r} is unknown, only scrypt is", clause="KEY-3")
        if self.N is None or self.r is None or self.p is None or self.salt is None:
            raise KdfInvalid("scrypt parameters are incomplete", clause="KEY-2")
        return Kdf(self.N, self.r, self.p, self.salt)


class MacKeyJson(msgspec.Struct):
    """The key of Poly1305-AES as it is written (CRYPTO-2)."""

    k: bytes
    """AES-128 key, base64 in JSON (KEY-7)."""
    r: bytes
    """Multiplier of Poly1305, base64 in JSON (KEY-7)."""


class MasterKeyJson(msgspec.Struct):
    """The master key as it is sealed in a key file (KEY-7)."""

    mac: MacKeyJson
    """Key material for authentication (KEY-7)."""
    encrypt: bytes
    """AES-256 key, base64 in JSON (KEY-7)."""


def decode_keyfile(raw: bytes, what: str = "key file") -> KeyFile:
    """Parse a key file.

    Raises:
        JsonInvalid: not JSON, not a key file's, or an invalid time.
    """
    key = wire.decode(KeyFile, raw, what, "KEY-1")
    if key.created:
        gotime.check(key.created, what, "KEY-2")
    if not key.data:
        raise JsonInvalid("holds no sealed key", object=what, clause="KEY-7")
    return key


def encode_keyfile(key: KeyFile) -> bytes:
    """The bytes to store for *key*."""
    return wire.encode(key)


def derive(password: bytes, kdf: Kdf) -> MasterKey:
    """The key that seals a key file's ``data``, from the *password*'s UTF-8 bytes (KEY-4). Raises as `scrypt`."""
    return MasterKey.from_derived(scrypt(password, kdf.salt, kdf.N, kdf.r, kdf.p))


def scrypt(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    """64 bytes derived by hashlib.

    Raises:
        MemoryError: the tables do not fit into the memory.
        KdfUnavailable: this Python's OpenSSL does not offer scrypt.
    """
    try:
        return hashlib.scrypt(
            password, salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 2) + (1 << 20), dklen=DERIVED_KEY_SIZE
        )
    except (AttributeError, ValueError) as error:
        what = "this Python cannot derive keys: its OpenSSL has no scrypt, or does not allow it (FIPS mode)"
        raise KdfUnavailable(f"{what}; use a Python whose hashlib.scrypt works", cause=error) from error


def encode_master_key(key: MasterKey) -> bytes:
    """The JSON of a master key, as it is sealed inside a key file (KEY-7)."""
    return gojson.encode(MasterKeyJson(MacKeyJson(key.mac_k, key.mac_r), key.encrypt))


def decode_master_key(raw: bytes) -> MasterKey:
    """Reverse `encode_master_key`, and check what it holds (KEY-11).

    Raises:
        JsonInvalid: not of that schema.
        LengthInvalid: key material of the wrong size.
    """
    parsed: MasterKeyJson = wire.decode_known(msgspec.json.Decoder(MasterKeyJson), raw, "master key", "KEY-7")
    return MasterKey(parsed.encrypt, parsed.mac.k, parsed.mac.r)


def unwrap(
    keyfile: KeyFile,
    password: bytes,
    derive: Callable[[bytes, Kdf], MasterKey] = derive,
    open_sealed: Callable[[MasterKey, bytes], bytes] = open_sealed,
) -> MasterKey:
    """Open the master key in *keyfile* with *password*; other implementations of the two steps may be given.

    Raises:
        MacInvalid: wrong password, or a damaged key file: the two cannot be told apart (KEY-9).
        KdfInvalid: see `KeyFile.derivation`.
    """
    return decode_master_key(open_sealed(derive(password, keyfile.derivation()), keyfile.data or b""))


def wrap(
    master: MasterKey,
    password: bytes,
    kdf: Kdf,
    *,
    created: str,
    username: str,
    hostname: str,
    derive: Callable[[bytes, Kdf], MasterKey] = derive,
) -> KeyFile:
    """A new key file that opens *master* with *password*; another implementation of the derivation may be given."""
    return KeyFile(
        created=created,
        username=username,
        hostname=hostname,
        kdf="scrypt",
        N=kdf.N,
        r=kdf.r,
        p=kdf.p,
        salt=kdf.salt,
        data=seal(derive(password, kdf), encode_master_key(master)),
    )
