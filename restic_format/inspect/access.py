"""What is at hand of a repository while its objects are looked at: its files, and what opens them, as far as it can be had.

Unlike `Repository.open` this goes on where the config is damaged, an index cannot be read or no password is given: just such
repositories are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from restic_format.errors import DamagedFile, KeyUnusable, ResticFormatError, SpecError, StorageError
from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.repository.keys import OpenedKey, find_key, opens_others
from restic_format.storage import MemoryStorage
from restic_format.storage.cache import without_cache
from restic_spec.config import Config, decode_config
from restic_spec.layout import LISTED_KINDS, FileKind

if TYPE_CHECKING:
    from restic_format.storage import Storage
    from restic_spec.crypto import MasterKey

Trouble = Callable[[str, ResticFormatError], None]
"""Told the name of what cannot be read, and why."""


def untold(name: str, error: ResticFormatError) -> None:
    """A `Trouble` that tells nobody."""
    del name, error


def has_files(storage: Storage) -> bool:
    """Whether there is any file of a repository in *storage*: a repository without its config may be looked at."""
    if storage.exists(FileKind.CONFIG, ""):
        return True
    for kind in LISTED_KINDS:
        with suppress(StorageError):
            if next(iter(storage.list(kind)), None) is not None:
                return True
    return False


class Access:
    """A repository that objects are looked for in: its storage, and the key where one is at hand."""

    def __init__(self, storage: Storage, *, key: OpenedKey | None = None, password: bytes | None = None) -> None:
        """*key* opens everything but key files, which *password* does."""
        self.storage = without_cache(storage)
        self.password = password
        self.master: MasterKey | None = None if key is None else key.master
        self.opener: Callable[[bytes | bytearray | memoryview], bytes] | None = None
        """Verifies and decrypts what the master key has sealed; None without one."""
        self.repository: Repository | None = None
        """The open repository; None without a key, and where its config is damaged."""
        self.trouble: ResticFormatError | None = None
        """Why the password opens nothing, or the config could not be read."""
        self._index_loaded = False
        if key is not None:
            self.opener = make_cipher(key.master).open
            self._open(key)

    @classmethod
    def with_password(cls, storage: Storage, password: bytes, key_hint: str | None = None) -> Access:
        """The repository as far as *password* opens it: not at all where a key that it may open cannot be used.

        Raises:
            WrongPassword: it opens no key, and all are sound.
        """
        storage = without_cache(storage)
        try:
            try:
                key = find_key(storage, password, key_hint, storage.load(FileKind.CONFIG, ""))
            except (DamagedFile, StorageError):
                # The config is damaged or missing, or the key is another repository's: what it opens will be seen.
                key = find_key(storage, password, key_hint)
        except (KeyUnusable, StorageError) as error:
            access = cls(storage, password=password)
            access.trouble = error
            return access
        return cls(storage, key=key, password=password)

    @classmethod
    def with_master_key(cls, storage: Storage, master: MasterKey) -> Access:
        """The repository, to be opened with its master key.

        Raises:
            KeyUnusable: it is another repository's, as it opens nothing.
        """
        access = cls(storage, key=OpenedKey(b"", master))
        if isinstance(access.trouble, DamagedFile) and opens_others(access.storage, master) is False:
            raise KeyUnusable("the master key is another repository's: it opens nothing here")
        return access

    @classmethod
    def without_storage(cls, master: MasterKey | None, password: bytes | None) -> Access:
        """What opens a file whose repository is not known: the master key, and the password of a key file."""
        key = None if master is None else OpenedKey(b"", master)
        return cls(MemoryStorage(), key=key, password=password)

    @classmethod
    def of(cls, repository: Repository) -> Access:
        """An open repository, whose index may be loaded already."""
        access = cls(repository.storage)
        access.master = repository.master_key
        access.opener = make_cipher(repository.master_key).open
        access.repository = repository
        access._index_loaded = len(repository.index) > 0
        return access

    @property
    def config(self) -> Config | None:
        """The config, where it could be read."""
        return None if self.repository is None else self.repository.config

    @property
    def version(self) -> int | None:
        """Version of the repository's format, where it is known."""
        return None if self.repository is None else self.repository.version

    def opened(self) -> Repository:
        """The open repository.

        Raises:
            KeyUnusable: there is no key.
            ResticFormatError: what is wrong with the config.
        """
        if self.repository is not None:
            return self.repository
        raise self.trouble or KeyUnusable("the repository is not opened: a password is needed for that")

    def indexed(self, trouble: Trouble) -> Repository:
        """The open repository with its index, from which files are missing that cannot be read. Raises as `opened`."""
        repository = self.opened()
        if not self._index_loaded:
            repository.load_index(damaged=lambda index_id, error: trouble(f"index/{index_id.hex()}", error))
            self._index_loaded = True
        return repository

    def _open(self, key: OpenedKey) -> None:
        try:
            config = decode_config(make_cipher(key.master).open(self.storage.load(FileKind.CONFIG, "")))
            self.repository = Repository(self.storage, config, key)
        except SpecError as error:
            self.trouble = DamagedFile("config", error)
        except ResticFormatError as error:
            self.trouble = error
