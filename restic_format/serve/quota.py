"""How much the data folder may hold (``--max-size``): counted once at the start, then with each file that comes or goes."""

from __future__ import annotations

import contextlib
import os
import stat
import threading

from restic_format.errors import NoSpace


class Quota:
    """At most *limit* bytes below *folder*; 0 for no limit. Every method may be called from any thread."""

    def __init__(self, folder: bytes, limit: int) -> None:
        self.limit = limit
        self.used = _bytes_below(folder) if limit else 0
        """Bytes of files there, and of those on their way."""
        self._lock = threading.Lock()

    def claim(self, size: int) -> None:
        """Count *size* bytes that are about to be written. Raises `NoSpace`, and then counts nothing."""
        if not self.limit:
            return
        with self._lock:
            if self.used + size > self.limit:
                raise NoSpace(f"{size} more bytes would exceed the maximum size ({self.limit} bytes)")
            self.used += size

    def release(self, size: int) -> None:
        """Count *size* bytes no more: they were removed, or not written after all."""
        if self.limit:
            with self._lock:
                self.used = max(self.used - size, 0)


def _bytes_below(folder: bytes) -> int:
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # gone since it was listed
                status = os.lstat(os.path.join(above, name))
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
