"""The repository behind file systems: opened when it is needed, its lock released when nobody reads for a while."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from restic_format.snapshots import SnapshotFilter

if TYPE_CHECKING:
    from restic_format.api.files import SnapshotFiles
    from restic_format.api.records import SnapshotInfo
    from restic_format.api.repository import OpenRepository

IDLE = 10.0
"""Seconds without use after which the lock on the repository is released; open files keep it."""
_MOST_SNAPSHOTS = 8
"""Snapshots that are kept open at once."""


class Connection:
    """Snapshots by name, kept open between uses. Thread-safe; a forked process opens everything anew."""

    def __init__(self, opening: Callable[[], OpenRepository], wanted: SnapshotFilter) -> None:
        self._opening = opening
        self._wanted = wanted
        self.reset()

    def reset(self) -> None:
        """Begin anew, as nothing of what is held may be used any more: this is another process."""
        self._lock = threading.RLock()
        self._repository: OpenRepository | None = None
        self._files: OrderedDict[str, SnapshotFiles] = OrderedDict()
        self._users = 0
        """How many calls are under way."""
        self._used = 0.0
        self._timer: threading.Timer | None = None

    @contextmanager
    def files(self, name: str) -> Iterator[SnapshotFiles]:
        """The files of the snapshot *name*: what it meant when it was first used, until nobody has used it for a while."""
        with self._lock:
            found = self._files.get(name)
            if found is None or not found.locked:
                found = self._files[name] = self._opened().files(name, self._wanted)
            self._files.move_to_end(name)
            while len(self._files) > _MOST_SNAPSHOTS:
                self._drop(self._files.popitem(last=False)[1])
            self._users += 1
            if self._timer is None:
                self._wait(IDLE)
        try:
            yield found
        finally:
            with self._lock:
                self._users -= 1
                self._used = time.monotonic()

    def snapshots(self) -> list[SnapshotInfo]:
        """All snapshots that are wanted."""
        with self._lock:
            return self._opened().snapshots(self._wanted)

    def let_go(self) -> None:
        """Forget what names mean, and release the lock unless files are open."""
        with self._lock:
            while self._files:
                self._drop(self._files.popitem()[1])
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _drop(self, files: SnapshotFiles) -> None:
        """Close *files*, unless somebody reads from them: then they are closed when the last one does not any more."""
        if not self._users and not files.in_use:
            files.close()

    def _opened(self) -> OpenRepository:
        if self._repository is None:
            self._repository = self._opening()
        return self._repository

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, _look, (weakref.ref(self),))
        self._timer.daemon = True
        self._timer.start()

    def look(self) -> None:
        """Let go if nobody has used anything for a while, otherwise look again later."""
        with self._lock:
            left = IDLE if self._users else self._used + IDLE - time.monotonic()
            if left <= 0:
                self.let_go()
            elif self._timer is not None:
                self._wait(left)


def _look(connection: weakref.ref[Connection]) -> None:
    found = connection()
    if found is not None:
        found.look()


_connections: weakref.WeakValueDictionary[object, Connection] = weakref.WeakValueDictionary()
_making = threading.Lock()


def connection_for(key: object, opening: Callable[[], OpenRepository], wanted: SnapshotFilter) -> Connection:
    """The connection that all share who ask for it with the same *key*."""
    with _making:
        found = _connections.get(key)
        if found is None:
            found = _connections[key] = Connection(opening, wanted)
        return found


def _after_fork() -> None:
    global _making
    _making = threading.Lock()
    for connection in list(_connections.values()):
        connection.reset()


os.register_at_fork(after_in_child=_after_fork)
