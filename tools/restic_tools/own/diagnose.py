"""``diagnose``: what is damaged in a repository, what that costs, and what may help."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from restic_tools.context import Context
from restic_tools.exitcodes import FAILURE, SUCCESS
from restic_tools.own.running import context_of

if TYPE_CHECKING:
    from restic_format.rescue.diagnosis import Diagnosis, Opened

app = typer.Typer()


@app.command()
def diagnose(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="leave nothing out of long lists")] = False,
    sealed: Annotated[bool, typer.Option("--sealed", help="open nothing: hold every file against its name only")] = False,
) -> int:
    """Show what is damaged, what that costs and what may help

    Everything is read: keys, locks, snapshots, index files, and every pack with all that is in it. It never stops at a fault,
    and goes on where others give up: without the config, beside damaged keys, with no index at all.

    Of each fault it tells where it most likely comes from, which snapshots, files and bytes it costs, and what may bring them
    back; of each snapshot how much of it is whole.

    Nothing is changed, and no lock is taken: run no other program on the repository meanwhile, or what it writes may look like
    damage. The repository itself is read, whatever is cached.

    The exit code is 1 when something is damaged. What was left behind and is not needed is no damage.
    """
    tools = context_of(ctx)
    opened = _open(tools, sealed=sealed)
    if not tools.options.json:
        tools.out.info(_beginning(opened))
    found = _run(tools, opened)
    if tools.options.json:
        from restic_tools.own.diagnosing.messages import write_messages

        write_messages(tools.out, found)
    else:
        from restic_tools.own.diagnosing.text import show

        show(tools.out, found, everything=everything)
    return SUCCESS if found.healthy else FAILURE


def _open(ctx: Context, *, sealed: bool) -> Opened:
    """The repository as far as it opens; a person at a terminal may try three times."""
    from restic_format.errors import WrongPassword
    from restic_format.inspect.access import has_files
    from restic_format.rescue.diagnosis import open_for_rescue
    from restic_tools.access import PASSWORD_TRIES, given_storage, no_repository
    from restic_tools.exitcodes import Failure
    from restic_tools.passwords import ask_password, may_try_again

    options = ctx.options
    storage = given_storage(options, ctx.interrupt.event.is_set)
    if not has_files(storage):
        raise no_repository(options)
    if sealed:
        return open_for_rescue(storage, None)
    tries = PASSWORD_TRIES if may_try_again(options) else 1
    while True:
        tries -= 1
        try:
            password = ask_password(options, "enter password for repository: ")
            return open_for_rescue(storage, password.encode("utf-8", "surrogateescape"), options.key_hint or None)
        except (WrongPassword, Failure) as error:
            if tries == 0:
                raise
            ctx.out.warn(f"{error}. Try again")


def _beginning(opened: Opened) -> str:
    if opened.repository is None:
        return "hold every file against its name, as no key is opened; nothing is changed, no lock is taken"
    return "read everything; nothing is changed, no lock is taken"


def _run(ctx: Context, opened: Opened) -> Diagnosis:
    from restic_format.rescue.diagnosis import DiagnosisEvent, diagnose
    from restic_format.work import Advance, Progress, silent
    from restic_tools.stages import StagePrinter, stoppable

    with ExitStack() as stack:
        progress: Progress[DiagnosisEvent] = silent
        if ctx.out.stdout_is_terminal:
            stages = {"index": "", "snapshots": "", "read": "", "consequences": ""}
            printer = stack.enter_context(StagePrinter(ctx, stages))

            def progress(event: DiagnosisEvent) -> None:
                if isinstance(event, Advance):
                    printer(event)

        cancel = stack.enter_context(stoppable(ctx))
        return diagnose(opened, progress, cancel)
