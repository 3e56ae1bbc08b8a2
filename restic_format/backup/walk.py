"""The walk: which items there are, which are as they were in the parent snapshot, and which the workers have to read.

One thread walks the targets depth first, entries sorted by their bytes, as trees are. Files that have to be read go to the
workers in batches through a bounded queue; everything else is settled at once. See `directories` for how trees come about.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from restic_format.backup.directories import Directory, Files
from restic_format.backup.errors import SourceError
from restic_format.backup.files import Workers
from restic_format.backup.job import BackupOptions
from restic_format.backup.nodes import encode_file, encode_node, file_changed, stored_ids
from restic_format.backup.parent import LayeredDirectory, ParentDirectory, ParentTrees, ParsedDirectory, subtree_of
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
    look_closely,
    open_source,
)
from restic_format.backup.survey import Ahead, Survey, survey
from restic_format.backup.targets import TargetTree
from restic_format.native import nodes
from restic_format.repository import Repository
from restic_format.work import Cancel
from restic_spec import gojson
from restic_spec.pack import BlobType
from restic_spec.tree import Node

MOST_COMPARED = 1024 * 1024
"""Bytes of a tree of the parent snapshot that are kept until the new one is known."""

BATCH_FILES = 64
BATCH_BYTES = 1024 * 1024
"""A batch for a worker is complete with so many files or bytes."""


class Entry(NamedTuple):
    """An item that the walk has come to."""

    directory: Directory
    """Where its node goes."""
    name: bytes
    """What it is called there."""
    item: str
    """Its path in the snapshot."""
    place: Place
    """Where it is."""
    previous: Node | None
    """Its node in the parent snapshot."""


class _Entered(NamedTuple):
    """A directory to go into."""

    directory: Directory
    entry: Entry
    survey: Survey


class Walk:
    """The walk over the targets of one backup."""

    def __init__(
        self,
        repository: Repository,
        workers: Workers,
        parents: ParentTrees,
        options: BackupOptions,
        rejects: Sequence[Reject],
        cancel: Cancel,
    ) -> None:
        self._workers = workers
        self._cancel = cancel
        self._books = workers.books
        self._builder = workers.builder
        self._index = repository.index
        self._excluded: Callable[[str], bool] | None = options.excludes.rejects if options.excludes else None
        self._rejects = rejects
        self._parents = parents
        self._ahead = Ahead(parents, look=self._excluded is None) if parents.root is not None else None
        self._check_ctime = not (options.ignore_ctime or options.ignore_inode)
        self._check_inode = not options.ignore_inode
        self._batch: list[Files] = []
        self._batch_files = 0
        self._batch_bytes = 0

    def run(self, tree: TargetTree) -> None:
        """Walk everything below *tree*.

        Returns when everything is queued; the root tree is saved by who finishes last.

        Raises:
            ResticFormatError: the repository failed.
        """
        root = self._books.begin()
        self._walk_targets(root, tree, self._parents.load(self._parents.root, "/"))
        self._flush()
        self._books.closed(root)

    # The directories that lead to the targets

    def _walk_targets(self, root: Directory, tree: TargetTree, parent: ParentDirectory | None) -> None:
        # A target may be named thousands of directories deep: no recursion.
        levels = [(root, "", tree, iter(tree.names()), parent)]
        while levels:
            directory, prefix, tree, names, parent = levels[-1]
            name = None if self._workers.stopping() else next(names, None)
            if name is None:
                levels.pop()
                if levels:
                    self._books.closed(directory)
                continue
            child = tree.children[name]
            shown = gojson.to_text(name)
            previous = parent.find(name) if parent is not None else None
            item = f"{prefix}/{shown}"
            entry = Entry(directory, name, item, Place.of_target(child.path or child.info_path), previous)
            if child.path:
                self._save(entry, explicit=child.explicit)
                continue
            try:
                node = self._parent_node(entry, child.stand_in)
            except (OSError, SourceError) as error:
                problem = SourceError.from_os("stat", child.info_path, error) if isinstance(error, OSError) else error
                self._books.error(item, problem)
                continue
            below = self._books.enter(directory, item, node, previous)
            levels.append((below, item, child, iter(child.names()), self._parents.load(subtree_of(previous), item)))

    def _parent_node(self, entry: Entry, stand_in: bytes) -> Node:
        """The node of a directory above the targets; it may be a symlink to one. Where there is none, that of *stand_in* is
        what is known of its metadata.
        """
        path = entry.place.path
        try:
            info = os.stat(path)
            if not stat.S_ISDIR(info.st_mode):
                raise SourceError(f"path is not a directory: {gojson.to_text(path)}")
        except (OSError, SourceError):
            if not stand_in:
                raise
            place = Place.of_target(stand_in)
            node = self._builder.build(entry.name, os.stat(stand_in), place, self._workers.warn, is_parent=True)
            node.inode = node.device_id = 0
            node.extended_attributes = None
            return node
        return self._builder.build(entry.name, info, entry.place, self._workers.warn, is_parent=True)

    # The targets themselves

    def _save(self, entry: Entry, *, explicit: bool) -> None:
        """Save a target and everything below it.

        The walk keeps its own stack: trees may be deeper than Python's.
        """
        if not explicit and self._excluded is not None and self._excluded(_shown(entry.place.path)):
            return
        entered = self._visit(entry, None, explicit=explicit)
        stack: list[Iterator[_Entered]] = []
        while True:
            if entered is not None:
                stack.append(self._visit_entries(entered))
            if not stack or self._workers.stopping():
                return
            entered = next(stack[-1], None)
            if entered is None:
                stack.pop()

    def _visit_entries(self, entered: _Entered) -> Iterator[_Entered]:
        """Visit the entries of a directory, giving each directory among them to the caller before going on."""
        directory, entry, found = entered
        item = entry.item
        names = found.names
        parent = found.parent
        if parent is None:
            parent = self._parents.load(subtree_of(entry.previous), item)
        if isinstance(parent, ParsedDirectory) and len(parent.tree.raw) <= MOST_COMPARED:
            directory.before = parent.tree.raw
        folder = entry.place.as_folder()
        prefix = folder.prefix
        last = None
        for start in range(0, len(names), LOOK_AT_ONCE):
            some = self._wanted(prefix, names[start : start + LOOK_AT_ONCE], last)
            last = names[min(start + LOOK_AT_ONCE, len(names)) - 1]
            infos: Sequence[FileInfo | None] | None = found.infos
            if infos is None or len(infos) != len(some):
                infos = nodes.look_at(folder, some, ASK_ALWAYS if parent else ASK_UNLESS_REGULAR)
            if self._rejects:
                some, infos = self._not_rejected(prefix, some, infos)
            below = self._look_ahead(folder, some, infos, parent)
            at = 0
            for first, end, encoded, size, links in self._stretches(some, infos, parent):
                for number in range(at, first):
                    name = some[number]
                    before = below.get(number) or (parent.find(name) if parent is not None else None)
                    shown = f"{item}/{gojson.to_text(name)}"
                    deeper = self._visit(Entry(directory, name, shown, Place(folder, name), before), infos[number])
                    if deeper is not None:
                        yield deeper
                    elif self._workers.stopping():
                        return
                at = end
                if encoded is None:
                    self._books.opened(directory)
                    group = some[first:end]
                    self._queue(Files(directory, directory.reserve(end - first), folder, group, group, item, None, 0), size)
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
        if self._ahead is None or not parent or isinstance(parent, LayeredDirectory):
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
        if parent and tree is None:
            return [end]
        taken = self._builder.writer.take_over(names, list(infos), tree, not self._check_ctime, not self._check_inode)
        has_all = self._index.has_all
        if not has_all(BlobType.DATA, taken.ids()):
            for number in range(len(names)):
                if taken[number] and not has_all(BlobType.DATA, taken.ids(number, number + 1)):
                    taken.drop(number)
        found: list[tuple[int, int, bytes | None, int, int]] = [*taken.runs(), end]
        if not parent:
            small = nodes.small_files(infos, self._workers.cutter.min_size, BATCH_FILES, BATCH_BYTES)
            found += [(first, last, None, size, 0) for first, last, size in small]
            found.sort()
        return found

    def _visit(self, entry: Entry, info: FileInfo | None, *, explicit: bool = False) -> _Entered | None:
        """Settle one item, or queue it; a directory to go into is given back.

        *info* is None where it has not been looked at yet, or could not be; otherwise no check rejects it.
        """
        path = entry.place.path
        if info is None:
            try:
                info = look_closely(entry.place)
            except OSError as error:
                if error.errno != errno.ENOENT:  # it is fine if something vanishes after it was listed
                    self._error(path, SourceError.from_os("lstat", path, error))
                return None
            if self._rejects and not explicit:
                absolute = os.path.abspath(path)
                if any(rejects(absolute, info) for rejects in self._rejects):
                    return None
        mode = info.st_mode
        if stat.S_ISREG(mode):
            self._visit_file(entry, info)
        elif stat.S_ISDIR(mode):
            return self._open_directory(entry)
        elif not stat.S_ISSOCK(mode):
            entry.directory.nodes.append(encode_node(self._build(entry, info)))
        return None

    def _build(self, entry: Entry, info: FileInfo, fd: int | None = None) -> Node:
        return self._builder.build(entry.name, info, entry.place, self._workers.warn, fd)

    def _visit_file(self, entry: Entry, info: FileInfo) -> None:
        """Take a file over from the parent snapshot where it is as it was, or queue it for reading."""
        directory, name, item, place, previous = entry
        above = item.rpartition("/")[0]
        if previous is not None:
            times = self._builder.time_text(info.st_mtime_ns), self._builder.time_text(info.st_ctime_ns)
            if not file_changed(info, *times, previous, check_ctime=self._check_ctime, check_inode=self._check_inode):
                ids = stored_ids(previous)
                if ids is not None and self._index.has_all(BlobType.DATA, ids):
                    directory.nodes.append(encode_file(self._build(entry, info), ids))
                    self._books.taken_over(above, [name], previous.size)
                    return
                shown = gojson.to_text(place.path)
                message = f"parts of {shown} not found in the repository index; storing the file again"
                self._error(place.path, SourceError(message))
        self._books.opened(directory)
        slot = directory.reserve()
        self._queue(Files(directory, slot, place.folder, [place.name], [name], above, previous, info.st_size), info.st_size)

    def _queue(self, files: Files, size: int) -> None:
        self._batch.append(files)
        self._batch_files += len(files.names)
        self._batch_bytes += size
        if self._batch_files >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._flush()

    def _open_directory(self, entry: Entry) -> _Entered | None:
        """List a directory and begin its tree; None where it cannot be read."""
        place = entry.place
        found = self._ahead.take(place) if self._ahead is not None else None
        if found is None:
            [found] = survey(place.folder, [place.name], 0)
        if found is not None:
            return self._enter(entry, self._build(entry, found.info), found)
        shown = gojson.to_text(place.path)
        try:
            fd = open_source(place, OPEN_FLAGS | os.O_DIRECTORY)
        except OSError as error:
            problem = SourceError.from_os("open", place.path, error, "openfile for readdirnames failed: ")
            self._books.error(shown, problem)
            return None
        try:
            info = os.fstat(fd)
            node = self._build(entry, info, fd)
            names = list_open_directory(fd)
        except OSError as error:
            problem = SourceError.from_os("readdirent", place.path, error, f"readdirnames {shown} failed: ")
            self._books.error(shown, problem)
            return None
        finally:
            os.close(fd)
        return self._enter(entry, node, Survey(info, names, None, None))

    def _enter(self, entry: Entry, node: Node, found: Survey) -> _Entered:
        return _Entered(self._books.enter(entry.directory, entry.item, node, entry.previous), entry, found)

    def _flush(self) -> None:
        if self._batch:
            self._cancel.check()
            self._workers.queue.put(self._batch)
            self._batch = []
            self._batch_files = self._batch_bytes = 0

    def _error(self, path: bytes, error: Exception) -> None:
        self._books.error(gojson.to_text(os.path.abspath(path)), error)


def _shown(path: bytes) -> str:
    """The absolute path, as text."""
    return gojson.to_text(path if path.startswith(b"/") else os.path.abspath(path))
