"""Grouping snapshots by what they have in common: host, paths, tags; the newest of each group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from restic_format.snapshots.find import FoundSnapshot
from restic_spec.snapshot import PARTIAL, is_partial

HOST: Final = "host"
PATHS: Final = "paths"
TAGS: Final = "tags"

_WORDS = {"host": HOST, "hosts": HOST, "path": PATHS, "paths": PATHS, "tag": TAGS, "tags": TAGS}


class Group(NamedTuple):
    """What the snapshots of a group share; empty or None where the grouping leaves it out, tags None also for none."""

    hostname: str = ""
    paths: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None


def parse_grouping(text: str) -> frozenset[str]:
    """`HOST`, `PATHS` and `TAGS` from their names with commas between; nothing at all is no grouping.

    Raises:
        ValueError: a word names none of them.
    """
    words = [word for word in text.split(",") if word]
    for word in words:
        if word not in _WORDS:
            raise ValueError(f'unknown grouping option: "{word}"')
    return frozenset(_WORDS[word] for word in words)


def group_of(found: FoundSnapshot, by: frozenset[str]) -> Group:
    """The group a snapshot belongs to; the order of its paths and tags does not matter, and not the tag of partial ones."""
    snapshot = found.snapshot
    own = {PARTIAL} if is_partial(snapshot) else set()
    return Group(
        snapshot.hostname if HOST in by else "",
        tuple(sorted(snapshot.path_list())) if PATHS in by else None,
        tuple(sorted(tag for tag in snapshot.tags if tag not in own)) or None if TAGS in by else None,
    )


def group_snapshots(found: Iterable[FoundSnapshot], by: frozenset[str]) -> dict[Group, list[FoundSnapshot]]:
    """Snapshots by what they share, groups in the order of their first member."""
    groups: dict[Group, list[FoundSnapshot]] = {}
    for item in found:
        groups.setdefault(group_of(item, by), []).append(item)
    return groups


def newest_of_each(found: Sequence[FoundSnapshot], count: int, by: frozenset[str]) -> list[FoundSnapshot]:
    """The last *count* snapshots of each group, in the order of *found* (which is by time); partial ones only of groups that
    have no others (SNAP-23).
    """
    whole = {group_of(item, by) for item in found if not is_partial(item.snapshot)}
    seen: dict[Group, int] = {}
    kept = []
    for item in reversed(found):
        group = group_of(item, by)
        if is_partial(item.snapshot) and group in whole:
            continue
        seen[group] = seen.get(group, 0) + 1
        if seen[group] <= count:
            kept.append(item)
    return kept[::-1]
