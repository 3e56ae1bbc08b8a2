"""Patterns from the command line: those of an option together with those of the files its ``-file`` variant names."""

from __future__ import annotations

from restic_format.filter import IncludeFilter, InvalidPattern, read_pattern_file
from restic_tools.exitcodes import Failure


def patterns_of(option: str, given: list[str] | None, files: list[str] | None, *, ignore_case: bool = False) -> list[str]:
    """The patterns of ``--option`` and ``--option-file``, checked so that a ``Failure`` names the option."""
    patterns: list[str] = []
    for name, texts in ((option, given or []), (f"{option}-file", [])):
        if name != option:
            texts = [text for file in files or [] for text in read_pattern_file(file)]
        try:
            IncludeFilter([], texts) if ignore_case else IncludeFilter(texts)
        except InvalidPattern as error:
            raise Failure(f"--{name}: {error}", block=True) from error
        patterns += texts
    return patterns
