"""A storage far away: how often somebody waits for it is counted, in rounds, rather than measured in seconds.

A call is answered when nothing else has been asked for a moment. What is asked at the same time is one round, and a command
waits as long as it has rounds, whatever a request takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from restic_format.storage.base import Content, HeldWriter, Storage, WrappedStorage, Writer
from restic_spec.layout import FileKind

T = TypeVar("T")

QUIET = 0.12
"""Seconds without another call after which a round is answered: long enough for threads of a busy machine to come along."""

CONNECTIONS = 5


class Call(NamedTuple):
    """A call of a storage, and the thread it came from."""

    operation: str
    kind: FileKind
    name: str
    thread: str


class FarStorage(WrappedStorage):
    """Passes everything on to *inner*, round by round."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.rounds: list[list[Call]] = []
        self._waiting: list[Call] = []
        self._last = 0.0
        self._changed = threading.Condition()

    connections = CONNECTIONS  # type: ignore[assignment]
    readers = CONNECTIONS  # type: ignore[assignment]
    lists_at_once = False  # type: ignore[assignment]
    at_hand = False  # type: ignore[assignment]

    def _ask(self, operation: str, kind: FileKind, name: str, answer: Callable[[], T]) -> T:
        call = Call(operation, kind, name, threading.current_thread().name)
        with self._changed:
            self._waiting.append(call)
            self._last = time.monotonic()
            mine = self._waiting
            while mine is self._waiting and (left := self._last + QUIET - time.monotonic()) > 0:
                self._changed.wait(left)
            if mine is self._waiting:
                self.rounds.append(mine)
                self._waiting = []
                self._changed.notify_all()
        return answer()

    def waits(self) -> int:
        """Rounds in which somebody waited: those that only read ahead while a lock was not certain do not count."""
        return sum(any(not call.thread.startswith("first reads") for call in calls) for calls in self.rounds)

    def most(self, *operations: str) -> int:
        """The most calls of *operations* on packs in one round."""
        return max(sum(call.operation in operations and call.kind is FileKind.PACK for call in calls) for calls in self.rounds)

    def calls(self, operation: str, kind: FileKind) -> list[str]:
        """The names asked for, one after the other."""
        return [call.name for calls in self.rounds for call in calls if (call.operation, call.kind) == (operation, kind)]

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """See `Storage`."""
        self._ask("save", kind, name, lambda: self.inner.save(kind, name, data, metadata=metadata))

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """See `Storage`."""
        return HeldWriter(lambda name, data: self.save(kind, name, data, metadata=metadata))

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Storage`."""
        return self._ask("load", kind, name, lambda: self.inner.load(kind, name, offset, length))

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """See `Storage`."""
        self._ask("load", kind, name, lambda: self.inner.load_into(kind, name, offset, target))

    def size(self, kind: FileKind, name: str) -> int:
        """See `Storage`."""
        return self._ask("size", kind, name, lambda: self.inner.size(kind, name))

    def exists(self, kind: FileKind, name: str) -> bool:
        """See `Storage`."""
        return self._ask("exists", kind, name, lambda: self.inner.exists(kind, name))

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """See `Storage`."""
        return iter(self._ask("list", kind, "", lambda: list(self.inner.list(kind))))

    def remove(self, kind: FileKind, name: str) -> None:
        """See `Storage`."""
        self._ask("remove", kind, name, lambda: self.inner.remove(kind, name))
