"""What a caller hears of a restore: events, and counters."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

import msgspec

from restic_format.storage.warming import WarmUp
from restic_format.work import Progress


class Action(Enum):
    """What happened to one item."""

    DIR_RESTORED = "dir restored"
    FILE_RESTORED = "file restored"
    OTHER_RESTORED = "other restored"
    FILE_UPDATED = "file updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


class Item(NamedTuple):
    """One item is done."""

    action: Action
    location: str
    """The path in the snapshot, for DELETED the path in the target."""
    size: int


class Failed(NamedTuple):
    """Something could not be restored; the restore goes on."""

    location: str
    """The path in the snapshot."""
    error: Exception


RestoreEvent: TypeAlias = Item | Failed | WarmUp


class RestoreStats(msgspec.Struct):
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


class Report:
    """Counts, and tells *progress*, one call at a time."""

    def __init__(self, progress: Progress[RestoreEvent], *, tell_items: bool = False) -> None:
        self.progress = progress
        self.tell_items = tell_items
        self.stats = RestoreStats()
        self._lock = threading.Lock()

    def expect(self, size: int, items: int = 1) -> None:
        """Count one more item to restore (or several), with *size* bytes of content."""
        with self._lock:
            self.stats.files_total += items
            self.stats.bytes_total += size

    def written(self, size: int) -> None:
        """Count *size* bytes of content as in place."""
        with self._lock:
            self.stats.bytes_restored += size

    def done(self, action: Action, location: Callable[[], str], size: int) -> None:
        """Count one item as restored, and tell of it."""
        with self._lock:
            self.stats.files_restored += 1
            if self.tell_items:
                self.progress(Item(action, location(), size))

    def created(self, numbers: Sequence[int], sizes: array[int], location: Callable[[int], str]) -> None:
        """Count new files as restored, with their content, and tell of them. *sizes* are those of all files."""
        with self._lock:
            self.stats.files_restored += len(numbers)
            self.stats.bytes_restored += sum(sizes[number] for number in numbers)
            if self.tell_items:
                for number in numbers:
                    self.progress(Item(Action.FILE_RESTORED, location(number), sizes[number]))

    def skipped(self, location: Callable[[], str], size: int) -> None:
        """Count one item that stays as it is, and tell of it."""
        with self._lock:
            self.stats.files_skipped += 1
            self.stats.bytes_skipped += size
            if self.tell_items:
                self.progress(Item(Action.UNCHANGED, location(), size))

    def deleted(self, path: str) -> None:
        """Count one item of the target as deleted (or one that would be), and tell of it."""
        with self._lock:
            self.stats.files_deleted += 1
            if self.tell_items:
                self.progress(Item(Action.DELETED, path, 0))

    def warm_up(self, event: WarmUp) -> None:
        """Tell which packs must be brought back before anything can be restored."""
        with self._lock:
            self.progress(event)

    def error(self, location: str, error: Exception) -> None:
        """Count an error at *location*, and tell of it."""
        with self._lock:
            self.stats.errors += 1
            self.progress(Failed(location, error))
