"""``help``: the help page of any command."""

from __future__ import annotations

from typing import Annotated

from restic_tools.argv import UsageFailure
from restic_tools.context import Context
from restic_tools.declare import Argument


def help_command(ctx: Context, words: Annotated[list[str], Argument(metavar="[command]")]) -> None:
    """Show the help of any command

    The same page is shown by --help after the command.
    """
    from restic_tools.cli import load
    from restic_tools.helppages import command_page, group_page, overview_page, suggestion
    from restic_tools.registry import BY_PATH, GROUPS, is_known

    path = tuple(words)
    if not path:
        page = overview_page()
    elif path in BY_PATH:
        page = command_page(BY_PATH[path], load(BY_PATH[path]))
    elif is_known(path):
        page = group_page(path, GROUPS[path[0]])
    else:
        raise UsageFailure(f'unknown help topic "{" ".join(path)}"{suggestion((), path[0])}')
    if ctx.options.json:
        from restic_tools.messages.pages import HelpPage

        ctx.out.json(HelpPage("help", " ".join(path), page))
        return
    ctx.out.write(page.encode())
