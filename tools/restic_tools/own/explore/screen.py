"""The screen of the explorer: shows the pages of the model, and turns keys into steps from page to page."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.console import Console
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from restic_format.errors import Interrupted
from restic_format.explore.browse import Mark, SelectionRestore
from restic_format.restore import Failed, RestoreEvent
from restic_format.words import printable
from restic_tools.own.explore.dialogs import (
    BOX,
    ConfirmDialog,
    HelpDialog,
    ProgressDialog,
    QuestionDialog,
    RestoreState,
    overwrite_of,
)
from restic_tools.own.explore.keymap import KEYS, help_lines, keys_line
from restic_tools.own.explore.marks import MarksPage, target_of
from restic_tools.own.explore.model import Model, Tasks, error_line
from restic_tools.own.explore.page import Page, counted
from restic_tools.own.explore.rowlist import RowList, clipped, row_text, safe
from restic_tools.own.explore.snapshots import SnapshotsPage

if TYPE_CHECKING:
    from textual.driver import Driver

    from restic_format.snapshots import SnapshotFilter
    from restic_format.work import Cancel

TICK = 0.1
"""Seconds between two looks at whether what is shown has changed."""
DETAILS = 3
"""Lines about the row at the cursor."""
LEAVING = 5.0
"""Seconds that reading may take to stop at the end; a restore may take as long as it takes."""


class Explorer(App[None]):
    """The explorer. `run` shows it until its user, or `leave`, ends it."""

    ENABLE_COMMAND_PALETTE = False
    CSS = f"""
    #title {{ height: 1; background: $primary; color: $text; text-style: bold; }}
    #columns {{ height: 1; text-style: bold underline; }}
    RowList {{ height: 1fr; }}
    #details {{ height: {DETAILS}; background: $surface; }}
    #status {{ height: 1; }}
    #status.told {{ color: $text-warning; }}
    #keys {{ height: 1; background: $primary; color: $text; }}
    Dialog {{ align: center middle; }}
    #box {{
        width: {BOX}; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; background: $surface; padding: 0 1;
    }}
    #body {{ height: auto; scrollbar-size-vertical: 1; }}
    #help {{ width: 100%; height: 100%; background: $surface; padding: 0 1; }}
    .heading {{ text-style: bold; }}
    .hint {{ color: $text-muted; }}
    Static {{ height: auto; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key.names, key.action, key.short, show=False) for key in KEYS),
        Binding("ctrl+c", "leave", "quit", show=False, priority=True),
    ]

    def __init__(
        self,
        model: Model,
        wanted: SnapshotFilter | None = None,
        *,
        health: Callable[[], object] | None = None,
        name: str = "",
        driver: type[Driver] | None = None,
    ) -> None:
        """*health* raises when the lock is lost. *name* is that of the repository. *driver* reads keys and draws the screen."""
        super().__init__(driver_class=driver)
        self.error_console = Console(file=io.StringIO())  # whoever has run it tells of a failure
        self.model = model
        self.tasks = Tasks(self._post, health)
        self._wanted = wanted
        self._repository_name = name
        self._main_loop: asyncio.AbstractEventLoop | None = None
        self._loads: dict[Page, Cancel] = {}
        self._opening: Cancel | None = None
        self._fetching = False
        self._said = ""
        """What is told in the line above the keys until something else happens."""
        self._shown: object = None
        """What the screen has shown last: it is drawn anew when that has changed."""
        self._restoring = False
        self.rows = RowList()
        """The list."""
        self._lines = {name: Static(id=name) for name in ("title", "columns", "details", "status", "keys")}

    @property
    def failure(self) -> BaseException | None:
        """What has ended the explorer that should not have."""
        return self._exception

    # The screen

    def compose(self) -> ComposeResult:
        """The lines from top to bottom."""
        yield self._lines["title"]
        yield self._lines["columns"]
        yield self.rows
        yield self._lines["details"]
        yield self._lines["status"]
        yield self._lines["keys"]

    def on_mount(self) -> None:
        """Begin with the snapshots."""
        self._main_loop = asyncio.get_running_loop()
        self.model.width = self.size.width
        self.set_interval(TICK, self._tick)
        self.rows.focus()
        self._restart(SnapshotsPage(self.model, self._wanted))

    def on_resize(self, event: events.Resize) -> None:
        """Use the new size."""
        self.model.width = event.size.width
        self._draw()

    def _tick(self) -> None:
        page = self.model.page
        state = (page, len(page), page.complete, page.note, page.troubles, self.tasks.running)
        if state != self._shown:
            self._shown = state
            if self.rows.page is page:
                self.rows.follow()
            self._draw()
        self._fetch()

    def _draw(self) -> None:
        """Draw all but the rows."""
        if not self.is_running or not self.model.pages:
            return
        page = self.model.page
        width = self.size.width
        count = f"{min(page.cursor + 1, len(page)):,}/{len(page):,}"
        if not page.complete:
            count += "+"
        if len(self.model.selection):
            count += f"  {len(self.model.selection):,} marked"
        of_all = f"  {self._repository_name}" if self._repository_name and len(self.model.pages) == 1 else ""
        title = safe(f" {page.title}{of_all}")
        room = max(width - len(count) - 2, 0)
        self._set("title", row_line(title, room) + f" {count} ")
        self._set("columns", row_text(page.columns, [column.title for column in page.columns], width))
        try:
            details = list(page.details(page.cursor)) if len(page) else []
        except Exception as error:  # noqa: BLE001 - what cannot be shown is no reason to end
            details = [error_line(error)]
        self._set("details", "\n".join(row_line(f"  {safe(line)}", width) for line in details[:DETAILS]))
        self._set("status", row_line(self._status(page), width))
        self._lines["status"].set_class(bool(self._said or page.trouble), "told")
        self._set("keys", " " + keys_line(page, width - 2))

    def _set(self, name: str, text: str) -> None:
        self._lines[name].update(Text(text))

    def _status(self, page: Page) -> str:
        """The line above the keys."""
        if self._said:
            return f"  {safe(self._said)}"
        if self._opening is not None:
            return "  opening ... (Esc stops)"
        if page.trouble:
            more = f"{page.troubles:,} errors (e), the last one: " if page.troubles > 1 else "error (e): "
            return f"  {more}{safe(page.trouble)}"
        return f"  {safe(page.note)}"

    def _say(self, text: str) -> None:
        self._said = text
        self._draw()

    # From page to page

    def _post(self, call: Callable[[], None]) -> None:
        """See `restic_tools.own.explore.model.Post`."""
        loop = self._main_loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self.call_later, call)
        except RuntimeError:
            return  # the screen is gone

    def _restart(self, page: Page) -> None:
        for cancel in self._loads.values():
            cancel.set()
        self._loads.clear()
        self.model.restart(page)
        self._begin(page)

    def _go(self, page: Page) -> None:
        self.model.go(page)
        for gone in [loading for loading in self._loads if loading not in self.model.pages]:
            self._loads.pop(gone).set()
        self._begin(page)

    def _begin(self, page: Page) -> None:
        """Show a new page, and fill it."""
        self._said = ""

        def done(_: None) -> None:
            page.complete = True
            self._loads.pop(page, None)

        def failed(error: Exception) -> None:
            page.tell("", error)
            page.complete = True
            self._loads.pop(page, None)

        self._loads[page] = self.tasks.start(page.load, done, failed)
        self.rows.show(page)
        self._draw()

    def _open(self, work: Callable[[], Page | None], nothing: str) -> None:
        """Let a thread find a page, and show it."""
        if self._opening is not None:
            return

        def done(page: Page | None) -> None:
            self._opening = None
            if page is None:
                self._say(nothing)
            else:
                self._go(page)

        def failed(error: Exception) -> None:
            self._opening = None
            self._say(error_line(error))

        self._said = ""
        self._opening = self.tasks.start(lambda _: work(), done, failed)

    def _row(self) -> int | None:
        """The row at the cursor, None where there is none."""
        page = self.model.page
        return page.cursor if page.cursor < len(page) else None

    def _at_cursor(self, what: Callable[[int], Page | None], nothing: str) -> None:
        row = self._row()
        if row is not None:
            self._open(lambda: what(row), nothing)

    def _fetch(self) -> None:
        """Have what is in view fetched, where it is not there."""
        page, count = self.model.page, self.rows.rows
        first = page.top
        if self._fetching or not page.lacks(first, count):
            return

        def done(_: None) -> None:
            self._fetching = False
            self._shown = None

        def failed(error: Exception) -> None:
            page.tell("", error)
            self._fetching = False

        self._fetching = True
        self.tasks.start(lambda _: page.fetch(first, count), done, failed)

    def on_row_list_opened(self) -> None:
        """As the Enter key."""
        self.action_open()

    # Keys

    def action_open(self) -> None:
        """Open what is at the cursor."""
        page = self.model.page
        if page.opens:
            self._at_cursor(page.open, "nothing to open")

    def action_go_back(self) -> None:
        """Stop opening, or go back."""
        self._said = ""
        if self._opening is not None:
            self._opening.set()
            self._opening = None
            self._draw()
            return
        page = self.model.page
        if self.model.back():
            if page in self._loads:
                self._loads.pop(page).set()
            self.rows.show(self.model.page)
        self._draw()

    def action_view(self) -> None:
        """Show a file's content."""
        self._at_cursor(self.model.page.view, "only files have content to show")

    def action_raw(self) -> None:
        """Show the bytes that are stored."""
        self._at_cursor(self.model.page.raw, "for the bytes of a file open it: each blob has its own")

    def action_users(self) -> None:
        """Show who has it."""
        self._at_cursor(self.model.page.users, "this is no blob; open a file to see those it has")

    def action_folder(self) -> None:
        """Go to the directory."""
        self._at_cursor(self.model.page.folder, "")

    def action_other(self) -> None:
        """Text or hexadecimal."""
        other = self.model.page.other()
        if other is None:
            return
        self.model.pages[-1] = other
        if other.complete:
            self.rows.show(other)
            self._draw()
        else:
            self._begin(other)

    def action_mark(self) -> None:
        """Mark, and go on to the next row."""
        page, row = self.model.page, self._row()
        mark = None if row is None else page.mark(row)
        if mark is not None:
            self.model.selection.toggle(mark)
            self._move(1)

    def action_clear(self) -> None:
        """Take all marks away."""
        self.model.selection.clear()
        self.rows.refresh()
        self._say("nothing is marked any more")

    def action_marks(self) -> None:
        """Show what is marked."""
        self._go(MarksPage(self.model))

    def action_diff(self) -> None:
        """Compare the two marked snapshots."""
        from restic_tools.own.explore.difference import DifferencePage

        marked = self.model.selection.snapshots()
        if len(marked) != 2:
            self._say(f"mark two snapshots to compare them; {len(marked)} are marked")
            return
        self._go(DifferencePage(self.model, *marked))

    def action_find(self) -> None:
        """Ask for a name, and search it."""
        from restic_tools.own.explore.searching import PatternPage

        found = self.model.page.snapshot
        if found is None:
            self._say("open a snapshot first: names are searched in one; i finds IDs everywhere")
            return

        def answered(text: str | None) -> None:
            if text:
                self._open(lambda: PatternPage(self.model, found, text), "")

        hint = "part of a name, or a pattern as `find` has it: *.txt, /home/**/note?"
        self.push_screen(QuestionDialog(f"Find in snapshot {found.short_id}", hint), answered)

    def action_named(self) -> None:
        """Ask for an id, and search it."""
        from restic_tools.own.explore.searching import NamedPage

        def answered(text: str | None) -> None:
            if text:
                self._open(lambda: NamedPage(self.model, text), "")

        hint = "the ID, or its first digits, of a snapshot, pack, blob, index file, key or lock"
        self.push_screen(QuestionDialog("Find an ID", hint), answered)

    def action_snapshots(self) -> None:
        """Show the snapshots."""
        self._restart(SnapshotsPage(self.model, self._wanted))

    def action_packs(self) -> None:
        """Show the packs."""
        from restic_tools.own.explore.packs import PacksPage

        self._restart(PacksPage(self.model))

    def action_indexes(self) -> None:
        """Show the index files."""
        from restic_tools.own.explore.holders import IndexesPage

        self._restart(IndexesPage(self.model))

    def action_keys(self) -> None:
        """Show the keys."""
        from restic_tools.own.explore.holders import KeysPage

        self._restart(KeysPage(self.model))

    def action_locks(self) -> None:
        """Show the locks."""
        from restic_tools.own.explore.holders import LocksPage

        self._restart(LocksPage(self.model))

    def _move(self, rows: int) -> None:
        self._said = ""
        self.rows.move(self.model.page.cursor + rows)
        self._draw()
        self._fetch()

    def action_up(self) -> None:
        """Up."""
        self._move(-1)

    def action_down(self) -> None:
        """Down."""
        self._move(1)

    def action_page_up(self) -> None:
        """A screen up."""
        self._move(-self.rows.rows)

    def action_page_down(self) -> None:
        """A screen down."""
        self._move(self.rows.rows)

    def action_top(self) -> None:
        """To the first row."""
        self._move(-self.model.page.cursor)

    def action_bottom(self) -> None:
        """To the last row."""
        self._move(len(self.model.page))

    def action_redraw(self) -> None:
        """Draw everything anew."""
        self.refresh(repaint=True, layout=True)

    def action_help(self) -> None:
        """Show the help."""
        self.push_screen(HelpDialog(help_lines()))

    def action_errors(self) -> None:
        """Show all that is wrong with the page."""
        page = self.model.page
        more = page.troubles - len(page.told)
        lines = [*page.told, *([f"and {more:,} before these"] if more > 0 else [])] or ["nothing went wrong here"]
        self.push_screen(HelpDialog(["Errors", "", *lines]))

    def action_leave(self) -> None:
        """End."""
        self.leave()

    def leave(self) -> None:
        """End the explorer; a restore is stopped."""
        self.tasks.cancel()
        self.exit()

    def stop_from_outside(self) -> None:
        """`leave`, from a signal handler or another thread."""
        self.tasks.cancel()
        self._post(self.leave)

    # Restore

    def action_restore(self) -> None:
        """Ask where to, say what is going to be done, and do it."""
        page, row = self.model.page, self._row()
        if not len(self.model.selection):
            mark = None if row is None else page.mark(row)
            if mark is None:
                self._say("mark what is to be restored")
                return
            self.model.selection.toggle(mark)
            self.rows.refresh()
            self._draw()
        self._ask_target(list(self.model.selection))

    def _ask_target(self, marks: list[Mark]) -> None:
        def answered(text: str | None) -> None:
            target = target_of(text or "")
            if not target:
                self._say("nothing was restored")
                return
            parts = self.model.selection.plan(target)

            def confirmed(answer: str | None) -> None:
                if answer is None:
                    self._say("nothing was restored")
                    return
                restore = lambda state, cancel: SelectionRestore(  # noqa: E731
                    self.model.repository, parts, overwrite=overwrite_of(answer), progress=state, cancel=cancel
                )
                self._restore(restore)

            self.push_screen(ConfirmDialog(parts), confirmed)

        count = counted(len(marks), "item")
        hint = "Enter goes on, Esc does not restore. Paths of the snapshot are kept below the directory."
        self.push_screen(QuestionDialog(f"Restore {count} to which directory?", hint), answered)

    def _restore(self, make: Callable[[Callable[[RestoreEvent], None], Cancel], SelectionRestore]) -> None:
        ready: list[SelectionRestore] = []

        def told(event: RestoreEvent) -> None:
            if isinstance(event, Failed):
                state.fail(f"{printable(event.location)}: {error_line(event.error)}")

        def work(cancel: Cancel) -> None:
            restore = make(told, cancel)
            ready.append(restore)
            try:
                stats = restore.run()
                state.ended = "restored, but with errors" if stats.errors else "restored"
            except Interrupted:
                state.ended = "stopped; what is incomplete is told above, or was not begun"
                raise
            except Exception as error:
                state.ended = error_line(error)
                raise
            finally:
                self._restoring = False

        from restic_format.restore import RestoreStats

        state = RestoreState(lambda: ready[0].stats if ready else RestoreStats(), lambda: None)
        self._restoring = True
        cancel = self.tasks.start(work, lambda _: None, lambda _: None)
        state.stop = cancel.set
        self.push_screen(ProgressDialog(state), lambda _: self._say(state.ended))

    def finish(self) -> None:
        """Wait for the threads, when the screen is gone."""
        self.tasks.cancel()
        while self._restoring:
            self.tasks.join(LEAVING)
        self.tasks.join(LEAVING)


def row_line(text: str, width: int) -> str:
    """A text in exactly *width* columns."""
    from rich.cells import cell_len, set_cell_size

    text = clipped(text, width)
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)) + ">" * (width > 0)
