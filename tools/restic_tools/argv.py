"""Reading a command line in restic's syntax: the rules of Go's pflag and cobra, on plain lists.

Nothing here imports anything, so that ``version`` can be answered at once. The rules:

* options and arguments may be mixed; ``--`` ends the options;
* ``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, ``-n=value``; single letters may be bundled (``-vvq``);
* a flag that needs no value takes one only after ``=`` (``--json=false``, ``--verbose=2``);
* a flag that needs a value takes the next word whatever it looks like (``--limit -1``);
* the last word wins, except where a flag collects all its values.

Words that are not UTF-8 stay as Python gives them (``surrogateescape``).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

INT64 = range(-(1 << 63), 1 << 63)
"""The whole numbers of 64 bits."""


class UsageFailure(Exception):
    """The command line itself is wrong; one line for the user, exit code 1."""


class Flag:
    """One option: its names, how its value is read, and how the help shows it.

    ``kind`` is ``"bool"``, ``"count"`` or ``"value"``; ``parse`` reads a value's text and raises ``ValueError``; ``many``
    collects the values in a list; ``spread`` says that one text holds several values (``parse`` returns a list). ``values`` is
    what completion offers, ``variable`` the environment variable that stands in, ``otherwise`` what holds without both;
    ``deprecated`` says what to use instead. An ``optional`` value may be left out, which makes it empty: only commands that
    restic does not have know that.
    """

    __slots__ = (
        "default",
        "deprecated",
        "help",
        "hidden",
        "key",
        "kind",
        "many",
        "metavar",
        "name",
        "optional",
        "otherwise",
        "parse",
        "short",
        "spread",
        "values",
        "variable",
    )

    def __init__(
        self,
        name: str,
        text: str,
        *,
        short: str = "",
        kind: str = "value",
        metavar: str = "string",
        default: object = None,
        parse: Callable[[str], object] = str,
        many: bool = False,
        spread: bool = False,
        hidden: bool = False,
        deprecated: str = "",
        values: Sequence[str] = (),
        variable: str = "",
        otherwise: str = "",
        key: str = "",
        optional: bool = False,
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.metavar = metavar
        self.help = text
        self.default = default
        self.parse = parse
        self.many = many
        self.spread = spread
        self.hidden = hidden
        self.deprecated = deprecated
        self.values = values
        self.variable = variable
        self.otherwise = otherwise
        self.optional = optional
        self.key = key or name.replace("-", "_")

    @property
    def shown(self) -> str:
        """The flag's names as error messages write them."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    @property
    def description(self) -> str:
        """The help with what holds by default."""
        shown = self.otherwise
        if not shown and self.kind == "value" and self.default not in (None, "", 0, []):
            shown = (
                ",".join(map(str, self.default))
                if isinstance(self.default, list | tuple)
                else str(getattr(self.default, "value", self.default))
            )
        default = " or ".join(filter(None, (self.variable and f"${self.variable}", shown)))
        return f"{self.help} (default: {default})" if default else self.help

    @property
    def takes_value(self) -> bool:
        """Whether the flag needs a value (rather than standing alone)."""
        return self.kind == "value"


class FlagSet:
    """The flags that are valid at one place of the command line, by name and by letter."""

    def __init__(self, flags: Iterable[Flag]) -> None:
        self.flags = list(flags)
        self.by_name = {flag.name: flag for flag in self.flags}
        self.by_short = {flag.short: flag for flag in self.flags if flag.short}


class Parsed:
    """The content of a command line: values of the flags given (by key), arguments, whether help was asked for, and notes."""

    __slots__ = ("arguments", "help", "notes", "values")

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.arguments: list[str] = []
        self.help = False
        self.notes: list[str] = []
        """One for each use of a flag that has another name by now."""


TRUE_WORDS = frozenset(("1", "t", "T", "true", "TRUE", "True"))
FALSE_WORDS = frozenset(("0", "f", "F", "false", "FALSE", "False"))


