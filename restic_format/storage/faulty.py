"""A storage that misbehaves on purpose, for tests of what the engine does then.

A plan is asked before every call and may answer with a fault: fail before or after the work is done, deliver or keep too
little, deliver what is wrong, dawdle, or pretend to have saved.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from restic_format.errors import StorageError
from restic_format.storage.base import Content, HeldWriter, Storage, WrappedStorage, Writer, name_of, pieces_of
from restic_format.storage.side import SideFiles
from restic_spec.layout import FileKind


class Call(NamedTuple):
    """A call that is about to be made: operation, kind of file, name, and how many of this operation came before."""

    operation: str
    kind: FileKind
    name: str
    number: int


class Fail(NamedTuple):
    """The call fails."""

    reason: str = "injected fault"


class FailLate(NamedTuple):
    """The call does its work and fails all the same, as when its answer gets lost; a listing fails in the middle."""

    reason: str = "injected fault"


class Garble(NamedTuple):
    """One bit of what is delivered is wrong."""


class Truncate(NamedTuple):
    """Only the first ``keep`` bytes are kept (save) or delivered (load)."""

    keep: int


class Delay(NamedTuple):
    """The call takes ``seconds`` longer."""

    seconds: float


class Lose(NamedTuple):
    """A save reports success and stores nothing, as a crash before the data reach the disk."""


Fault = Fail | FailLate | Truncate | Garble | Delay | Lose
Plan = Callable[[Call], Fault | None]


def nth(operation: str, number: int, fault: Fault, kind: FileKind | None = None) -> Plan:
    """A plan for one fault: at call *number* (from 0) of *operation*, counting calls on *kind* only where it is given."""
    seen = 0

    def plan(call: Call) -> Fault | None:
        nonlocal seen
        if call.operation != operation or (kind is not None and call.kind is not kind):
            return None
        seen += 1
        return fault if seen == number + 1 else None

    return plan


def _failure(operation: str, kind: FileKind, name: str, fault: Fail | FailLate) -> StorageError:
    return StorageError(f"{operation} {name_of(kind, name[:8])}: {fault.reason}", object=name_of(kind, name))


def _after(operation: str, kind: FileKind, name: str, fault: Fault | None) -> None:
    if isinstance(fault, FailLate):
        raise _failure(operation, kind, name, fault)


class _FaultyWriter(HeldWriter):
    def __init__(self, before: Callable[[], object], save: Callable[[str, Content], None]) -> None:
        super().__init__(save)
        self._before = before

    def append(self, data: Content) -> None:
        """See `Writer`."""
        self._before()
        super().append(data)


class _FaultySideFiles(SideFiles):
    """Passes everything on, after a look at the plan."""

    def __init__(self, inner: SideFiles, before: Callable[[str, FileKind, str], Fault | None]) -> None:
        self._inner = inner
        self._before = before
        self.location = inner.location

    def begin(self) -> Writer:
        """See `SideFiles`."""
        self._before("side begin", FileKind.CONFIG, "")
        return HeldWriter(self._keep)

    def _keep(self, name: str, data: Content) -> None:
        fault = self._before("side save", FileKind.CONFIG, name)
        self._inner.save(name, data)
        _after("side save", FileKind.CONFIG, name, fault)

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `SideFiles`."""
        self._before("side load", FileKind.CONFIG, name)
        return self._inner.load(name, offset, length)

    def size(self, name: str) -> int:
        """See `SideFiles`."""
        self._before("side size", FileKind.CONFIG, name)
        return self._inner.size(name)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """See `SideFiles`."""
        self._before("side list", FileKind.CONFIG, prefix)
        return self._inner.list(prefix)

    def remove(self, name: str) -> None:
        """See `SideFiles`."""
        fault = self._before("side remove", FileKind.CONFIG, name)
        self._inner.remove(name)
        _after("side remove", FileKind.CONFIG, name, fault)


