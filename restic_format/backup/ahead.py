"""Looking ahead: a thread that lists and looks at directories, and loads their trees of the parent snapshot, before the walk
comes to them.

It works on a few neighbours at a time: the kernel lists and looks at them in one call, and trees that lie close together in a
pack are read in one go. What it cannot do is left to the walk, which then says why.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from restic_format.backup.looking import ASK_ALWAYS, LOOK_AT_ONCE, FileInfo
from restic_format.backup.parenttrees import ParentDirectory, ParentTrees
from restic_format.native import nodes

GROUP = 8
"""Directories worked on together."""

MOST_READY = 64
"""With so many surveyed directories no level gets more of them while it has some."""


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


class _Level:
    """Directories beside each other that the walk will come to."""

    def __init__(self, directories: Sequence[tuple[bytes, str]]) -> None:
        self.wanted = deque(directories)
        self.ready = 0
        """How many have been surveyed that the walk has not come to."""


class Ahead:
    """Surveys what the walk expects, in the order it will come to it; with *look* the entries, too.

    Of each level of the tree only a few directories are ready at a time, so that those deeper down, which the walk comes to
    first, need not wait.
    """

    def __init__(self, parents: ParentTrees, *, look: bool) -> None:
        self._parents = parents
        self._most = LOOK_AT_ONCE if look else 0
        self._levels: list[_Level] = []
        self._working: set[bytes] = set()
        self._ready: dict[bytes, tuple[_Level, Survey]] = {}
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def expect(self, directories: Sequence[tuple[bytes, str]]) -> None:
        """The walk will come to these next: paths, and ids of the parent snapshot's trees."""
        with self._changed:
            self._levels = [level for level in self._levels if level.wanted or level.ready]
            self._levels.append(_Level(directories))
            self._changed.notify_all()

    def take(self, path: bytes) -> Survey | None:
        """What is known of a directory the walk has come to."""
        with self._changed:
            while path in self._working:
                self._changed.wait()
            level, found = self._ready.pop(path, (None, None))
            if level is not None:
                level.ready -= 1
                if level.wanted and level.ready < GROUP:
                    self._changed.notify_all()
                return found
            for level in self._levels:
                if level.wanted and level.wanted[0][0] == path:
                    level.wanted.popleft()  # not begun: the walk is faster
            return None

    def close(self) -> None:
        """Stop; nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            level, group = work
            found: dict[bytes, Survey] = {}
            try:
                found = self._survey(group)
            finally:
                with self._changed:
                    self._working = set()
                    level.ready += len(found)
                    self._ready.update((path, (level, one)) for path, one in found.items())
                    self._changed.notify_all()

    def _next(self) -> tuple[_Level, list[tuple[bytes, str]]] | None:
        with self._changed:
            while not self._closed:
                for level in reversed(self._levels):
                    if level.wanted and level.ready < GROUP and (len(self._ready) < MOST_READY or not level.ready):
                        group = [level.wanted.popleft() for _ in range(min(GROUP, len(level.wanted)))]
                        self._working = {path for path, _ in group}
                        return level, group
                self._changed.wait()
            return None

    def _survey(self, group: list[tuple[bytes, str]]) -> dict[bytes, Survey]:
        trees = self._parents.load_many([tree for _, tree in group])
        found = zip(group, survey([path for path, _ in group], self._most), strict=True)
        return {path: one._replace(parent=trees.get(tree)) for (path, tree), one in found if one is not None}
