"""Looking ahead: directories are listed and looked at, and their trees of the parent snapshot loaded, before the walk comes to
them, a few neighbours at a time, in one call, and trees that are close together in a pack are read in one go.

What cannot be done this way is left to the walk, which then says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from restic_format.backup.parent import ParentDirectory, ParentTrees
from restic_format.backup.source import ASK_ALWAYS, LOOK_AT_ONCE, FileInfo, Folder, Place
from restic_format.native import nodes

GROUP = 8
"""Directories worked on together."""


class Survey(NamedTuple):
    """What is known of a directory when the walk comes to it."""

    info: FileInfo
    """What it is itself; its extended attributes are known."""
    names: list[bytes]
    """What is in it, sorted."""
    infos: list[FileInfo | None] | None
    """What these are, None where they have not been looked at."""
    parent: ParentDirectory | None
    """What the parent snapshot has of it, None where that has not been loaded."""


def survey(parent: Folder, names: list[bytes], most: int) -> list[Survey | None]:
    """Look at directories in *parent* and, where there are at most *most*, at their entries.

    None for what the walk must look at more closely.
    """
    return [
        Survey(found[0], found[1], found[2], None) if found is not None and found[0].attributes is not None else None  # type: ignore[arg-type]
        for found in nodes.survey(parent, names, ASK_ALWAYS, most)
    ]


class Ahead:
    """Surveys what the walk expects, in the order it will come to it; with *look* the entries, too.

    It does so when the walk takes the first of some neighbours, so that of each level of the tree only a few are kept.
    """

    def __init__(self, parents: ParentTrees, *, look: bool) -> None:
        self._parents = parents
        self._most = LOOK_AT_ONCE if look else 0
        self._levels: list[tuple[Folder, deque[tuple[bytes, str]]]] = []
        self._ready: dict[Place, Survey] = {}

    def expect(self, parent: Folder, directories: Sequence[tuple[bytes, str]]) -> None:
        """Say what the walk will come to next in *parent*: names, and ids of the parent snapshot's trees."""
        self._levels = [level for level in self._levels if level[1]]
        self._levels.append((parent, deque(directories)))

    def take(self, place: Place) -> Survey | None:
        """What is known of a directory the walk has come to."""
        if place not in self._ready:
            for parent, level in self._levels:
                if level and level[0][0] == place.name and parent == place.folder:
                    self._survey(parent, [level.popleft() for _ in range(min(GROUP, len(level)))])
        return self._ready.pop(place, None)

    def _survey(self, parent: Folder, group: list[tuple[bytes, str]]) -> None:
        trees = self._parents.load_many([tree for _, tree in group])
        names = [name for name, _ in group]
        for (name, tree), found in zip(group, survey(parent, names, self._most), strict=True):
            if found is not None:
                self._ready[Place(parent, name)] = found._replace(parent=trees.get(tree))
