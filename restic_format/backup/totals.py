"""The totals: how much there is to back up, found out by a thread of its own while the backup already runs."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Sequence

from restic_format.backup.errors import SourceError
from restic_format.backup.job import BackupEvent, ItemFailed, Totals
from restic_format.backup.select import Reject
from restic_format.backup.source import ASK_NOTHING, LOOK_AT_ONCE, FileInfo, Place, list_directory, look_closely
from restic_format.backup.targets import TargetTree
from restic_format.native import nodes
from restic_format.work import Progress
from restic_spec import gojson

REPORT_EVERY = 0.05
"""Seconds between two reports."""


class Counter:
    """Counts what the targets hold, with the same exclusions as the backup."""

    def __init__(
        self,
        tree: TargetTree,
        excluded: Callable[[str], bool] | None,
        rejects: Sequence[Reject],
        progress: Progress[BackupEvent],
        stop: threading.Event,
    ) -> None:
        self._tree = tree
        self._excluded = excluded
        self._rejects = rejects
        self._progress = progress
        self._stop = stop
        self._files = self._dirs = self._others = self._bytes = 0
        self._reported = time.monotonic()

    def run(self) -> None:
        """Scan until everything is counted or the backup is over."""
        waiting = [self._tree]
        while waiting:
            tree = waiting.pop()
            if tree.path:
                self._scan(tree.path, tree.explicit)
            waiting.extend(tree.children.values())
        if not self._stop.is_set():
            self._tell(finished=True)

    def _tell(self, *, finished: bool = False) -> None:
        self._progress(Totals(self._files, self._dirs, self._others, self._bytes, finished))

    def _fail(self, place: Place, error: SourceError) -> None:
        self._progress(ItemFailed(gojson.to_text(place.path), error, "scan"))

    def _scan(self, path: bytes, explicit: bool) -> None:
        place = Place.of_target(os.path.abspath(path))
        if not explicit and self._excludes(place.path):
            return
        waiting = [place] if self._count(place, None, explicit) else []
        while waiting and not self._stop.is_set():
            waiting.extend(self._count_entries(waiting.pop()))
            if time.monotonic() - self._reported > REPORT_EVERY:
                self._tell()
                self._reported = time.monotonic()

    def _excludes(self, path: bytes) -> bool:
        return self._excluded is not None and self._excluded(gojson.to_text(path))

    def _count(self, place: Place, info: FileInfo | None, explicit: bool = False) -> bool:
        """Count one item, unless it is a directory to go into; *info* is None where nobody has looked at it yet."""
        try:
            info = look_closely(place) if info is None else info
            if not explicit and any(rejects(place.path, info) for rejects in self._rejects):
                return False
        except OSError as error:
            self._fail(place, SourceError.from_os("lstat", place.path, error))
            return False
        if stat.S_ISREG(info.st_mode):
            self._files += 1
            self._bytes += info.st_size
        elif stat.S_ISDIR(info.st_mode):
            return True
        else:
            self._others += 1
        return False

    def _count_entries(self, place: Place) -> list[Place]:
        """Count a directory and what is in it; directories to go into are given back."""
        try:
            names = list_directory(place)
        except OSError as error:
            problem = SourceError.from_os("open", place.path, error, "openfile for readdirnames failed: ")
            self._fail(place, problem)
            return []
        self._dirs += 1
        folder = place.as_folder()
        if self._excluded is not None:
            names = [name for name in names if not self._excludes(folder.prefix + name)]
        found = []
        for start in range(0, len(names), LOOK_AT_ONCE):
            some = names[start : start + LOOK_AT_ONCE]
            infos = nodes.look_at(folder, some, ASK_NOTHING)
            places = [Place(folder, name) for name in some]
            found += [entry for entry, info in zip(places, infos, strict=True) if self._count(entry, info)]
            if self._stop.is_set():
                break
        return found
