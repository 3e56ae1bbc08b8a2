"""What reading each pack showed, kept in a small local file, so that a diagnosis that was interrupted goes on, and shares are
put together.

The file is SQLite. It belongs to one repository with one set of index files: for another one it is begun anew. What is kept
of a pack counts while the file has the same size and time. What the storage did not give back is not kept, but read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from types import TracebackType

from restic_format.check.packreader import Outcome, PackResult
from restic_format.check.packs import Job, PackCheck, PackReading
from restic_format.check.state import Run
from restic_format.errors import UsageError
from restic_format.rescue.diagnosis.packresults import decode_result, encode_result
from restic_spec.layout import FileKind

_FORM = 2
"""Version of the file's form."""
_KEPT = frozenset((Outcome.INTACT, Outcome.DAMAGED, Outcome.HEADER_DAMAGED, Outcome.INDEX_WRONG))
_SECONDS = 2.0
"""How much work is lost at most when the process is killed."""


class RememberedPacks:
    """The file. In a ``with`` block it is closed at the end, and what was kept is stored."""

    def __init__(self, path: str, run: Run, indexes: Iterable[bytes], *, others: Sequence[str] = ()) -> None:
        """*others* are files of shares that are only read. Without a *path* nothing is kept.

        Raises:
            UsageError: a file cannot be used.
        """
        self._run = run
        self._path = path
        self._stored = time.monotonic()
        digest = hashlib.sha256(b"".join(sorted(indexes)))
        digest.update(run.repo.config.id.encode())
        self._of = digest.hexdigest()
        self.recalled = 0
        """Packs that were not read, as what they showed earlier was taken."""
        self.known: dict[bytes, tuple[int, int | None, bytes]] = {}
        for other in others:
            with self._open(other, must_exist=True) as connection:
                self._take_in(connection, other)
            connection.close()
        self._connection = self._open(path or ":memory:", must_exist=False)
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
        with self._guarded(self._path):
            self._connection.commit()
            self._connection.close()

    def _open(self, path: str, *, must_exist: bool) -> sqlite3.Connection:
        if must_exist and not os.path.isfile(path):
            raise UsageError(f"{path}: there is no file of a diagnosis")
        with self._guarded(path):
            return sqlite3.connect(path)
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

    def around(self, reading: PackReading) -> PackReading:
        """*reading* for packs that are not known yet; what it says is kept, and what is known is given in its place."""

        def read(run: Run, check: PackCheck, jobs: Iterator[Job]) -> Generator[tuple[Job, PackResult | Exception], None, None]:
            waiting: deque[Job] = deque()
            """What was taken from *jobs*, up to the first that *reading* has still to give."""

            def unknown() -> Iterator[Job]:
                for job in jobs:
                    waiting.append(job)
                    if not self._is_known(job.id):
                        yield job

            with contextlib.closing(reading(run, check, unknown())) as results:
                for job, result in results:
                    yield from self._recalled(waiting, check, job.id)
                    if isinstance(result, PackResult):
                        self._keep(result)
                    yield job, result
            yield from self._recalled(waiting, check, None)

        return read

    def _recalled(self, waiting: deque[Job], check: PackCheck, end: bytes | None) -> Iterator[tuple[Job, PackResult]]:
        """What is known of those that wait before the pack *end*, which is taken away, too."""
        while waiting:
            job = waiting.popleft()
            if job.id == end:
                return
            try:
                result = decode_result(job.id, self.known[job.id][2])
                self.recalled += 1
            except ValueError:
                result = check(job)
            yield job, result

    def _state(self, pack: bytes) -> tuple[int, int | None]:
        return self._run.file_sizes.get(pack, -1), self._run.repo.storage.written(FileKind.PACK, pack.hex())

    def _is_known(self, pack: bytes) -> bool:
        kept = self.known.get(pack)
        return kept is not None and kept[:2] == self._state(pack)

    def _keep(self, result: PackResult) -> None:
        if result.outcome not in _KEPT:
            return
        row = result.pack, *self._state(result.pack), encode_result(result)
        with self._guarded(self._path):
            self._connection.execute("INSERT OR REPLACE INTO packs VALUES (?, ?, ?, ?)", row)
            if time.monotonic() - self._stored > _SECONDS:
                self._connection.commit()
                self._stored = time.monotonic()


class _Guard:
    """Tells faults of SQLite as such of the file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, sqlite3.Error):
            raise UsageError(f"{self._path}: it cannot be used to keep what was read: {error}") from error
