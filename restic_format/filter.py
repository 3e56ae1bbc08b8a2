"""Patterns that include or exclude paths, with restic's rules.

A pattern is cut at ``/`` into parts. A part is matched against one component of a path: ``*`` any run of characters, ``?``
one character, ``[a-z]`` a class, ``[^a-z]`` its complement, ``\\x`` the character x; the part ``**`` stands for any number of
components, none included; where several stand in a pattern that starts with ``/``, there must be a component for each but the
first, be it below what matches, as in restic. The parts match a run of neighbouring components, which need not reach the end
of the path: a pattern that matches a directory matches everything below. A pattern that starts with ``/`` is anchored at the
root, any other may start at every component. ``!pattern`` takes back what earlier patterns of the list matched. A malformed
part is refused, even where restic would not notice because it never gets to it.

Paths and patterns are ``str`` with ``surrogateescape`` for bytes that are not UTF-8; paths are clean (no ``//``, ``.``
or ``..``).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from restic_format.systemtext import errno_text
from restic_format.words import WHITE_SPACE, decode_text
from restic_spec import gojson
from restic_spec.errors import ResticFormatError

_SURROGATE = re.compile("[\ud800-\udfff]")
_VARIABLE = re.compile(r"\$(?:\{([*#$@!?0-9-])\}|\{([^}]*)\}|(\{)|([*#$@!?0-9-])|([A-Za-z0-9_]+))", re.ASCII)


class InvalidPattern(ResticFormatError):
    """Patterns that cannot be parsed; ``patterns`` lists them as given."""

    def __init__(self, patterns: Sequence[str]) -> None:
        super().__init__("invalid pattern(s) provided:\n" + "\n".join(patterns))
        self.patterns = tuple(patterns)


class PatternFileUnreadable(ResticFormatError):
    """A file with patterns cannot be read."""


def clean_path(path: str) -> str:
    """The shortest path of the same meaning: no empty components, no ``.``, no ``..`` that can be resolved.

    An empty path becomes ``.``; unlike POSIX, two leading slashes mean no more than one.
    """
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def go_lower(text: str) -> str:
    """Lower case, character by character, as Go's ``strings.ToLower``; bytes that are not UTF-8 become U+FFFD."""
    if text.isascii():
        return text.lower()
    lowered = "".join(low if len(low := char.lower()) == 1 else "i" for char in text)
    return _SURROGATE.sub("�", lowered)


class Pattern(NamedTuple):
    """One parsed pattern."""

    original: str
    """The pattern as given."""
    negated: bool
    """Whether it takes back earlier matches."""
    regex: re.Pattern[str]
    """Matches at the beginning of the path when the pattern matches."""
    parents: tuple[re.Pattern[str], ...] | None
    """For an anchored pattern the components (without the root) that decide where it can match; None for any other."""

    def match(self, path: str) -> bool:
        """Whether *path* matches, apart from negation."""
        return self.regex.match(path) is not None

    def child_may_match(self, path: str) -> bool:
        """Whether something below *path* might match."""
        if self.parents is None:
            return True
        if not path.startswith("/"):
            return False
        names = path[1:].split("/")
        return all(part.fullmatch(name) for part, name in zip(self.parents, names, strict=False))


def parse_pattern(text: str) -> Pattern:
    """Parse one pattern, which is not empty.

    Raises:
        InvalidPattern: a class without end, or a backslash with nothing behind it.
    """
    negated = text.startswith("!")
    parts = clean_path(text[1:] if negated else text).split("/")
    anchored = parts[0] == ""
    if anchored:
        del parts[0]
    try:
        regexes = [None if part in ("", "**") else part_regex(part) for part in parts]
    except ValueError:
        raise InvalidPattern([text]) from None
    prefix = regexes[: regexes.index(None)] if None in regexes else regexes
    parents = tuple(re.compile(part, re.DOTALL) for part in prefix if part is not None)
    return Pattern(text, negated, re.compile(_whole_regex(regexes, anchored), re.DOTALL), parents if anchored else None)


# Every regular expression takes time in proportion to the length of the path times that of the pattern. Between two wildcards
# stands a run of a fixed number of characters (or of components): where the first place that fits it does not lead to a match,
# no later one does. So such a run is an atomic group, which is never tried at a second place.

_COMPONENT_ENDS = r"(?=/|\Z)"


