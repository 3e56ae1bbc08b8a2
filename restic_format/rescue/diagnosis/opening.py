"""Opening a damaged repository as far as that goes: without its config, beside damaged keys, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from restic_format.errors import (
    DamagedFile,
    FileMissing,
    KeyUnusable,
    ResticFormatError,
    SpecError,
    StorageError,
    WrongPassword,
)
from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.repository.keys import OpenedKey, find_key, opening_keys, opens_others
from restic_format.storage import Storage
from restic_format.storage.cache import without_cache
from restic_spec.config import MAX_VERSION, Config, decode_config
from restic_spec.layout import FileKind

Result = TypeVar("Result")

_NO_POLYNOMIAL = "3da3358b4dc173"
"""Any polynomial that can be in a config: nothing is cut with it."""


class Opened(NamedTuple):
    """A repository as far as it could be opened."""

    storage: Storage
    repository: Repository | None
    """None where no key opens."""
    trouble: ResticFormatError | None
    """Why no key opens, or why the config cannot be used: then the repository is read as one of the newest version, whose
    readers understand the older ones, and has no id."""
    foreign: tuple[str, ...] = ()
    """Key files that the password opens, too, and that open nothing here: a program that tries one of them first gives up."""

    @property
    def has_config(self) -> bool:
        """Whether the config is intact."""
        return self.repository is not None and self.trouble is None


def open_for_rescue(storage: Storage, password: bytes | None, key_hint: str | None = None) -> Opened:
    """Open what *password* opens, past any cache. Without one nothing is opened.

    Raises:
        WrongPassword: it opens no key, and all keys are sound.
    """
    storage = without_cache(storage)
    if password is None:
        return Opened(storage, None, None)
    try:
        sealed: bytes | None = _twice(lambda: storage.load(FileKind.CONFIG, ""))
        trouble: ResticFormatError | None = None
    except StorageError as error:
        sealed, trouble = None, error
        if isinstance(error, FileMissing):
            trouble = DamagedFile("the config is missing", error, object="config")
    try:
        key = _twice(lambda: _find(storage, password, key_hint, sealed))
    except (KeyUnusable, DamagedFile, StorageError) as error:
        return Opened(storage, None, error)
    except WrongPassword:
        if any(True for _ in storage.list(FileKind.KEY)):
            raise
        return Opened(storage, None, KeyUnusable("there is no key file: without one no password opens anything"))
    config = None
    if sealed is not None:
        try:
            config = _decode(key, sealed)
        except SpecError as error:
            trouble = DamagedFile("config", error)
            with contextlib.suppress(SpecError, StorageError):
                # A transfer may have been at fault.
                config, trouble = _decode(key, storage.load(FileKind.CONFIG, "")), None
    if config is None:
        config = Config(version=MAX_VERSION, id=bytes(32).hex(), chunker_polynomial=_NO_POLYNOMIAL)
    return Opened(storage, Repository(storage, config, key), trouble, _foreign(storage, password, key))


def _foreign(storage: Storage, password: bytes, key: OpenedKey) -> tuple[str, ...]:
    """The key files that *password* opens and that hold another master key than *key*."""
    try:
        names = [name for name, _ in storage.list(FileKind.KEY) if name != key.id.hex()]
        return tuple(one.id.hex() for one in opening_keys(storage, password, names) if one.master != key.master)
    except StorageError:
        return ()


def _twice(work: Callable[[], Result]) -> Result:
    """What *work* gives, if not at once, then the next time: a storage may fail now and then."""
    try:
        return work()
    except FileMissing:
        raise
    except StorageError:
        return work()


def _decode(key: OpenedKey, sealed: bytes) -> Config:
    return decode_config(make_cipher(key.master).open(sealed))


def _find(storage: Storage, password: bytes, hint: str | None, sealed: bytes | None) -> OpenedKey:
    """A key that opens what is in the repository, if not its config."""
    if sealed is not None:
        try:
            return find_key(storage, password, hint, sealed)
        except DamagedFile as error:
            key = find_key(storage, password, hint)
            if opens_others(storage, key.master) is False:
                raise error from None
            return key
    return find_key(storage, password, hint)
