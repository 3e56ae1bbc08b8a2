"""Which items and which extended attributes a restore covers, from patterns."""

from __future__ import annotations

from collections.abc import Iterable

from restic_format.errors import UsageError
from restic_format.filter import ExcludeFilter, IncludeFilter
from restic_format.restore.options import Selector, XattrSelector


def exclude_selector(patterns: ExcludeFilter) -> Selector:
    """Everything but what *patterns* match and what is below it."""

    def select(location: str, is_dir: bool) -> tuple[bool, bool]:
        wanted = not patterns.rejects(location)
        return wanted, wanted and is_dir

    return select


def include_selector(patterns: IncludeFilter) -> Selector:
    """Only what *patterns* match and what is below it."""

    def select(location: str, is_dir: bool) -> tuple[bool, bool]:
        wanted, below = patterns.selects(location)
        return wanted, below and is_dir

    return select


def xattr_selector(*, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> XattrSelector | None:
    """The choice of extended attributes by name patterns; None means all.

    Raises:
        UsageError: both kinds of patterns at once.
        InvalidPattern: a pattern is malformed.
    """
    included, excluded = IncludeFilter(include), ExcludeFilter(exclude)
    if included and excluded:
        raise UsageError("exclude and include xattr patterns are mutually exclusive: give one kind only")
    if included:
        return lambda name: included.selects(name)[0]
    if excluded:
        return lambda name: not excluded.rejects(name)
    return None
