"""What is said about the cost of something."""

from __future__ import annotations

from typing import NamedTuple

from restic_format.native.table import STORED
from restic_format.repository import Repository


class Cost(NamedTuple):
    """What something costs. All but the first two are bytes of blobs as stored."""

    entries: int
    """Files, directories and other entries."""
    size: int
    """Bytes of its files, as they are restored."""
    stored: int
    """Bytes of the blobs that it needs, each once."""
    unique: int
    """Bytes of those that none of the others it is compared with needs."""
    freed: int
    """Bytes of those that nothing else in the repository needs: what `prune` can remove when it is gone."""

    @property
    def shared(self) -> int:
        """Bytes of the blobs that it shares with others it is compared with."""
        return self.stored - self.unique


class Stored(NamedTuple):
    """What there is in the whole repository, in bytes of blobs as stored."""

    all: int
    """Of every copy of every blob that the index lists."""
    needed: int
    """Of what snapshots need, each blob once."""

    @property
    def unneeded(self) -> int:
        """What no snapshot needs, and further copies: `prune` can remove that now."""
        return self.all - self.needed


def count_stored(repository: Repository) -> int:
    """Bytes of every copy of every blob in the index, which must have been loaded."""
    index = repository.index
    return sum(use.unused_size for use in index.use().choose(bytes([STORED]) * len(index.pack_ids())))
