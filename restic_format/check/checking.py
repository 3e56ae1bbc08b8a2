"""A check in a thread of its own, so that it can begin while a lock still settles."""

from __future__ import annotations

import threading
from queue import Queue
from typing import Any

from restic_format.check.engine import check
from restic_format.check.findings import Finding
from restic_format.check.state import CheckOptions, CheckProgress, CheckReport, ReadPlan, Stage
from restic_format.repository import Repository

_WAITING = 1000
"""Things told that wait to be heard; then the check waits, too."""


class _Stop(threading.Event):
    """Set by itself or by somebody else's event."""

    def __init__(self, other: threading.Event | None) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """Whether either is."""
        return super().is_set() or (self._other is not None and self._other.is_set())


class Checking:
    """A check under way. Nothing of what it finds is told before `finish` is called; it ends in `finish` or `abandon`."""

    def __init__(self, repo: Repository, options: CheckOptions, interrupt: threading.Event | None = None) -> None:
        self._stop = _Stop(interrupt)
        self._told: Queue[tuple[str, Any]] = Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, args=(repo, options), name="check", daemon=True)
        self._thread.start()

    def _run(self, repo: Repository, options: CheckOptions) -> None:
        try:
            self._told.put(("", check(repo, options, _Recorder(self._told), self._stop)))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that finishes, which raises it
            self._told.put(("", error))

    def finish(self, progress: CheckProgress) -> CheckReport:
        """Tell *progress* what happened so far and what happens from now on, and wait for the end.

        Raises:
            Interrupted: the *interrupt* was set.
        """
        try:
            while True:
                name, told = self._told.get()
                if isinstance(told, BaseException):
                    raise told
                if isinstance(told, CheckReport):
                    return told
                getattr(progress, name)(*told)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Stop as soon as can be; what was found is forgotten."""
        self._stop.set()
        while self._thread.is_alive():
            while not self._told.empty():
                self._told.get()
            self._thread.join(0.01)


class _Recorder:
    """A `CheckProgress` that passes on what it is told."""

    def __init__(self, told: Queue[tuple[str, Any]]) -> None:
        self._told = told

    def stage(self, stage: Stage, total: int) -> None:
        self._told.put(("stage", (stage, total)))

    def advance(self, stage: Stage, done: int) -> None:
        self._told.put(("advance", (stage, done)))

    def reading(self, plan: ReadPlan) -> None:
        self._told.put(("reading", (plan,)))

    def found(self, finding: Finding) -> None:
        self._told.put(("found", (finding,)))
