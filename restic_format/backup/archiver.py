"""The walk: which items there are, which are as they were in the parent snapshot, and which the workers have to read.

One thread walks the targets depth first, entries sorted by their bytes, as trees are. Files that have to be read go to the
workers in batches through a bounded queue; everything else is settled at once. See `pending` for how trees come about.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from restic_format.backup import source
from restic_format.backup.ahead import Ahead, Survey, survey
from restic_format.backup.errors import SourceError
from restic_format.backup.files import Team
from restic_format.backup.jobs import Batch, FileGroup, FileJob
from restic_format.backup.options import BackupOptions
from restic_format.backup.parenttrees import ParentDirectory, ParentTrees, ParsedDirectory, subtree_of
from restic_format.backup.pending import PendingDirectory
from restic_format.backup.select import Reject
from restic_format.backup.source import (
    ASK_ALWAYS,
    ASK_UNLESS_REGULAR,
    LOOK_AT_ONCE,
    OPEN_FLAGS,
    FileInfo,
    Folder,
    Place,
    list_open_directory,
    look_at_many,
    look_closely,
    open_source,
)
from restic_format.backup.targets import TargetTree
from restic_format.backup.trees import encode_node, file_changed, stored_blobs
from restic_format.native import nodes
from restic_spec import gojson
from restic_spec.pack import BlobType
from restic_spec.tree import Node

MOST_COMPARED = 1024 * 1024
"""Bytes of a tree of the parent snapshot that are kept until the new one is known."""

BATCH_FILES = 64
BATCH_BYTES = 1024 * 1024
"""A batch for a worker is complete with so many files or bytes."""


class _Entered(NamedTuple):
    """A directory to go into."""

    directory: PendingDirectory
    item: str
    """Its path in the snapshot."""
    place: Place
    """Where it is."""
    previous: Node | None
    """Its node in the parent snapshot."""
    survey: Survey


class Archiver:
    """Walks the targets of one backup."""

    def __init__(
        self,
        team: Team,
        parents: ParentTrees,
        options: BackupOptions,
        rejects: Sequence[Reject],
        guard: Callable[[], None],
    ) -> None:
        self._team = team
        self._guard = guard
        self._books = team.books
        self._builder = team.builder
        self._repository = team.repository
        self._excluded: Callable[[str], bool] | None = options.excludes.rejects if options.excludes else None
        self._rejects = rejects
        self._parents = parents
        self._ahead: Ahead | None = None
        self._check_ctime = not (options.ignore_ctime or options.ignore_inode)
        self._check_inode = not options.ignore_inode
        self._batch: Batch = []
        self._batch_files = 0
        self._batch_bytes = 0

    def walk(self, tree: TargetTree) -> None:
        """Walk everything below *tree*.

        Returns when everything is queued; the root tree is saved by who finishes last.

        Raises:
            ResticFormatError: the repository failed.
        """
        root = PendingDirectory(None, "/", None, None)
        if self._parents.root is not None and source.kernel_works():
            self._ahead = Ahead(self._parents, look=self._excluded is None)
        self._walk_targets(root, "", tree, self._parents.load(self._parents.root, "/"))
        self._flush()
        self._books.closed(root)

    # The directories that lead to the targets

    def _walk_targets(self, directory: PendingDirectory, prefix: str, tree: TargetTree, parent: ParentDirectory | None) -> None:
        for name in tree.names():
            if self._team.stopping():
                return
            child = tree.children[name]
            shown = gojson.to_text(name)
            previous = parent.find(name) if parent is not None else None
            item = f"{prefix}/{shown}"
            if child.path:
                self._save(directory, name, item, Place.of_target(child.path), previous, explicit=child.explicit)
                continue
            try:
                node = self._parent_node(name, child.info_path)
            except (OSError, SourceError) as error:
                problem = SourceError.from_os("stat", child.info_path, error) if isinstance(error, OSError) else error
                self._books.error(item, problem)
                continue
            below = self._enter(directory, item, node, previous)
            self._walk_targets(below, item, child, self._parents.load(subtree_of(previous), item))
            self._books.closed(below)

    def _parent_node(self, name: bytes, path: bytes) -> Node:
        """The node of a directory above the targets; it may be a symlink to one."""
        info = os.stat(path)
        if not stat.S_ISDIR(info.st_mode):
            raise SourceError(f"path is not a directory: {gojson.to_text(path)}")
        return self._builder.build(name, info, Place.of_target(path), self._team.warn, is_parent=True)

    def _enter(self, directory: PendingDirectory, item: str, node: Node, previous: Node | None) -> PendingDirectory:
        self._books.opened(directory)
        return PendingDirectory(directory, item + "/", node, previous)

    # The targets themselves

    def _save(
        self, directory: PendingDirectory, name: bytes, item: str, place: Place, previous: Node | None, *, explicit: bool
    ) -> None:
        """Save a target and everything below it.

        The walk keeps its own stack: trees may be deeper than Python's.
        """
        if not explicit and self._excluded is not None and self._excluded(_shown(place.path)):
            return
        entered = self._visit(directory, name, item, place, previous, None, explicit=explicit)
        stack: list[Iterator[_Entered]] = []
        while True:
            if entered is not None:
                stack.append(self._visit_entries(entered))
            if not stack or self._team.stopping():
                return
            entered = next(stack[-1], None)
            if entered is None:
                stack.pop()

    def _visit_entries(self, entered: _Entered) -> Iterator[_Entered]:
        """Visit the entries of a directory, giving each directory among them to the caller before going on."""
        directory, item, place, previous, found = entered
        names = found.names
        parent = found.parent
        if parent is None:
            parent = self._parents.load(subtree_of(previous), item)
        if isinstance(parent, ParsedDirectory) and len(parent.tree.raw) <= MOST_COMPARED:
            directory.before = parent.tree.raw
        folder = place.as_folder()
        prefix = folder.prefix
        last = None
        for start in range(0, len(names), LOOK_AT_ONCE):
            some = self._wanted(prefix, names[start : start + LOOK_AT_ONCE], last)
            last = names[min(start + LOOK_AT_ONCE, len(names)) - 1]
            infos: Sequence[FileInfo | None] | None = found.infos
            if infos is None or len(infos) != len(some):
                infos = look_at_many(folder, some, ASK_ALWAYS if parent else ASK_UNLESS_REGULAR)
            if self._rejects:
                some, infos = self._not_rejected(prefix, some, infos)
            below = self._look_ahead(folder, some, infos, parent)
            at = 0
            for first, end, encoded, size, links in self._stretches(some, infos, parent):
                for number in range(at, first):
                    name = some[number]
                    before = below.get(number) or (parent.find(name) if parent is not None else None)
                    shown = f"{item}/{gojson.to_text(name)}"
                    deeper = self._visit(directory, name, shown, Place(folder, name), before, infos[number])
                    if deeper is not None:
                        yield deeper
                    elif self._team.stopping():
                        return
                at = end
                if encoded is None:
                    self._queue_group(directory, item, folder, some[first:end], size)
                elif encoded:
                    directory.nodes.append(encoded)
                    files = some[first:end]
                    if links:
                        files = [files[n] for n, info in enumerate(infos[first:end]) if info and stat.S_ISREG(info.st_mode)]
                    self._books.taken_over(item, files, size)
        self._books.closed(directory)

    def _look_ahead(
        self, folder: Folder, names: list[bytes], infos: Sequence[FileInfo | None], parent: ParentDirectory | None
    ) -> dict[int, Node]:
        """Have the directories among some entries surveyed that *parent* has, too. Gives their nodes there."""
        if self._ahead is None or not parent:
            return {}
        found = {number: node for number in nodes.directories(infos) if (node := parent.find(names[number])) is not None}
        expected = [(names[number], node.subtree) for number, node in found.items() if node.subtree is not None]
        if len(expected) > 1:
            self._ahead.expect(folder, expected)
        return found

    def _wanted(self, prefix: bytes, names: list[bytes], last: bytes | None) -> list[bytes]:
        """Those of *names* that no pattern excludes; they come after *last*, and none may come twice."""
        if self._excluded is not None:
            names = [name for name in names if not self._excluded(_shown(prefix + name))]
        if len(set(names)) == len(names) and last not in names[:1]:
            return names
        found = []
        for name in names:
            if name == last:
                message = f'node "{gojson.quote(gojson.to_text(name))}": nodes are not ordered or duplicate'
                self._books.error(gojson.to_text(prefix + name), SourceError(message))
            else:
                found.append(name)
            last = name
        return found

    def _not_rejected(
        self, prefix: bytes, names: list[bytes], infos: Sequence[FileInfo | None]
    ) -> tuple[list[bytes], Sequence[FileInfo | None]]:
        """Those that no check rejects, or that cannot be told yet."""
        absolute = os.path.abspath(prefix)
        kept = [
            (name, info)
            for name, info in zip(names, infos, strict=True)
            if info is None or not any(rejects(os.path.join(absolute, name), info) for rejects in self._rejects)
        ]
        return [name for name, _ in kept], [info for _, info in kept]

    def _stretches(
        self, names: list[bytes], infos: Sequence[FileInfo | None], parent: ParentDirectory | None
    ) -> list[tuple[int, int, bytes | None, int, int]]:
        """Stretches of neighbours to be dealt with together, an empty one at the end: the first, the one after the last, their
        nodes, their bytes, and how many are symlinks. They are symlinks, or files as they were in *parent*; or they are files,
        new and small, without nodes.
        """
        end = (len(names), len(names), b"", 0, 0)
        tree = parent.tree if isinstance(parent, ParsedDirectory) else None
        if self._builder.writer is None or (parent and tree is None):
            return [end]
        taken = self._builder.writer.take_over(names, list(infos), tree, not self._check_ctime, not self._check_inode)
        has_all = self._repository.index.has_all
        if not has_all(BlobType.DATA, taken.ids()):
            for number in range(len(names)):
                if taken[number] and not has_all(BlobType.DATA, taken.ids(number, number + 1)):
                    taken.drop(number)
        found: list[tuple[int, int, bytes | None, int, int]] = [*taken.runs(), end]
        if not parent:
            small = nodes.small_files(infos, self._team.cutter.min_size, BATCH_FILES, BATCH_BYTES)
            found += [(first, last, None, size, 0) for first, last, size in small]
            found.sort()
        return found

    def _visit(
        self,
        directory: PendingDirectory,
        name: bytes,
        item: str,
        place: Place,
        previous: Node | None,
        info: FileInfo | None,
        *,
        explicit: bool = False,
    ) -> _Entered | None:
        """Settle one item, or queue it; a directory to go into is given back.

        *info* is None where it has not been looked at yet, or could not be; otherwise no check rejects it.
        """
        if info is None:
            try:
                info = look_closely(place)
            except OSError as error:
                if error.errno != errno.ENOENT:  # it is fine if something vanishes after it was listed
                    self._error(place.path, SourceError.from_os("lstat", place.path, error))
                return None
            if self._rejects and not explicit:
                absolute = os.path.abspath(place.path)
                if any(rejects(absolute, info) for rejects in self._rejects):
                    return None
        mode = info.st_mode
        if stat.S_ISREG(mode):
            self._visit_file(directory, name, item, place, previous, info)
        elif stat.S_ISDIR(mode):
            return self._open_directory(directory, name, item, place, previous)
        elif not stat.S_ISSOCK(mode):
            directory.nodes.append(encode_node(self._builder.build(name, info, place, self._team.warn)))
        return None

    def _visit_file(
        self,
        directory: PendingDirectory,
        name: bytes,
        item: str,
        place: Place,
        previous: Node | None,
        info: FileInfo,
    ) -> None:
        """Take a file over from the parent snapshot where it is as it was, or queue it for reading."""
        if previous is not None:
            times = self._builder.time_text(info.st_mtime_ns), self._builder.time_text(info.st_ctime_ns)
            if not file_changed(info, *times, previous, check_ctime=self._check_ctime, check_inode=self._check_inode):
                if self._is_stored(previous):
                    node = self._builder.build(name, info, place, self._team.warn)
                    node.content = previous.content
                    directory.nodes.append(encode_node(node))
                    self._books.taken_over(item.rpartition("/")[0], [name], previous.size)
                    return
                shown = gojson.to_text(place.path)
                message = f"parts of {shown} not found in the repository index; storing the file again"
                self._error(place.path, SourceError(message))
        self._books.opened(directory)
        slots: list[bytes | None] = [None]
        directory.nodes.append(slots)
        self._queue(FileJob(directory, slots, 0, place, item, name, previous, info.st_size), 1, info.st_size)

    def _queue_group(self, directory: PendingDirectory, item: str, folder: Folder, names: list[bytes], size: int) -> None:
        """Queue small new files for reading."""
        self._books.opened(directory)
        slots: list[bytes | None] = []
        directory.nodes.append(slots)
        self._queue(FileGroup(directory, slots, folder, item, names), len(names), size)

    def _queue(self, work: FileJob | FileGroup, files: int, size: int) -> None:
        self._batch.append(work)
        self._batch_files += files
        self._batch_bytes += size
        if self._batch_files >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._flush()

    def _open_directory(
        self, directory: PendingDirectory, name: bytes, item: str, place: Place, previous: Node | None
    ) -> _Entered | None:
        """List a directory and begin its tree; None where it cannot be read."""
        found = self._ahead.take(place) if self._ahead is not None else None
        if found is None and source.kernel_works():
            found = survey(place.folder, [place.name], 0)[0]
        if found is not None:
            node = self._builder.build(name, found.info, place, self._team.warn)
            return _Entered(self._enter(directory, item, node, previous), item, place, previous, found)
        path = place.path
        shown = gojson.to_text(path)
        try:
            fd = open_source(place, OPEN_FLAGS | os.O_DIRECTORY)
        except OSError as error:
            problem = SourceError.from_os("open", path, error, "openfile for readdirnames failed: ")
            self._books.error(shown, problem)
            return None
        try:
            info = os.fstat(fd)
            node = self._builder.build(name, info, place, self._team.warn, fd)
            names = list_open_directory(fd)
        except OSError as error:
            problem = SourceError.from_os("readdirent", path, error, f"readdirnames {shown} failed: ")
            self._books.error(shown, problem)
            return None
        finally:
            os.close(fd)
        return _Entered(self._enter(directory, item, node, previous), item, place, previous, Survey(info, names, None, None))

    def _flush(self) -> None:
        if self._batch:
            self._guard()
            self._team.queue.put(self._batch)
            self._batch = []
            self._batch_files = self._batch_bytes = 0

    # The parent snapshot

    def _is_stored(self, previous: Node) -> bool:
        has = self._repository.index.has
        blobs = stored_blobs(previous)
        return blobs is not None and all(has(BlobType.DATA, blob) for blob in blobs)

    def _error(self, path: bytes, error: Exception) -> None:
        self._books.error(gojson.to_text(os.path.abspath(path)), error)


def _shown(path: bytes) -> str:
    """The absolute path, as text."""
    return gojson.to_text(path if path.startswith(b"/") else os.path.abspath(path))
