"""Keys of a repository: finding the one a password opens, adding, removing."""

from __future__ import annotations

import hashlib
import os
import pwd
import time
from typing import NamedTuple

from restic_format.errors import StorageError, WrongPassword
from restic_format.native import scrypt
from restic_format.repository.cipher import make_cipher
from restic_format.storage import Storage
from restic_spec import gotime
from restic_spec.crypto import MasterKey
from restic_spec.errors import SpecError
from restic_spec.ids import id_of
from restic_spec.keyfile import SALT_SIZE, Kdf, KeyFile, decode_keyfile, encode_keyfile, unwrap, wrap
from restic_spec.layout import FileKind

MAX_KEYS_TRIED = 20
"""Key files tried with a password before giving up, as restic does."""

_CALIBRATION_SECONDS = 0.5
_COST = 1 << 15
_BLOCK = 8
_LANE_OF_RESTIC = 0.68
"""Time that restic 0.19 takes for a lane, as a part of what hashlib takes: 69 of 101 ms on an AMD EPYC."""


class OpenedKey(NamedTuple):
    """The key file a password opened, and the master key in it."""

    id: bytes
    master: MasterKey


class User(NamedTuple):
    """Who runs this program, as it goes into keys, locks and snapshots."""

    name: str
    uid: int
    gid: int


def current_user() -> User:
    """Who the user database says this process belongs to; what the environment says only where it does not say."""
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(os.environ.get("USER", ""), uid, os.getgid())
    return User(entry.pw_name, uid, entry.pw_gid)


def current_host() -> str:
    """The name of this machine."""
    return os.uname().nodename


def calibrate() -> Kdf:
    """scrypt parameters that take restic about half a second and 32 MiB on this machine (KEY-13), with fresh salt.

    They do not depend on what `restic_format.native.scrypt` can do: others open the repository, too.
    """
    start = time.thread_time()
    hashlib.scrypt(b"", salt=b"", n=_COST, r=_BLOCK, p=1, maxmem=64 << 20, dklen=64)
    lane = max((time.thread_time() - start) * _LANE_OF_RESTIC, 1e-3)
    return Kdf(_COST, _BLOCK, min(max(int(_CALIBRATION_SECONDS / lane), 1), 16), os.urandom(SALT_SIZE))


def _derive(password: bytes, kdf: Kdf) -> MasterKey:
    return MasterKey.from_derived(scrypt.derive(password, kdf.salt, kdf.N, kdf.r, kdf.p))


def _derive_new(password: bytes, kdf: Kdf) -> MasterKey:
    """For a key that is yet to be stored: nothing must depend on our own code being right on this processor."""
    return MasterKey.from_derived(scrypt.derive_by_library(password, kdf.salt, kdf.N, kdf.r, kdf.p))


def _open(key: MasterKey, sealed: bytes) -> bytes:
    return make_cipher(key).open(sealed)


def load_key(storage: Storage, name: str) -> KeyFile:
    """Read and parse a key file.

    Raises:
        IdMismatch, JsonInvalid: it is damaged.
    """
    raw = storage.load(FileKind.KEY, name)
    return decode_keyfile(raw, f"key {name[:8]}")


def open_key(key: KeyFile, password: bytes) -> MasterKey:
    """The master key in a key file.

    Raises:
        SpecError: see `restic_spec.keyfile.unwrap`.
    """
    return unwrap(key, password, _derive, _open)


def find_key(storage: Storage, password: bytes, hint: str | None = None) -> OpenedKey:
    """The first key file that *password* opens; the one whose name starts with *hint* is tried first (KEY-14).

    A damaged key file does not keep the others from being tried.

    Raises:
        WrongPassword: none of them opens.
    """
    names = [name for name, _ in storage.list(FileKind.KEY)]
    if hint:
        names.sort(key=lambda name: not name.startswith(hint))
    damaged: list[str] = []
    for name in names[:MAX_KEYS_TRIED]:
        try:
            return OpenedKey(bytes.fromhex(name), open_key(load_key(storage, name), password))
        except SpecError as error:
            # A damaged key file looks like a wrong password, unless its name tells.
            changed = id_of(storage.load(FileKind.KEY, name)).hex() != name
            if changed or error.layer != "mac-invalid":
                damaged.append(f"key {name[:8]}: {'its content does not match its name' if changed else error}")
        except StorageError as error:
            damaged.append(str(error))
    detail = f" (unusable: {'; '.join(damaged)})" if damaged else ""
    raise WrongPassword(f"wrong password or no key found{detail}")


def add_key(
    storage: Storage,
    master: MasterKey,
    password: bytes,
    *,
    kdf: Kdf | None = None,
    username: str | None = None,
    hostname: str | None = None,
) -> bytes:
    """Store a new key file that opens *master* with *password*; returns its id."""
    key = wrap(
        master,
        password,
        kdf or calibrate(),
        created=gotime.format_ns(time.time_ns()),
        username=username or current_user().name,
        hostname=hostname or current_host(),
        derive=_derive_new,
    )
    raw = encode_keyfile(key)
    key_id = id_of(raw)
    storage.save(FileKind.KEY, key_id.hex(), raw)
    return key_id
