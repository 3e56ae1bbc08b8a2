"""Locks that nobody holds: those of dead processes, and those that cannot be read."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from restic_format.errors import DamagedFile, FileUnusable, ResticFormatError
from restic_format.repository import Repository
from restic_format.repository.lock import is_stale, read_locks
from restic_format.rescue.quarantine import Quarantine, QuarantiningStorage
from restic_spec.lock import RECHECK_AFTER, Lock


class DeadLocks(NamedTuple):
    """Names of locks, and of those that cannot be read why not."""

    stale: list[str]
    unreadable: dict[str, ResticFormatError]


def find_dead_locks(repository: Repository) -> DeadLocks:
    """The locks that nobody can be holding, and those of which nobody can tell.

    Raises:
        StorageError: the storage does not give one back, of which nothing is known.
    """
    stale: list[str] = []
    suspects: dict[str, ResticFormatError] = {}
    for lock_id, lock in read_locks(repository):
        if isinstance(lock, Lock):
            if is_stale(lock):
                stale.append(lock_id.hex())
        elif isinstance(lock, DamagedFile | FileUnusable):
            suspects[lock_id.hex()] = lock
        else:
            raise lock
    if suspects:
        time.sleep(RECHECK_AFTER)  # One may have been in the making.
        again = {lock_id.hex(): lock for lock_id, lock in read_locks(repository) if not isinstance(lock, Lock)}
        suspects = {name: error for name, error in again.items() if name in suspects}
    return DeadLocks(stale, suspects)


def set_locks_aside(repository: Repository, quarantine: Quarantine, names: Iterable[str]) -> None:
    """Move locks to the quarantine. Raises `StorageError`."""
    storage = QuarantiningStorage(repository.storage, quarantine)
    for name in names:
        storage.remove_lock(name)
