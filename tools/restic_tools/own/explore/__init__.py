"""``explore``: look around in a repository on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from restic_format.snapshots import SnapshotFilter
from restic_format.words import printable
from restic_tools.access import repository_location
from restic_tools.context import Context
from restic_tools.exitcodes import Failure
from restic_tools.own.running import context_of
from restic_tools.own.snapshotoptions import HostOption, PathOption, TagOption, chosen

if TYPE_CHECKING:
    from restic_format.errors import ResticFormatError

app = typer.Typer()

INSTALL = "pip install 'restic-format[explore]'"


@app.command()
def explore(
    ctx: typer.Context,
    host: HostOption = None,
    path: PathOption = None,
    tag: TagOption = None,
) -> None:
    """Look around in a repository on a terminal

    Snapshots lead to directories, these to files, files to their blobs, blobs to their packs, and packs to their bytes. Files
    can be searched and looked at, snapshots compared, what is marked restored. The last line of the screen shows the keys, "?"
    all of them. Nothing changes the repository.

    It needs a terminal, and the library Textual: pip install 'restic-format[explore]'.
    """
    tools = context_of(ctx)
    from restic_tools.own.explore.terminal import is_terminal

    if tools.options.json:
        raise Failure("explore shows a screen and has no messages: --json is for find, ls, inspect and diff")
    if not is_terminal():
        raise Failure("explore needs a terminal for its input and output: find, ls, inspect and diff do without one")
    try:
        import textual  # noqa: F401
    except ImportError:
        raise Failure(f"explore needs the library Textual, which is not installed: {INSTALL}") from None
    _explore(tools, chosen(host, tag, path))


def _explore(ctx: Context, wanted: SnapshotFilter) -> None:
    from restic_tools.commands.ls import load_index
    from restic_tools.own.explore.model import Model
    from restic_tools.own.explore.screen import Explorer
    from restic_tools.own.explore.terminal import driver_class, watched

    name = printable(repository_location(ctx.options))
    with ctx.open_repository(lock="shared") as repository:
        unread: dict[bytes, ResticFormatError] = {}
        load_index(ctx, repository, unread.__setitem__)
        ctx.out.flush()
        with Model(repository, unread) as model:
            explorer = Explorer(model, wanted, health=ctx.check_lock, name=name, driver=driver_class())
            announce, ctx.interrupt.announce = ctx.interrupt.announce, lambda: None
            try:
                with ctx.interrupt.deferred(explorer.stop_from_outside), watched(explorer.stop_from_outside):
                    explorer.run()
                    explorer.finish()
            finally:
                ctx.interrupt.announce = announce
    ctx.interrupt.check()
    if explorer.failure is not None:
        raise explorer.failure
