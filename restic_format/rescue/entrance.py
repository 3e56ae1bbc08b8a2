"""The entrance: what a repository needs to be opened. Key files and the config are brought back, or a config is made anew.

A config that nothing gives back is made from what a key opens: the other files tell the version, and the places at which files
were cut the polynomial that chose them (`restic_format.rescue.polynomial`). Its id is drawn anew, and so is the polynomial
where there are too few such places. Nothing in the repository depends on them: all snapshots can be restored. But caches are
made anew, and with another polynomial the next backup of a file that has changed, or that is not in the parent snapshot, stores
most of it once more.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from restic_format.errors import DamagedFile, FileMissing, FileUnusable, KeyUnusable, SpecError, StorageError, WrongPassword
from restic_format.repository import Repository
from restic_format.repository.cipher import Cipher, make_cipher
from restic_format.repository.halves import store_hot_config
from restic_format.repository.keys import (
    OpenedKey,
    find_key,
    opening_keys,
    opens_others,
)
from restic_format.rescue.budget import Budget
from restic_format.rescue.means import Means
from restic_format.rescue.polynomial import NotEnough, Recovered, recover_polynomial
from restic_format.rescue.quarantine import Quarantine, QuarantiningStorage
from restic_format.rescue.wanted import DamagedFile as Damaged
from restic_format.rescue.wanted import RecoveredFile
from restic_format.storage import MemoryStorage, Storage
from restic_format.work import Cancel
from restic_spec.chunker import random_polynomial
from restic_spec.config import MIN_VERSION, STABLE_VERSION, Config, decode_config, encode_config
from restic_spec.constants import COMPRESSED_MARK
from restic_spec.crypto import MasterKey
from restic_spec.ids import ID_SIZE, id_of
from restic_spec.layout import FileKind

MeansOf = Callable[[MasterKey | None, int], Sequence[Means]]
"""The means to try: for a master key, None where no key opens, and a version of the format."""

CONFIG = "config"
"""What the config is called where it is asked for."""

_MOST_READ = 10_000
"""Files that are looked at to find out the version."""


class Entrance(NamedTuple):
    """How a repository can be opened again. Nothing has been changed."""

    repository: Repository
    """As it will be."""
    keys: list[RecoveredFile]
    """Key files to store."""
    config: RecoveredFile | None
    """The config to store; None where the one that is there is good."""
    is_new: bool
    """Whether the config is made anew."""
    foreign: list[str]
    """Names of keys that the password opens and that are of another repository: programs would use them."""
    polynomial: Recovered | NotEnough | None = None
    """For a config that is made anew: the polynomial that was found again, or why it is another one."""


def find_entrance(
    storage: Storage,
    password: bytes,
    means_of: MeansOf,
    *,
    lost_keys: Sequence[str] = (),
    key_hint: str | None = None,
    budget: Budget | None = None,
    cancel: Cancel | None = None,
) -> Entrance:
    """Find out how the repository can be opened again with *password*. *budget* bounds the search for a lost polynomial.

    *lost_keys* are names of key files that are gone. They come back only where no intact one is left: they may have been
    removed so that their passwords open nothing any more.

    Raises:
        WrongPassword, KeyUnusable: no key opens, and none can be brought back.
        DamagedFile: the key that opens is one of another repository.
        StorageError: something cannot be read, of which nothing is known.
        Interrupted: it was cancelled.
    """
    keys: list[RecoveredFile] = []
    opened = opened_keys(storage, password, key_hint)
    if opened:
        key = _fitting(storage, opened)
    else:
        try:
            key = find_key(storage, password, key_hint)
        except (WrongPassword, KeyUnusable):
            keys = _recover_keys(storage, means_of(None, STABLE_VERSION), lost_keys, cancel)
            if not keys:
                raise
            key = _find_among(keys, password)
    if opens_others(storage, key.master) is False:
        raise DamagedFile(
            f"keys/{key.id.hex()} is a key of another repository: move it away, and use the password of one that belongs here",
            object=f"keys/{key.id.hex()}",
        )
    foreign = [one.id.hex() for one in opened if one.master != key.master]
    cipher = make_cipher(key.master)
    sealed = _config_of(storage)
    config = None if sealed is None else _decoded(cipher, sealed)
    if config is not None:
        return Entrance(Repository(storage, config, key), keys, None, is_new=False, foreign=foreign)
    version = find_version(storage, cipher)
    for one in sorted(means_of(key.master, version), key=lambda one: one.certainty):
        for found in one.files([Damaged(FileKind.CONFIG, CONFIG, sealed)], cancel=cancel):
            if (config := _decoded(cipher, found.data)) is not None:
                return Entrance(Repository(storage, config, key), keys, found, is_new=False, foreign=foreign)
    config = Config(
        version=version,
        id=os.urandom(ID_SIZE).hex(),
        chunker_polynomial=f"{random_polynomial(random.SystemRandom()):x}",
    )
    with (budget or Budget(None)).spending() as seconds:
        cut = _find_polynomial(Repository(storage, config, key), seconds, cancel)
    how = "made anew from a key"
    if isinstance(cut, Recovered):
        config.chunker_polynomial = f"{cut.polynomial:x}"
        how += f", and from {cut.boundaries} places at which files were cut"
    made = RecoveredFile(FileKind.CONFIG, CONFIG, cipher.seal(encode_config(config)), how)
    return Entrance(Repository(storage, config, key), keys, made, is_new=True, foreign=foreign, polynomial=cut)


def _find_polynomial(repository: Repository, budget: float | None, cancel: Cancel | None) -> Recovered | NotEnough:
    repository.load_index(damaged=lambda _id, _error: None)
    return recover_polynomial(repository, budget=budget, cancel=cancel)


def restore_entrance(entrance: Entrance, quarantine: Quarantine) -> None:
    """Store what *entrance* says, under an exclusive lock on its repository; what is replaced goes to the quarantine.

    Raises:
        StorageError: something could not be stored; this can be done again.
        DamagedFile: it is not what was written.
    """
    storage = QuarantiningStorage(entrance.repository.storage, quarantine)
    for key in entrance.keys:
        storage.save(FileKind.KEY, key.name, key.data)
        entrance.repository.check_stored(FileKind.KEY, bytes.fromhex(key.name))
    if entrance.config is not None:
        entrance.repository.may_change(FileKind.CONFIG)
        storage.save(FileKind.CONFIG, "", entrance.config.data)
        if storage.load(FileKind.CONFIG, "") != entrance.config.data:
            raise DamagedFile("config was stored just now and is not what was written: check the storage")
        repository = entrance.repository
        store_hot_config(repository.storage, repository.config, repository.master_key)
    for name in entrance.foreign:
        entrance.repository.may_change(FileKind.KEY)
        storage.remove(FileKind.KEY, name)


def opened_keys(storage: Storage, password: bytes, hint: str | None = None) -> list[OpenedKey]:
    """Every key that *password* opens, those whose names start with *hint* first, out of as many as may be tried (KEY-14).

    Raises:
        StorageError: the keys cannot be listed.
    """
    names = [name for name, _ in storage.list(FileKind.KEY)]
    names.sort(key=lambda name: not (hint and name.startswith(hint)))
    return list(opening_keys(storage, password, names))


def foreign_keys(repository: Repository, password: bytes) -> list[str]:
    """Names of keys that *password* opens and that are of another repository; some programs try no other after such a one.

    Raises:
        StorageError: the keys cannot be listed.
    """
    return [key.id.hex() for key in opened_keys(repository.storage, password) if key.master != repository.master_key]


def _fitting(storage: Storage, keys: Sequence[OpenedKey]) -> OpenedKey:
    """The key of this repository, as far as its files tell: a config may be that of another."""
    opens = {key.id: opens_others(storage, key.master) for key in keys}
    for wanted in (True, None, False):
        for key in keys:
            if opens[key.id] is wanted:
                return key
    return keys[0]


def find_version(storage: Storage, cipher: Cipher) -> int:
    """The version of a repository without a config: only version 2 has compressed files (FILE-4) and blobs.

    Raises:
        StorageError: the files cannot be listed.
    """
    seen = False
    for kind in (FileKind.SNAPSHOT, FileKind.INDEX):
        for name, _ in islice(storage.list(kind), _MOST_READ):
            try:
                raw = storage.load(kind, name)
                plain = cipher.open(raw) if id_of(raw).hex() == name else b""
            except (SpecError, StorageError):
                continue
            if plain[:1] == bytes((COMPRESSED_MARK,)):
                return STABLE_VERSION
            seen = seen or bool(plain)
    return MIN_VERSION if seen else STABLE_VERSION


def _config_of(storage: Storage) -> bytes | None:
    try:
        return storage.load(FileKind.CONFIG, "")
    except (FileMissing, FileUnusable):
        return None


def _decoded(cipher: Cipher, sealed: bytes) -> Config | None:
    try:
        return decode_config(cipher.open(sealed))
    except SpecError:
        return None


def _recover_keys(storage: Storage, means: Sequence[Means], lost: Sequence[str], cancel: Cancel | None) -> list[RecoveredFile]:
    damaged = []
    intact = False
    for name, _ in storage.list(FileKind.KEY):
        try:
            data = storage.load(FileKind.KEY, name)
        except (FileMissing, FileUnusable):
            continue
        if id_of(data).hex() != name:
            damaged.append(Damaged(FileKind.KEY, name, data))
        else:
            intact = True
    if not intact:
        damaged += [Damaged(FileKind.KEY, name, None) for name in lost]
    found: list[RecoveredFile] = []
    for one in sorted(means, key=lambda one: one.certainty):
        left = [file for file in damaged if all(file.name != known.name for known in found)]
        found += [file for file in one.files(left, cancel=cancel) if hashlib.sha256(file.data).hexdigest() == file.name]
    return found


def _find_among(keys: Sequence[RecoveredFile], password: bytes) -> OpenedKey:
    """The key that opens, out of those that were brought back. Raises as `find_key`."""
    memory = MemoryStorage()
    for key in keys:
        memory.save(FileKind.KEY, key.name, key.data)
    return find_key(memory, password)
