"""Declarations of commands: flags and arguments from the annotations of a function.

A parameter is annotated with `Option` or `Argument`; ``restic_tools.argv`` reads the command line. Typer has the same form of
declaration, but takes longer to start than most commands do (docs/decisions/0006); commands that restic does not have use it,
see ``restic_tools.own``.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from restic_tools.argv import Flag, UsageFailure, parse_int

CommandFunction = Callable[..., int | None]

_REQUIRED = object()
"""In place of the default of a parameter that has none."""

METAVARS = {int: "n", float: "number", str: "string"}


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("expected a number") from None


PARSERS: dict[Any, Callable[[str], object]] = {str: str, int: parse_int, float: _parse_float}


class Option:
    """Declares a parameter to be an option: its names (``"--exclude", "-e"``; by default the parameter's) and its help."""

    def __init__(
        self,
        *names: str,
        help: str = "",  # noqa: A002 - what everybody calls it
        metavar: str | None = None,
        parser: Callable[[str], Any] | None = None,
        count: bool = False,
        hidden: bool = False,
        deprecated: str = "",
        spread: bool = False,
        values: Sequence[str] = (),
        variable: str = "",
        otherwise: str = "",
    ) -> None:
        self.names = names
        self.help = help
        self.metavar = metavar
        self.parser = parser
        self.count = count
        self.hidden = hidden or bool(deprecated)
        self.deprecated = deprecated
        """What to use instead; the option is hidden, and a note tells whoever uses it."""
        self.spread = spread
        """Whether one text holds several values of a list."""
        self.values = values
        """What completion offers."""
        self.variable = variable
        """The environment variable that stands in; the command reads it, except for the global options."""
        self.otherwise = otherwise
        """What holds when neither is given, for the help, where the parameter's default does not say it."""


class Argument:
    """Declares how a positional parameter is shown and read."""

    def __init__(
        self, *, metavar: str | None = None, parser: Callable[[str], Any] | None = None, values: Sequence[str] = ()
    ) -> None:
        self.metavar = metavar
        self.parser = parser
        self.values = values
        """What completion offers for the first word."""


class OptionGroup:
    """Options that several commands share, as annotated attributes with defaults; a parameter of such a type gets them all."""

    def __init__(self, **values: object) -> None:
        for key, value in values.items():
            setattr(self, key, value)


class ArgumentSpec(NamedTuple):
    """One positional parameter: its keyword, how it is shown, and how many words it takes."""

    key: str
    metavar: str
    required: bool
    many: bool
    parse: Callable[[str], object]
    values: Sequence[str]


class Declaration(NamedTuple):
    """A declared command: its function, flags, arguments and help text."""

    function: CommandFunction
    context_key: str | None
    flags: tuple[Flag, ...]
    arguments: tuple[ArgumentSpec, ...]
    groups: dict[str, type[OptionGroup]]
    words_key: str | None = None
    """For a command that reads the line itself, but for the global options: the parameter that takes its words."""

    @property
    def summary(self) -> str:
        """What the command does, in a line."""
        return self._text()[0].strip()

    @property
    def details(self) -> str:
        """The rest of the help page's text."""
        return self._text()[2].strip()

    def _text(self) -> tuple[str, str, str]:
        import inspect  # only for help pages, and slow to import

        return (inspect.getdoc(self.function) or "").partition("\n")

    def call_with(self, words: Sequence[str], given: Mapping[str, object]) -> dict[str, object]:
        """The parameters for positional words and the values of flags. Raises ``UsageFailure``, see `bind`."""
        if self.words_key is not None:
            return {self.words_key: list(words)}
        values = self.bind(words)
        own = {flag.key: given[flag.key] for flag in self.flags if flag.key in given}
        for name, group in self.groups.items():
            values[name] = group(**{key: own.pop(key) for key in group.__annotations__ if key in own})
        return values | own

    def bind(self, words: Sequence[str]) -> dict[str, object]:
        """Give the positional words to the parameters; ``UsageFailure`` when there are too few or too many."""
        rest = list(words)
        values: dict[str, object] = {}
        for spec in self.arguments:
            try:
                if spec.many:
                    values[spec.key] = [spec.parse(word) for word in rest]
                    if spec.required and not rest:
                        raise UsageFailure(f"missing argument: {spec.metavar}")
                    rest = []
                elif rest:
                    values[spec.key] = spec.parse(rest.pop(0))
                elif spec.required:
                    raise UsageFailure(f"missing argument: {spec.metavar}")
            except ValueError as error:
                raise UsageFailure(f"invalid argument {spec.metavar}: {error}") from None
        if rest:
            expected = len(words) - len(rest)
            limit = f"at most {expected} argument{'' if expected == 1 else 's'}" if expected else "no arguments"
            raise UsageFailure(f"this command takes {limit}, but was given {rest[0]!r}")
        return values


def declare(function: CommandFunction) -> Declaration:
    """Read the declaration of a command from its signature and docstring."""
    from restic_tools.context import Context

    hints = typing.get_type_hints(function, include_extras=True)
    flags: list[Flag] = []
    arguments: list[ArgumentSpec] = []
    context_key: str | None = None
    groups: dict[str, type[OptionGroup]] = {}
    for name, default in _parameters(function):
        hint = hints[name]
        if hint is Context:
            context_key = name
            continue
        if isinstance(hint, type) and issubclass(hint, OptionGroup):
            groups[name] = hint
            flags.extend(flags_of(hint))
            continue
        plain, info = split_hint(hint, (Option, Argument))
        if isinstance(info, Option):
            flags.append(_flag(name, plain, info, default))
        else:
            arguments.append(_argument(name, plain, info, default))
    return Declaration(function, context_key, tuple(flags), tuple(arguments), groups)


def flags_of(group: type[OptionGroup]) -> Iterator[Flag]:
    """The flags of a group of options."""
    for name, hint in typing.get_type_hints(group, include_extras=True).items():
        plain, info = split_hint(hint, (Option, Argument))
        if isinstance(info, Option):
            yield _flag(name, plain, info, getattr(group, name, _REQUIRED))


def _parameters(function: Any) -> Iterator[tuple[str, object]]:
    """The names of a plain function's parameters, each with its default or `_REQUIRED`."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    last = function.__defaults__ or ()
    defaults = dict(zip(names[code.co_argcount - len(last) : code.co_argcount], last, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    for name in names:
        yield name, defaults.get(name, _REQUIRED)


def split_hint(hint: Any, kinds: tuple[type, ...]) -> tuple[Any, Any]:
    """A hint without ``Annotated`` and ``| None``, and what of *kinds* it is annotated with, if anything."""
    info = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        info = next((extra for extra in extras if isinstance(extra, kinds)), None)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        hint = members[0] if len(members) == 1 else hint
    return hint, info


def _flag(name: str, plain: Any, info: Option, default: object) -> Flag:
    names = info.names
    long = next((word[2:].partition("/")[0] for word in names if word.startswith("--")), name.replace("_", "-"))
    short = next((word[1:] for word in names if word.startswith("-") and not word.startswith("--")), "")
    many = typing.get_origin(plain) is list
    item = typing.get_args(plain)[0] if many else plain
    kind = "bool" if plain is bool else "count" if info.count else "value"
    return Flag(
        long,
        info.help,
        short=short,
        kind=kind,
        metavar=info.metavar or METAVARS.get(item, "string"),
        default=None if default is _REQUIRED else default,
        parse=info.parser or PARSERS.get(item, str),
        many=many,
        spread=info.spread,
        hidden=info.hidden,
        deprecated=info.deprecated,
        values=info.values,
        variable=info.variable,
        otherwise=info.otherwise,
        key=name,
    )


def _argument(name: str, plain: Any, info: Argument | None, default: object) -> ArgumentSpec:
    many = typing.get_origin(plain) is list
    item = typing.get_args(plain)[0] if many else plain
    parse = (info.parser if info else None) or PARSERS.get(item, str)
    required = default is _REQUIRED and not many
    metavar = name if info is None or info.metavar is None else info.metavar
    return ArgumentSpec(name, metavar, required, many, parse, info.values if info else ())
