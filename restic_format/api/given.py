"""What callers of the face give: looked at before anything is done with it.

A text is a sequence of texts, too: ``forget(names="abc")`` would remove the snapshots whose ids begin with its letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from restic_format.errors import FileMissing, SnapshotNotFound
from restic_format.snapshots import SnapshotFilter, find_snapshot

if TYPE_CHECKING:
    from restic_format.repository import Repository
    from restic_format.snapshots import FoundSnapshot


def check_texts(what: str, given: Sequence[str]) -> None:
    """Raise `TypeError` unless *given* is a sequence of texts; *what* it is called."""
    if isinstance(given, str | bytes) or not all(isinstance(text, str) for text in given):
        raise TypeError(f"{what} is a sequence of texts, such as a list of str")


def check_filter(wanted: SnapshotFilter | None) -> None:
    """Raise `TypeError` unless *wanted* is a filter whose parts are what they should be."""
    if wanted is None:
        return
    if not isinstance(wanted, SnapshotFilter):
        raise TypeError(f"which snapshots are wanted is said by a SnapshotFilter, not by {type(wanted).__name__}")
    check_texts("hosts", wanted.hosts)
    check_texts("paths", wanted.paths)
    if isinstance(wanted.tags, str):
        raise TypeError("tags is a sequence of lists of tags, not one text")
    for tags in wanted.tags:
        check_texts("each item of tags", tags)


def find_named(repository: Repository, name: str, wanted: SnapshotFilter | None) -> tuple[FoundSnapshot, str]:
    """As `find_snapshot`, which takes a whole id for one that is there.

    Raises:
        SnapshotNotFound: no or several snapshots fit.
        TypeError: something is of a wrong type.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a snapshot is str, not {type(name).__name__}")
    check_filter(wanted)
    try:
        return find_snapshot(repository, name, wanted)
    except FileMissing as error:
        raise SnapshotNotFound(str(error), cause=error) from error
