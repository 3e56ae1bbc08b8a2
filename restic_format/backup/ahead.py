"""Looking ahead: directories are listed and looked at, and their trees of the parent snapshot loaded, before the walk comes to
them, a few neighbours at a time: the kernel does it in one call, and trees close together in a pack are read in one go.

What cannot be done this way is left to the walk, which then says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from restic_format.backup.looking import ASK_ALWAYS, LOOK_AT_ONCE, FileInfo
from restic_format.backup.parenttrees import ParentDirectory, ParentTrees
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


def survey(paths: list[bytes], most: int) -> list[Survey | None]:
    """Look at directories and, where there are at most *most*, at their entries; None for what the walk must look at closer."""
    return [
        Survey(found[0], found[1], found[2], None) if found is not None and found[0].attributes is not None else None  # type: ignore[arg-type]
        for found in nodes.survey(paths, ASK_ALWAYS, most)
    ]


class Ahead:
    """Surveys what the walk expects, in the order it will come to it; with *look* the entries, too.

    It does so when the walk takes the first of some neighbours, so that of each level of the tree only a few are kept.
    """

    def __init__(self, parents: ParentTrees, *, look: bool) -> None:
        self._parents = parents
        self._most = LOOK_AT_ONCE if look else 0
        self._levels: list[deque[tuple[bytes, str]]] = []
        self._ready: dict[bytes, Survey] = {}

    def expect(self, directories: Sequence[tuple[bytes, str]]) -> None:
        """The walk will come to these next: paths, and ids of the parent snapshot's trees."""
        self._levels = [level for level in self._levels if level]
        self._levels.append(deque(directories))

    def take(self, path: bytes) -> Survey | None:
        """What is known of a directory the walk has come to."""
        if path not in self._ready:
            for level in self._levels:
                if level and level[0][0] == path:
                    self._survey([level.popleft() for _ in range(min(GROUP, len(level)))])
        return self._ready.pop(path, None)

    def _survey(self, group: list[tuple[bytes, str]]) -> None:
        trees = self._parents.load_many([tree for _, tree in group])
        for (path, tree), found in zip(group, survey([path for path, _ in group], self._most), strict=True):
            if found is not None:
                self._ready[path] = found._replace(parent=trees.get(tree))
