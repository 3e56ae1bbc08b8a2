"""The twin of `PlaceWriter` that does nothing in one go: everything is left to be done blob by blob."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class PlaceWriter:
    """Leaves every row."""

    def __init__(self, *tables: object) -> None:
        del tables
        self._rows: Sequence[int] = ()

    def take(self, rows: Sequence[int], first: int, start: int) -> tuple[int, list[tuple[int, int, int, bool, bytes]]]:
        """All rows, and no blob to be opened for them."""
        del start
        self._rows = rows[first:]
        return len(rows), []

    def put(
        self, opened: Sequence[Buffer | None], directory: Callable[[int], int], descriptor: Callable[[int], int]
    ) -> tuple[list[int], list[int], list[int]]:
        """Nothing created, nothing written."""
        del opened, directory, descriptor
        return [], [], list(self._rows)
