"""What the tests of the explorer share: a screen without a terminal, and waiting for what its threads do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from textual.pilot import Pilot

from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_tools.own.explore.model import Model
from restic_tools.own.explore.screen import Explorer

PASSWORD = "correct horse"
SIZE = (80, 24)
DEADLINE = 60.0


@cache
def open_repository(folder: Path) -> Repository:
    """The repository in *folder*, with its index; opened once, as that takes longer than a test."""
    repository = Repository.open(LocalStorage(str(folder)), PASSWORD)
    repository.load_index()
    return repository


class Screen:
    """The explorer as its user has it: keys go in, lines come out."""

    def __init__(self, explorer: Explorer, pilot: Pilot[None]) -> None:
        self.explorer = explorer
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Press keys one after the other, each when what the one before has begun is done."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def write(self, text: str) -> None:
        """Type a text into a question, and answer it."""
        for char in text:
            await self.pilot.press({"/": "slash", " ": "space", "*": "asterisk", ".": "full_stop"}.get(char, char))
        await self.press("enter")

    async def settle(self) -> None:
        """Wait until nothing goes on any more."""
        until = time.monotonic() + DEADLINE
        quiet = 0
        while quiet < 3:
            assert time.monotonic() < until, "the explorer does not come to rest"
            await self.pilot.pause()
            explorer = self.explorer
            if not explorer.is_running:
                return
            page = explorer.model.page
            busy = explorer.tasks.running or not page.complete or page.lacks(page.top, explorer.rows.rows)
            quiet = 0 if busy else quiet + 1
            if busy:
                await asyncio.sleep(0.01)
        explorer.rows.refresh()
        explorer._draw()
        await self.pilot.pause()

    def lines(self) -> list[str]:
        """The lines of the screen."""
        screen = self.explorer.screen
        width, height = self.explorer.size
        strips = screen._compositor.render_strips()
        lines = ["".join(segment.text for segment in strip).rstrip() for strip in strips]
        assert len(lines) == height
        assert all(len(line) <= width * 2 for line in lines)
        return lines

    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines())

    def words(self) -> str:
        """The words of the screen, however they are folded in a box."""
        return " ".join(self.text().replace("│", " ").split())


@asynccontextmanager
async def shown(repository: Repository, size: tuple[int, int] = SIZE) -> AsyncIterator[Screen]:
    """The explorer of a repository, in a screen of so many columns and lines."""
    with Model(repository) as model:
        explorer = Explorer(model)
        async with explorer.run_test(size=size) as pilot:
            screen = Screen(explorer, pilot)
            await screen.settle()
            yield screen
        explorer.finish()
