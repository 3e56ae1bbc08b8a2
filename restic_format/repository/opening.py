"""Opening a repository: what its storage can be asked before the password is known is asked at once."""

from __future__ import annotations

from collections.abc import Sequence

from restic_format.errors import DamagedFile, FileMissing, RepositoryNotFound, SpecError
from restic_format.repository.cipher import make_cipher
from restic_format.repository.keys import KeyFiles, find_key
from restic_format.repository.repository import Repository, password_bytes
from restic_format.storage import Storage
from restic_format.work import Later
from restic_spec.config import decode_config
from restic_spec.layout import FileKind


class Opening:
    """A repository in *storage* that is about to be opened. Its config and its keys are on their way from the moment this is
    made, unless they are at hand. For *key_hint* see `Repository.open`.
    """

    def __init__(self, storage: Storage, *, key_hint: str | None = None) -> None:
        self._storage = storage
        self._config = Later(lambda: storage.load(FileKind.CONFIG, ""), now=not storage.at_hand, name="config")
        self._keys = KeyFiles(storage, key_hint)

    def exists(self) -> bool:
        """Whether there is a config. Raises `StorageError` where it cannot be read."""
        try:
            self._config.get()
        except FileMissing:
            return False
        return True

    def open(
        self,
        password: bytes | str,
        *,
        compression: str | None = None,
        pack_size: int | None = None,
        extra_verify: bool = True,
        cache_folder: str | None = None,
        for_lock: bool = False,
    ) -> Repository:
        """See `Repository.open`, also for errors; may be called again with another password. *for_lock* says that the
        repository is going to be locked at once: the locks are listed while the key is derived.
        """
        try:
            sealed = self._config.get()
        except FileMissing as error:
            raise RepositoryNotFound(
                f"repository does not exist: unable to open config file: {error}\n"
                f"Is there a repository at the following location?\n{self._storage.location}"
            ) from None
        locks = Later(self._list_locks, name="locks") if for_lock and not self._storage.at_hand else None
        key = find_key(self._storage, password_bytes(password), config=sealed, files=self._keys)
        try:
            config = decode_config(make_cipher(key.master).open(sealed))
        except SpecError as error:
            raise DamagedFile("config", error) from error
        repository = Repository(
            self._storage,
            config,
            key,
            compression=compression,
            pack_size=pack_size,
            extra_verify=extra_verify,
            cache_folder=cache_folder,
        )
        repository.locks_ahead = locks
        return repository

    def _list_locks(self) -> Sequence[tuple[bytes, int]]:
        return [(bytes.fromhex(name), size) for name, size in self._storage.list(FileKind.LOCK)]
