"""Opening and creating repositories from a location and a password."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from restic_format.api.access import Access, Settings
from restic_format.api.passwords import find_password
from restic_format.api.repository import OpenRepository
from restic_format.repository import Repository
from restic_format.storage import Storage, open_storage
from restic_format.storage.transport import DIRECT, Transport
from restic_spec.config import STABLE_VERSION


def open_repository(
    location: str | os.PathLike[str],
    password: str | bytes | None = None,
    *,
    password_file: str | os.PathLike[str] | None = None,
    password_command: str | Sequence[str] | None = None,
    allow_empty_password: bool = False,
    key_hint: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    options: Mapping[str, str] | None = None,
    compression: str | None = None,
    pack_size: int | None = None,
    lock: bool = True,
    retry_lock: float = 0.0,
    transport: Transport = DIRECT,
) -> OpenRepository:
    """Open the repository at *location*, as it is given to ``restic -r``, with a password that opens one of its keys.

    Exactly one of *password*, *password_file* and *password_command* (a list of words, or one text that is split as by restic;
    no shell) is given. *cache_dir* is the folder for all caches, shared with restic; without it nothing is cached. *options*
    are the extended ones (``-o``), *compression* is ``auto``, ``off`` or ``max``, *pack_size* the bytes of new packs. With
    ``lock=False`` reading takes no locks, for storage that can only be read; what writes always locks. Other locks are waited
    for *retry_lock* seconds. *transport* says how a server is reached: certificates, proxies, and the environment variables
    with credentials, as in ``Transport(environment=os.environ)``; no others are looked at.

    Raises:
        UsageError: the password is given in no or several ways; `LocationInvalid` for a location of an unknown kind.
        RepositoryNotFound: there is none.
        WrongPassword, KeyUnusable: the password opens no key.
        PasswordUnavailable: the file or command does not give the password.
        DamagedFile: the config is damaged.
        StorageError: the storage fails.
    """
    storage = _storage(location, options, transport)
    secret = find_password(password, password_file, password_command, allow_empty=allow_empty_password)
    repository = Repository.open(storage, secret, key_hint=key_hint, compression=compression, pack_size=pack_size)
    caches = None if cache_dir is None else os.fspath(cache_dir)
    if caches is not None and not storage.at_hand:
        from restic_format.storage.cachefolder import CacheFolder

        repository.use_cache(CacheFolder(caches, repository.id))
    elif caches is None:
        repository.use_memory()
    return OpenRepository(Access(repository, Settings(compression, pack_size, caches, lock, retry_lock)))


def create_repository(
    location: str | os.PathLike[str],
    password: str | bytes | None = None,
    *,
    password_file: str | os.PathLike[str] | None = None,
    password_command: str | Sequence[str] | None = None,
    allow_empty_password: bool = False,
    version: int = STABLE_VERSION,
    chunker_params_of: OpenRepository | None = None,
    options: Mapping[str, str] | None = None,
    compression: str | None = None,
    pack_size: int | None = None,
    retry_lock: float = 0.0,
    transport: Transport = DIRECT,
) -> OpenRepository:
    """Create a repository, and open it. For what is not said here see `open_repository`.

    *version* is that of the format, 1 or 2. With *chunker_params_of* files are cut at the same places as in that repository, so
    that copies between the two share their data.

    Raises:
        ConfigExists: there is one already; it is left as it is.
        UsageError: a version that does not exist, a pack size out of bounds, or as `open_repository`.
        StorageError: something could not be stored.
    """
    storage = _storage(location, options, transport)
    secret = find_password(password, password_file, password_command, allow_empty=allow_empty_password)
    repository = Repository.init(
        storage,
        secret,
        version=version,
        polynomial=None if chunker_params_of is None else chunker_params_of.chunker_polynomial,
        compression=compression,
        pack_size=pack_size,
    )
    return OpenRepository(Access(repository, Settings(compression, pack_size, None, True, retry_lock)))


def _storage(location: str | os.PathLike[str], options: Mapping[str, str] | None, transport: Transport) -> Storage:
    text = os.fspath(location)
    if not isinstance(text, str):
        raise TypeError(f"a location is str or a path, not {type(text).__name__}")
    # A path object is a folder, whatever its name looks like.
    return open_storage(text if isinstance(location, str) else f"local:{text}", options, transport)
