"""The page of what is marked, and what a restore of it is going to do, in words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.explore.browse import Mark, RestorePart
from restic_format.explore.browse.selection import TOP
from restic_format.restore import Overwrite
from restic_format.words import printable
from restic_tools.own.explore.page import Column, Page, time_text
from restic_tools.own.explore.searching import folder_of, open_path

if TYPE_CHECKING:
    from restic_tools.own.explore.model import Model

CHOICES = tuple(Overwrite)
_NAMED = 3
"""Paths that are named before a restore."""


class MarksPage(Page):
    """What is marked."""

    kind = "marks"
    columns = (Column("Snapshot", 8), Column("Time", 19), Column("Path", 0))
    empty = "nothing is marked: the space bar marks"

    def __init__(self, model: Model) -> None:
        super().__init__(model, "Marked")
        self._rows: list[Mark] = list(model.selection)

    def __len__(self) -> int:
        return len(self._rows)

    def cells(self, number: int) -> Sequence[str]:
        """See `Page`."""
        found, path = self._rows[number]
        return [found.short_id, time_text(found.time_ns), "the whole snapshot" if path == TOP else printable(path)]

    def open(self, number: int) -> Page:
        """What is marked."""
        return open_path(self.model, *self._rows[number])

    def folder(self, number: int) -> Page:
        """The directory that it is in."""
        return folder_of(self.model, *self._rows[number])

    def mark(self, number: int) -> Mark:
        """What is marked."""
        return self._rows[number]


def target_of(text: str) -> str:
    """The directory that a person means; empty for none."""
    text = text.strip()
    return os.path.abspath(os.path.expanduser(text)) if text else ""


def restore_lines(parts: Sequence[RestorePart]) -> list[str]:
    """What a restore is going to do."""
    lines = []
    for part in parts:
        paths = [printable(path) for path in part.paths]
        more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
        what = "everything" if TOP in part.paths else ", ".join(paths[:_NAMED]) + more
        lines += [f"of snapshot {part.snapshot.short_id}: {what}", f"to {printable(part.target)}{_state(part.target)}"]
    return lines


def _state(target: str) -> str:
    try:
        with os.scandir(target) as entries:
            return ", which is not empty" if next(entries, None) is not None else ", which is empty"
    except FileNotFoundError:
        return ", which is made"
    except OSError as error:
        return f" ({error.strerror})"
