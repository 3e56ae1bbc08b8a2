"""What differs between a directory of a snapshot and one of this machine.

Both are walked side by side, in the order of their names. The local side is looked at as a backup does: without following
symlinks below the directory, without waiting, sockets left out. What is compared:

- the type of each item, and where symlinks lead;
- of files the size, and the content as `Reading` says, by reading the local file and hashing it where its blobs end; nothing
  of it is fetched from the repository;
- with *metadata* the permissions, owner and group by number, modification time, extended attributes, and device numbers.

Access and status change times, inodes, link counts and names of users do not count: a copy has others.
Memory is bounded as that of `restic_format.snapshots.walk.Walk`, with the names of the local directories on the way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from restic_format.backup.errors import SourceError
from restic_format.backup.job import BackupOptions
from restic_format.backup.nodes import NodeBuilder, file_changed
from restic_format.backup.select import build_rejects
from restic_format.backup.source import (
    ASK_ALWAYS,
    ASK_NOTHING,
    LOOK_AT_ONCE,
    OPEN_FLAGS,
    FileInfo,
    Folder,
    Place,
    list_directory,
    look_closely,
    read_link,
)
from restic_format.errors import ResticFormatError
from restic_format.explore.content import compare_content
from restic_format.explore.diff import ADDED, BITROT, MODIFIED, REMOVED, TYPE_CHANGED, UPDATED
from restic_format.native import nodes
from restic_format.repository import Repository
from restic_format.snapshots.same import same_time
from restic_format.snapshots.walk import Level, Walk
from restic_format.work import Cancel, in_order
from restic_spec import gojson, gomode
from restic_spec.tree import DIR, FILE, SYMLINK, Node, type_of

_AT_ONCE = 64
"""Items that one job compares."""
_BYTES_AT_ONCE = 4 << 20
"""Bytes of files that one job reads, unless a single one is larger."""


class Reading(Enum):
    """Which local files are read, of those that have the size that the snapshot says."""

    CHANGED = "changed"
    """Those with another modification time; others count as the same."""
    ALL = "all"
    NONE = "none"
    """None: they count as the same."""


class LocalOptions(msgspec.Struct):
    """How to compare."""

    metadata: bool = False
    """Tell of items that differ in nothing but metadata."""
    reading: Reading = Reading.CHANGED
    source: BackupOptions = msgspec.field(default_factory=BackupOptions)
    """What to leave out, on both sides, as a backup would with these options; everything else in them does not matter."""


class LocalDifference(NamedTuple):
    """An item that differs."""

    path: str
    """Its path below the two directories, beginning with ``/``; that of a directory ends with one."""
    mark: str
    """As that of `restic_format.explore.diff.Difference`. ``?`` behind ``M`` means: size, modification and status change time
    and inode are those of the snapshot, so that a backup would not read the file."""


class LocalCounts(msgspec.Struct):
    """What is on one side only."""

    files: int = 0
    dirs: int = 0
    others: int = 0
    bytes: int = 0
    """Of files."""

    def count(self, kind: str, size: int) -> None:
        """One more item."""
        if kind == FILE:
            self.files += 1
            self.bytes += size
        elif kind == DIR:
            self.dirs += 1
        else:
            self.others += 1


class LocalStatistics(msgspec.Struct):
    """What the differences come to."""

    changed_files: int = 0
    added: LocalCounts = msgspec.field(default_factory=LocalCounts)
    removed: LocalCounts = msgspec.field(default_factory=LocalCounts)
    files_read: int = 0
    """Local files that were read."""
    bytes_read: int = 0


class _Fault(NamedTuple):
    """What cannot be compared."""

    path: str
    error: ResticFormatError


class _Found(NamedTuple):
    """A local entry."""

    depth: int
    name: bytes
    info: FileInfo
    place: Place
    rejected: bool
    """Whether it is to be left out, as is what the snapshot has of that name."""


class _Pending(NamedTuple):
    """Two items that are to be compared."""

    path: str
    node: Node
    found: _Found


class _Outcome(NamedTuple):
    """What a pair of items is, when it has been compared."""

    difference: LocalDifference | None
    fault: _Fault | None
    changed: bool
    read: int | None
    """Bytes read, None where it was not."""


_Step = LocalDifference | _Fault | _Pending


class _Pair:
    """A directory that both sides have."""

    __slots__ = ("broken", "folder")

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.broken = False
        """Whether the rest of it cannot be read in the snapshot: then nobody knows what is new."""


class LocalDiff:
    """The differences from an item of a snapshot to the local item *path*. The first is the directory whose tree is *tree*, or
    else *node*, which is no directory.

    Iterating once gives them; after that `statistics` are complete. What cannot be read is given to *damaged*, with its path
    below the two directories. The index must be loaded.

    Raises (from iterating):
        SourceError: *path* cannot be read.
        Interrupted: *cancel* was set.
    """

    def __init__(
        self,
        repository: Repository,
        tree: bytes | None,
        path: str,
        options: LocalOptions | None = None,
        *,
        node: Node | None = None,
        damaged: Callable[[str, ResticFormatError], None],
        warn: Callable[[str], None],
        cancel: Cancel | None = None,
    ) -> None:
        """*warn* is told of tag and ignore files that cannot be used.

        Raises:
            SourceError, InvalidTagSpec, InvalidIgnoreName: see `build_rejects`.
        """
        self.statistics = LocalStatistics()
        self._repository = repository
        self._tree = tree
        self._node = node
        self._path = os.path.abspath(gojson.to_bytes(path))
        self._options = options or LocalOptions()
        self._damaged = damaged
        self._cancel = cancel or Cancel()
        source = self._options.source
        self._excluded: Callable[[str], bool] | None = source.excludes.rejects if source.excludes else None
        self._rejects = build_rejects(source, [self._path], warn)
        self._builder = NodeBuilder()
        self._workers = max(2, min(len(os.sched_getaffinity(0)), 4))
        self._faults: list[_Fault] = []
        """Told by the walks and not handed out yet."""

    def __iter__(self) -> Iterator[LocalDifference]:
        statistics = self.statistics
        jobs = in_order(self._settle, self._batches(), name="diff", workers=self._workers)
        with contextlib.closing(jobs) as results:
            for _, outcomes in results:
                self._cancel.check()
                if isinstance(outcomes, Exception):
                    raise outcomes
                for outcome in outcomes:
                    statistics.changed_files += outcome.changed
                    if outcome.read is not None:
                        statistics.files_read += 1
                        statistics.bytes_read += outcome.read
                    if outcome.fault is not None:
                        self._damaged(*outcome.fault)
                    if outcome.difference is not None:
                        yield outcome.difference

    def _batches(self) -> Iterator[list[_Step]]:
        """What the two walks come to, some steps at a time."""
        batch: list[_Step] = []
        size = 0
        for step in self._compare() if self._tree is not None else self._single():
            batch.append(step)
            if isinstance(step, _Pending) and step.node.type == FILE:
                size += step.found.info.st_size
            if len(batch) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
                yield batch
                self._cancel.check()
                batch, size = [], 0
        if batch:
            yield batch

    def _single(self) -> Iterator[_Step]:
        """One item that is no directory in the snapshot."""
        assert self._node is not None
        place = Place.of_target(self._path)
        try:
            info = look_closely(place)
        except OSError as error:
            raise SourceError.from_os("lstat", self._path, error) from error
        shown = f"/{self._node.name}"
        yield _Pending(shown, self._node, _Found(0, place.name, info, place, rejected=False))

    def _compare(self) -> Iterator[_Step]:
        assert self._tree is not None
        statistics = self.statistics
        prefix = self._path.rstrip(b"/") + b"/"
        folder = Folder(prefix, len(prefix))
        root = _Pair(folder)
        walk: Walk[_Pair | None] = Walk(self._repository, self._tree, root, fault=self._fault)
        local = _LocalWalk(self, folder)
        entries = iter(walk)
        stored = next(entries, None)
        while True:
            while self._faults:
                yield self._faults.pop(0)
            found = local.head
            order = _order(stored, found)
            if order is None:
                return
            if order > 0:
                assert found is not None
                if not found.rejected and not local.broken:
                    yield from self._only_local(local, found, statistics.added)
                local.advance()
                continue
            assert stored is not None
            level, node, name = stored
            path = level.path_of(name)
            if order < 0:
                if not self._is_excluded(prefix + gojson.to_bytes(path)[1:]):
                    statistics.removed.count(node.type, node.size)
                    yield LocalDifference(path + "/" if node.type == DIR else path, REMOVED)
                    if node.type == DIR:
                        self._enter_stored(walk, level, node, name, None)
            else:
                assert found is not None
                if not found.rejected:
                    yield _Pending(path, node, found)
                    if node.type == DIR and stat.S_ISDIR(found.info.st_mode):
                        pair = _Pair(found.place.as_folder())
                        # Where one side cannot be listed nothing is known of what is in it.
                        if local.enter(pair) and not self._enter_stored(walk, level, node, name, pair):
                            local.leave()
                local.advance()
            stored = next(entries, None)

    def _only_local(self, local: _LocalWalk, found: _Found, counts: LocalCounts) -> Iterator[_Step]:
        is_dir = stat.S_ISDIR(found.info.st_mode)
        counts.count(type_of(found.info.st_mode), found.info.st_size)
        yield LocalDifference(self._shown(found.place.path) + "/" * is_dir, ADDED)
        if is_dir:
            local.enter(None)

    def _enter_stored(
        self, walk: Walk[_Pair | None], level: Level[_Pair | None], node: Node, name: str, pair: _Pair | None
    ) -> bool:
        try:
            walk.enter(node, name, pair)
        except ResticFormatError as error:
            self._fault(level, node, error)
            return False
        return True

    def _fault(self, level: Level[_Pair | None], node: Node | None, error: ResticFormatError) -> None:
        """Take note of what the walk over the snapshot cannot use."""
        if node is None and level.data is not None:
            level.data.broken = True
        self._faults.append(_Fault(level.place_of(node), error))

    def _local_fault(self, place: Place, operation: str, error: OSError) -> None:
        self._faults.append(_Fault(self._shown(place.path), SourceError.from_os(operation, place.path, error)))

    def _shown(self, path: bytes) -> str:
        """The path below the two directories."""
        return gojson.to_text(path[len(self._path.rstrip(b"/")) :])

    def _is_excluded(self, path: bytes) -> bool:
        return self._excluded is not None and self._excluded(gojson.to_text(path))

    def _is_rejected(self, path: bytes, info: FileInfo) -> bool:
        return self._is_excluded(path) or any(rejects(path, info) for rejects in self._rejects)

    # Pairs of items, compared by the workers

    def _settle(self, steps: list[_Step]) -> list[_Outcome]:
        outcomes = []
        for step in steps:
            if isinstance(step, LocalDifference):
                outcomes.append(_Outcome(step, None, False, None))
            elif isinstance(step, _Fault):
                outcomes.append(_Outcome(None, step, False, None))
            else:
                self._cancel.check()
                outcomes.append(self._pair(step))
        return outcomes

    def _pair(self, step: _Pending) -> _Outcome:
        path, node, found = step
        kind = type_of(found.info.st_mode)
        read: int | None = None
        changed = False
        mark = ""
        try:
            if kind != node.type:
                mark = TYPE_CHANGED
            elif kind == FILE:
                mark, read = self._file(node, found)
                changed = mark.startswith(MODIFIED)
            elif kind == SYMLINK and gojson.to_text(read_link(found.place)) != node.target:
                mark = UPDATED
            if not mark and self._options.metadata and not self._same_metadata(node, found):
                mark = UPDATED
        except OSError as error:
            return _Outcome(None, _Fault(path, SourceError.from_os("open", found.place.path, error)), False, read)
        except ResticFormatError as error:
            return _Outcome(None, _Fault(path, error), False, read)
        shown = path + "/" if kind == DIR else path
        return _Outcome(LocalDifference(shown, mark) if mark else None, None, changed, read)

    def _file(self, node: Node, found: _Found) -> tuple[str, int | None]:
        """The mark of a file whose content differs, otherwise ""; and how many bytes were read of it."""
        info, reading = found.info, self._options.reading
        mtime = self._builder.time_text(info.st_mtime_ns)
        if info.st_size != node.size:
            return MODIFIED, None
        if reading is Reading.NONE or (reading is Reading.CHANGED and same_time(node.mtime, mtime)):
            return "", None
        compared = compare_content(found.place, node, self._repository.index)
        if compared.same:
            return "", compared.bytes
        unseen = not file_changed(info, mtime, self._builder.time_text(info.st_ctime_ns), node) and not compared.moved
        return MODIFIED + BITROT * unseen, compared.bytes

    def _same_metadata(self, node: Node, found: _Found) -> bool:
        told: list[ResticFormatError] = []
        local = self._builder.build(found.name, found.info, found.place, lambda _path, error: told.append(error))
        if told:
            raise told[0]
        return (
            gomode.to_permissions(local.mode) == gomode.to_permissions(node.mode)
            and (local.uid, local.gid, local.device) == (node.uid or 0, node.gid or 0, node.device)
            and same_time(node.mtime, local.mtime)
            and _attributes(node) == _attributes(local)
        )


def _attributes(node: Node) -> dict[str, bytes]:
    return {attribute.name: attribute.value or b"" for attribute in node.extended_attributes or ()}


class _LocalWalk:
    """The walk over the local directory, one entry after the other; see `Walk` for the form."""

    def __init__(self, diff: LocalDiff, folder: Folder) -> None:
        self._diff = diff
        self._levels: list[tuple[Folder, Iterator[_Found], _Pair | None]] = []
        self.head: _Found | None = None
        try:
            names = list_directory(Place.of_target(folder.prefix), OPEN_FLAGS & ~os.O_NOFOLLOW)
        except OSError as error:
            raise SourceError.from_os("open", folder.prefix, error) from error
        self._push(folder, names, _Pair(folder))
        self.advance()

    @property
    def broken(self) -> bool:
        """Whether nothing is known of what is new in the directory of the entry that came last."""
        pair = self._levels[-1][2]
        return pair is not None and pair.broken

    def advance(self) -> None:
        """Go on to the next entry; None comes at the end."""
        while self._levels:
            self.head = next(self._levels[-1][1], None)
            if self.head is not None:
                return
            self._levels.pop()

    def enter(self, pair: _Pair | None) -> bool:
        """Go into the entry that came last; false where it cannot be listed."""
        assert self.head is not None
        place = self.head.place
        try:
            names = list_directory(place)
        except OSError as error:
            self._diff._local_fault(place, "open", error)
            return False
        self._push(place.as_folder(), names, pair)
        return True

    def leave(self) -> None:
        """Leave the directory that was entered last."""
        self._levels.pop()

    def _push(self, folder: Folder, names: list[bytes], pair: _Pair | None) -> None:
        self._levels.append((folder, self._entries(folder, names, len(self._levels)), pair))

    def _entries(self, folder: Folder, names: list[bytes], depth: int) -> Iterator[_Found]:
        ask = ASK_ALWAYS if self._diff._options.metadata else ASK_NOTHING
        for start in range(0, len(names), LOOK_AT_ONCE):
            some = names[start : start + LOOK_AT_ONCE]
            infos: Sequence[FileInfo | None] = nodes.look_at(folder, some, ask)
            for name, known in zip(some, infos, strict=True):
                place = Place(folder, name)
                info = known
                if info is None:
                    try:
                        info = look_closely(place)
                    except OSError as error:
                        if error.errno != errno.ENOENT:  # it is fine if something vanishes after it was listed
                            self._diff._local_fault(place, "lstat", error)
                        continue
                if not stat.S_ISSOCK(info.st_mode):
                    yield _Found(depth, name, info, place, self._diff._is_rejected(place.path, info))


def _order(stored: tuple[Level[_Pair | None], Node, str] | None, found: _Found | None) -> int | None:
    """Which of two entries comes first: below 0 that of the snapshot, above 0 the local one, 0 where both are at one place;
    None at the end.
    """
    if found is None:
        return None if stored is None else -1
    if stored is None:
        return 1
    depth = found.depth - stored[0].depth
    if depth:
        return depth
    name = gojson.to_bytes(stored[2])
    return 0 if name == found.name else -1 if name < found.name else 1
