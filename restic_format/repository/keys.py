"""Keys of a repository: finding the one a password opens, adding, changing, removing."""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from restic_format.errors import (
    DamagedFile,
    FileMissing,
    KeyUnusable,
    ResticFormatError,
    StorageError,
    UsageError,
    WrongPassword,
)
from restic_format.native import scrypt
from restic_format.repository.cipher import make_cipher
from restic_format.storage import Storage
from restic_format.storage.entry import Entry
from restic_spec import gotime, keyfile
from restic_spec.crypto import MasterKey
from restic_spec.errors import MacInvalid, SpecError
from restic_spec.ids import id_of
from restic_spec.keyfile import SALT_SIZE, Kdf, KeyFile, decode_keyfile, encode_keyfile, unwrap, wrap
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from restic_format.repository.repository import Repository

MAX_KEYS_TRIED = 20
"""Key files tried with a password before giving up, as restic does."""

MAX_WORK = 1 << 27
"""N·r·p of all key files tried after which no more are: twenty with restic's usual costs take a quarter of it."""

_MOST_TOLD = 5
"""Unusable key files that are named in an error."""
_TRIED_OTHERS = 3
"""Files of a kind with which a key is tried that does not fit the config."""

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
    keyfile.scrypt(b"", b"", _COST, _BLOCK, 1)
    lane = max((time.thread_time() - start) * _LANE_OF_RESTIC, 1e-3)
    return Kdf(_COST, _BLOCK, min(max(int(_CALIBRATION_SECONDS / lane), 1), 16), os.urandom(SALT_SIZE))


def _derive(password: bytes, kdf: Kdf) -> MasterKey:
    return MasterKey.from_derived(scrypt.derive(password, kdf.salt, kdf.N, kdf.r, kdf.p))


def _open(key: MasterKey, sealed: bytes) -> bytes:
    return make_cipher(key).open(sealed)


def load_key(storage: Storage, name: str) -> KeyFile:
    """Read and parse a key file.

    Raises:
        JsonInvalid: it is damaged.
        StorageError: it cannot be read.
    """
    return decode_keyfile(storage.load(FileKind.KEY, name), f"key {name[:8]}")


def open_key(key: KeyFile, password: bytes) -> MasterKey:
    """The master key in a key file.

    Raises:
        SpecError: see `restic_spec.keyfile.unwrap`.
    """
    return unwrap(key, password, _derive, _open)


def find_key(
    storage: Storage, password: bytes, hint: str | None = None, config: bytes | None = None, entry: Entry | None = None
) -> OpenedKey:
    """The first key file that *password* opens; those whose names start with *hint* are tried first (KEY-14).

    *config* is the sealed config, which the right master key opens: a key file of another repository is passed over. So is one
    that is damaged or cannot be read: one bad key file does not hide a good one. *entry* has the key files where they have been
    asked for already, in the order of its own hint.

    Raises:
        WrongPassword: every key file was tried, and none opens with this password.
        KeyUnusable: none opens, but not all could be tried.
        DamagedFile: one opens, but not the config.
    """
    entry = entry or Entry(storage, hint)
    search = _Search(storage, password, config, entry.load_key)
    names, hinted = entry.keys()
    # A key that was asked for by its name does not count.
    most = MAX_KEYS_TRIED + (hinted == 1)
    for number, name in enumerate(names):
        if number == most or search.work >= MAX_WORK:
            search.left = len(names) - number
            break
        if (found := search.attempt(name, *names[number + 1 : number + 2])) is not None:
            return found
    raise search.failure()


def opening_keys(storage: Storage, password: bytes, names: Iterable[str]) -> Iterator[OpenedKey]:
    """Those of the key files *names* that *password* opens, whatever their master keys are good for; no more are tried than
    `find_key` tries.
    """
    search = _Search(storage, password, None)
    for name in islice(names, MAX_KEYS_TRIED):
        if search.work >= MAX_WORK:
            return
        if (found := search.attempt(name)) is not None:
            yield found


