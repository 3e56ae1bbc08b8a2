"""What stands before the list for a while: help, a question, what a restore is going to do, how far it is."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from restic_format.restore import Overwrite
from restic_tools.own.explore.marks import CHOICES, restore_lines
from restic_tools.own.explore.page import counted
from restic_tools.own.explore.rowlist import safe
from restic_tools.render import bytes_text, percent_text

if TYPE_CHECKING:
    from restic_format.explore.browse import RestorePart
    from restic_format.restore import RestoreStats

BOX = 76
"""Columns of a box, where the screen has so many."""
TOLD = 5
"""Failures that are shown, the last ones."""


class Dialog(ModalScreen[str | None]):
    """A box before the list; the Escape key closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "close")]

    def action_close(self) -> None:
        """Close it without an answer."""
        self.dismiss(None)


class BoxDialog(Dialog):
    """A box of a heading, a text of any length that is scrolled where it is too long, and lines that are always in view."""

    def __init__(self) -> None:
        super().__init__()
        self._always: list[str] = []
        """What stands below the text."""
        self._body = VerticalScroll(Static("", id="what"), id="body")
        self._below = Static("", id="below")
        self._hint = Static("", id="hint", classes="hint")

    def compose(self) -> ComposeResult:
        """The box."""
        with Vertical(id="box"):
            yield Static(lines_of(["Restore"]), classes="heading")
            yield self._body
            yield self._below
            yield self._hint

    def on_resize(self, event: events.Resize) -> None:
        """Leave the lines below in view."""
        self._fit(event.size)

    def _fit(self, size: Size) -> None:
        width = max(min(size.width, BOX) - 4, 1)
        below = sum(len(textwrap.wrap(line, width)) for line in self._always)
        self._body.styles.max_height = max(size.height - below - 3, 1)

    def tell(self, lines: Sequence[str], below: Sequence[str], hint: str) -> None:
        """Show texts."""
        self.query_one("#what", Static).update(lines_of(lines))
        self._below.update(lines_of(below))
        self._below.display = bool(below)
        self._hint.update(lines_of([hint]))
        self._always = [*below, hint]
        self._fit(self.size)


def lines_of(lines: Sequence[str]) -> Text:
    """Lines of text without any meaning to the terminal."""
    return Text("\n".join(map(safe, lines)), no_wrap=False)


class HelpDialog(Dialog):
    """All keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,q,enter,f1", "close", "close")]

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll(id="help"):
            yield Static(lines_of(self._lines))


class QuestionDialog(Dialog):
    """Asks for a line of text; the answer is None when the person does not want to."""

    def __init__(self, question: str, hint: str, text: str = "") -> None:
        super().__init__()
        self._question = question
        self._hint = hint
        self._text = text

    def compose(self) -> ComposeResult:
        """The question and the line."""
        with Vertical(id="box"):
            yield Static(lines_of([self._question]), classes="heading")
            yield Input(self._text, id="answer")
            yield Static(lines_of([self._hint]), classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Give the answer."""
        event.stop()
        self.dismiss(event.value)


class ConfirmDialog(BoxDialog):
    """Says what a restore is going to do, and asks; the answer is what becomes of existing files."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "restore"),
        Binding("n", "close", "do not restore"),
        Binding("o", "change", "overwrite"),
    ]

    def __init__(self, parts: Sequence[RestorePart]) -> None:
        super().__init__()
        self._lines = restore_lines(parts)
        self._choice = 0

    def on_mount(self) -> None:
        """Ask."""
        self._show()

    def _show(self) -> None:
        below = f"existing files are overwritten: {CHOICES[self._choice].value}"
        self.tell(self._lines, [below], "y restore   o which existing files to overwrite   n, Esc do not restore")

    def action_confirm(self) -> None:
        """Yes."""
        self.dismiss(CHOICES[self._choice].value)

    def action_change(self) -> None:
        """Another choice for existing files."""
        self._choice = (self._choice + 1) % len(CHOICES)
        self._show()


class RestoreState:
    """How far a restore is, as its dialog asks for it; any thread may change it."""

    def __init__(self, stats: Callable[[], RestoreStats], stop: Callable[[], None]) -> None:
        self.stats = stats
        self.stop = stop
        self.failures: list[str] = []
        self.ended = ""
        """How it has ended, empty while it goes on."""

    def fail(self, line: str) -> None:
        """Note what could not be restored."""
        self.failures = [*self.failures[1 - TOLD :], line]


class ProgressDialog(BoxDialog):
    """How far a restore is; the Escape key stops it, or closes the box when it has ended."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "finish", "close")]

    def __init__(self, state: RestoreState) -> None:
        super().__init__()
        self.state = state

    def on_mount(self) -> None:
        """Look again and again."""
        self._show()
        self.set_interval(0.1, self._show)

    def _show(self) -> None:
        stats = self.state.stats()
        done = stats.files_restored + stats.files_skipped
        # Directories on the way to what is selected are restored, and not counted before.
        share = percent_text(stats.bytes_restored + stats.bytes_skipped, stats.bytes_total)
        lines = [
            self.state.ended or "restoring ...",
            f"{done:,} of {max(done, stats.files_total):,} files and directories, "
            f"{bytes_text(stats.bytes_restored)} of {bytes_text(stats.bytes_total)} {share}",
        ]
        if stats.errors:
            lines += [f"{counted(stats.errors, 'error')}, the last ones:", *self.state.failures]
        self.tell(lines, [], "Enter close" if self.state.ended else "Esc stop")

    def action_close(self) -> None:
        """Stop the restore, or close the box."""
        if self.state.ended:
            self.dismiss(None)
        else:
            self.state.stop()

    def action_finish(self) -> None:
        """Close the box when the restore has ended."""
        if self.state.ended:
            self.dismiss(None)


def overwrite_of(answer: str) -> Overwrite:
    """What `ConfirmDialog` has answered."""
    return Overwrite(answer)
