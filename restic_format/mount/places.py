"""The places above the snapshots, read again from time to time, so that new snapshots appear."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from restic_format.errors import BlobMissing, FileMissing
from restic_format.mount.names import PATH_TEMPLATES, TIME_TEMPLATE, Layout, Place
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, SnapshotFilter
from restic_spec.errors import ResticFormatError
from restic_spec.layout import FileKind

REFRESH = 5.0
"""Seconds after which the snapshots are listed again when somebody looks at a place; restic's are 60."""


class Places:
    """The layout of a mount as it is now; used from any thread."""

    def __init__(
        self,
        repository: Repository,
        wanted: SnapshotFilter | None = None,
        *,
        path_templates: Sequence[str] = PATH_TEMPLATES,
        time_template: str = TIME_TEMPLATE,
        told: Callable[[str, ResticFormatError], None],
        refresh: float = REFRESH,
    ) -> None:
        """*told* gets the path of a snapshot that cannot be read, below the repository, and why: once."""
        self._repository = repository
        self._wanted = (wanted or SnapshotFilter()).absolute()
        self._path_templates = path_templates or PATH_TEMPLATES
        self._time_template = time_template
        self._told = told
        self._period = refresh
        self._lock = threading.Lock()
        self._next = self._next_index = 0.0
        self._read: dict[bytes, FoundSnapshot | None] = {}
        """Every snapshot there is; None where it cannot be read."""
        self._layout = Layout((), self._path_templates, time_template)
        self.changed_ns = time.time_ns()
        """When the layout was made."""
        self.index_readings = 0
        """How many times the index was read again."""

    def get(self, folder: str, name: bytes) -> Place | None:
        """What is called *name* in the folder."""
        place = self.at(folder)
        return None if place is None else place.names.get(name.decode("utf-8", "surrogateescape"))

    def at(self, path: str) -> Place | None:
        """The place at *path*."""
        return self._layout.get(path)

    def snapshot(self, ident: bytes) -> FoundSnapshot | None:
        """The snapshot with this id, if it is still there."""
        return self._read.get(ident)

    def load(self) -> None:
        """Read the snapshots, and the index again where there are new ones.

        Raises:
            ResticFormatError: they cannot be listed, or the index cannot be read.
        """
        with self._lock:
            self._load()

    def refresh(self) -> None:
        """`load` if it is time for it; what fails is told, and tried again later. Others than the thread that does it go on."""
        if time.monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._load()
        except ResticFormatError as error:
            self._told("snapshots", error)
        finally:
            self._lock.release()

    def reload_index(self, error: ResticFormatError, readings: int) -> bool:
        """Read the index anew where *error* says that the repository is not what it was, as after a prune by somebody who does
        not care for locks; whether it is worth to try again. *readings* is `index_readings` before what failed began.
        """
        if not isinstance(error, BlobMissing) and not isinstance(error.cause, FileMissing):
            return False
        with self._lock:
            if self.index_readings != readings:
                return True  # another thread has met the same, and done it
            if time.monotonic() < self._next_index:
                return False
            self._next_index = time.monotonic() + self._period
            with suppress(ResticFormatError):
                self._read_index()
                return True
        return False

    def _read_index(self) -> None:
        self._repository.reload_index()
        self.index_readings += 1

    def _load(self) -> None:
        self._next = time.monotonic() + self._period
        present = [ident for ident, _ in self._repository.list(FileKind.SNAPSHOT)]
        before = self._read
        read = {ident: before[ident] if ident in before else self._load_one(ident) for ident in present}
        if read.keys() == before.keys() and before:
            return
        if before and read.keys() - before.keys():
            self._read_index()
        found = [item for item in read.values() if item is not None and self._wanted.matches(item.snapshot)]
        self._layout = Layout(found, self._path_templates, self._time_template)
        self._read, self.changed_ns = read, time.time_ns()
        self._next = time.monotonic() + self._period

    def _load_one(self, ident: bytes) -> FoundSnapshot | None:
        try:
            return FoundSnapshot(ident, self._repository.load_snapshot(ident, keep_unknown=False))
        except ResticFormatError as error:
            self._told(f"snapshots/{ident.hex()}", error)
            return None