def parse_bool(text: str) -> bool:
    """Read a truth value as Go writes it; ``ValueError`` on any other word."""
    if text in TRUE_WORDS:
        return True
    if text in FALSE_WORDS:
        return False
    raise ValueError("expected true or false")


def parse_int(text: str) -> int:
    """Read an integer of 64 bits in Go's notation (``10``, ``-3``, ``0x10``)."""
    value = _whole_number(text)
    if value not in INT64:
        raise ValueError("the number is out of range")
    return value


def _whole_number(text: str) -> int:
    # Python goes past white space and reads the digits of every script.
    if text.isascii() and not text[:1].isspace() and not text[-1:].isspace():
        # Go reads a leading zero as octal, Python refuses it.
        for base in (0, 8):
            try:
                return int(text, base)
            except ValueError:
                continue
    raise ValueError("expected a whole number")


def parse_uint(text: str) -> int:
    """Read an integer of 64 bits that has no sign."""
    if text[:1] in ("+", "-"):
        raise ValueError("expected a whole number that is not negative")
    value = _whole_number(text)
    if value >= 1 << 64:
        raise ValueError("the number is out of range")
    return value


def find_command(
    args: Sequence[str], flags: FlagSet, known: Callable[[tuple[str, ...]], bool]
) -> tuple[tuple[str, ...], list[str]]:
    """Separate the words that name the command from the rest of the line.

    ``known(path)`` says whether a word (after the words found before) names a command or subcommand. Returns the path
    found (empty when there is none) and the line without those words. A flag that is not global is taken to need a value
    while the command is still unknown, as cobra does.
    """
    path: tuple[str, ...] = ()
    rest: list[str] = []
    position = 0
    while position < len(args):
        word = args[position]
        position += 1
        if word == "--":
            rest.append(word)
            break
        if len(word) > 1 and word[0] == "-":
            rest.append(word)
            if _swallows_next(word, flags) and position < len(args):
                rest.append(args[position])
                position += 1
            continue
        if not known((*path, word)):
            rest.append(word)
            break
        path = (*path, word)
    rest.extend(args[position:])
    return path, rest


def _swallows_next(word: str, flags: FlagSet) -> bool:
    if word.startswith("--"):
        if "=" in word:
            return False
        flag = flags.by_name.get(word[2:])
        return flag.takes_value if flag is not None else word != "--help"
    for place, letter in enumerate(word[1:], start=1):
        flag = flags.by_short.get(letter)
        if flag is None:
            return len(word) == 2 and letter != "h"
        if flag.takes_value:
            return place == len(word) - 1
    return False


def parse(args: Sequence[str], flags: FlagSet, into: Parsed | None = None, *, lenient: bool = False) -> Parsed:
    """Read a whole command line (without the words that name the command).

    ``into`` is filled as far as the line could be read, so that a caller knows after an error what had been said before it.
    Raises ``UsageFailure`` on unknown flags, missing and unreadable values; with ``lenient`` they are skipped.
    """
    result = into if into is not None else Parsed()
    words = list(args)
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if len(word) < 2 or word[0] != "-":
            result.arguments.append(word)
        elif word == "--":
            result.arguments.extend(words[position:])
            break
        else:
            read = _parse_long if word.startswith("--") else _parse_short
            try:
                position = read(word, words, position, flags, result)
            except UsageFailure:
                if not lenient:
                    raise
    return result


def take_out(args: Sequence[str], flags: FlagSet, others: FlagSet, into: Parsed) -> None:
    """Read only *flags* (and --help) from a line; its other words, in order and as they are, become the arguments.

    Which of the *others* take a value has to be known, for a value can look like a flag.
    """
    words = list(args)
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            into.arguments.extend(words[position - 1 :])
            return
        if len(word) < 2 or word[0] != "-":
            into.arguments.append(word)
        elif word.startswith("--"):
            name, equals, _ = word[2:].partition("=")
            if name in flags.by_name or (name == "help" and name not in others.by_name):
                position = _parse_long(word, words, position, flags, into)
                continue
            into.arguments.append(word)
            flag = others.by_name.get(name)
            if flag is None or not flag.takes_value or equals:
                continue
            if flag.optional and (position == len(words) or words[position][:1] == "-"):
                into.arguments[-1] += "="
            elif position < len(words):
                into.arguments.append(words[position])
                position += 1
        else:
            position = _take_letters(word, words, position, flags, others, into)


