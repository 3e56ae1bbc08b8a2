"""The repository layer: keys, index, blobs, packs, locks; the only authority on the order of writes."""

from restic_format.repository.index import BlobIndex, Location
from restic_format.repository.lock import RepositoryLock
from restic_format.repository.repository import Repository
from restic_format.repository.writer import BlobWriter, SavedBlob

__all__ = [
    "BlobIndex",
    "BlobWriter",
    "Location",
    "Repository",
    "RepositoryLock",
    "SavedBlob",
]
