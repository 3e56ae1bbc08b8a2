"""What a repository holds, in numbers: files by kind, blobs and packs by type."""

from __future__ import annotations

from dataclasses import dataclass, field

from restic_format.repository import Repository
from restic_format.repository.settings import pack_sizes
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

COUNTED = (FileKind.KEY, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK)
"""The kinds of files that are counted: all but the config, which is one, and locks, which come and go."""


@dataclass
class Files:
    """The files of one kind."""

    count: int = 0
    size: int = 0
    """Bytes of all."""


@dataclass
class Blobs:
    """The blobs of one type that are in the index, every copy."""

    count: int = 0
    size: int = 0
    """Sealed bytes, as they are in packs."""
    data_size: int = 0
    """Bytes of their plaintexts."""


@dataclass
class Packs:
    """The packs of one type that are in the index; one with trees and data counts as one of trees."""

    count: int = 0
    smallest: int | None = None
    """Bytes of blobs in the smallest one; None without any."""
    largest: int | None = None

    def add(self, size: int) -> None:
        """Count one more."""
        self.count += 1
        self.smallest = size if self.smallest is None else min(self.smallest, size)
        self.largest = size if self.largest is None else max(self.largest, size)


@dataclass
class IndexInfo:
    """What the index lists."""

    blobs: dict[BlobType, Blobs] = field(default_factory=lambda: {kind: Blobs() for kind in BlobType})
    packs: dict[BlobType, Packs] = field(default_factory=lambda: {kind: Packs() for kind in BlobType})
    marked: int = 0
    """Packs that are marked for deletion (RUSTIC-2); they are not among the others."""


def count_files(repository: Repository) -> dict[FileKind, Files]:
    """The files in the repository, by kind.

    Raises:
        StorageError: they cannot be listed.
    """
    found = {kind: Files() for kind in COUNTED}
    for kind, files in found.items():
        for _, size in repository.list(kind):
            files.count += 1
            files.size += size
    return found


def count_index(repository: Repository) -> IndexInfo:
    """What the index lists, which must have been loaded."""
    info = IndexInfo(marked=len(repository.index.marked))
    for _, entry in repository.index.entries():
        blobs = info.blobs[entry.type]
        blobs.count += 1
        blobs.size += entry.length
        blobs.data_size += entry.plain_length
    for kind, size in pack_sizes(repository.index):
        info.packs[kind].add(size)
    return info
