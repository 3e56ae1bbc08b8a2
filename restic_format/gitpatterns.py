"""The patterns of ignore files, with git's rules (``gitignore(5)``, and where that is vague, what git does).

A line is a pattern. One without ``/`` but at its end is for names anywhere below the file's directory; any other is for paths
from there on. ``/`` at the end is for directories only, ``!`` in front takes back what earlier lines ignore, ``*`` and ``?``
stop at ``/``, ``**`` between slashes stands for any number of directories. Of the patterns that match, the last one counts.

Paths and patterns are bytes, as they are for git: ``?`` is one byte. No pattern takes more than quadratic time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from restic_spec.errors import ResticFormatError

MOST_WILDCARDS = 20_000
"""Wildcards that the patterns of one file may have together: each costs time and memory, and time for every name."""

_BOM = b"\xef\xbb\xbf"
_SPECIAL = re.compile(rb"[*?\[\\]")
_NEVER = rb"(?!)"
_DIRECTORIES = rb"(?:[^/]*+/)"
"""One directory of a path."""

_ALNUM = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_GRAPH = frozenset(range(33, 127))
_CLASSES: dict[bytes, frozenset[int]] = {
    b"alnum": _ALNUM,
    b"alpha": _ALNUM - frozenset(b"0123456789"),
    b"blank": frozenset(b" \t"),
    b"cntrl": frozenset([*range(32), 127]),
    b"digit": frozenset(b"0123456789"),
    b"graph": _GRAPH,
    b"lower": frozenset(b"abcdefghijklmnopqrstuvwxyz"),
    b"print": _GRAPH | {32},
    b"punct": _GRAPH - _ALNUM,
    b"space": frozenset(b" \t\n\v\f\r"),
    b"upper": frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    b"xdigit": frozenset(b"0123456789ABCDEFabcdef"),
}


class TooManyPatterns(ResticFormatError):
    """An ignore file has more wildcards than anybody needs."""


class _Pattern(NamedTuple):
    text: bytes
    """Without ``!`` in front and ``/`` at the end."""
    negated: bool
    directories_only: bool


class _Matcher:
    """Finds the last of some patterns that match a text: those without wildcards in a table, the others in one search."""

    def __init__(self) -> None:
        self._literal: dict[bytes, int] = {}
        self._numbers: list[int] = []
        self._regexes: list[bytes] = []
        self._search: re.Pattern[bytes] | None = None

    def add(self, number: int, literal: bytes | None, regex: bytes) -> None:
        """Add a pattern, which comes after all others; *literal* where it matches this text only."""
        if literal is not None:
            self._literal[literal] = number
        elif regex != _NEVER:
            self._numbers.append(number)
            self._regexes.append(regex)

    def last(self, text: bytes) -> int:
        """The number of the last pattern that matches *text*, -1 for none."""
        found = self._literal.get(text, -1)
        if self._regexes:
            if self._search is None:
                # The first alternative that fits is taken: the last pattern comes first.
                self._search = re.compile(rb"\A(?:(" + rb")|(".join(reversed(self._regexes)) + rb"))\Z", re.DOTALL)
            match = self._search.match(text)
            if match is not None and match.lastindex is not None:
                found = max(found, self._numbers[-match.lastindex])
        return found


class IgnoreRules:
    """The patterns of one ignore file; truth: whether there are any.

    Raises:
        TooManyPatterns: there are more wildcards than `MOST_WILDCARDS`.
    """

    def __init__(self, raw: bytes) -> None:
        self._patterns = parse_lines(raw)
        if sum(len(_SPECIAL.findall(pattern.text)) for pattern in self._patterns) > MOST_WILDCARDS:
            raise TooManyPatterns(f"its patterns have more than {MOST_WILDCARDS} wildcards")
        # By whether they are asked about a directory.
        self._names = _Matcher(), _Matcher()
        self._paths = _Matcher(), _Matcher()
        self.has_paths = False
        """Whether a pattern is for paths, not only for names."""
        for number, pattern in enumerate(self._patterns):
            text = pattern.text
            by_path = b"/" in text
            self.has_paths |= by_path
            special = _SPECIAL.search(text)
            regex = _path_regex(text.removeprefix(b"/")) if by_path else _name_regex(text)
            literal = (text.removeprefix(b"/") if by_path else text) if special is None else None
            for is_dir in (False, True):
                if is_dir or not pattern.directories_only:
                    (self._paths if by_path else self._names)[is_dir].add(number, literal, regex)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, name: bytes, path: bytes, *, is_dir: bool) -> bool | None:
        """Whether the item *name*, at *path* from the file's directory on, is ignored; None where no pattern matches."""
        last = self._names[is_dir].last(name)
        if self.has_paths:
            last = max(last, self._paths[is_dir].last(path))
        return None if last < 0 else not self._patterns[last].negated


def parse_lines(raw: bytes) -> list[_Pattern]:
    """The patterns of a file; empty lines and comments are none."""
    patterns = []
    for line in raw.removeprefix(_BOM).split(b"\n"):
        if not line or line.startswith(b"#"):
            continue
        text = _without_trailing_spaces(line.removesuffix(b"\r").partition(b"\0")[0])
        negated = text.startswith(b"!")
        text = text[negated:]
        directories_only = text.endswith(b"/")
        text = text.removesuffix(b"/")
        if text:
            patterns.append(_Pattern(text, negated, directories_only))
    return patterns


