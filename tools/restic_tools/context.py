"""The context that every command gets: global options, output, interruption, and opening repositories."""

from __future__ import annotations

from contextlib import contextmanager

from restic_tools.globaloptions import GlobalOptions, global_options
from restic_tools.interrupt import Interrupt
from restic_tools.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from restic_format.repository import Repository, RepositoryLock
    from restic_format.storage.entry import Entry
    from restic_format.work import Later
    from restic_tools.progress import Counter, Lines, Live, Status

    LockMode = Literal["shared", "exclusive", "none"]
    Reads = Sequence[Literal["snapshots", "index", "index files"]]

__all__ = ["Context", "GlobalOptions", "global_options"]


class Context:
    """Everything a command may use besides its own options."""

    def __init__(self, options: GlobalOptions, interrupt: Interrupt, out: Output) -> None:
        self.options = options
        self.interrupt = interrupt
        self.out = out
        self._locks: list[RepositoryLock] = []
        self._approached: Later[Entry] | None = None

    def approach(self) -> None:
        """Begin to ask for the repository, which is going to be opened; to be called before slow imports."""
        from restic_tools.access import approach

        self._approached = approach(self.options, self.interrupt.event.is_set)

    @contextmanager
    def open_repository(
        self,
        lock: LockMode = "shared",
        *,
        options: GlobalOptions | None = None,
        honour_no_lock: bool = True,
        first: Reads = (),
        caching: Callable[[Repository], object] | None = None,
    ) -> Iterator[Repository]:
        """Open the repository and hold the lock for the length of a ``with`` block.

        ``lock="none"`` takes no lock. --no-lock leaves out a shared lock; ``honour_no_lock=False`` is for commands that write
        and must lock all the same. ``options`` opens another repository than the global one (see
        ``restic_tools.secondary``). ``first`` says what the command reads first: ``snapshots``, and ``index`` after
        them, or ``index files`` where it does not load the index as others do; this begins while the lock is not certain yet.
        ``caching`` puts another cache before the repository than the usual one. Raises the engine's errors and ``Failure``.
        """
        from restic_tools.access import open_repository

        approached = None
        if options is None:
            approached, self._approached = self._approached, None
        with open_repository(
            options or self.options,
            self.out,
            lock=lock,
            honour_no_lock=honour_no_lock,
            releasing=self.interrupt.deferred,
            stopping=self.interrupt.event.is_set,
            approached=approached,
            first=first,
            caching=caching,
        ) as (repository, held):
            if held is not None:
                self._locks.append(held)
            try:
                yield repository
            finally:
                if held is not None:
                    self._locks.remove(held)

    def holds_lock(self, lock_id: bytes) -> bool:
        """Whether a lock, by its id, is held by this process."""
        return any(held.id == lock_id for held in self._locks)

    def check_lock(self) -> None:
        """Raise ``LockLost`` when a lock that this process holds has been lost; call it before removing anything."""
        for held in self._locks:
            held.check()

    def progress(self, *, lines: Lines, status: Status | None = None) -> Live:
        """Report progress for the length of a ``with`` block; see ``restic_tools.progress``."""
        from restic_tools.progress import Live

        return Live(self.out, lines=lines, status=status, interrupt=self.interrupt)

    def counter(self, noun: str, total: int, bytes_total: int = 0) -> Counter:
        """Count towards a total for the length of a ``with`` block; see ``restic_tools.progress``."""
        from restic_tools.progress import Counter

        return Counter(self.out, noun, total, bytes_total, self.interrupt)
