"""What reading each pack showed, kept in a small local file, so that a diagnosis that was interrupted goes on, and shares are
put together.

The file is SQLite. It belongs to one repository with one set of index files: for another one it is begun anew. What is kept
of a pack counts while the file has the same size and time. What the storage did not give back is not kept, but read again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

import msgspec

from restic_format.check.findings import Fault, ObjectKind, ObjectRef
from restic_format.check.packreader import Outcome, PackResult, UnlistedPack
from restic_format.check.packs import PackCheck
from restic_format.check.state import Run
from restic_format.errors import UsageError
from restic_format.repository.index import ListedPack
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry

_FORM = 1
"""Version of the file's form."""
_KEPT = frozenset((Outcome.INTACT, Outcome.DAMAGED, Outcome.HEADER_DAMAGED, Outcome.INDEX_WRONG))
_SECONDS = 2.0
"""How much work is lost at most when the process is killed."""


class _Fault(msgspec.Struct, array_like=True):
    kind: str
    name: str
    pack: str
    detail: str
    clause: str


class _Entry(msgspec.Struct, array_like=True):
    kind: str
    id: bytes
    offset: int
    length: int
    uncompressed: int | None


class _Result(msgspec.Struct, array_like=True):
    outcome: str
    bytes_read: int
    hash: bytes
    faults: list[_Fault]
    bad: list[_Entry]
    lengths: list[_Entry]
    holds: list[_Entry] | None


class RememberedPacks:
    """The file; from any thread. In a ``with`` block it is closed at the end, and what was kept is stored."""

    def __init__(self, path: str, run: Run, indexes: Iterable[bytes], *, others: Sequence[str] = ()) -> None:
        """*others* are files of shares that are only read.

        Raises:
            UsageError: a file cannot be used.
        """
        self._run = run
        self._lock = threading.Lock()
        self._path = path
        self._stored = time.monotonic()
        digest = hashlib.sha256(b"".join(sorted(indexes)))
        digest.update(run.repo.config.id.encode())
        self._of = digest.hexdigest()
        self.known: dict[bytes, tuple[int, int | None, bytes]] = {}
        for other in others:
            with self._open(other, must_exist=True) as connection:
                self._take_in(connection, other)
            connection.close()
        self._connection = self._open(path, must_exist=False)
        with self._guarded(path), self._connection as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS diagnosis (form INTEGER, of TEXT)")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS packs (id BLOB PRIMARY KEY, size INTEGER, time INTEGER, result BLOB)"
            )
            row = connection.execute("SELECT form, of FROM diagnosis").fetchone()
            if row != (_FORM, self._of):
                connection.execute("DELETE FROM diagnosis")
                connection.execute("DELETE FROM packs")
                connection.execute("INSERT INTO diagnosis VALUES (?, ?)", (_FORM, self._of))
            self._take_in(connection, path)

    def __enter__(self) -> RememberedPacks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock, self._guarded(self._path):
            self._connection.commit()
            self._connection.close()

    def _open(self, path: str, *, must_exist: bool) -> sqlite3.Connection:
        if must_exist and not os.path.isfile(path):
            raise UsageError(f"{path}: there is no file of a diagnosis")
        with self._guarded(path):
            return sqlite3.connect(path, check_same_thread=False)
        raise AssertionError("unreachable")

    @staticmethod
    def _guarded(path: str) -> _Guard:
        return _Guard(path)

    def _take_in(self, connection: sqlite3.Connection, path: str) -> None:
        with self._guarded(path):
            if connection.execute("SELECT form, of FROM diagnosis").fetchone() != (_FORM, self._of):
                raise UsageError(f"{path}: it is of another repository, or its index has changed since; run it again")
            for pack, size, written, result in connection.execute("SELECT id, size, time, result FROM packs"):
                self.known[pack] = size, written, result

    def remembering(self, check: PackCheck) -> PackCheck:
        """*check* for packs that are not known yet; what it says is kept."""

        def look(pack: ListedPack | UnlistedPack) -> PackResult:
            found = self._recall(pack.id)
            if found is None:
                found = check(pack)
                self._keep(found)
            return found

        return look

    def _state(self, pack: bytes) -> tuple[int, int | None]:
        return self._run.file_sizes.get(pack, -1), self._run.repo.storage.written(FileKind.PACK, pack.hex())

    def _recall(self, pack: bytes) -> PackResult | None:
        kept = self.known.get(pack)
        if kept is None or kept[:2] != self._state(pack):
            return None
        try:
            found = msgspec.msgpack.decode(kept[2], type=_Result)
            faults = [Fault(ObjectRef(ObjectKind(f.kind), f.name, f.pack), f.detail, f.clause) for f in found.faults]
            bad, lengths = ([_entry(entry) for entry in entries] for entries in (found.bad, found.lengths))
            holds = None if found.holds is None else [_entry(entry) for entry in found.holds]
            return PackResult(pack, found.bytes_read, Outcome(found.outcome), faults, "", bad, lengths, found.hash, holds)
        except (msgspec.MsgspecError, ValueError):
            return None

    def _keep(self, result: PackResult) -> None:
        if result.outcome not in _KEPT:
            return
        made = _Result(
            result.outcome.value,
            result.bytes_read,
            result.hash,
            [_Fault(f.object.kind.value, f.object.name, f.object.pack, f.detail, f.clause) for f in result.faults],
            [_Entry(entry.type.value, *entry[1:]) for entry in result.bad],
            [_Entry(entry.type.value, *entry[1:]) for entry in result.lengths],
            None if result.holds is None else [_Entry(entry.type.value, *entry[1:]) for entry in result.holds],
        )
        row = result.pack, *self._state(result.pack), msgspec.msgpack.encode(made)
        with self._lock, self._guarded(self._path):
            self._connection.execute("INSERT OR REPLACE INTO packs VALUES (?, ?, ?, ?)", row)
            if time.monotonic() - self._stored > _SECONDS:
                self._connection.commit()
                self._stored = time.monotonic()


def _entry(entry: _Entry) -> PackEntry:
    return PackEntry(BlobType(entry.kind), entry.id, entry.offset, entry.length, entry.uncompressed)


class _Guard:
    """Tells faults of SQLite as such of the file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, sqlite3.Error):
            raise UsageError(f"{self._path}: it cannot be used to keep what was read: {error}") from error
