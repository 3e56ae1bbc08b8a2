"""What is looked at first: the sentence under the title, what must be seen, and the large numbers."""

from __future__ import annotations

from collections.abc import Iterator

from restic_format.explore.overview.records import Overview
from restic_tools.htmlpage import Notice, Tile
from restic_tools.own.overviewpage.texts import NOTHING, age, counted, day, number, ratio, size, when

OLD = 7 * 86_400 * 10**9
"""Nanoseconds after which the newest snapshot is pointed out."""


def lead(overview: Overview) -> str:
    """The repository in a sentence or two."""
    ages, count = overview.snapshot_ages, len(overview.snapshots)
    text = f"A restic repository of format version {overview.repository.version} with "
    if ages is None:
        text += "no snapshots" if not overview.other_snapshots else "no snapshot that is shown here"
    else:
        hosts = counted(len(overview.hosts), "host")
        text += f"{counted(count, 'snapshot')} of {hosts}, from {day(ages.oldest)} to {day(ages.newest)}"
    if overview.other_snapshots:
        text += f"; {counted(overview.other_snapshots, 'more snapshot')} not shown here"
    return f"{text}. Seen at {when(overview.made)}."


def notices(overview: Overview) -> list[Notice]:
    """What must be seen."""
    return list(_notices(overview))


def _notices(overview: Overview) -> Iterator[Notice]:
    if overview.problem_count:
        yield Notice(
            f"{counted(overview.problem_count, 'item')} could not be read.",
            "Numbers here are too small. What is missing is listed at the end; restic-format check says more.",
            "bad",
        )
    if overview.repository.hot:
        yield Notice("This is the hot half of a hot/cold repository.", "Data packs are elsewhere and not counted here.")
    weak = sum(key.weak for key in overview.keys)
    if weak:
        verb = "is" if weak == 1 else "are"
        yield Notice(
            f"{counted(weak, 'key')} {verb} weaker than what restic makes.",
            "Whoever has a copy of the repository can try passwords faster: replace them with restic-format key passwd.",
        )
    stale = sum(lock.stale for lock in overview.locks)
    if stale:
        yield Notice(
            f"{counted(stale, 'lock')} left behind.",
            "No process refreshes them any more; restic-format unlock removes them.",
        )
    if overview.prune is None:
        yield Notice("A prune would refuse to work.", "The reason is among the items that could not be read.")
    if not overview.paths_complete:
        yield Notice("Not all paths were looked at.", "There are too many; the largest files and folders may be others.")


def tiles(overview: Overview) -> list[Tile]:
    """The large numbers."""
    space, prune = overview.space, overview.prune
    found = [
        Tile("Snapshots", number(len(overview.snapshots)), _others(overview)),
        Tile("Stored", size(space.files), "all files of the repository"),
        Tile("Restored size", size(space.restored), f"{size(space.referenced_data)} of it different"),
        Tile(
            "Saved",
            ratio(space.total_ratio),
            f"deduplication {ratio(space.dedup_ratio)}, compression {ratio(space.compression_ratio)}",
        ),
    ]
    ages = overview.snapshot_ages
    if ages is None:
        found.append(Tile("Newest snapshot", NOTHING, "none", "warn"))
    else:
        old = overview.made - ages.newest
        found.append(Tile("Newest snapshot", f"{age(old)} ago", when(ages.newest), "warn" if old > OLD else "good"))
    if prune is None:
        found.append(Tile("Prune would free", NOTHING, "it would refuse", "warn"))
    else:
        found.append(Tile("Prune would free", size(prune.freed), f"and write {size(prune.repacked)} anew"))
    return found


def _others(overview: Overview) -> str:
    return f"{number(overview.other_snapshots)} more not shown" if overview.other_snapshots else "all of them"
