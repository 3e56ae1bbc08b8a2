"""How large the files and blobs of a repository are: how many there are of each order of magnitude."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from restic_format.repository import Repository
from restic_format.repository.packer import MAX_PACK_SIZE
from restic_spec.chunker import MAX_SIZE
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

FILES = (FileKind.KEY, FileKind.LOCK, FileKind.INDEX, FileKind.SNAPSHOT, FileKind.PACK)
"""The kinds of files that are counted, in restic's order."""


class SizeClass(NamedTuple):
    """How many sizes there are of one order of magnitude, in bytes."""

    lowest: int
    highest: int
    number: int


class Histogram:
    """Sizes by order of magnitude, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self.size = 0
        """Bytes in all."""
        self.oversized: list[int] = []
        """The sizes beyond the limit, as many as `MOST_OVERSIZED`."""
        self._bounds = [(0, 0)]
        lowest = 1
        while lowest < limit:
            self._bounds.append((lowest, min(lowest * 10 - 1, limit)))
            lowest *= 10
        self._counts = [0] * len(self._bounds)

    def add(self, size: int) -> None:
        """Count one more."""
        self.count += 1
        self.size += size
        for number, (lowest, highest) in enumerate(self._bounds):
            if lowest <= size <= highest:
                self._counts[number] += 1
                return
        if len(self.oversized) < MOST_OVERSIZED:
            self.oversized.append(size)

    def classes(self) -> list[SizeClass]:
        """The classes from the smallest to the largest that has any."""
        filled = [number for number, count in enumerate(self._counts) if count]
        if not filled:
            return []
        found = [SizeClass(*bounds, count) for bounds, count in zip(self._bounds, self._counts, strict=True)]
        return found[filled[0] : filled[-1] + 1]


MOST_OVERSIZED = 1000
"""Sizes beyond the limit that are remembered."""


def count_file_sizes(repository: Repository) -> Iterator[tuple[FileKind, Histogram]]:
    """The sizes of the repository's files, kind by kind.

    Raises:
        StorageError: they cannot be listed.
    """
    for kind in FILES:
        found = Histogram(2 * MAX_PACK_SIZE)
        for _, size in repository.list(kind):
            found.add(size)
        yield kind, found


def count_blob_sizes(repository: Repository) -> dict[BlobType, Histogram]:
    """The sizes of all copies of all blobs as they are stored; the index must be loaded."""
    found = {kind: Histogram(2 * MAX_SIZE) for kind in (BlobType.DATA, BlobType.TREE)}
    for _, entry in repository.index.entries():
        found[entry.type].add(entry.length)
    return found
