"""Creating a repository: folders, a key file, then the config (ORDER-7, CONFIG-7).

Of several who do this at once at one place, one succeeds. Who fails leaves neither a key nor empty folders behind. What a
killed call has left is gone on with: a key that the password opens, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from restic_format.errors import (
    ConfigExists,
    DamagedFile,
    FileExists,
    FileMissing,
    KeyUnusable,
    SpecError,
    StorageError,
    WrongPassword,
)
from restic_format.repository.cipher import Cipher, make_cipher
from restic_format.repository.keys import OpenedKey, find_key
from restic_format.storage import Storage
from restic_spec.config import Config, decode_config, encode_config
from restic_spec.crypto import MasterKey
from restic_spec.layout import FileKind


def create(storage: Storage, config: Config, password: bytes, add_key: Callable[[MasterKey], bytes]) -> OpenedKey:
    """Store what a repository is when it is new, with *add_key* for its first key file; that key.

    Raises:
        ConfigExists: one is there already, or keys of one are.
        DamagedFile: the config that was stored is not what can be read; it was removed again.
        KeyUnusable: the key file that was stored is not what can be read; it was removed again.
        StorageError: something could not be stored.
    """
    there = ConfigExists(f"create repository at {storage.location} failed: config file already exists")
    if storage.exists(FileKind.CONFIG, ""):
        raise there
    left_over = _key_left_over(storage, password)
    plaintext = encode_config(config)
    decode_config(plaintext)
    key = left_over or OpenedKey(b"", MasterKey.generate())
    cipher = make_cipher(key.master)
    sealed = cipher.seal(plaintext)
    added = b""
    try:
        storage.create()
        if left_over is None:
            added = add_key(key.master)
            key = key._replace(id=added)
        storage.save_new(FileKind.CONFIG, "", sealed)
        if storage.load(FileKind.CONFIG, "") != sealed:
            if _config_belongs(storage, cipher) or any(name != key.id.hex() for name, _ in storage.list(FileKind.KEY)):
                raise there  # Where a storage replaces what is there, that of another call.
            storage.remove(FileKind.CONFIG, "")
            raise DamagedFile("the new config is not what was stored, and was removed again; the storage is unreliable")
        if left_over is not None and not storage.exists(FileKind.KEY, key.id.hex()):
            # Who made it is there after all, has failed, and took it back.
            added = add_key(key.master)
            key = key._replace(id=added)
    except BaseException as error:
        _take_back(storage, added, cipher)
        if isinstance(error, FileExists):
            raise there from error
        raise
    return key


def _key_left_over(storage: Storage, password: bytes) -> OpenedKey | None:
    """The key that an interrupted `create` has left; None where there are no keys.

    Raises:
        ConfigExists: these may be what is left of a repository.
    """
    try:
        if not any(True for _ in storage.list(FileKind.KEY)):
            return None
    except FileMissing:
        return None  # not even the bucket is there that they would be in
    reason = "repository already contains keys"
    if any(True for kind in (FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK) for _ in storage.list(kind)):
        reason += ", and files that they open: its config is missing, do not create another one but look for it"
    else:
        try:
            return find_key(storage, password)
        except (WrongPassword, KeyUnusable, DamagedFile):
            reason += (
                " that this password does not open; if they were left by an interrupted init, use its password or remove them"
            )
    raise ConfigExists(f"create repository at {storage.location} failed: {reason}")


def _take_back(storage: Storage, key_id: bytes, cipher: Cipher) -> None:
    """Take back what a failed `create` has made: the key file (`b""` for none) and folders.

    The key stays where there is a config that it belongs to, or that cannot be told: the call may have failed after storing it,
    and another one may have gone on with the key. The folders stay wherever there is a config.
    """
    try:
        belongs = _config_belongs(storage, cipher)
        if key_id and not belongs:
            raw = storage.load(FileKind.KEY, key_id.hex())
            storage.remove(FileKind.KEY, key_id.hex())
            if belongs is None and _config_belongs(storage, cipher):
                storage.save(FileKind.KEY, key_id.hex(), raw)
                return
        if belongs is None:
            storage.uncreate()
    except StorageError:
        return


def _config_belongs(storage: Storage, cipher: Cipher) -> bool | None:
    """Whether *cipher* opens the config; None where there is none. Raises `StorageError` where that cannot be told."""
    try:
        cipher.open(storage.load(FileKind.CONFIG, ""))
    except FileMissing:
        return None
    except SpecError:
        return False
    return True
