"""What a caller asks of a restore: what is restored, what becomes of existing files, what else is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

import msgspec

from restic_format.errors import UsageError
from restic_format.filter import ExcludeFilter, IncludeFilter

Selector = Callable[[str, bool], tuple[bool, bool]]
"""``(location, is_dir) -> (restore this item, something below it may be restored)``.

*location* is the path in the snapshot, from ``/``. The first answer must not depend on *is_dir*: deletion asks for items
of which only the name is known.
"""

XattrSelector = Callable[[str], bool]
"""``name -> restore this extended attribute``."""


class Overwrite(Enum):
    """What becomes of files that exist in the target."""

    ALWAYS = "always"
    """Compare the content, rewrite the blobs that differ."""
    IF_CHANGED = "if-changed"
    """Like ALWAYS, but a file of the same size and modification time is taken to be the same."""
    IF_NEWER = "if-newer"
    """Only replace what is older than the snapshot's item."""
    NEVER = "never"
    """Keep what exists."""


class RestoreOptions(msgspec.Struct, frozen=True):
    """How to restore. The defaults are those of ``restic restore``."""

    overwrite: Overwrite = Overwrite.ALWAYS
    delete: bool = False
    """Remove from restored directories what the snapshot does not have, as far as *select* covers it."""
    sparse: bool = False
    """Leave holes for zeros in files that are created."""
    dry_run: bool = False
    ownership_by_name: bool = False
    """Look user and group names up on this machine instead of using the stored numbers."""
    select: Selector | None = None
    select_xattr: XattrSelector | None = None
    tell_items: bool = False
    """Tell of every `Item`, not only of failures."""
    workers: int | None = None
    """Threads that fetch, decrypt and write; None for `Storage.readers`."""


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
