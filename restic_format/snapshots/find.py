"""Finding snapshots: by id prefix, ``latest``, ``latest~2``, host, tag and path; and the folder inside one."""

from __future__ import annotations

import heapq
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from restic_format.errors import ResticFormatError, SnapshotNotFound, UsageError
from restic_format.repository.loading import each_loaded
from restic_format.repository.repository import Repository
from restic_spec import gojson, gotime
from restic_spec.ids import is_hex_id
from restic_spec.layout import FileKind
from restic_spec.snapshot import PARTIAL, Snapshot, is_partial

_LATEST = re.compile(r"latest(?:~([0-9]{1,18}))?")
_TOGETHER = 16
"""Snapshots that one thread loads one after the other: of most there are copies in the cache, which take less than its turn."""


class FoundSnapshot(msgspec.Struct, frozen=True, dict=True):
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


class SnapshotFilter(NamedTuple):
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
    """Every snapshot, in no particular order. Of undeclared members, which may be large, only *members* are kept, and what
    says that a snapshot is partial.

    One that cannot be read goes to *damaged*, or is raised.
    """
    members = (PARTIAL, *members)

    def load(snapshot_id: bytes) -> Snapshot | ResticFormatError:
        try:
            return repo.load_snapshot(snapshot_id, keep_unknown=False, members=members)
        except ResticFormatError as error:
            return error

    ids = [snapshot_id for snapshot_id, _ in repo.list(FileKind.SNAPSHOT)]
    for snapshot_id, loaded in each_loaded(repo, ids, load, together=_TOGETHER):
        if not isinstance(loaded, ResticFormatError):
            yield FoundSnapshot(snapshot_id, loaded)
        elif damaged is None:
            raise loaded
        else:
            damaged(snapshot_id, loaded)


def split_subfolder(text: str) -> tuple[str, str]:
    """Split ``snapshot:subfolder``; the subfolder is "" where none is given."""
    name, _, subfolder = text.partition(":")
    return name, subfolder


def steps_back(name: str) -> int | None:
    """How many snapshots before the latest one *name* means, without a subfolder: 0 for ``latest``, 2 for ``latest~2``; None
    where it is an id.

    Raises:
        SnapshotNotFound: something else than a number comes after ``latest~``.
    """
    match = _LATEST.fullmatch(name)
    if match is not None:
        return int(match[1] or 0)
    if name.startswith("latest~"):
        raise SnapshotNotFound(f'"{name}": a number must come after latest~, as in latest~1 for the snapshot before the latest')
    return None


def find_latest(
    repo: Repository,
    wanted: SnapshotFilter | None = None,
    *,
    back: int = 0,
    members: Collection[str] = (),
    partial: bool = False,
) -> FoundSnapshot:
    """The newest snapshot that fits (SNAP-11), or the one *back* before it (SNAP-20); none that is dated in the future.

    Partial ones do not count unless no other fits, or *partial* says that they count like any other (SNAP-23).
    See also `all_snapshots`.

    Raises:
        SnapshotNotFound: there is none.
    """
    wanted = (wanted or SnapshotFilter()).absolute()
    limit = min(time.time_ns(), wanted.before_ns if wanted.before_ns is not None else 1 << 63)
    candidates = (found for found in all_snapshots(repo, members=members) if found.time_ns <= limit)
    newest = heapq.nlargest(
        back + 1,
        (found for found in candidates if wanted.matches(found.snapshot)),
        key=lambda found: (partial or not is_partial(found.snapshot), found.time_ns, found.id),
    )
    aside = ""
    if newest and not partial and not is_partial(newest[0].snapshot):
        whole = [found for found in newest if not is_partial(found.snapshot)]
        aside = " that is whole" if len(whole) < len(newest) else ""
        newest = whole
    if not newest:
        raise SnapshotNotFound(f"snapshot filter {wanted.describe()}: no snapshot found")
    if len(newest) <= back:
        only = "there is only one snapshot" if len(newest) == 1 else f"there are only {len(newest)} snapshots"
        only += aside if len(newest) == 1 else aside.replace("is", "are")
        raise SnapshotNotFound(
            f"snapshot filter {wanted.describe()}: no snapshot found for latest~{back}, {only}; "
            f"the first is latest~{len(newest) - 1}"
        )
    return newest[back]


def find_id(repo: Repository, kind: FileKind, prefix: str) -> bytes:
    """The id of the only file of *kind* whose name begins with *prefix* (LAYOUT-10).

    Raises:
        SnapshotNotFound: none or several do; or it is empty, as the value of a variable that was forgotten to be set.
    """
    if not prefix:
        raise SnapshotNotFound("the ID is empty")
    if is_hex_id(prefix):
        return bytes.fromhex(prefix)
    matches = [file_id for file_id, _ in repo.list(kind) if file_id.hex().startswith(prefix)]
    if not matches:
        raise SnapshotNotFound(f'no matching ID found for prefix "{gojson.quote(prefix)}"')
    if len(matches) > 1:
        raise SnapshotNotFound(f'multiple IDs with prefix "{gojson.quote(prefix)}" found')
    return matches[0]


def find_snapshot(
    repo: Repository,
    name: str,
    wanted: SnapshotFilter | None = None,
    *,
    members: Collection[str] = (),
    partial: bool = False,
) -> tuple[FoundSnapshot, str]:
    """The snapshot *name* means (``latest``, ``latest~2`` for the second before it, an id, a prefix of one; ``:subfolder`` may
    follow), and the subfolder (SNAP-12).

    One that is counted from the latest comes with *members* of its undeclared members, another with all.

    Raises:
        SnapshotNotFound: no or several snapshots fit.
        DamagedFile: it cannot be read.
    """
    prefix, subfolder = split_subfolder(name)
    back = steps_back(prefix)
    if back is not None:
        return find_latest(repo, wanted, back=back, members=members, partial=partial), subfolder
    whole = prefix.lower()  # restic takes a whole id in capital letters, too, but not the beginning of one
    snapshot_id = find_id(repo, FileKind.SNAPSHOT, whole if is_hex_id(whole) else prefix)
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
            if name == "latest" and isinstance(error, SnapshotNotFound):
                error = SnapshotNotFound(f"no snapshot matched given filter {wanted.absolute().describe()}")
            if damaged is None:
                raise
            damaged(name, error)
            continue
        if found.id not in seen:
            seen.add(found.id)
            yield found
    if damaged is not None and not wanted.empty and not any(_LATEST.fullmatch(split_subfolder(name)[0]) for name in names):
        damaged("filters", UsageError("explicit snapshot ids are given"))
