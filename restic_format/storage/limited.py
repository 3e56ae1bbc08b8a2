"""A storage that is kept to so many bytes a second, for lines that others need too.

Each direction has a bucket of its own: what has not been used is saved up for one second at most. A file goes through in
small pieces, in turn with those of other threads, so that a lock's renewal does not wait for the packs before it. What is
counted are the bytes of files; listing, asking for sizes and removing cost nothing. Whoever is asked to stop does not wait any
more: what must still be stored, or was asked for already, goes as fast as it can.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from restic_format.storage.base import Content, Storage, WrappedStorage, Writer, pieces_of
from restic_spec.layout import FileKind

SAVED_UP = 1.0
"""Seconds' worth of bytes that may go at once after a pause."""

PIECES = 8
"""Pieces into which a second's worth is cut."""

_NAP = 0.25
"""Seconds between two looks at whether to stop."""


def _never() -> bool:
    return False


class Pace:
    """Lets *rate* bytes a second through. Any number of threads may wait; those that come first go first."""

    def __init__(
        self,
        rate: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        stopping: Callable[[], bool] = _never,
    ) -> None:
        """While *stopping* is true nobody waits."""
        if rate <= 0:
            raise ValueError(f"a rate of {rate} bytes a second lets nothing through")
        self._rate = rate
        self._piece = max(1, rate // PIECES)
        self._clock = clock
        self._sleep = sleep
        self._stopping = stopping
        self._due = clock() - SAVED_UP
        self._lock = threading.Lock()

    def wait(self, size: int) -> None:
        """Return when *size* bytes have had their time."""
        while size > 0:
            piece = min(size, self._piece)
            size -= piece
            with self._lock:
                now = self._clock()
                self._due = max(self._due, now - SAVED_UP) + piece / self._rate
                delay = self._due - now
            while delay > 0 and not self._stopping():
                nap = min(delay, _NAP)
                self._sleep(nap)
                delay -= nap


def _size(data: Content) -> int:
    return sum(memoryview(piece).nbytes for piece in pieces_of(data))


class _LimitedWriter:
    """Appends to *inner* when the bytes have had their time."""

    def __init__(self, inner: Writer, pace: Pace) -> None:
        self._inner = inner
        self._pace = pace
        self.contents, self.finish, self.abort = inner.contents, inner.finish, inner.abort

    def append(self, data: Content) -> None:
        """See `Writer`."""
        self._pace.wait(_size(data))
        self._inner.append(data)


class LimitedStorage(WrappedStorage):
    """Wraps *inner*, whose files go at the pace of *upload* and *download*; None for as fast as it goes."""

    def __init__(
        self,
        inner: Storage,
        upload: Pace | None = None,
        download: Pace | None = None,
    ) -> None:
        super().__init__(inner)
        self._upload, self._download = upload, download

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file when its bytes have had their time."""
        if self._upload is not None:
            self._upload.wait(_size(data))
        self.inner.save(kind, name, data, metadata=metadata)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file that is not there, when its bytes have had their time."""
        if self._upload is not None:
            self._upload.wait(_size(data))
        self.inner.save_new(kind, name, data)

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """Begin to write a file, piece by piece when the bytes have had their time."""
        writer = self.inner.begin(kind, metadata=metadata)
        return writer if self._upload is None else _LimitedWriter(writer, self._upload)

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range; it is given out when its bytes have had their time."""
        data = self.inner.load(kind, name, offset, length)
        if self._download is not None:
            self._download.wait(len(data))
        return data

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Read a range; it is given out when its bytes have had their time."""
        self.inner.load_into(kind, name, offset, target)
        if self._download is not None:
            self._download.wait(len(target))
