"""Finding snapshots: by id prefix, ``latest``, host, tag and path; and the folder inside one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from restic_format.errors import ResticFormatError, SnapshotNotFound, UsageError
from restic_format.repository.repository import Repository
from restic_spec import gotime
from restic_spec.ids import is_hex_id
from restic_spec.layout import FileKind
from restic_spec.snapshot import Snapshot


@dataclass(frozen=True)
class FoundSnapshot:
    """A snapshot with its id."""

    id: bytes
    snapshot: Snapshot

    @property
    def short_id(self) -> str:
        """The first eight digits of the id."""
        return self.id.hex()[:8]

    @cached_property
    def clock(self) -> tuple[int, int]:
        """When it was made: nanoseconds since the epoch, and the seconds that its clock was ahead of UTC.

        Raises:
            JsonInvalid: its time is invalid.
        """
        return gotime.parse(self.snapshot.time)

    @property
    def time_ns(self) -> int:
        """When it was made, in nanoseconds since the epoch."""
        return self.clock[0]


@dataclass(frozen=True)
class SnapshotFilter:
    """Which snapshots are meant.

    ``hosts``: any of them. ``tags``: lists of tags; a snapshot must have all tags of one list (an empty tag fits snapshots
    without tags). ``paths``: it must have all of them. ``before_ns``: not made after this time.
    """

    hosts: Sequence[str] = ()
    tags: Sequence[Sequence[str]] = ()
    paths: Sequence[str] = ()
    before_ns: int | None = None

    @property
    def empty(self) -> bool:
        """Whether every snapshot fits."""
        return not (self.hosts or self.tags or self.paths)

    def matches(self, snapshot: Snapshot) -> bool:
        """Whether *snapshot* fits hosts, tags and paths."""
        if self.hosts and snapshot.hostname not in self.hosts:
            return False
        if self.tags and not any(has_tags(snapshot, tags) for tags in self.tags):
            return False
        return set(self.paths) <= set(snapshot.path_list())

    def absolute(self) -> SnapshotFilter:
        """The same with the paths made absolute."""
        return SnapshotFilter(self.hosts, self.tags, [os.path.abspath(path) for path in self.paths], self.before_ns)

    def describe(self) -> str:
        """The filter for a message."""
        lists = [f"[{', '.join(tags)}]" for tags in self.tags]
        paths, tags, hosts = (" ".join(part) for part in (self.paths, lists, self.hosts))
        return f"(Paths:[{paths}] Tags:[{tags}] Hosts:[{hosts}])"


def has_tags(snapshot: Snapshot, tags: Sequence[str]) -> bool:
    """Whether *snapshot* has all of *tags*; an empty tag fits snapshots without tags."""
    for tag in tags:
        if tag == "" and not snapshot.tags:
            return True
        if tag not in snapshot.tags:
            return False
    return True


def all_snapshots(
    repo: Repository,
    damaged: Callable[[bytes, ResticFormatError], None] | None = None,
    *,
    members: Collection[str] = (),
) -> Iterator[FoundSnapshot]:
    """Every snapshot, in no particular order. Of undeclared members, which may be large, only *members* are kept.

    One that cannot be read goes to *damaged*, or is raised.
    """
    for snapshot_id, _ in repo.list(FileKind.SNAPSHOT):
        try:
            found = FoundSnapshot(snapshot_id, repo.load_snapshot(snapshot_id, keep_unknown=False, members=members))
        except ResticFormatError as error:
            if damaged is None:
                raise
            damaged(snapshot_id, error)
            continue
        yield found


def split_subfolder(text: str) -> tuple[str, str]:
    """Split ``snapshot:subfolder``; the subfolder is "" where none is given."""
    name, _, subfolder = text.partition(":")
    return name, subfolder


def find_latest(repo: Repository, wanted: SnapshotFilter | None = None, *, members: Collection[str] = ()) -> FoundSnapshot:
    """The newest snapshot that fits; those dated in the future are not considered (SNAP-11). See also `all_snapshots`.

    Raises:
        SnapshotNotFound: none does.
    """
    wanted = (wanted or SnapshotFilter()).absolute()
    limit = min(time.time_ns(), wanted.before_ns if wanted.before_ns is not None else 1 << 63)
    candidates = (found for found in all_snapshots(repo, members=members) if found.time_ns <= limit)
    latest = max(
        (found for found in candidates if wanted.matches(found.snapshot)),
        key=lambda found: found.time_ns,
        default=None,
    )
    if latest is None:
        raise SnapshotNotFound(f"snapshot filter {wanted.describe()}: no snapshot found")
    return latest


def find_id(repo: Repository, kind: FileKind, prefix: str) -> bytes:
    """The id of the only file of *kind* whose name begins with *prefix* (LAYOUT-10).

    Raises:
        SnapshotNotFound: none or several do.
    """
    if is_hex_id(prefix):
        return bytes.fromhex(prefix)
    matches = [file_id for file_id, _ in repo.list(kind) if file_id.hex().startswith(prefix)]
    if not matches:
        raise SnapshotNotFound(f'no matching ID found for prefix "{prefix}"')
    if len(matches) > 1:
        raise SnapshotNotFound(f'multiple IDs with prefix "{prefix}" found')
    return matches[0]


def find_snapshot(
    repo: Repository, name: str, wanted: SnapshotFilter | None = None, *, members: Collection[str] = ()
) -> tuple[FoundSnapshot, str]:
    """The snapshot *name* means (``latest``, an id, a prefix of one; ``:subfolder`` may follow), and the subfolder.

    The latest comes with *members* of its undeclared members, another with all.

    Raises:
        SnapshotNotFound: no or several snapshots fit.
        DamagedFile: it cannot be read.
    """
    prefix, subfolder = split_subfolder(name)
    if prefix == "latest":
        return find_latest(repo, wanted, members=members), subfolder
    snapshot_id = find_id(repo, FileKind.SNAPSHOT, prefix)
    return FoundSnapshot(snapshot_id, repo.load_snapshot(snapshot_id)), subfolder


def filter_snapshots(
    repo: Repository,
    names: Sequence[str] = (),
    wanted: SnapshotFilter | None = None,
    damaged: Callable[[str, ResticFormatError], None] | None = None,
    *,
    members: Collection[str] = (),
) -> Iterator[FoundSnapshot]:
    """The snapshots *names* mean, each once, or all that fit the filter where there are no names.

    They come with *members* of their undeclared members at least. What cannot be found or read goes to
    *damaged* with its name, or is raised; so does a filter that no name asks for.
    """
    wanted = wanted or SnapshotFilter()
    if not names:
        report = None if damaged is None else lambda snapshot_id, error: damaged(snapshot_id.hex(), error)
        yield from (found for found in all_snapshots(repo, report, members=members) if wanted.matches(found.snapshot))
        return
    seen: set[bytes] = set()
    for name in names:
        try:
            found, subfolder = find_snapshot(repo, name, wanted, members=members)
            if subfolder:
                raise SnapshotNotFound("<snapshot>:<subfolder> syntax not allowed")
        except ResticFormatError as error:
            if damaged is None:
                raise
            damaged(name, error)
            continue
        if found.id not in seen:
            seen.add(found.id)
            yield found
    if damaged is not None and not wanted.empty and not any(split_subfolder(name)[0] == "latest" for name in names):
        damaged("filters", UsageError("explicit snapshot ids are given"))