def _whole_regex(parts: list[str | None], anchored: bool) -> str:
    """The regular expression (for ``match``) for all *parts*; None stands for ``**``."""
    runs: list[list[str]] = [[]]
    for part in parts:
        if part is None:
            runs.append([])
        else:
            runs[-1].append(part)
    first_has_its_place = anchored and bool(runs[0])
    texts = []
    left = len(parts)
    """Parts that are left, of which each ``**`` counts as one."""
    waiting = 0
    """How many ``**`` stand before the run."""
    for number, run in enumerate(runs):
        left -= len(run) + (number > 0)
        waiting += number > 0
        if not run:
            continue
        text = "/".join(run) + _COMPONENT_ENDS
        if number or not first_has_its_place:
            # restic tries a `**` only where as many components are left of the path as parts of an anchored pattern.
            after = left + len(run)
            before = _components(after + waiting - 1) if anchored and waiting > 1 else ""
            text = f"(?>{before}(?:[^/]*+/)*?{_components(after) if anchored and left > _fixed(runs, number) else ''}{text})"
        texts.append(text)
        waiting = 0
    joined = (r"\A/" if anchored else r"\A/?+") + "/".join(texts)
    if anchored and waiting > 1:
        joined += rf"(?=(?:/[^/]*+){{{waiting - 1}}})" if texts else _components(waiting - 1)
    return joined


def _fixed(runs: list[list[str]], number: int) -> int:
    """How many parts come after a run that are no ``**``."""
    return sum(map(len, runs[number + 1 :]))


def _components(count: int) -> str:
    """The regular expression of a place, at the beginning of a component, from which on there are at least *count* of them."""
    return f"(?=(?:[^/]*+/){{{count - 1}}})" if count > 1 else ""


def part_regex(part: str) -> str:
    """The regular expression (for ``fullmatch``) of one part of a pattern.

    Raises:
        ValueError: the part is malformed.
    """
    runs = [""]
    position = 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            runs.append("")
        elif char == "?":
            runs[-1] += "[^/]"
        elif char == "[":
            regex, position = _class_regex(part, position)
            runs[-1] += regex
        else:
            if char == "\\":
                if position == len(part):
                    raise ValueError(part)
                char = part[position]
                position += 1
            runs[-1] += re.escape(char)
    first, *middle = runs
    if not middle:
        return first
    last = middle.pop()
    return first + "".join(f"(?>[^/]*?{run})" for run in middle) + (f"[^/]*{last}" if last else "[^/]*+")


