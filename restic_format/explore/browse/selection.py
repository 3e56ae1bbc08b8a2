"""Marked files, directories and snapshots, and restoring them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from restic_format.errors import SnapshotNotFound
from restic_format.repository import Repository
from restic_format.restore import Overwrite, RestoreEvent, RestoreOptions, Restorer, RestoreStats, Selector
from restic_format.snapshots import FoundSnapshot
from restic_format.work import Cancel, Progress, silent
from restic_spec.ids import parse_id

TOP = "/"
"""The path that stands for all of a snapshot."""


class Mark(NamedTuple):
    """Something that is marked."""

    snapshot: FoundSnapshot
    path: str
    """In the snapshot, beginning with ``/``, which alone is the whole of it."""


class RestorePart(NamedTuple):
    """What is restored of one snapshot."""

    snapshot: FoundSnapshot
    paths: tuple[str, ...]
    target: str
    """The directory it is restored to."""


class Selection:
    """What is marked, in the order it was marked."""

    def __init__(self) -> None:
        self._marks: dict[tuple[bytes, str], Mark] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def __iter__(self) -> Iterator[Mark]:
        return iter(self._marks.values())

    def has(self, mark: Mark) -> bool:
        """Whether it is marked itself."""
        return (mark.snapshot.id, mark.path) in self._marks

    def toggle(self, mark: Mark) -> bool:
        """Mark it, or take its mark away; whether it is marked now."""
        key = (mark.snapshot.id, mark.path)
        if self._marks.pop(key, None) is not None:
            return False
        self._marks[key] = mark
        return True

    def clear(self) -> None:
        """Take all marks away."""
        self._marks.clear()

    def snapshots(self) -> list[FoundSnapshot]:
        """The snapshots that are marked as a whole."""
        return [mark.snapshot for mark in self if mark.path == TOP]

    def plan(self, target: str) -> list[RestorePart]:
        """What a restore to the directory *target* is going to do.

        Items keep their paths below it. Where they are from several snapshots, each of these has a directory of its own in
        *target*, named by the first digits of its id, more where they are the same.
        """
        paths: dict[bytes, list[str]] = {}
        found: dict[bytes, FoundSnapshot] = {}
        for mark in self:
            paths.setdefault(mark.snapshot.id, []).append(mark.path)
            found[mark.snapshot.id] = mark.snapshot
        if len(found) == 1:
            return [RestorePart(item, tuple(paths[key]), target) for key, item in found.items()]
        short = len({item.short_id for item in found.values()}) == len(found)
        return [
            RestorePart(item, tuple(paths[key]), os.path.join(target, item.short_id if short else key.hex()))
            for key, item in found.items()
        ]


def selector_of(paths: tuple[str, ...]) -> Selector | None:
    """What a restore of these paths, and all that is below them, selects; None for everything."""
    if TOP in paths:
        return None
    wanted = frozenset(paths)
    above = {path[:end] for path in wanted for end, char in enumerate(path) if char == "/" and end}

    def select(location: str, is_dir: bool) -> tuple[bool, bool]:
        inside = location in wanted or any(location[:end] in wanted for end, char in enumerate(location) if char == "/" and end)
        return inside, is_dir and (inside or location in above)

    return select


class SelectionRestore:
    """Restores the parts of a plan, one after the other. The repository's index must be loaded."""

    def __init__(
        self,
        repository: Repository,
        parts: list[RestorePart],
        *,
        overwrite: Overwrite = Overwrite.ALWAYS,
        progress: Progress[RestoreEvent] = silent,
        cancel: Cancel | None = None,
    ) -> None:
        self.parts = parts
        self._repository = repository
        self._overwrite = overwrite
        self._progress = progress
        self._cancel = cancel or Cancel()
        self._before: list[RestoreStats] = []
        self._now: Callable[[], RestoreStats] = RestoreStats

    @property
    def stats(self) -> RestoreStats:
        """Counters of all parts so far; any thread may look at them."""
        total = RestoreStats()
        for one in [*self._before, self._now()]:
            for name in total.__struct_fields__:
                setattr(total, name, getattr(total, name) + getattr(one, name))
        return total

    def run(self) -> RestoreStats:
        """Restore. Can be called once. What goes wrong with single items is told, counted, and the rest goes on.

        Raises:
            SnapshotNotFound: a snapshot has no tree.
            RestoreError: a target directory cannot be made or opened.
            Interrupted: *cancel* was set.
        """
        for part in self.parts:
            self._cancel.check()
            tree = part.snapshot.snapshot.tree
            if not tree:
                raise SnapshotNotFound(f"snapshot {part.snapshot.short_id} has no tree")
            options = RestoreOptions(overwrite=self._overwrite, select=selector_of(part.paths))
            restorer = Restorer(
                self._repository, parse_id(tree), part.target, options, progress=self._progress, cancel=self._cancel
            )
            self._now = lambda current=restorer: current.stats  # type: ignore[misc]
            done = restorer.run()
            self._now = RestoreStats
            self._before.append(done)
        return self.stats