def _without_trailing_spaces(line: bytes) -> bytes:
    kept = line.rstrip(b" ")
    backslashes = len(kept) - len(kept.rstrip(b"\\"))
    # A space behind a backslash stays, unless the backslash is escaped itself.
    return line[: len(kept) + 1] if backslashes % 2 and len(kept) < len(line) else kept


def _name_regex(text: bytes) -> bytes:
    """The regular expression of a pattern for names."""
    pieces = _pieces(text)
    return _NEVER if pieces is None else _join([b"*" if piece == b"**" else piece for piece in pieces])


def _path_regex(text: bytes) -> bytes:
    """The regular expression of a pattern for paths."""
    # git compares what comes before the first special character by itself: ``**`` behind it is at the pattern's beginning.
    special = _SPECIAL.search(text)
    start = len(text) if special is None else special.start()
    pieces = _pieces(text[start:])
    if pieces is None:
        return _NEVER
    runs: list[list[bytes]] = [[]]
    gaps: list[bytes] = []
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        at += 1
        following = pieces[at] if at < len(pieces) else b""
        # An escaped slash behind ``**`` must be there; a plain one may be the one before it.
        if piece == b"**" and (at == 1 or pieces[at - 2].endswith(b"/")) and following in (b"", b"/", rb"\/"):
            gaps.append(following)
            runs.append([])
            at += 1
        else:
            runs[-1].append(b"*" if piece == b"**" else piece)
    regex = re.escape(text[:start]) + _join(runs[0])
    for number, (gap, run) in enumerate(zip(gaps, runs[1:], strict=True), 1):
        if not gap:
            return regex + b".*+"
        below = _DIRECTORIES + (b"*?" if gap == b"/" else b"+?") + _join(run)
        # What comes between two ``**`` is best found as early as possible.
        regex += below if number == len(gaps) else b"(?>" + below + b")"
    return regex


def _join(pieces: list[bytes]) -> bytes:
    """The regular expression of pieces, among which ``*`` is any run of characters within a component."""
    runs: list[list[bytes]] = [[]]
    for piece in pieces:
        if piece != b"*":
            runs[-1].append(b"/" if piece == rb"\/" else piece)
        elif len(runs) == 1 or runs[-1]:
            runs.append([])
    first, *rest = (b"".join(run) for run in runs)
    if not rest:
        return first
    *middle, last = rest
    return first + b"".join(b"(?>[^/]*?" + run + b")" for run in middle) + b"[^/]*" + last


def _pieces(text: bytes) -> list[bytes] | None:
    r"""A pattern cut into pieces: ``*``, ``**`` for several, ``\/`` for an escaped slash, and regular expressions of one
    character; None where it can match nothing.
    """
    pieces: list[bytes] = []
    at = 0
    while at < len(text):
        char = text[at : at + 1]
        at += 1
        if char == b"*":
            end = at
            while text[end : end + 1] == b"*":
                end += 1
            pieces.append(b"*" if end == at else b"**")
            at = end
        elif char == b"?":
            pieces.append(b"[^/]")
        elif char == b"[":
            found = _class(text, at)
            if found is None:
                return None
            members, at = found
            pieces.append(_members_regex(members - {0x2F}))
        elif char == b"\\":
            char = text[at : at + 1]
            at += 1
            if not char:
                return None
            pieces.append(rb"\/" if char == b"/" else re.escape(char))
        else:
            pieces.append(re.escape(char))
    return pieces


def _class(text: bytes, at: int) -> tuple[frozenset[int], int] | None:
    """The bytes of the class whose ``[`` stands before *at*, and where it ends; None where it has no end, or names no class."""
    negated = text[at : at + 1] in (b"!", b"^")
    at += negated
    found: set[int] = set()
    before: int | None = None
    first = True
    while True:
        if at >= len(text):
            return None
        char = text[at]
        if char == 0x5D and not first:  # ]
            break
        first = False
        following = text[at + 1 : at + 2]
        if char == 0x5C:  # backslash
            at += 1
            if not following:
                return None
            before = following[0]
            found.add(before)
        elif char == 0x2D and before is not None and following not in (b"", b"]"):  # -
            at += 1
            if following == b"\\":
                at += 1
                following = text[at : at + 1]
                if not following:
                    return None
            found.update(range(before, following[0] + 1))
            before = None
        elif char == 0x5B and following == b":":  # [
            end = text.find(b"]", at + 2)
            if end < 0:
                return None
            if end > at + 2 and text[end - 1] == 0x3A:  # :
                members = _CLASSES.get(text[at + 2 : end - 1])
                if members is None:
                    return None
                found |= members
                before = None
                at = end
            else:
                before = char
                found.add(char)
        else:
            before = char
            found.add(char)
        at += 1
    return (frozenset(range(256)) - found if negated else frozenset(found)), at + 1


def _members_regex(members: frozenset[int]) -> bytes:
    """A class of these bytes, written as ranges: a file may have thousands of classes."""
    ranges: list[tuple[int, int]] = []
    for byte in sorted(members):
        if ranges and ranges[-1][1] == byte - 1:
            ranges[-1] = ranges[-1][0], byte
        else:
            ranges.append((byte, byte))
    return b"[" + b"".join(b"\\x%02x-\\x%02x" % ends for ends in ranges) + b"]" if ranges else _NEVER
