"""Lists of targets in files: patterns, plain lines, or names that each end with a zero byte."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from restic_format.backup.errors import NothingToBackUp, SourceError
from restic_format.backup.targets import join
from restic_format.errors import ResticFormatError
from restic_format.filter import InvalidPattern, part_regex
from restic_format.words import WHITE_SPACE, decode_text
from restic_spec import gojson

_META = frozenset("*?[\\")


class InvalidFileList(ResticFormatError):
    """A list of targets cannot be used."""


def read_list(path: str, stdin: int = 0) -> bytes:
    """The content of a list file; ``-`` is the file descriptor *stdin*.

    Raises:
        SourceError: it cannot be read.
    """
    raw = gojson.to_bytes(path)
    try:
        if path == "-":
            with open(stdin, "rb", closefd=False) as file:
                return file.read()
        with open(raw, "rb") as file:
            return file.read()
    except OSError as error:
        raise SourceError.from_os("open", raw, error) from error


def lines_of(raw: bytes) -> list[str]:
    """The lines of a text, without their ends."""
    lines = decode_text(raw).split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def verbatim_targets(raw: bytes) -> list[str]:
    """One target a line, exactly as it stands there; empty lines do not count."""
    return [line for line in lines_of(raw) if line]


def pattern_targets(raw: bytes) -> tuple[list[str], list[str]]:
    """One pattern a line, ``#`` begins a comment: the files they match, and the patterns that match none.

    Raises:
        InvalidPattern: a pattern is malformed.
    """
    targets: list[str] = []
    unmatched: list[str] = []
    for line in lines_of(raw):
        pattern = line.strip(WHITE_SPACE)
        if not pattern or pattern.startswith("#"):
            continue
        found = expand_glob(pattern)
        targets.extend(found)
        if not found:
            unmatched.append(pattern)
    return targets, unmatched


def raw_targets(raw: bytes) -> list[str]:
    """Targets that each end with a zero byte.

    Raises:
        InvalidFileList: the last zero byte is missing, or a name is empty.
    """
    if not raw:
        return []
    *names, rest = raw.split(b"\0")
    if b"" in names:
        raise InvalidFileList("--files-from-raw: empty filename in listing; an empty name would mean the current directory")
    if rest:
        raise InvalidFileList("--files-from-raw: trailing zero byte missing; end every name with one")
    return [gojson.to_text(name) for name in names]


def expand_glob(pattern: str) -> list[str]:
    """The existing paths that *pattern* matches, sorted within each directory; ``*`` and ``?`` stop at ``/``.

    Raises:
        InvalidPattern: it is malformed.
    """
    if not _META & set(pattern):
        return [pattern] if os.path.lexists(gojson.to_bytes(pattern)) else []
    slash = pattern.rfind("/") + 1
    directory, last = pattern[:slash], pattern[slash:]
    directory = directory if directory in ("", "/") else directory[:-1]
    try:
        regex = re.compile(part_regex(last), re.DOTALL)
    except ValueError:
        raise InvalidPattern([pattern]) from None
    found: list[str] = []
    for parent in expand_glob(directory) if _META & set(directory) else [directory or "."]:
        found.extend(_matches(gojson.to_bytes(parent), regex))
    return found


def _matches(directory: bytes, regex: re.Pattern[str]) -> Iterable[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [gojson.to_text(join(directory, name)) for name in names if regex.fullmatch(gojson.to_text(name))]


def existing_targets(targets: Iterable[str], report: Callable[[str], None]) -> list[str]:
    """The targets that can be looked at; *report* is told of each of the others.

    Raises:
        NothingToBackUp: none is left.
    """
    found: list[str] = []
    for target in targets:
        try:
            os.lstat(gojson.to_bytes(target))
        except FileNotFoundError:
            report(f"{target} does not exist, skipping")
        except (OSError, ValueError):  # a NUL cannot be in a path
            report(f"{target} cannot be accessed, skipping")
        else:
            found.append(target)
    if not found:
        raise NothingToBackUp("all source directories/files do not exist")
    return found