class FaultyStorage(WrappedStorage):
    """Wraps *inner* and asks *plan* before each call."""

    def __init__(self, inner: Storage, plan: Plan) -> None:
        super().__init__(inner)
        self.plan = plan
        self.calls: list[Call] = []
        self._lock = threading.Lock()

    def _before(self, operation: str, kind: FileKind, name: str) -> Fault | None:
        with self._lock:
            call = Call(operation, kind, name, sum(old.operation == operation for old in self.calls))
            self.calls.append(call)
            fault = self.plan(call)
        if isinstance(fault, Delay):
            time.sleep(fault.seconds)
        elif isinstance(fault, Fail):
            raise _failure(operation, kind, name, fault)
        return fault

    def create(self) -> None:
        """Create the storage."""
        self._before("create", FileKind.CONFIG, "")
        self.inner.create()

    def save(self, kind: FileKind, name: str, data: Content, *, metadata: bool = False) -> None:
        """Store a file."""
        fault = self._before("save", kind, name)
        if isinstance(fault, Truncate):
            data = b"".join(pieces_of(data))[: fault.keep]
        if not isinstance(fault, Lose):
            self.inner.save(kind, name, data, metadata=metadata)
        _after("save", kind, name, fault)

    def save_new(self, kind: FileKind, name: str, data: Content) -> None:
        """Store a file that is not there; a call ``save``."""
        fault = self._before("save", kind, name)
        if isinstance(fault, Truncate):
            data = b"".join(pieces_of(data))[: fault.keep]
        if not isinstance(fault, Lose):
            self.inner.save_new(kind, name, data)
        _after("save", kind, name, fault)

    def uncreate(self) -> None:
        """Remove the folders that were made."""
        self.inner.uncreate()

    def begin(self, kind: FileKind, *, metadata: bool = False) -> Writer:
        """Begin to write a file; every piece is a call ``append``, its end a call ``save``."""
        self._before("begin", kind, "")
        return _FaultyWriter(partial(self._before, "append", kind, ""), partial(self.save, kind, metadata=metadata))

    def load(self, kind: FileKind, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range."""
        fault = self._before("load", kind, name)
        data = self.inner.load(kind, name, offset, length)
        _after("load", kind, name, fault)
        if isinstance(fault, Garble) and data:
            middle = len(data) // 2
            return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]
        return data[: fault.keep] if isinstance(fault, Truncate) else data

    def load_into(self, kind: FileKind, name: str, offset: int, target: memoryview) -> None:
        """Read a range; of what is cut off zeros are delivered."""
        data = self.load(kind, name, offset, len(target))
        target[:] = data + bytes(len(target) - len(data))

    def size(self, kind: FileKind, name: str) -> int:
        """Size of a file in bytes."""
        self._before("size", kind, name)
        return self.inner.size(kind, name)

    def exists(self, kind: FileKind, name: str) -> bool:
        """Whether the file is there."""
        self._before("exists", kind, name)
        return self.inner.exists(kind, name)

    def list(self, kind: FileKind) -> Iterator[tuple[str, int]]:
        """Name and size of every file of *kind*."""
        fault = self._before("list", kind, "")
        return self._list_half(kind, fault) if isinstance(fault, FailLate) else self.inner.list(kind)

    def _list_half(self, kind: FileKind, fault: FailLate) -> Iterator[tuple[str, int]]:
        files = list(self.inner.list(kind))
        yield from files[: len(files) // 2]
        raise _failure("list", kind, "", fault)

    def strays(self) -> Iterator[str]:
        """Paths of no repository file."""
        self._before("strays", FileKind.CONFIG, "")
        return self.inner.strays()

    def load_stray(self, path: str) -> bytes:
        """The content of a stray file."""
        self._before("load_stray", FileKind.CONFIG, path)
        return self.inner.load_stray(path)

    def remove(self, kind: FileKind, name: str) -> None:
        """Remove a file."""
        fault = self._before("remove", kind, name)
        self.inner.remove(kind, name)
        _after("remove", kind, name, fault)

    def side_files(self, folder: str) -> SideFiles:
        """Side files that misbehave by the same plan; their calls are ``side save`` and the like, on the kind of the config."""
        return _FaultySideFiles(self.inner.side_files(folder), self._before)

    def remove_unfinished(self, age: float, is_safe: Callable[[], bool]) -> int:
        """Remove what killed writers have left."""
        self._before("remove_unfinished", FileKind.CONFIG, "")
        return self.inner.remove_unfinished(age, is_safe)
