"""What the steps of one restore share."""

from __future__ import annotations

import os
import threading
from array import array

from restic_format.repository import Repository
from restic_format.restore.metadata import MetadataWriter
from restic_format.restore.plan import Plan
from restic_format.restore.report import Report
from restic_format.restore.request import RestoreOptions
from restic_format.restore.table import DirTable, FileState, FileTable, Meta, Names
from restic_format.work import Cancel


class LinkTable:
    """Further names of files that are restored under their first one."""

    def __init__(self) -> None:
        self.directory = array("I")
        self.file = array("I")
        """Number of the file to link to."""
        self.names = Names()
        self.meta: dict[int, Meta] = {}
        """Metadata, only where they differ from those of the file."""

    def __len__(self) -> int:
        return len(self.directory)

    def append(self, directory: int, name: bytes, file: int) -> int:
        """A new link; its number is returned."""
        self.directory.append(directory)
        self.file.append(file)
        return self.names.append(name)


class Session:
    """Repository, options, tables and plan of one restore."""

    def __init__(
        self,
        repository: Repository,
        target: bytes,
        options: RestoreOptions,
        report: Report,
        cancel: Cancel,
    ) -> None:
        self.repository = repository
        self.target = target
        """Absolute path of the target directory, for messages only."""
        self.options = options
        self.report = report
        self.cancel = cancel
        self.root = -1
        """Descriptor of the target directory, -1 while there is none."""
        self.dirs = DirTable()
        self.files = FileTable()
        self.links = LinkTable()
        self.plan = Plan()
        self.metadata = MetadataWriter(options.select_xattr)
        self.may_delete = options.delete
        """Whether it is known well enough what belongs into the target."""
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """How many threads fetch, decrypt and write."""
        return self.options.workers or self.repository.storage.readers

    def target_path(self, location: str) -> str:
        """The path in the target of an item of the snapshot, for messages only."""
        return os.fsdecode(self.target.rstrip(b"/")) + location

    def file_location(self, number: int) -> str:
        """Path in the snapshot of a file."""
        return self.dirs.location(self.files.directory[number], self.files.names[number])

    def link_location(self, number: int) -> str:
        """Path in the snapshot of a hard link."""
        return self.dirs.location(self.links.directory[number], self.links.names[number])

    def mark(self, number: int, flags: int) -> None:
        """Set state *flags* of a file."""
        with self._lock:
            self.files.state[number] |= flags

    def fail(self, number: int, error: Exception, flags: int = 0) -> None:
        """Note that a file cannot be restored whole; the first error of a file is reported."""
        with self._lock:
            known = self.files.state[number] & FileState.FAILED
            self.files.state[number] |= FileState.FAILED | flags
        if not known:
            self.report.error(self.file_location(number), error)

    def count_down(self, number: int, blobs: int) -> int:
        """Count so many *blobs* of a file as dealt with; how many are left."""
        with self._lock:
            self.files.remaining[number] -= blobs
            return self.files.remaining[number]
