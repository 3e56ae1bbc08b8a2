"""Verifying a backup that was just made: what was stored is read back, and compared with the source.

Everything comes from the storage, past any local cache: the snapshot, the index, every tree and every data blob, with its MAC
and its hash. Each file of the source is read again and compared with its blobs by their ids. Where both agree, what is stored
is what the source has, byte for byte.

Memory: the index once more, a byte for each of its rows, and a few blobs and batches of files at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from restic_format.backup.errors import SourceError
from restic_format.backup.source import Folder, Place, look_closely, read_link
from restic_format.backup.targets import TargetTree, build_moved_tree, build_target_tree
from restic_format.errors import DamagedFile, ResticFormatError
from restic_format.explore.content import compare_content
from restic_format.explore.diff import TreeDiff
from restic_format.native.table import HAS_DATA, REPACKED, STORED
from restic_format.repository import Repository
from restic_format.repository.index import IndexUse
from restic_format.snapshots.filesystem import SnapshotFileSystem
from restic_format.snapshots.used import UsedInIndex, add_used
from restic_format.work import Advance, Cancel, Progress, in_order, silent
from restic_spec import gojson
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import FILE, SYMLINK, Node

BYTES, FILES = "bytes read back", "files compared"
"""Stages that the progress is told of (`restic_format.work.Advance`)."""

MOST_REMEMBERED = 10_000
"""Blobs that cannot be read that are remembered, to name the files that need them; the rest is only counted."""

_AT_ONCE = 64
"""Files that one job compares."""
_BYTES_AT_ONCE = 4 << 20
"""Bytes of files that one job compares, unless a single one is larger."""
_IS_GONE = "it is gone, or something else is in its place"
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class SourceChanged(NamedTuple):
    """Told of an item that is another one now than the backup has read: no fault of the backup."""

    item: str
    """Its path in the snapshot."""
    reason: str


class VerifyFailed(NamedTuple):
    """Told of an item whose stored form cannot be read, or is not what the source has."""

    item: str
    """Its path in the snapshot, "" where that is not known."""
    error: ResticFormatError


VerifyEvent: TypeAlias = Advance | SourceChanged | VerifyFailed
"""What the `restic_format.work.Progress` of `verify_backup` is told."""


class Verified(msgspec.Struct):
    """What was verified."""

    files: int = 0
    """Files that were compared with the source."""
    bytes: int = 0
    """Their bytes."""
    blobs: int = 0
    """Data blobs that were read back."""
    stored_bytes: int = 0
    """Their sealed bytes."""
    changed: int = 0
    """Items that have changed in the source since."""
    faults: int = 0
    """Items that failed; all is well where this is 0."""


def verify_backup(
    repository: Repository,
    tree: bytes,
    targets: Sequence[str] | None,
    *,
    snapshot_id: bytes | None = None,
    as_path: str = "",
    parent: bytes | None = None,
    progress: Progress[VerifyEvent] | None = None,
    cancel: Cancel | None = None,
) -> Verified:
    """Read back the tree *tree* of a backup, and its snapshot where that has an id, and compare it with its *targets*.

    *targets* and *as_path* are those that the backup was given, from the same current directory; without targets (it was a
    stream) only what is stored is verified. With the root tree *parent*, items that it has unchanged are left out.

    Raises:
        Interrupted: it was cancelled.
        DamagedFile, FileMissing, StorageError: the snapshot or an index cannot be read back.
    """
    places = None if targets is None else _Places(_target_tree(targets, as_path))
    return _Verification(repository, tree, places, parent, progress or silent, cancel or Cancel()).run(snapshot_id)


def _target_tree(targets: Sequence[str], as_path: str) -> TargetTree:
    paths = [gojson.to_bytes(target) for target in targets]
    return build_moved_tree(paths[0], gojson.to_bytes(as_path)) if as_path else build_target_tree(paths)


class _Item(NamedTuple):
    path: str
    node: Node


class _Outcome(NamedTuple):
    """What comparing some items has shown."""

    files: int
    bytes: int
    told: list[SourceChanged | VerifyFailed]


class _Verification:
    def __init__(
        self,
        repository: Repository,
        tree: bytes,
        places: _Places | None,
        parent: bytes | None,
        progress: Progress[VerifyEvent],
        cancel: Cancel,
    ) -> None:
        self._repository = repository.past_cache()
        self._tree = tree
        self._parent = parent
        self._places = places
        self._progress = progress
        self._cancel = cancel
        self._result = Verified()
        self._guard = threading.Lock()
        self._unreadable: dict[bytes, ResticFormatError] = {}
        """Data blobs that cannot be read."""
        self._workers = max(2, min(len(os.sched_getaffinity(0)), 4))

    def run(self, snapshot_id: bytes | None) -> Verified:
        """Verify all."""
        repository = self._repository
        repository.load_index()
        if snapshot_id is not None and repository.load_snapshot(snapshot_id).tree != self._tree.hex():
            raise DamagedFile(f"snapshots/{snapshot_id.hex()} does not name the tree that the backup has made")
        self._read_back(self._used())
        self._compare()
        return self._result

    def _tell(self, event: SourceChanged | VerifyFailed) -> None:
        with self._guard:
            if isinstance(event, SourceChanged):
                self._result.changed += 1
            else:
                self._result.faults += 1
        self._progress(event)

    # What is stored

    def _used(self) -> IndexUse:
        """The data blobs that are to be read back, marked. All trees are read on the way; what is wrong there is told later."""
        if self._parent is None:
            used = UsedInIndex(self._repository.index)
            add_used(self._repository, [self._tree], used, damaged=lambda _tree, _error: None, cancel=self._cancel)
            return used.marks
        marks = self._repository.index.use()
        for item in self._items(lambda _path, _error: None):
            for blob in item.node.blobs:
                marks.mark(BlobType.DATA, parse_id(blob))
        return marks

    def _read_back(self, marks: IndexUse) -> None:
        """Read every data blob that is marked, from one of the packs that have it, and where that fails from another."""
        packs = self._repository.index.pack_ids()
        uses = marks.choose(bytes([STORED]) * len(packs))
        kept = marks.kept(bytes([REPACKED]) * len(packs))
        total = sum(use.used_size for use in uses if use.types & HAS_DATA)

        def jobs() -> Iterator[tuple[bytes, list[PackEntry]]]:
            for number, use in enumerate(uses):
                if use.used:
                    entries = [entry for entry in kept.entries(number) if entry.type is BlobType.DATA]
                    if entries:
                        yield packs[number], entries

        with contextlib.closing(in_order(self._read_pack, jobs(), name="verify", workers=self._workers)) as results:
            for (_, entries), failed in results:
                self._cancel.check()
                if isinstance(failed, Exception):
                    raise failed
                for blob, error in failed:
                    if len(self._unreadable) < MOST_REMEMBERED:
                        self._unreadable[blob] = error
                    else:
                        self._tell(VerifyFailed("", error))
                self._result.blobs += len(entries)
                self._result.stored_bytes += sum(entry.length for entry in entries)
                self._progress(Advance(BYTES, self._result.stored_bytes, total))

    def _read_pack(self, job: tuple[bytes, list[PackEntry]]) -> list[tuple[bytes, ResticFormatError]]:
        """Those blobs of a pack that cannot be read."""
        failed = []
        for entry, opened in self._repository.packs.blobs(*job):
            self._cancel.check()
            if isinstance(opened, ResticFormatError):
                failed.append(entry.id)
        found = []
        for blob in failed:
            try:
                self._repository.load_blob(BlobType.DATA, blob)
            except ResticFormatError as error:
                found.append((blob, error))
        return found

    # What the source has

    def _compare(self) -> None:
        def damaged(path: str, error: ResticFormatError) -> None:
            self._tell(VerifyFailed(path, error))

        with contextlib.closing(
            in_order(self._compare_some, self._batches(damaged), name="verify", workers=self._workers)
        ) as results:
            for _, outcome in results:
                self._cancel.check()
                if isinstance(outcome, Exception):
                    raise outcome
                self._result.files += outcome.files
                self._result.bytes += outcome.bytes
                for event in outcome.told:
                    self._tell(event)
                self._progress(Advance(FILES, self._result.files, 0))

    def _items(self, damaged: Callable[[str, ResticFormatError], None]) -> Iterator[_Item]:
        """The files and symlinks to be compared."""
        if self._parent is not None:
            for path, _, _, node in TreeDiff(self._repository, self._parent, self._tree, damaged=damaged, cancel=self._cancel):
                if node is not None and node.type in (FILE, SYMLINK):
                    yield _Item(path, node)
            return

        with SnapshotFileSystem(self._repository, self._tree, fault=damaged) as files:
            for path, node in files.walk():
                if node.type in (FILE, SYMLINK):
                    yield _Item(path, node)

    def _batches(self, damaged: Callable[[str, ResticFormatError], None]) -> Iterator[list[_Item]]:
        batch: list[_Item] = []
        size = 0
        for item in self._items(damaged):
            batch.append(item)
            size += item.node.size
            if len(batch) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _compare_some(self, items: list[_Item]) -> _Outcome:
        files = done = 0
        told: list[SourceChanged | VerifyFailed] = []
        for path, node in items:
            self._cancel.check()
            try:
                self._check_stored(node)
                if self._places is None:
                    continue
                place = self._places.of(path)
                if place is None:
                    raise _Changed(_IS_GONE)
                if node.type == FILE:
                    done += self._compare_file(place, node)
                    files += 1
                else:
                    self._compare_link(place, node)
            except _Changed as change:
                told.append(SourceChanged(path, change.reason))
            except ResticFormatError as error:
                told.append(VerifyFailed(path, error))
        return _Outcome(files, done, told)

    def _check_stored(self, node: Node) -> None:
        for blob in node.blobs if node.type == FILE else ():
            error = self._unreadable.get(parse_id(blob))
            if error is not None:
                raise DamagedFile(f"data blob {blob} cannot be read back", error)
            if not self._repository.index.has(BlobType.DATA, parse_id(blob)):
                raise DamagedFile(f"data blob {blob} is in no index that was stored")

    def _compare_file(self, place: Place, node: Node) -> int:
        """Compare a file with the source; how many bytes were read.

        Raises:
            _Changed: it is another one now.
            ResticFormatError: it is not, and differs, or cannot be read.
        """
        try:
            found = compare_content(place, node, self._repository.index)
        except OSError as error:
            raise _failed("open", place, error) from error
        if found.same and not found.moved:
            return found.bytes
        info = found.info
        if found.moved:
            raise _Changed("it changed while it was read to be compared")
        if (info.st_size, info.st_mtime_ns, info.st_ctime_ns) != (node.size, node.mtime_ns, node.ctime_ns):
            raise _Changed("its size or its times are others than those in the snapshot")
        blob = f"data blob {found.blob}" if found.blob else "its end"
        raise DamagedFile(
            f"what is stored is not what the source has, from {blob} on, although its size and times are the same"
        )

    def _compare_link(self, place: Place, node: Node) -> None:
        """The same for a symlink."""
        try:
            if gojson.to_text(read_link(place)) == node.target:
                return
            info = look_closely(place)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise _Changed("it is no symlink any more") from None
            raise _failed("readlink", place, error) from error
        if info.st_ctime_ns != node.ctime_ns:
            raise _Changed("it leads elsewhere now")
        raise DamagedFile("the symlink that is stored leads elsewhere than that of the source")


class _Changed(Exception):
    """The source has changed since."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _failed(operation: str, place: Place, error: OSError) -> Exception:
    if error.errno in _GONE:
        return _Changed(_IS_GONE)
    return SourceError.from_os(operation, place.path, error, "it cannot be compared: ")


class _Places:
    """Where on the source the items of the snapshot are."""

    def __init__(self, tree: TargetTree) -> None:
        self._tree = tree

    def of(self, path: str) -> Place | None:
        """The place of the item at *path* in the snapshot; None where no target leads there."""
        directory, name = posixpath.split(path)
        found = self._find(directory)
        if isinstance(found, Folder):
            return Place(found, gojson.to_bytes(name))
        if isinstance(found, TargetTree) and (child := found.children.get(gojson.to_bytes(name))) is not None and child.path:
            return Place.of_target(child.path)
        return None

    def _find(self, directory: str) -> TargetTree | Folder | None:
        """A directory of the snapshot: one above the targets, or one of the source."""
        found: TargetTree | Folder | None = self._tree
        for name in filter(None, directory.split("/")):
            raw = gojson.to_bytes(name)
            if isinstance(found, Folder):
                found = Place(found, raw).as_folder()
                continue
            child = found.children.get(raw) if found is not None else None
            if child is None:
                return None
            found = Place.of_target(child.path).as_folder() if child.path else child
        return found
