"""Migrations: changing what a repository is, such as its version.

The config is replaced in one step, by a file that is whole (LAYOUT-8): at no moment is there none, or half of one. It is kept
beside the repository until the new one has been read back.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import NamedTuple

import msgspec

from restic_format.errors import DamagedFile, ResticFormatError, StorageError, UsageError
from restic_format.repository import Repository
from restic_format.repository.cipher import make_cipher
from restic_format.repository.halves import store_hot_config
from restic_format.storage.oldlayout import has_old_names, local_folder, move_to_default
from restic_spec.config import Config, decode_config, encode_config
from restic_spec.layout import FileKind

BACKUP = "config"
"""Name of the file in which the config is kept while it is replaced."""


class Refusal(NamedTuple):
    """Why a migration cannot be applied."""

    reason: str


class Migration(ABC):
    """One migration."""

    name: str
    description: str
    needs_check: bool
    """Whether only a repository without errors should be migrated."""

    @abstractmethod
    def refused(self, repository: Repository) -> Refusal | None:
        """Why it cannot be applied to *repository*; None where it can."""

    @abstractmethod
    def apply(self, repository: Repository, folder: str) -> None:
        """Apply it, under an exclusive lock. Files that must not be lost are kept in *folder* meanwhile.

        *repository* should not be used any more afterwards, but opened again.

        Raises:
            UsageError: it cannot be applied.
            ResticFormatError: it failed; the repository is as it was, or the text says where to find what it needs.
            OSError: *folder* cannot be written; nothing has changed.
        """


class UpgradeToVersion2(Migration):
    """Makes a repository of version 1 one of version 2, which may compress (CONFIG-3); what is stored stays as it is."""

    name = "upgrade_repo_v2"
    description = "upgrade a repository to version 2"
    needs_check = True

    def refused(self, repository: Repository) -> Refusal | None:
        """See `Migration`."""
        if repository.config.version == 1:
            return None
        return Refusal(f"repository is already upgraded to version {repository.config.version}")

    def apply(self, repository: Repository, folder: str) -> None:
        """See `Migration`."""
        version = repository.config.version
        if version != 1:
            raise UsageError(f"repository has version {version}, only upgrades from version 1 are supported")
        config = msgspec.structs.replace(repository.config, version=2)
        config.keep_extra(dict(repository.config.extra), "config")
        replace_config(repository, config, folder)


class DefaultLayout(Migration):
    """Moves files from the layout that early versions used on S3, copied into a local folder, to the present one (LAYOUT-4)."""

    name = "s3_layout"
    description = "move files from the layout of early versions on S3 to the present one"
    needs_check = False

    def refused(self, repository: Repository) -> Refusal | None:
        """See `Migration`."""
        folder = local_folder(repository.storage)
        if folder is None:
            return Refusal("the repository is not in a local folder")
        return None if has_old_names(folder) else Refusal("not using the legacy s3 layout")

    def apply(self, repository: Repository, folder: str) -> None:
        """See `Migration`."""
        del folder
        place = local_folder(repository.storage)
        if place is None:
            raise UsageError("the repository is not in a local folder")
        repository.may_change(FileKind.CONFIG)
        move_to_default(place)


MIGRATIONS: tuple[Migration, ...] = (DefaultLayout(), UpgradeToVersion2())
"""All migrations."""


def replace_config(repository: Repository, config: Config, folder: str) -> None:
    """Replace the repository's config by *config*, with everything that is in it.

    The old file is kept in *folder* until the new one has been read back.

    Raises:
        ResticFormatError: it failed; the text says whether the old config is there again and where its copy is.
        OSError: the copy cannot be written; nothing has changed.
    """
    storage = repository.storage
    old = storage.load(FileKind.CONFIG, "")
    cipher = make_cipher(repository.master_key)
    plaintext = encode_config(config)
    decode_config(plaintext)
    sealed = cipher.seal(plaintext)
    if cipher.open(sealed) != plaintext:
        raise DamagedFile("the new config differs after sealing; memory or processor are unreliable")
    kept = os.path.join(folder, BACKUP)
    _write(kept, old)
    repository.may_change(FileKind.CONFIG)
    try:
        storage.save(FileKind.CONFIG, "", sealed)
        if storage.load(FileKind.CONFIG, "") != sealed:
            raise DamagedFile("config", object="config")
        store_hot_config(storage, config, repository.master_key)
    except ResticFormatError as error:
        raise _restored(repository, old, kept, error) from error
    with suppress(OSError):
        os.unlink(kept)


def _restored(repository: Repository, old: bytes, kept: str, error: ResticFormatError) -> ResticFormatError:
    """What to tell after the new config could not be stored; the old one is put back where it is not there any more."""
    storage = repository.storage
    try:
        if not _is_stored(repository, old):
            storage.save(FileKind.CONFIG, "", old)
    except ResticFormatError as again:
        return StorageError(
            f"the new config could not be stored ({error}), and the old one could not be put back ({again}): "
            f"its copy is {kept}, put it into the repository as `config`"
        )
    with suppress(OSError):
        os.unlink(kept)
    return StorageError(f"the new config could not be stored ({error}); the repository is as it was")


def _is_stored(repository: Repository, old: bytes) -> bool:
    try:
        return repository.storage.load(FileKind.CONFIG, "") == old
    except ResticFormatError:
        return False


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
