"""What becomes of failures of single items: kept for the result, and an error at the end unless the caller says otherwise."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from restic_format.api.records import MOST_FAILURES
from restic_format.errors import Incomplete
from restic_format.work import Progress

Event = TypeVar("Event")
Failure = TypeVar("Failure")


class Heard(Generic[Event, Failure]):
    """Passes events on, and keeps those that tell of failures."""

    def __init__(self, progress: Progress[Event], kind: type[Failure]) -> None:
        self._progress = progress
        self._kind = kind
        self.failed: list[Failure] = []
        self.count = 0

    def __call__(self, event: Event) -> None:
        # A scan fails without consequences: the backup itself tries again.
        if isinstance(event, self._kind) and getattr(event, "during", "") != "scan":
            self.count += 1
            if len(self.failed) < MOST_FAILURES:
                self.failed.append(event)
        self._progress(event)


class Result(Protocol):
    """What an operation gives back."""

    @property
    def ok(self) -> bool:
        """Whether everything was done."""


Done = TypeVar("Done", bound=Result)


def strictly(done: Done, what: str, strict: bool) -> Done:
    """*done*; raises `Incomplete` with the text *what* where not everything was done and that is not to be borne."""
    if strict and not done.ok:
        raise Incomplete(what, done)
    return done
