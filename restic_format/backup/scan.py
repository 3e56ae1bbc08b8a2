"""The scan: how much there is to back up, found out by a thread of its own while the backup already runs."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Sequence

from restic_format.backup.errors import SourceError
from restic_format.backup.opening import list_directory
from restic_format.backup.options import Progress, Totals
from restic_format.backup.select import Reject
from restic_format.backup.targets import TargetTree
from restic_spec import gojson

REPORT_EVERY = 0.05
"""Seconds between two reports."""


class Scanner:
    """Counts what the targets hold, with the same exclusions as the backup."""

    def __init__(
        self,
        tree: TargetTree,
        excluded: Callable[[str], bool] | None,
        rejects: Sequence[Reject],
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self._tree = tree
        self._excluded = excluded
        self._rejects = rejects
        self._progress = progress
        self._stop = stop
        self._totals = Totals()
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
            self._progress.scanned(self._totals, True)

    def _scan(self, path: bytes, explicit: bool) -> None:
        waiting = self._count(os.path.abspath(path), explicit)
        while waiting and not self._stop.is_set():
            waiting.extend(self._count(waiting.pop(), False))
            if time.monotonic() - self._reported > REPORT_EVERY:
                self._progress.scanned(self._totals, False)
                self._reported = time.monotonic()

    def _count(self, path: bytes, explicit: bool) -> list[bytes]:
        """Count one item; a directory's entries are given back."""
        if not explicit and self._excluded is not None and self._excluded(gojson.to_text(path)):
            return []
        totals = self._totals
        try:
            info = os.lstat(path)
            if not explicit and any(rejects(path, info) for rejects in self._rejects):
                return []
            if stat.S_ISREG(info.st_mode):
                totals.files += 1
                totals.bytes += info.st_size
            elif stat.S_ISDIR(info.st_mode):
                return self._list(path)
            else:
                totals.others += 1
        except OSError as error:
            self._progress.scan_error(gojson.to_text(path), SourceError.from_os("lstat", path, error))
        return []

    def _list(self, path: bytes) -> list[bytes]:
        """Count a directory; its entries are given back."""
        try:
            names = list_directory(path)
        except OSError as error:
            problem = SourceError.from_os("open", path, error, "openfile for readdirnames failed: ")
            self._progress.scan_error(gojson.to_text(path), problem)
            return []
        self._totals.dirs += 1
        return [os.path.join(path, name) for name in names]