class _Search:
    """What was found out about the key files of a repository while looking for one that a password opens."""

    def __init__(
        self, storage: Storage, password: bytes, config: bytes | None, load: Callable[[str, str | None], bytes] | None = None
    ) -> None:
        """*load* gives the content of a key file, and is told the next one's name as well (`Entry.load_key`)."""
        self._storage = storage
        self._load = load or (lambda name, _: storage.load(FileKind.KEY, name))
        self._password = password
        self._config = config
        self._unusable: list[ResticFormatError] = []
        self._foreign: list[tuple[str, MasterKey, SpecError]] = []
        self._refused = 0
        self.work = 0
        """What the derivations have cost so far, as N·r·p."""
        self.left = 0
        """Key files that were not tried."""

    def attempt(self, name: str, following: str | None = None) -> OpenedKey | None:
        """The key in the file *name*, where the password opens it and it opens the config; *following* is the next to try."""
        what = f"keys/{name}"
        try:
            raw = self._load(name, following)
            key = decode_keyfile(raw, what)
            kdf = key.derivation()
            self.work += kdf.N * kdf.r * kdf.p
            master = open_key(key, self._password)
        except FileMissing:
            return None  # removed by somebody since it was listed
        except StorageError as error:
            self._unusable.append(error)
            return None
        except SpecError as error:
            # A damaged key file looks like a wrong password, unless its name tells.
            if id_of(raw).hex() != name:
                self._unusable.append(DamagedFile(f"{what}: its content does not match its name", object=what))
            elif isinstance(error, MacInvalid):
                self._refused += 1
            else:
                self._unusable.append(DamagedFile(what, error))
            return None
        except MemoryError:
            self._unusable.append(KeyUnusable(f"{what}: there is not enough memory to derive its key", object=what))
            return None
        if self._config is not None:
            try:
                _open(master, self._config)
            except SpecError as error:
                self._foreign.append((name, master, error))
                return None
        return OpenedKey(bytes.fromhex(name), master)

    def failure(self) -> ResticFormatError:
        """Why no key was found."""
        if self._foreign:
            return self._not_fitting()
        if self._unusable:
            shown = "; ".join(str(error) for error in self._unusable[:_MOST_TOLD])
            if len(self._unusable) > _MOST_TOLD:
                shown += f"; and {len(self._unusable) - _MOST_TOLD} more"
            if self._refused or self.left:
                shown = f"no key opens with this password, but some cannot be used: {shown}"
            return KeyUnusable(shown, object=self._unusable[0].object, cause=self._unusable[0])
        if self.left:
            tried = f"none of the {self._refused} that were tried opens with this password, {self.left} were not tried"
            return KeyUnusable(f"maximum number of keys reached: {tried}; say which one is yours with a key hint")
        return WrongPassword("wrong password or no key found")

    def _not_fitting(self) -> DamagedFile:
        """A key opens, but the config does not: which of the two is wrong is known by what else the key opens."""
        name, _, error = self._foreign[0]
        opens = [opens_others(self._storage, master) for _, master, _ in self._foreign]
        if any(opens):
            return DamagedFile("config", error)
        if None in opens:
            return DamagedFile(f"config or key {name} is damaged", error, object=f"keys/{name}")
        advice = "move it away, and use the password of a key that belongs here"
        return DamagedFile(f"keys/{name} is a key of another repository; {advice}", object=f"keys/{name}")


def opens_others(storage: Storage, master: MasterKey) -> bool | None:
    """Whether a master key opens any file of the repository but the config; None where there is none to try."""
    tried = False
    for kind in (FileKind.LOCK, FileKind.SNAPSHOT, FileKind.INDEX):
        try:
            for name, _ in islice(storage.list(kind), _TRIED_OTHERS):
                raw = storage.load(kind, name)
                if id_of(raw).hex() == name:
                    tried = True
                    _open(master, raw)
                    return True
        except (StorageError, SpecError):
            continue
    return False if tried else None


def add_key(
    storage: Storage,
    master: MasterKey,
    password: bytes,
    *,
    kdf: Kdf | None = None,
    username: str | None = None,
    hostname: str | None = None,
) -> bytes:
    """Store a new key file that opens *master* with *password*, and see that it does; returns its id.

    The key is derived by the library (`restic_spec.keyfile.derive`): nothing must depend on our own code being right on this
    processor. It is tried with what opens keys otherwise: the two must agree.

    Raises:
        StorageError: it cannot be stored.
        KeyUnusable: it does not open; it was removed again.
    """
    key = wrap(
        master,
        password,
        kdf or calibrate(),
        created=gotime.format_ns(time.time_ns()),
        username=username or current_user().name,
        hostname=hostname or current_host(),
    )
    raw = encode_keyfile(key)
    key_id = id_of(raw)
    name = key_id.hex()
    cause: ResticFormatError | None = None
    try:
        storage.save(FileKind.KEY, name, raw)
        try:
            if open_key(load_key(storage, name), password) == master:
                return key_id
        except ResticFormatError as error:
            cause = error
    except BaseException:
        with contextlib.suppress(StorageError):
            storage.remove(FileKind.KEY, name)
        raise
    storage.remove(FileKind.KEY, name)
    if isinstance(cause, StorageError):
        raise KeyUnusable(f"the new key could not be tried and was removed again: {cause}", cause=cause) from cause
    raise KeyUnusable("the new key does not open the repository and was removed again; memory or storage are unreliable")


def change_password(repo: Repository, password: bytes, *, username: str | None = None, hostname: str | None = None) -> bytes:
    """Put a key file for *password* in the place of the one that opened *repo*; returns its id (KEY-10).

    The old one goes only after the new one was seen to open the repository. The caller holds an exclusive lock.

    Raises:
        UsageError: the repository is append-only; nothing is changed.
        StorageError: the new key file cannot be stored, or the old one not removed; then both passwords open the repository.
        KeyUnusable: the new key does not open; the old one stays.
    """
    repo.may_remove(FileKind.KEY, repo.key_id)
    repo.may_change(FileKind.KEY)
    key_id = add_key(repo.storage, repo.master_key, password, username=username, hostname=hostname)
    repo.remove(FileKind.KEY, repo.key_id)
    return key_id


def remove_key(repo: Repository, key_id: bytes) -> None:
    """Remove a key file. The caller holds an exclusive lock.

    Raises:
        UsageError: it is the one that opened *repo*.
        StorageError: it cannot be removed.
    """
    if key_id == repo.key_id:
        raise UsageError("refusing to remove key currently used to access repository")
    repo.remove(FileKind.KEY, key_id)
