"""Typer apps as commands of this program: parameters for help and completion, the line to typer, its errors as ours."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import typer
from typer.main import get_command
from typer.models import ArgumentInfo, CommandInfo, OptionInfo
from typer.utils import get_params_from_function

from restic_tools.argv import Flag, UsageFailure
from restic_tools.context import Context
from restic_tools.declare import METAVARS, ArgumentSpec, Declaration, split_hint
from restic_tools.exitcodes import Failure

_USAGE, _ANY = (kind for kind in typer.BadParameter.__mro__[1:3] if issubclass(kind, Exception))
"""Typer's usage error and the base of its errors; it has no public names for them."""


def context_of(ctx: typer.Context) -> Context:
    """The context that restic's commands get, too: global options, output, interruption, opening repositories."""
    found = ctx.obj
    assert isinstance(found, Context)
    return found


def declare_app(app: typer.Typer, path: Sequence[str]) -> Declaration:
    """The declaration of an app's only command, or of the one that has the last word of *path* for its name."""
    commands = app.registered_commands
    info = commands[0] if len(commands) == 1 else next(info for info in commands if _name(info) == path[-1])
    first = [] if len(commands) == 1 else [path[-1]]
    program = " ".join(("restic-format", *path[: len(path) - len(first)]))

    def run(ctx: Context, words: list[str]) -> int | None:
        try:
            code = get_command(app).main(args=first + words, prog_name=program, standalone_mode=False, obj=ctx)
        except _USAGE as error:
            raise UsageFailure(_message(error)) from None
        except _ANY as error:
            raise Failure(_message(error)) from None
        except typer.Abort:
            raise KeyboardInterrupt from None
        return code if isinstance(code, int) else None

    function = info.callback
    assert function is not None
    run.__doc__ = inspect.getdoc(function)
    flags: list[Flag] = []
    arguments: list[ArgumentSpec] = []
    for name, parameter in get_params_from_function(function).items():
        plain, _ = split_hint(parameter.annotation, ())
        if isinstance(parameter.default, OptionInfo):
            flags.extend(_flags(name, plain, parameter.default))
        elif isinstance(parameter.default, ArgumentInfo):
            arguments.append(_argument(name, plain, parameter.default))
    return Declaration(run, "ctx", tuple(flags), tuple(arguments), {}, words_key="words")


def _name(info: CommandInfo) -> str:
    return info.name or getattr(info.callback, "__name__", "").replace("_", "-")


def _message(error: Any) -> str:
    text: str = error.format_message()
    return text[:1].lower() + text[1:].rstrip(".")


def _flags(name: str, plain: Any, option: OptionInfo) -> Iterator[Flag]:
    """The flags of one typer option; the second name of ``--this/--that`` is a hidden flag of its own."""
    item = typing.get_args(plain)[0] if typing.get_origin(plain) is list else plain
    plain_name = f"--{name.replace('_', '-')}"
    given = option.param_decls or ((f"{plain_name}/--no-{name.replace('_', '-')}",) if item is bool else (plain_name,))
    on = [decl.partition("/")[0].strip() for decl in given]
    off = [decl.partition("/")[2].strip() for decl in given if "/" in decl]
    alone = item is bool or option.count
    choices = [str(choice.value) for choice in item] if isinstance(item, type) and issubclass(item, Enum) else ()
    names = [decl[2:] for decl in on if decl.startswith("--")]
    letters = [decl[1:] for decl in on if not decl.startswith("--")]
    for number, long in enumerate(names):
        yield Flag(
            long,
            option.help or "",
            short=letters[0] if letters and not number else "",
            kind="bool" if alone else "value",
            metavar=option.metavar or METAVARS.get(item, name),
            default=None if alone or option.default is ... else option.default,
            hidden=option.hidden or number > 0,
            values=choices,
            optional=(option.metavar or "").startswith("["),
        )
    for decl in off:
        yield Flag(decl.lstrip("-"), f"not --{names[0]}", kind="bool", hidden=True)


def _argument(name: str, plain: Any, argument: ArgumentInfo) -> ArgumentSpec:
    many, required = typing.get_origin(plain) is list, argument.default is ...
    shown = str(argument.metavar or name.upper() + ("..." if many else ""))
    return ArgumentSpec(name, shown if required or shown.startswith("[") else f"[{shown}]", required, many, str, ())
