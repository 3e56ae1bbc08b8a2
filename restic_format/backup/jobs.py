"""What the walk gives the workers: files to read, one by one or many small ones of a directory together."""

from __future__ import annotations

from typing import NamedTuple

from restic_format.backup.pending import PendingDirectory
from restic_format.backup.source import Folder, Place
from restic_spec import gojson
from restic_spec.tree import Node


class FileJob(NamedTuple):
    """A file to read."""

    directory: PendingDirectory
    nodes: list[bytes | None]
    """Where in *directory* its node is to be put."""
    slot: int
    """The place in *nodes*."""
    place: Place
    """Where it is."""
    item: str
    """Its path in the snapshot."""
    name: bytes
    """Its name in the snapshot."""
    previous: Node | None
    """Its node in the parent snapshot."""
    size: int
    """Bytes it had when it was looked at."""

    @property
    def path(self) -> bytes:
        """The whole path."""
        return self.place.path


class FileGroup(NamedTuple):
    """Small new files beside each other."""

    directory: PendingDirectory
    nodes: list[bytes | None]
    """Where in *directory* their nodes are to be put, a place for each."""
    folder: Folder
    """Where they are."""
    item: str
    """The directory's path in the snapshot."""
    names: list[bytes]
    """Their names there, and in the snapshot."""

    def job(self, number: int) -> FileJob:
        """One of them by itself; it counts as one more open entry of the directory."""
        name = self.names[number]
        item = f"{self.item}/{gojson.to_text(name)}"
        return FileJob(self.directory, self.nodes, number, Place(self.folder, name), item, name, None, 0)


Batch = list[FileJob | FileGroup]
"""What a worker gets at a time."""
