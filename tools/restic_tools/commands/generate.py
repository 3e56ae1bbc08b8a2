"""``generate``: write shell completions and manual pages."""

from __future__ import annotations

import os
from typing import Annotated

from restic_tools.completion import SCRIPTS
from restic_tools.context import Context
from restic_tools.declare import Argument, Option
from restic_tools.exitcodes import Failure
from restic_tools.messages.pages import Generated
from restic_tools.output import encode

STDOUT = "-"


def generate(
    ctx: Context,
    words: Annotated[list[str], Argument(metavar="")],
    bash_completion: Annotated[
        str | None,
        Option(
            "--bash-completion",
            metavar="file",
            help="write the completion script for bash to this file ('-' is standard output)",
        ),
    ] = None,
    fish_completion: Annotated[
        str | None,
        Option(
            "--fish-completion",
            metavar="file",
            help="write the completion script for fish to this file ('-' is standard output)",
        ),
    ] = None,
    zsh_completion: Annotated[
        str | None,
        Option(
            "--zsh-completion", metavar="file", help="write the completion script for zsh to this file ('-' is standard output)"
        ),
    ] = None,
    powershell_completion: Annotated[
        str | None,
        Option(
            "--powershell-completion",
            metavar="file",
            help="write the completion script for powershell to this file ('-' is standard output)",
        ),
    ] = None,
    man: Annotated[str | None, Option("--man", metavar="directory", help="write the manual pages to this directory")] = None,
) -> None:
    """Generate shell completions and manual pages

    For bash: restic-format generate --bash-completion ~/.local/share/bash-completion/completions/restic-format

    For zsh: restic-format generate --zsh-completion _restic-format, in a directory of $fpath

    For fish: restic-format generate --fish-completion ~/.config/fish/completions/restic-format.fish
    """
    if words:
        raise Failure(
            "the generate command expects no arguments, only options - "
            "please see `restic-format help generate` for usage and flags"
        )
    given = {
        "bash": bash_completion,
        "fish": fish_completion,
        "zsh": zsh_completion,
        "powershell": powershell_completion,
    }
    targets = {shell: target for shell, target in given.items() if target}
    if not targets and not man:
        raise Failure("nothing to do, please specify at least one output file/dir")
    if list(targets.values()).count(STDOUT) > 1:
        raise Failure("the generate command can generate shell completions to stdout for single shell only")
    for shell, target in targets.items():
        if target == STDOUT:
            if ctx.options.json:
                ctx.out.json(Generated("generated", shell, target, SCRIPTS[shell]))
            else:
                ctx.out.write(SCRIPTS[shell].encode())
            continue
        ctx.out.info_on_terminal(f"writing {shell} completion file to {target}")
        _write(target, SCRIPTS[shell])
        if ctx.options.json:
            ctx.out.json(Generated("generated", shell, target))
    if man:
        from restic_tools.manpages import manual_pages

        ctx.out.info_on_terminal(f"writing man pages to directory {man}")
        for name, text in manual_pages().items():
            _write(os.path.join(man, name), text)
        if ctx.options.json:
            ctx.out.json(Generated("generated", "man", man))


def _write(path: str, text: str) -> None:
    with open(encode(path), "wb") as file:
        file.write(text.encode())