def _class_regex(part: str, position: int) -> tuple[str, int]:
    """The regular expression of the class whose ``[`` stands before *position*, and the position behind it."""
    negated = part[position : position + 1] == "^"
    position += negated
    # A byte that is not UTF-8 counts as U+FFFD here, for which a pattern can have a range only by naming it.
    ranges: list[str] = []
    while part[position : position + 1] != "]" or not ranges:
        low, position = _class_char(part, position)
        high = low
        if part[position] == "-":
            high, position = _class_char(part, position + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
            if low <= "�" <= high:
                ranges.append("\ud800-\udfff")
            elif low <= "\udfff" and high >= "\ud800":
                ranges[-1:] = [f"{re.escape(low)}-\ud7ff", f"\ue000-{re.escape(high)}"]
        else:
            ranges.append("")
    members = "".join(ranges)
    if not members:
        return ("[^/]" if negated else r"(?!)"), position + 1
    return f"(?!/)[{'^' if negated else ''}{members}]", position + 1


def _class_char(part: str, position: int) -> tuple[str, int]:
    """One character of a class, perhaps escaped, and the position behind it, where the class must go on."""
    char = part[position : position + 1]
    if char in ("", "-", "]"):
        raise ValueError(part)
    if char == "\\":
        position += 1
        char = part[position : position + 1]
    if position + 1 >= len(part) or _SURROGATE.match(char):
        raise ValueError(part)
    return char, position + 1


class PatternList:
    """A list of patterns that is asked about many paths; later patterns overrule earlier ones only when negated.

    An empty pattern matches nothing. Truth: whether there is any other.

    Raises:
        InvalidPattern: names every malformed pattern.
    """

    def __init__(self, patterns: Iterable[str], *, ignore_case: bool = False) -> None:
        self.ignore_case = ignore_case
        self.patterns: list[Pattern] = []
        invalid = []
        for text in patterns:
            if not text:
                continue
            try:
                self.patterns.append(parse_pattern(go_lower(text) if ignore_case else text))
            except InvalidPattern:
                invalid.append(text)
        if invalid:
            raise InvalidPattern(invalid)
        self._any_negated = any(pattern.negated for pattern in self.patterns)
        # Without negation one search answers for the whole list.
        self._union = re.compile("|".join(pattern.regex.pattern for pattern in self.patterns), re.DOTALL)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def match(self, path: str) -> bool:
        """Whether the list matches *path*. *path* is not empty."""
        if self.ignore_case:
            path = go_lower(path)
        if not self._any_negated:
            return bool(self.patterns) and self._union.match(path) is not None
        matched = False
        for pattern in self.patterns:
            if matched == pattern.negated and pattern.match(path):
                matched = not matched
        return matched

    def match_child(self, path: str) -> tuple[bool, bool]:
        """Whether the list matches *path*, and whether it may match something below it."""
        if self.ignore_case:
            path = go_lower(path)
        matched = may_match = False
        for pattern in self.patterns:
            hit = pattern.match(path)
            if pattern.negated:
                matched = matched and not hit
                may_match = may_match and not hit
            else:
                matched = matched or hit
                may_match = may_match or pattern.child_may_match(path)
                if matched and may_match and not self._any_negated:
                    break
        return matched, may_match


class AnyPattern:
    """Patterns of which one must match, as `find` has them: an empty one matches everything, and ``!`` before one says nothing.

    Raises:
        InvalidPattern: names every malformed pattern.
    """

    def __init__(self, patterns: Sequence[str], *, ignore_case: bool = False) -> None:
        self._ignore_case = ignore_case
        self._patterns = PatternList(patterns, ignore_case=ignore_case).patterns
        regexes = ["" if "" in patterns else r"(?!)", *(pattern.regex.pattern for pattern in self._patterns)]
        self._union = re.compile("|".join(regexes), re.DOTALL)
        self._anywhere = "" in patterns or any(pattern.parents is None for pattern in self._patterns)
        """Whether what is below any directory may match."""

    def match(self, path: str) -> bool:
        """Whether *path* matches. It is absolute and clean."""
        if self._ignore_case:
            path = go_lower(path)
        return self._union.match(path) is not None

    def child_may_match(self, path: str) -> bool:
        """Whether something below *path* might match."""
        if self._anywhere:
            return True
        if self._ignore_case:
            path = go_lower(path)
        return any(pattern.child_may_match(path) for pattern in self._patterns)


def match_pattern(pattern: str, path: str) -> bool:
    """Whether *path* matches one *pattern*; the empty pattern matches everything.

    Raises:
        InvalidPattern: the pattern is malformed.
    """
    return not pattern or parse_pattern(pattern).match(path)


def read_pattern_file(path: str) -> list[str]:
    """The patterns of a file: a line each, white space around it stripped, ``#`` lines ignored, ``$VAR`` replaced.

    ``$$`` is a dollar sign. A byte order mark is honoured.

    Raises:
        PatternFileUnreadable: the file cannot be read.
    """
    try:
        with open(gojson.to_bytes(path), "rb") as file:
            text = decode_text(file.read())
    except OSError as error:
        raise PatternFileUnreadable(
            f'failed to read patterns from file "{path}": open {path}: {errno_text(error)}; check its name and permissions'
        ) from error
    lines = (line.strip(WHITE_SPACE) for line in text.split("\n"))
    return [expand_variables(line) for line in lines if line and not line.startswith("#")]


def expand_variables(text: str) -> str:
    """Replace ``$NAME`` and ``${NAME}`` by environment variables (unset: nothing), ``$$`` by a dollar sign."""

    def replacement(match: re.Match[str]) -> str:
        special_braced, braced, unclosed, special, plain = match.groups()
        if unclosed is not None:
            return ""
        name = special_braced or braced or special or plain or ""
        return "$" if name == "$" else gojson.to_text(os.environb.get(gojson.to_bytes(name), b""))

    return _VARIABLE.sub(replacement, text)


class _Filter:
    """Patterns and those for which case does not matter; truth: whether any pattern was given, even an empty one.

    ``--include ""`` with a variable that is not set selects nothing; it does not mean that there is no such option.
    """

    def __init__(self, patterns: Iterable[str] = (), insensitive: Iterable[str] = ()) -> None:
        given = [*insensitive], [*patterns]
        self._lists = [PatternList(given[0], ignore_case=True), PatternList(given[1])]
        self._given = any(given)

    def __bool__(self) -> bool:
        return self._given

    @property
    def matches_something(self) -> bool:
        """Whether any pattern is not empty."""
        return any(self._lists)


class ExcludeFilter(_Filter):
    """What ``--exclude`` and ``--iexclude`` and their files ask for; truth: whether any pattern was given, even an empty one.

    Raises:
        InvalidPattern: names every malformed pattern.
    """

    def rejects(self, path: str) -> bool:
        """Whether *path*, which is absolute, is excluded."""
        return any(patterns.match(path) for patterns in self._lists)


class IncludeFilter(_Filter):
    """What ``--include`` and ``--iinclude`` and their files ask for; truth: whether any pattern was given, even an empty one.

    Raises:
        InvalidPattern: names every malformed pattern.
    """

    def selects(self, path: str) -> tuple[bool, bool]:
        """Whether *path* is included, and whether something below it may be."""
        results = [patterns.match_child(path) for patterns in self._lists if patterns]
        return any(matched for matched, _ in results), any(may_match for _, may_match in results)

    def selects_file(self, path: str) -> bool:
        """Whether *path* is included, for what is not a directory."""
        return any(all(patterns.match_child(path)) for patterns in self._lists if patterns)
