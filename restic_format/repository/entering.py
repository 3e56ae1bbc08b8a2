"""Opening a repository, once or with one password after the other."""

from __future__ import annotations

from restic_format.errors import DamagedFile, FileMissing, RepositoryNotFound, SpecError
from restic_format.repository.cipher import make_cipher
from restic_format.repository.keys import find_key
from restic_format.repository.repository import Repository, password_bytes
from restic_format.storage.entry import Entry
from restic_format.storage.hotcold import halves
from restic_spec.config import decode_config


def open_by(
    entry: Entry,
    password: bytes | str,
    *,
    compression: str | None = None,
    pack_size: int | None = None,
    extra_verify: bool = True,
    cache_folder: str | None = None,
    for_lock: bool = False,
) -> Repository:
    """`Repository.open`, also for errors, for the repository that *entry* belongs to. *for_lock* says that it is going to be
    locked at once: the locks are listed while the key is derived.
    """
    storage = entry.storage
    try:
        sealed = entry.config()
    except FileMissing as error:
        raise RepositoryNotFound(
            f"repository does not exist: unable to open config file: {error}\n"
            f"Is there a repository at the following location?\n{storage.location}"
        ) from None

    locks = entry.list_locks_ahead() if for_lock else None
    key = find_key(storage, password_bytes(password), config=sealed, entry=entry)
    try:
        config = decode_config(make_cipher(key.master).open(sealed))
    except SpecError as error:
        raise DamagedFile("config", error) from error
    if "is_hot" in config.extra and halves(storage) is not None:
        from restic_format.repository.halves import without_mark

        config = without_mark(config)  # the hot half's, where the cold one's cannot be read at once
    repository = Repository(
        storage,
        config,
        key,
        compression=compression,
        pack_size=pack_size,
        extra_verify=extra_verify,
        cache_folder=cache_folder,
    )
    repository.locks_ahead = locks
    return repository