def _take_letters(word: str, words: list[str], position: int, flags: FlagSet, others: FlagSet, into: Parsed) -> int:
    letters = word[1:]
    while letters:
        letter = letters[0]
        if letter not in others.by_short:
            # A global one, or nobody's: then the error is the same as everywhere.
            end = next((place for place, other in enumerate(letters) if other in others.by_short), len(letters))
            flag = flags.by_short.get(letter)
            end = len(letters) if flag is not None and flag.takes_value else end
            if letters[1:2] == "=":
                end = len(letters)
            position = _parse_short("-" + letters[:end], words, position, flags, into)
            letters = letters[end:]
        elif others.by_short[letter].takes_value:
            into.arguments.append("-" + letters)
            if len(letters) == 1 and position < len(words):
                into.arguments.append(words[position])
                position += 1
            return position
        else:
            into.arguments.append("-" + letter)
            letters = letters[1:]
    return position


def _parse_long(word: str, words: list[str], position: int, flags: FlagSet, result: Parsed) -> int:
    name, equals, text = word[2:].partition("=")
    if not name or name[0] == "-":
        raise UsageFailure(f"bad flag syntax: {word}")
    flag = flags.by_name.get(name)
    if flag is None:
        if name == "help":
            result.help = True
            return position
        raise UsageFailure(f"unknown flag: --{name}")
    if equals:
        _store(flag, text, result)
    elif not flag.takes_value:
        _store(flag, None, result)
    elif position < len(words):
        _store(flag, words[position], result)
        position += 1
    else:
        raise UsageFailure(f"flag needs an argument: --{name}")
    return position


def _parse_short(word: str, words: list[str], position: int, flags: FlagSet, result: Parsed) -> int:
    letters = word[1:]
    while letters:
        letter, rest = letters[0], letters[1:]
        flag = flags.by_short.get(letter)
        if flag is None:
            if letter == "h":
                result.help = True
                return position
            raise UsageFailure(f"unknown shorthand flag: '{letter}' in -{letters}")
        if len(rest) > 1 and rest[0] == "=":
            _store(flag, rest[1:], result)
            return position
        if not flag.takes_value:
            _store(flag, None, result)
            letters = rest
            continue
        if rest:
            _store(flag, rest, result)
        elif position < len(words):
            _store(flag, words[position], result)
            position += 1
        else:
            raise UsageFailure(f"flag needs an argument: '{letter}' in -{letters}")
        return position
    return position


def _store(flag: Flag, text: str | None, result: Parsed) -> None:
    """Keep one value; ``text`` is None for a flag that stands alone."""
    values = result.values
    if flag.deprecated:
        result.notes.append(f"Flag --{flag.name} has been deprecated, {flag.deprecated}")
    try:
        if flag.kind == "bool":
            values[flag.key] = True if text is None else parse_bool(text)
        elif flag.kind == "count":
            before = values.get(flag.key, 0)
            assert isinstance(before, int)
            values[flag.key] = before + 1 if text is None or text == "+1" else parse_int(text)
        else:
            value = flag.parse(text or "")
            if not flag.many:
                values[flag.key] = value
                return
            collected = values.setdefault(flag.key, [])
            assert isinstance(collected, list)
            if flag.spread:
                assert isinstance(value, list)
                collected.extend(value)
            else:
                collected.append(value)
    except ValueError as error:
        raise UsageFailure(f'invalid argument "{text}" for "{flag.shown}" flag: {error}') from None
