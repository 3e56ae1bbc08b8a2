"""A storage whose operations are repeated when they fail, as restic does it, and that only so many run at once.

What cannot be mended by asking again (`StorageError.permanent`: a file that is missing, an access that is denied) is not asked
again. A file that is loaded whole must have the hash that is its name; where it has another it is loaded once more, so that
what a proxy made of it is not taken for damage. What still differs is given to the caller, who says what is wrong with it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from typing import NamedTuple, TypeVar

from restic_format.durations import duration_text
from restic_format.errors import FileExists, FileMissing, StorageError
from restic_format.storage.base import Content, HeldWriter, Storage, WrappedStorage, Writer, already_there, pieces_of
from restic_format.storage.side import SideFiles
from restic_format.storage.transport import Transport
from restic_format.storage.warming import Warming
from restic_format.words import visible
from restic_format.work import Cancel
from restic_spec.layout import FileKind

T = TypeVar("T")


class Patience(NamedTuple):
    """How long and how often a failing operation is repeated."""

    first: float = 1.0
    """Seconds before the first repetition; half as much, or half as much more, by chance."""
    factor: float = 2.0
    """By which the time grows from one to the next."""
    longest: float = 60.0
    """Seconds between two at most."""
    wanted: float = 120.0
    """Seconds to which a server can make a pause longer (``Retry-After``)."""
    total: float = 900.0
    """Seconds after which an operation is given up; it is repeated once in any case."""


RESTICS_PATIENCE = Patience()

FORGOTTEN_AFTER = 3600.0
"""Seconds for which a file that could not be loaded with all patience is not asked for again."""

_NAP = 0.25
"""Seconds between two looks at whether to stop."""

_DOUBTS = 4
"""How often a storage that may be wrong (`Storage.doubtful`) is asked again for what it says is missing."""

_ABANDONED = 1000
"""Files that could not be loaded of which note is taken."""


class RetryingStorage(WrappedStorage):
    """Repeats what *inner* could not do; reports that through *transport*, line by line."""

    def __init__(
        self,
        inner: Storage,
        transport: Transport,
        patience: Patience = RESTICS_PATIENCE,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(inner)
        self._report = transport.report
        self._stopping = transport.stopping
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._slots = threading.BoundedSemaphore(inner.connections)
        self._abandoned: dict[tuple[FileKind, str], float] = {}
        self._doubts = _DOUBTS if inner.doubtful else 0

    def create(self) -> None:
        """See `Storage`."""
        self._repeat("Create", self.inner.create)

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file; after a failure what may be there of it is replaced."""
        self._repeat(_named("Save", kind, name), lambda: self.inner.save(kind, name, data, metadata=metadata), kind)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file that is not there. What a failed try may have stored itself is not somebody else's."""
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            try:
                self.inner.save_new(kind, name, data)
            except FileExists:
                wanted = b"".join(pieces_of(data))
                if tries == 1 or self.inner.load(kind, name) != wanted:
                    raise already_there(kind, name) from None

        self._repeat(_named("Save", kind, name), once, kind)

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """Begin to write a file; it is kept until it is stored, so that it can be sent once more."""
        return HeldWriter(lambda name, data: self.save(kind, name, data, metadata=metadata))

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range; a file that is read whole once more where it has not the hash that is its name."""

        def once() -> bytes:
            return self.inner.load(kind, name, offset, length)

        with self._breaker(kind, name):
            operation = _named("Load", kind, name, f", {length or 0}, {offset}")
            data = self._repeat(operation, once, kind, self._doubts if name else 0)
            if name and not offset and length is None and sha256(data).hexdigest() != name:
                data = self._repeat(operation, once, kind)
            return data

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Read a range."""
        with self._breaker(kind, name):
            operation = _named("Load", kind, name, f", {len(target)}, {offset}")
            self._repeat(operation, lambda: self.inner.load_into(kind, name, offset, target), kind, self._doubts)

    def size(self, kind: FileKind, name: str) -> int:
        """Bytes of a file."""
        return self._repeat(_named("Stat", kind, name), lambda: self.inner.size(kind, name), kind)

    def exists(self, kind: FileKind, name: str) -> bool:
        """Whether a file is there."""
        return self._repeat(_named("Stat", kind, name), lambda: self.inner.exists(kind, name), kind)

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Every file once, although a listing that failed begins again."""
        listed: set[str] = set()
        pause = None
        operation = f"List({_KINDS[kind]})"
        while True:
            try:
                for name, size in self.inner.list(kind):
                    if name not in listed:
                        listed.add(name)
                        yield name, size
            except StorageError as error:
                pause = pause or self._pauses(operation)
                pause(error)
            else:
                if pause is not None:
                    self._report(f"{operation} operation successful after {pause.count} retries")
                return

    def side_files(self, folder: str) -> SideFiles:
        """See `Storage`; what fails is repeated in the same way."""
        return _RetryingSideFiles(self, self.inner.side_files(folder))

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file. That it is missing after a failed try is what was wanted."""

        def repeat(operation: str, once: Callable[[], None]) -> None:
            self._repeat(operation, once, kind, self._doubts)

        _remove_once_more(repeat, _named("Remove", kind, name), lambda: self.inner.remove(kind, name))

    @property
    def warming(self) -> Warming | None:
        """What brings packs back, with each question repeated when it fails."""
        inner = self.inner.warming
        return None if inner is None else _RetryingWarming(inner, self)

    def _repeat(self, operation: str, once: Callable[[], T], kind: FileKind | None = None, doubts: int = 0) -> T:
        """What *once* gives, at last. Locks do not wait for a slot: they are renewed whatever else is going on.

        That something is missing is not believed the first *doubts* times.
        """
        slot: AbstractContextManager[object] = nullcontext() if kind is FileKind.LOCK else self._slots
        pause = None
        while True:
            try:
                with slot:
                    result = once()
            except StorageError as error:
                if isinstance(error, FileMissing):
                    doubts -= 1
                pause = pause or self._pauses(operation)
                pause(error, doubted=doubts >= 0)
            else:
                if pause is not None:
                    self._report(f"{operation} operation successful after {pause.count} retries")
                return result

    def _pauses(self, operation: str) -> _Pauses:
        return _Pauses(operation, self._patience, self._report, self._stopping, self._clock, self._sleep)

    def _breaker(self, kind: FileKind, name: str) -> _Breaker:
        return _Breaker(self._abandoned, (kind, name), self._clock)


