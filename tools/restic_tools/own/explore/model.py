"""The explorer without its screen: what all pages share, the way from page to page, and work in threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from restic_format.errors import Interrupted
from restic_format.explore.browse import Selection
from restic_format.snapshots import BlobCache, DirectoryCache, SnapshotFileSystem
from restic_format.words import visible
from restic_format.work import Cancel

if TYPE_CHECKING:
    from restic_format.errors import ResticFormatError
    from restic_format.repository import Repository
    from restic_tools.own.explore.page import Page

T = TypeVar("T")

CACHE = 64 << 20
"""Bytes of opened blobs, and of directories, that are kept."""
DEEPEST = 100
"""Pages on the way back, and"""
MOST_HELD = 1_000_000
"""rows in all of them: of a longer way, what comes after the first page is forgotten."""

Post = Callable[[Callable[[], None]], None]
"""Has a function called by the thread of the screen."""


class Tasks:
    """Work that must not keep the screen waiting: each in a thread of its own. They end when their token is cancelled.

    *health* raises when the lock is lost, see `Cancel`.
    """

    def __init__(self, post: Post, health: Callable[[], object] | None = None) -> None:
        self._post = post
        self._health = health
        self._threads: set[threading.Thread] = set()
        self._cancels: set[Cancel] = set()
        self.running = 0
        """How many are not done yet, as the thread of the screen sees it."""

    def start(
        self,
        work: Callable[[Cancel], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> Cancel:
        """Let a thread do *work*. The thread of the screen calls *done* with the result, or *failed*, or neither when the
        token, which is returned, was cancelled.
        """
        cancel = Cancel(health=self._health)
        self._cancels.add(cancel)
        self.running += 1

        def finish(then: Callable[[], None] | None) -> None:
            self.running -= 1
            self._cancels.discard(cancel)
            if then is not None and not cancel.is_set():
                then()

        def run() -> None:
            then: Callable[[], None] | None = None
            try:
                result = work(cancel)
                then = lambda: done(result)  # noqa: E731
            except Interrupted:
                pass
            except Exception as error:  # noqa: BLE001 - shown in a line, whatever it is
                failure = error
                then = lambda: failed(failure)  # noqa: E731
            self._threads.discard(thread)
            self._post(lambda: finish(then))

        thread = threading.Thread(target=run, name="explore", daemon=True)
        self._threads.add(thread)
        thread.start()
        return cancel

    def cancel(self) -> None:
        """Ask all of them to end."""
        for cancel in list(self._cancels):
            cancel.set()

    def join(self, seconds: float) -> bool:
        """Wait until all have ended, so many *seconds* at most; whether they have."""
        until = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(until - time.monotonic(), 0))
        return not self._threads


class Model:
    """What all pages share. The repository's index must be loaded; a ``with`` block lets go of the caches."""

    def __init__(self, repository: Repository, unread: Mapping[bytes, ResticFormatError] | None = None) -> None:
        """*unread* has what is wrong with index files that could not be loaded."""
        self.repository = repository
        self.unread = unread or {}
        self.cache = BlobCache(repository, limit=CACHE)
        self.directories = DirectoryCache(CACHE)
        self.selection = Selection()
        self.width = 80
        """Columns of the screen."""
        self.pages: list[Page] = []
        """The way to the page that is shown, which is the last one."""

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.cache.close()

    @property
    def page(self) -> Page:
        """The page that is shown."""
        return self.pages[-1]

    def go(self, page: Page) -> None:
        """Go on to a page."""
        self.pages.append(page)
        while len(self.pages) > 2 and (len(self.pages) > DEEPEST or sum(page.held for page in self.pages) > MOST_HELD):
            del self.pages[1]

    def back(self) -> bool:
        """Go back to the page before; false where there is none."""
        if len(self.pages) < 2:
            return False
        self.pages.pop()
        return True

    def restart(self, page: Page) -> None:
        """Begin a new way at a page."""
        self.pages[:] = [page]

    def files(self, tree: bytes, fault: Callable[[str, Exception], None] | None = None) -> SnapshotFileSystem:
        """The files below a tree; they share all caches."""
        return SnapshotFileSystem(self.repository, tree, cache=self.cache, directories=self.directories, fault=fault)


def error_line(error: Exception) -> str:
    """What went wrong, in one line that is safe for a terminal."""
    return visible(" ".join(str(error).split("\n")) or type(error).__name__)
