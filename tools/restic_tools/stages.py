"""Operations that go through stages: what each begins with, and a counter for it; and stopping them in good order."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from restic_format.work import Advance, Cancel
from restic_tools.context import Context

if TYPE_CHECKING:
    from types import TracebackType

    from restic_tools.progress import Counter


class StagePrinter:
    """Is told how far an operation is (`restic_format.work.Advance`), and counts each stage on a line of its own.

    For the length of a ``with`` block. *headings* has the stages that are shown, each with the line it begins with, if any, in
    which ``{total}`` stands for the total. Those *uncounted* have no counter.
    """

    def __init__(self, ctx: Context, headings: Mapping[str, str], uncounted: Container[str] = ()) -> None:
        self._ctx = ctx
        self._headings = headings
        self._uncounted = uncounted
        self._stage: str | None = None
        self._counter: Counter | None = None
        self._stack = ExitStack()

    def __call__(self, event: Advance) -> None:
        """Show how far it is."""
        if event.stage not in self._headings or self._ctx.options.json:
            return
        if event.stage != self._stage:
            self.close()
            self._stage = event.stage
            if heading := self._headings[event.stage]:
                self._ctx.out.info(heading.format(total=event.total))
            if event.stage in self._uncounted:
                return
            self._counter = self._stack.enter_context(self._ctx.counter(event.stage, event.total))
        if self._counter is not None:
            self._counter.add(event.done - self._counter.done)

    def close(self) -> None:
        """Leave the counter's last state on the screen."""
        self._stage = self._counter = None
        self._stack.close()

    def __enter__(self) -> StagePrinter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stage = self._counter = None
        self._stack.__exit__(kind, error, trace)


@contextmanager
def stoppable(ctx: Context) -> Iterator[Cancel]:
    """A token that a signal or the loss of the lock cancels; a signal does nothing else in this block."""
    cancel = Cancel(health=ctx.check_lock)
    with ctx.interrupt.deferred(cancel.set):
        yield cancel