class _RetryingSideFiles(SideFiles):
    """Side files whose operations are repeated as those of *storage* are."""

    def __init__(self, storage: RetryingStorage, inner: SideFiles) -> None:
        self._repeat = storage._repeat
        self._inner = inner
        self.location = inner.location

    def begin(self) -> Writer:
        """See `SideFiles`."""
        return HeldWriter(lambda name, data: self._repeat(f"Save(<{name}>)", lambda: self._inner.save(name, data)))

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `SideFiles`."""
        return self._repeat(f"Load(<{name}>, {length or 0}, {offset})", lambda: self._inner.load(name, offset, length))

    def size(self, name: str) -> int:
        """See `SideFiles`."""
        return self._repeat(f"Stat(<{name}>)", lambda: self._inner.size(name))

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """See `SideFiles`."""
        yield from self._repeat(f"List({prefix})", lambda: list(self._inner.list(prefix)))

    def remove(self, name: str) -> None:
        """See `SideFiles`. That a file is missing after a failed try is what was wanted."""
        _remove_once_more(self._repeat, f"Remove(<{name}>)", lambda: self._inner.remove(name))


def _remove_once_more(repeat: Callable[[str, Callable[[], None]], None], operation: str, remove: Callable[[], None]) -> None:
    failed = False

    def once() -> None:
        nonlocal failed
        try:
            remove()
        except FileMissing:
            if not failed:
                raise
        except StorageError:
            failed = True
            raise

    repeat(operation, once)


class _RetryingWarming(Warming):
    """Repeats what *inner* could not ask."""

    def __init__(self, inner: Warming, storage: RetryingStorage) -> None:
        self._inner = inner
        self._storage = storage

    def cold(self, packs: Collection[str], cancel: Cancel) -> list[str]:
        """See `Warming`."""
        return self._repeat(lambda: self._inner.cold(packs, cancel))

    def begin(self, packs: Collection[str], cancel: Cancel) -> None:
        """See `Warming`."""
        self._repeat(lambda: self._inner.begin(packs, cancel))

    def wait(self, packs: Collection[str], cancel: Cancel) -> None:
        """See `Warming`."""
        self._inner.wait(packs, cancel)

    def _repeat(self, once: Callable[[], T]) -> T:
        # As for locks no slot is taken: the storage asks for several packs at once itself.
        return self._storage._repeat("Warmup", once, FileKind.LOCK)


def impatient(storage: Storage) -> Storage:
    """What *storage* repeats operations of, or itself: for what is asked ahead, once and without a word. Whoever needs it asks
    with all patience then.
    """
    return storage.inner if isinstance(storage, RetryingStorage) else storage


class _Pauses:
    """Waits between the tries of an operation, longer each time, and gives up in the end."""

    def __init__(
        self,
        operation: str,
        patience: Patience,
        report: Callable[[str], object],
        stopping: Callable[[], bool],
        clock: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        self.count = 0
        self._operation, self._patience = operation, patience
        self._report, self._stopping, self._clock, self._sleep = report, stopping, clock, sleep
        self._began = clock()
        self._next = patience.first

    def __call__(self, error: StorageError, *, doubted: bool = False) -> None:
        """Wait after *error*, or raise it when it is permanent and not *doubted*, or has come too often."""
        if (error.permanent and not (doubted and isinstance(error, FileMissing))) or self._stopping():
            raise error
        delay = max(self._next * random.uniform(0.5, 1.5), min(error.wanted_pause, self._patience.wanted))
        if self._clock() - self._began + delay > self._patience.total and self.count:
            self._report(visible(f"{self._operation} failed: {error}"))
            raise error
        self._next = min(self._next * self._patience.factor, self._patience.longest)
        self.count += 1
        self._report(visible(f"{self._operation} returned error, retrying after {duration_text(delay)}: {error}"))
        until = self._clock() + delay
        while (left := until - self._clock()) > 0:
            if self._stopping():
                raise error
            self._sleep(min(left, _NAP))


class _Breaker:
    """Takes note of a file that could not be loaded with all patience, so that it does not take as long the next time."""

    def __init__(
        self, abandoned: dict[tuple[FileKind, str], float], key: tuple[FileKind, str], clock: Callable[[], float]
    ) -> None:
        self._abandoned, self._key, self._clock = abandoned, key, clock

    def __enter__(self) -> None:
        since = self._abandoned.get(self._key)
        if since is None:
            return
        if self._clock() - since < FORGOTTEN_AFTER:
            kind, name = self._key
            raise StorageError(f"circuit breaker open for file {_handle(kind, name)}", object=f"{kind.value}/{name}")
        self._abandoned.pop(self._key, None)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StorageError) and not error.permanent and len(self._abandoned) < _ABANDONED:
            self._abandoned.setdefault(self._key, self._clock())


_KINDS = {
    FileKind.CONFIG: "config",
    FileKind.KEY: "key",
    FileKind.LOCK: "lock",
    FileKind.SNAPSHOT: "snapshot",
    FileKind.INDEX: "index",
    FileKind.PACK: "data",
}
"""What restic calls the kinds of files in its messages."""


def _handle(kind: FileKind, name: str) -> str:
    """A file as restic's messages name it: its kind, and the beginning of its name."""
    return f"<{_KINDS[kind]}/{name[:10]}>"


def _named(operation: str, kind: FileKind, name: str, more: str = "") -> str:
    return f"{operation}({_handle(kind, name)}{more})"
