"""What a caller says to a restore, and what it hears back: options, counters and the progress callbacks."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

Selector = Callable[[str, bool], tuple[bool, bool]]
"""``(location, is_dir) -> (restore this item, something below it may be restored)``.

*location* is the path in the snapshot, from ``/``. The first answer must not depend on *is_dir*: deletion asks for items
of which only the name is known.
"""

XattrSelector = Callable[[str], bool]
"""``name -> restore this extended attribute``."""


class Overwrite(Enum):
    """What becomes of files that exist in the target."""

    ALWAYS = "always"
    """Compare the content, rewrite the blobs that differ."""
    IF_CHANGED = "if-changed"
    """Like ALWAYS, but a file of the same size and modification time is taken to be the same."""
    IF_NEWER = "if-newer"
    """Only replace what is older than the snapshot's item."""
    NEVER = "never"
    """Keep what exists."""


class Action(Enum):
    """What happened to one item."""

    DIR_RESTORED = "dir restored"
    FILE_RESTORED = "file restored"
    OTHER_RESTORED = "other restored"
    FILE_UPDATED = "file updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True)
class RestoreOptions:
    """How to restore. The defaults are those of ``restic restore``."""

    overwrite: Overwrite = Overwrite.ALWAYS
    delete: bool = False
    """Remove from restored directories what the snapshot does not have, as far as *select* covers it."""
    sparse: bool = False
    """Leave holes for zeros in files that are created."""
    dry_run: bool = False
    ownership_by_name: bool = False
    """Look user and group names up on this machine instead of using the stored numbers."""
    select: Selector | None = None
    select_xattr: XattrSelector | None = None
    workers: int = 2
    """Threads that fetch, decrypt and write."""


class RestoreProgress(Protocol):
    """Callbacks of a restore. They are called from several threads, never two at a time."""

    wants_items: bool
    """Whether `item` is of interest; paths are not put together otherwise."""

    def item(self, action: Action, location: str, size: int) -> None:
        """One item is done. *location* is the path in the snapshot, for DELETED the path in the target."""

    def error(self, location: str, error: Exception) -> None:
        """Something about *location* could not be restored; the restore goes on."""

    def warning(self, message: str) -> None:
        """Something the user should know that is no error."""


@dataclass
class RestoreStats:
    """Counters of a running or finished restore; reading them at any time is safe."""

    files_total: int = 0
    """Items (files, directories, others) found to restore so far."""
    files_restored: int = 0
    files_skipped: int = 0
    files_deleted: int = 0
    bytes_total: int = 0
    bytes_restored: int = 0
    bytes_skipped: int = 0
    errors: int = 0


class Silent:
    """Progress callbacks that do nothing."""

    wants_items = False

    def item(self, action: Action, location: str, size: int) -> None:
        """Ignore."""

    def error(self, location: str, error: Exception) -> None:
        """Ignore; the counter in `RestoreStats` remains."""

    def warning(self, message: str) -> None:
        """Ignore."""


@dataclass
class Report:
    """Counts, and passes on to the callbacks one call at a time."""

    progress: RestoreProgress
    stats: RestoreStats = field(default_factory=RestoreStats)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, size: int, items: int = 1) -> None:
        """One more item to restore (or several), with *size* bytes of content."""
        with self._lock:
            self.stats.files_total += items
            self.stats.bytes_total += size

    def written(self, size: int) -> None:
        """*size* bytes of content are in place."""
        with self._lock:
            self.stats.bytes_restored += size

    def done(self, action: Action, location: Callable[[], str], size: int) -> None:
        """One item is restored."""
        with self._lock:
            self.stats.files_restored += 1
            if self.progress.wants_items:
                self.progress.item(action, location(), size)

    def created(self, numbers: Sequence[int], sizes: array[int], location: Callable[[int], str]) -> None:
        """New files are restored, with their content. *sizes* are those of all files."""
        with self._lock:
            self.stats.files_restored += len(numbers)
            self.stats.bytes_restored += sum(sizes[number] for number in numbers)
            if self.progress.wants_items:
                for number in numbers:
                    self.progress.item(Action.FILE_RESTORED, location(number), sizes[number])

    def skipped(self, location: Callable[[], str], size: int) -> None:
        """One item stays as it is."""
        with self._lock:
            self.stats.files_skipped += 1
            self.stats.bytes_skipped += size
            if self.progress.wants_items:
                self.progress.item(Action.UNCHANGED, location(), size)

    def deleted(self, path: str) -> None:
        """One item of the target is gone (or would be)."""
        with self._lock:
            self.stats.files_deleted += 1
            if self.progress.wants_items:
                self.progress.item(Action.DELETED, path, 0)

    def error(self, location: str, error: Exception) -> None:
        """Something went wrong at *location*."""
        with self._lock:
            self.stats.errors += 1
            self.progress.error(location, error)

    def warning(self, message: str) -> None:
        """Pass on a warning."""
        with self._lock:
            self.progress.warning(message)
