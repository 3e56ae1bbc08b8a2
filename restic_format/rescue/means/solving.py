"""The means that solves damage of a few bytes through the MAC; see the SOLVE clauses and `restic_format.rescue.solving`.

It needs nothing but what was read and the master key. What is cheap is tried for everything before what takes minutes is tried
for anything; the budget bounds all of it together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from restic_format.rescue.solving import (
    Clock,
    ContentJudge,
    DocumentJudge,
    Effort,
    FileJudge,
    Message,
    OutOfTime,
    solve_key,
    solve_message,
    solve_pack,
)
from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.config import decode_config
from restic_spec.crypto import OVERHEAD, MasterKey
from restic_spec.layout import FileKind

DEFAULT_BUDGET: Final = 600.0
"""Seconds of wall clock that one call of `Solving.blobs` or `Solving.files` may take in all."""

Task = TypeVar("Task")
Result = TypeVar("Result")


class Solving:
    """Solves damage of a few bytes in blobs and files.

    *key* is the master key, None where no key file opens: then key files alone are solved, for which *password* is used, too.
    *version* is the repository's. *budget* is in seconds, None for no bound. *workers* are threads, by default one for each
    processor.
    """

    name = "solved through the MAC"
    certainty = 40

    def __init__(
        self,
        key: MasterKey | None,
        version: int,
        *,
        budget: float | None = DEFAULT_BUDGET,
        password: bytes | None = None,
        workers: int | None = None,
        progress: Progress[Advance] = silent,
    ) -> None:
        self._key = key
        self._version = version
        self._budget = budget
        self._password = password
        self._workers = workers
        self._progress = progress

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """Those of the *wanted* blobs of which a copy can be solved.

        Raises:
            Interrupted: *cancel* was set.
        """
        key = self._key
        if key is None:
            return
        tasks = [copy for copies in wanted.values() for copy in copies if len(copy.sealed) >= OVERHEAD]
        done: set[Key] = set()

        def solve(copy: DamagedCopy, clock: Clock, effort: Effort) -> RecoveredBlob | None:
            if copy.key in done:
                return None
            judge = ContentJudge(key, copy.sealed, copy.uncompressed_length, copy.key[1])
            if effort is Effort.RUNS and (plaintext := judge.plaintext(())) is not None:
                return RecoveredBlob(copy.key, plaintext, "intact behind a MAC that does not fit")
            found = solve_message(Message(key, copy.sealed, judge, self._progress), clock, (effort,))
            plaintext = None if found is None else judge.plaintext(found.edits)
            if found is None or plaintext is None:
                return None
            done.add(copy.key)
            return RecoveredBlob(copy.key, plaintext, f"{found.how} solved through the MAC")

        yield from self._rounds(tasks, solve, cancel)

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """Those of the *wanted* files that can be solved.

        Raises:
            Interrupted: *cancel* was set.
        """

        def solve(file: DamagedFile, clock: Clock, effort: Effort) -> RecoveredFile | None:
            found = self._file(file, clock, effort)
            return None if found is None else RecoveredFile(file.kind, file.name, *found)

        yield from self._rounds([file for file in wanted if file.data is not None], solve, cancel)

    def _file(self, file: DamagedFile, clock: Clock, effort: Effort) -> tuple[bytes, str] | None:
        """The bytes of a file as they were, and what was done."""
        key, data = self._key, file.data or b""
        if file.kind is FileKind.KEY:
            solved = solve_key(data, bytes.fromhex(file.name), clock, self._password) if effort is Effort.RUNS else None
            return None if solved is None else (solved.data, f"{solved.how} solved")
        if key is None or len(data) < OVERHEAD:
            return None
        if file.kind is FileKind.PACK:
            pack = solve_pack(
                key, self._version, data, bytes.fromhex(file.name), clock, tuple(Effort)[: effort + 1], self._progress
            )
            return None if pack is None else (pack.data, f"{pack.how} solved through the MAC")
        if file.kind is FileKind.CONFIG:
            judge: DocumentJudge | FileJudge = DocumentJudge(key, data, decode_config)
        else:
            judge = FileJudge(data, bytes.fromhex(file.name))
        found = solve_message(Message(key, data, judge, self._progress), clock, (effort,))
        return None if found is None else (found.sealed, f"{found.how} solved through the MAC")

    def _rounds(
        self, tasks: Sequence[Task], solve: Callable[[Task, Clock, Effort], Result | None], cancel: Cancel | None
    ) -> Iterator[Result]:
        """What comes of the tasks: all in the first round, then what is left in the next; each with its share of the time."""
        end = None if self._budget is None else time.monotonic() + self._budget
        left = list(tasks)
        for effort in Effort:
            unsolved = []
            for number, task in enumerate(left):
                share = None if end is None else (end - time.monotonic()) / (len(left) - number)
                try:
                    found = solve(task, Clock(share, cancel, self._workers), effort)
                except OutOfTime:
                    found = None
                if found is None:
                    unsolved.append(task)
                else:
                    yield found
            left = unsolved
