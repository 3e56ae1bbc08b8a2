"""What the tests of repairs share: copies of a repository by real restic, in a folder and in memory, and what an index says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from restic_format.check import CheckOptions, CheckReport, check
from restic_format.repository import Repository
from restic_format.storage import FaultyStorage, LocalStorage, MemoryStorage, Storage
from restic_format.storage.faulty import Call, Fault
from restic_spec.layout import FileKind
from restic_spec.pack import PackEntry
from tests.safety import kit

Key = tuple[str, FileKind]
"""A kind of call: operation, kind of file."""


def opened(where: Path | Storage) -> Repository:
    """The repository there, without its index."""
    return Repository.open(LocalStorage(where) if isinstance(where, Path) else where, kit.PASSWORD)


def in_memory(folder: Path) -> MemoryStorage:
    """A copy of a repository in memory."""
    storage, memory = LocalStorage(folder), MemoryStorage()
    for kind in FileKind:
        names = [""] if kind is FileKind.CONFIG else [name for name, _ in storage.list(kind)]
        for name in names:
            memory.files[kind, name] = storage.load(kind, name)
    return memory


def copy_of(storage: MemoryStorage) -> MemoryStorage:
    copy = MemoryStorage()
    copy.files = dict(storage.files)
    return copy


def indexed(where: Path | Storage) -> set[tuple[bytes, PackEntry]]:
    """Every copy of every blob that the index lists."""
    repository = opened(where)
    repository.load_index()
    return set(repository.index.entries())


def inspect(where: Path | Storage, *, read_data: bool = True) -> CheckReport:
    return check(opened(where), CheckOptions(read_data=read_data))


def packs_of_type(folder: Path, kind: str) -> list[Path]:
    """The packs that hold blobs of a type, smallest first."""
    repository = opened(folder)
    repository.load_index()
    packs = {pack for pack, entry in repository.index.entries() if entry.type.value == kind}
    return [path for path in kit.files_of(folder, "data") if bytes.fromhex(path.name) in packs]


def calls(work: Callable[[Storage], object], start: MemoryStorage) -> list[tuple[Key, int]]:
    """Every call that *work* makes, by its kind and number."""
    quiet = FaultyStorage(copy_of(start), lambda call: None)
    work(quiet)
    seen: dict[Key, int] = {}
    found = []
    for call in quiet.calls:
        key = call.operation, call.kind
        found.append((key, seen.setdefault(key, 0)))
        seen[key] += 1
    return found


def at(key: Key, number: int, fault: Fault) -> Callable[[Call], Fault | None]:
    """A plan: the call *number* of this operation on this kind gets *fault*."""
    seen = -1

    def plan(call: Call) -> Fault | None:
        nonlocal seen
        if (call.operation, call.kind) != key:
            return None
        seen += 1
        return fault if seen == number else None

    return plan
