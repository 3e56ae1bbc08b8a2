"""The repository layer: keys, index, blobs, packs, locks; the only authority on the order of writes."""

from restic_format.repository.index import BlobIndex, Location
from restic_format.repository.lock import RepositoryLock, lock_repository, lock_while_working
from restic_format.repository.repository import Repository
from restic_format.repository.writer import SavedBlob

__all__ = [
    "BlobIndex",
    "Location",
    "Repository",
    "RepositoryLock",
    "SavedBlob",
    "lock_repository",
    "lock_while_working",
]
