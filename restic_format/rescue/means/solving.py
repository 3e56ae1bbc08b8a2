"""The means that solves damage of a few bytes through the MAC; see the SOLVE clauses and `restic_format.rescue.solving`.

It needs nothing but what was read and the master key. What is cheap is tried for everything before what takes minutes is tried
for anything; the budget bounds all of it together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from restic_format.repository.cipher import make_cipher
from restic_format.rescue.budget import Budget
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
    with_end,
    without_more,
)
from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.config import decode_config
from restic_spec.crypto import IV_SIZE, OVERHEAD, MasterKey
from restic_spec.errors import SpecError
from restic_spec.ids import id_of, is_hex_id
from restic_spec.layout import FileKind
from restic_spec.pack import LENGTH_SIZE

DEFAULT_BUDGET: Final = 600.0
"""Seconds of wall clock that one call of `Solving.blobs` or `Solving.files` may take in all."""

_SURE: Final = 12
"""Bytes of a config's MAC that may be missing: the others bear out that it is the right one (SOLVE-3)."""

_MOST_CONFIG: Final = 4096
"""Bytes in which a config is looked for that has others behind it; usual ones have 190."""

Task = TypeVar("Task")
Result = TypeVar("Result")


class Solving:
    """Solves damage of a few bytes in blobs and files.

    *key* is the master key, None where no key file opens: then key files alone are solved, for which *password* is used, too.
    *version* is the repository's. *budget* is in seconds for each call, None for no bound; or a budget that all calls share.
    *workers* are threads, by default one for each processor.
    """

    name = "solved through the MAC"
    certainty = 40

    def __init__(
        self,
        key: MasterKey | None,
        version: int,
        *,
        budget: float | Budget | None = DEFAULT_BUDGET,
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
                done.add(copy.key)
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
        if file.kind is not FileKind.CONFIG and not is_hex_id(file.name):
            return None
        if file.kind is FileKind.KEY:
            solved = solve_key(data, bytes.fromhex(file.name), clock, self._password) if effort is Effort.RUNS else None
            return None if solved is None else (solved.data, f"{solved.how} solved")
        if key is None or len(data) < IV_SIZE:
            return None
        found = self._solved(key, file, data, clock, effort) if len(data) >= OVERHEAD else None
        return self._ended(key, file, data, clock) if found is None and effort is Effort.RUNS else found

    def _solved(self, key: MasterKey, file: DamagedFile, data: bytes, clock: Clock, effort: Effort) -> tuple[bytes, str] | None:
        """A file that has the length which it had."""
        if file.kind is FileKind.PACK:
            efforts = tuple(Effort)[: effort + 1]
            pack = solve_pack(key, self._version, data, bytes.fromhex(file.name), clock, efforts, self._progress)
            return None if pack is None else (pack.data, f"{pack.how} solved through the MAC")
        if file.kind is FileKind.CONFIG:
            judge: DocumentJudge | FileJudge = DocumentJudge(key, data, decode_config)
        else:
            judge = FileJudge(data, bytes.fromhex(file.name))
        found = solve_message(Message(key, data, judge, self._progress), clock, (effort,))
        return None if found is None else (found.sealed, f"{found.how} solved through the MAC")

    def _ended(self, key: MasterKey, file: DamagedFile, data: bytes, clock: Clock) -> tuple[bytes, str] | None:
        """A file whose end is wrong: bytes too many, or too few."""
        if file.kind is FileKind.CONFIG:
            for whole, missing in with_end(key, data, clock):
                if missing <= _SURE and DocumentJudge(key, whole, decode_config).accepts(()):
                    return whole, f"cut short by {missing}, MAC made anew"
            return _shorter_config(key, data, clock)
        file_id = bytes.fromhex(file.name)
        shorter = without_more(data, file_id, clock)
        if shorter is not None:
            return shorter, f"{len(data) - len(shorter)} bytes too many taken away"
        if file.kind is FileKind.PACK:
            for missing in range(1, LENGTH_SIZE + 1):
                longer = data + bytes(missing)
                pack = solve_pack(key, self._version, longer, file_id, clock, (Effort.RUNS,), self._progress)
                if pack is not None:
                    return pack.data, f"cut short by {missing}, solved: {pack.how}"
            return None
        for whole, missing in with_end(key, data, clock):
            if id_of(whole) == file_id:
                return whole, f"cut short by {missing}, MAC made anew"
        return None

    def _rounds(
        self, tasks: Sequence[Task], solve: Callable[[Task, Clock, Effort], Result | None], cancel: Cancel | None
    ) -> Iterator[Result]:
        """What comes of the tasks: all in the first round, then what is left in the next; each with its share of the time."""
        budget = self._budget if isinstance(self._budget, Budget) else Budget(self._budget)
        left = list(tasks)
        if not left:
            return
        with budget.spending() as seconds:
            end = None if seconds is None else time.monotonic() + seconds
            for effort in Effort:
                unsolved = []
                for number, task in enumerate(left):
                    share = None if end is None else (end - time.monotonic()) / (len(left) - number)
                    try:
                        found = solve(task, Clock(share, cancel, self._workers), effort)
                    except OutOfTime:
                        found = None
                        budget.has_run_out = True
                    if found is None:
                        unsolved.append(task)
                    else:
                        yield found
                left = unsolved


def _shorter_config(key: MasterKey, data: bytes, clock: Clock) -> tuple[bytes, str] | None:
    """The beginning of *data* that is a sealed config, MAC included; there is no name to tell by."""
    cipher = make_cipher(key)
    for end in range(OVERHEAD, min(len(data), _MOST_CONFIG)):
        clock.check()
        with suppress(SpecError):
            decode_config(cipher.open(data[:end]))
            return data[:end], f"{len(data) - end} bytes too many taken away"
    return None
