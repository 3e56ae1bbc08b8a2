"""The walk: which items there are, which are as they were in the parent snapshot, and which the workers have to read.

One thread walks the targets depth first, entries sorted by their bytes, as trees are. Files that have to be read go to the
workers in batches through a bounded queue; everything else is settled at once. See `pending` for how trees come about.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence

from restic_format.backup.errors import NothingToBackUp, SourceError
from restic_format.backup.files import FileJob, Team
from restic_format.backup.looking import ASK_ALWAYS, ASK_UNLESS_REGULAR, FileInfo, look_at_many
from restic_format.backup.opening import OPEN_FLAGS, list_open_directory, open_source
from restic_format.backup.options import BackupOptions
from restic_format.backup.pending import PendingDirectory
from restic_format.backup.select import Reject
from restic_format.backup.targets import TargetTree
from restic_format.backup.trees import by_name, file_changed, stored_blobs
from restic_format.errors import ResticFormatError
from restic_spec import gojson
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, Node

LOOK_AT_ONCE = 256
"""Entries of a directory that are looked at together."""

BATCH_FILES = 64
BATCH_BYTES = 1024 * 1024
"""A batch for a worker is complete with so many files or bytes."""

Parent = dict[str, Node]
"""The nodes of a directory of the parent snapshot, by quoted name."""


class Archiver:
    """Walks the targets of one backup."""

    def __init__(self, team: Team, options: BackupOptions, rejects: Sequence[Reject], guard: Callable[[], None]) -> None:
        self._team = team
        self._guard = guard
        self._books = team.books
        self._builder = team.builder
        self._repository = team.repository
        self._excluded: Callable[[str], bool] | None = options.excludes.rejects if options.excludes else None
        self._rejects = rejects
        self._check_ctime = not (options.ignore_ctime or options.ignore_inode)
        self._check_inode = not options.ignore_inode
        self._batch: list[FileJob] = []
        self._batch_bytes = 0

    def walk(self, tree: TargetTree, parent_tree: str | None) -> None:
        """Walk everything below *tree*, whose parent snapshot has the root *parent_tree*.

        Returns when everything is queued; the root tree is saved by who finishes last.

        Raises:
            NothingToBackUp: there is nothing to put into the snapshot.
            ResticFormatError: the repository failed.
        """
        root = PendingDirectory(None, "/", None, None)
        self._walk_targets(root, "", tree, self._load_parent(parent_tree, "/"))
        if not root.nodes:
            raise NothingToBackUp("snapshot is empty; check the targets and the patterns that exclude")
        self._flush()
        self._books.closed(root)

    # The directories that lead to the targets

    def _walk_targets(self, directory: PendingDirectory, prefix: str, tree: TargetTree, parent: Parent) -> None:
        for name in tree.names():
            if self._team.stopping():
                return
            child = tree.children[name]
            shown = gojson.to_text(name)
            previous = parent.get(gojson.quote(shown))
            item = f"{prefix}/{shown}"
            if child.path:
                self._save(directory, name, item, child.path, previous, explicit=child.explicit)
                continue
            try:
                node = self._parent_node(name, child.info_path)
            except (OSError, SourceError) as error:
                problem = SourceError.from_os("stat", child.info_path, error) if isinstance(error, OSError) else error
                self._books.error(item, problem)
                continue
            below = self._enter(directory, item, node, previous)
            self._walk_targets(below, item, child, self._load_parent(_subtree(previous), item))
            self._books.closed(below)

    def _parent_node(self, name: bytes, path: bytes) -> Node:
        """The node of a directory above the targets; it may be a symlink to one."""
        info = os.stat(path)
        if not stat.S_ISDIR(info.st_mode):
            raise SourceError(f"path is not a directory: {gojson.to_text(path)}")
        return self._builder.build(name, info, path, self._team.warn, is_parent=True)

    def _enter(self, directory: PendingDirectory, item: str, node: Node, previous: Node | None) -> PendingDirectory:
        self._books.opened(directory)
        return PendingDirectory(directory, item + "/", node, previous)

    # The targets themselves

    def _save(
        self, directory: PendingDirectory, name: bytes, item: str, path: bytes, previous: Node | None, *, explicit: bool
    ) -> None:
        """Save a target and everything below it.

        The walk keeps its own stack: trees may be deeper than Python's.
        """
        if not explicit and self._excluded is not None and self._excluded(_shown(path)):
            return
        entered = self._visit(directory, name, item, path, previous, None, explicit=explicit)
        stack: list[Iterator[_Entered]] = []
        while True:
            if entered is not None:
                stack.append(self._visit_entries(*entered))
            if not stack or self._team.stopping():
                return
            entered = next(stack[-1], None)
            if entered is None:
                stack.pop()

    def _visit_entries(
        self, directory: PendingDirectory, item: str, path: bytes, names: list[bytes], previous: Node | None
    ) -> Iterator[_Entered]:
        """Visit the entries of a directory, giving each directory among them to the caller before going on."""
        parent = self._load_parent(_subtree(previous), item)
        quoted = gojson.quote
        prefix = path if path.endswith(b"/") else path + b"/"
        for start in range(0, len(names), LOOK_AT_ONCE):
            some = names[start : start + LOOK_AT_ONCE]
            if self._excluded is not None:
                some = [name for name in some if not self._excluded(_shown(prefix + name))]
            looks = look_at_many([prefix + name for name in some], ASK_ALWAYS if parent else ASK_UNLESS_REGULAR)
            last = names[start - 1] if start else None
            for name, info in zip(some, looks, strict=True):
                if name == last:
                    message = f'node "{quoted(gojson.to_text(name))}": nodes are not ordered or duplicate'
                    self._books.error(gojson.to_text(prefix + name), SourceError(message))
                    continue
                last = name
                shown = name.decode("utf-8", "surrogateescape")
                before = parent.pop(quoted(shown), None) if parent else None
                entered = self._visit(directory, name, f"{item}/{shown}", prefix + name, before, info)
                if entered is not None:
                    yield entered
                elif self._team.stopping():
                    return
        self._books.closed(directory)

    def _visit(
        self,
        directory: PendingDirectory,
        name: bytes,
        item: str,
        path: bytes,
        previous: Node | None,
        info: FileInfo | None,
        *,
        explicit: bool = False,
    ) -> _Entered | None:
        """Settle one item, or queue it; a directory to go into is given back.

        *info* is None where it has not been looked at yet, or could not be.
        """
        if info is None:
            try:
                info = os.lstat(path)
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
            self._visit_file(directory, name, item, path, previous, info)
        elif stat.S_ISDIR(mode):
            return self._open_directory(directory, name, item, path, previous)
        elif not stat.S_ISSOCK(mode):
            directory.nodes.append(self._builder.build(name, info, path, self._team.warn))
        return None

    def _visit_file(
        self,
        directory: PendingDirectory,
        name: bytes,
        item: str,
        path: bytes,
        previous: Node | None,
        info: FileInfo,
    ) -> None:
        """Take a file over from the parent snapshot where it is as it was, or queue it for reading."""
        if previous is not None:
            times = self._builder.time_text(info.st_mtime_ns), self._builder.time_text(info.st_ctime_ns)
            if not file_changed(info, *times, previous, check_ctime=self._check_ctime, check_inode=self._check_inode):
                if self._is_stored(previous):
                    started = time.monotonic()
                    node = self._builder.build(name, info, path, self._team.warn)
                    node.content = previous.content
                    directory.nodes.append(node)
                    self._books.item_done(item, previous, previous, None, started)
                    self._team.progress.bytes_done(previous.size)
                    return
                shown = gojson.to_text(path)
                message = f"parts of {shown} not found in the repository index; storing the file again"
                self._error(path, SourceError(message))
        self._books.opened(directory)
        self._batch.append(FileJob(directory, directory.reserve(), path, item, name, previous, info.st_size))
        self._batch_bytes += info.st_size
        if len(self._batch) >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._flush()

    def _open_directory(
        self, directory: PendingDirectory, name: bytes, item: str, path: bytes, previous: Node | None
    ) -> _Entered | None:
        """List a directory and begin its tree; None where it cannot be read."""
        shown = gojson.to_text(path)
        try:
            fd = open_source(path, OPEN_FLAGS | os.O_DIRECTORY)
        except OSError as error:
            problem = SourceError.from_os("open", path, error, "openfile for readdirnames failed: ")
            self._books.error(shown, problem)
            return None
        try:
            node = self._builder.build(name, os.fstat(fd), path, self._team.warn, fd)
            names = list_open_directory(fd)
        except OSError as error:
            problem = SourceError.from_os("readdirent", path, error, f"readdirnames {shown} failed: ")
            self._books.error(shown, problem)
            return None
        finally:
            os.close(fd)
        return self._enter(directory, item, node, previous), item, path, names, previous

    def _flush(self) -> None:
        if self._batch:
            self._guard()
            self._team.queue.put(self._batch)
            self._batch = []
            self._batch_bytes = 0

    # The parent snapshot

    def _is_stored(self, previous: Node) -> bool:
        has = self._repository.index.has
        blobs = stored_blobs(previous)
        return blobs is not None and all(has(BlobType.DATA, blob) for blob in blobs)

    def _load_parent(self, tree: str | None, item: str) -> Parent:
        """The parent snapshot's nodes of a directory; nothing where they cannot be read, which is reported."""
        if tree is None:
            return {}
        try:
            tree_id = parse_id(tree)
            if not self._repository.index.has(BlobType.TREE, tree_id):
                raise SourceError(
                    f"tree {tree} is not known; the repository could be damaged, run `repair index` to try to repair it"
                )
            return by_name(self._repository.load_tree(tree_id))
        except SourceError as error:
            problem = error
        except ResticFormatError as error:
            problem = SourceError(f"tree {tree} could not be loaded; the repository could be damaged: {error}")
        self._books.error(item, problem)
        return {}

    def _error(self, path: bytes, error: Exception) -> None:
        self._books.error(gojson.to_text(os.path.abspath(path)), error)


_Entered = tuple[PendingDirectory, str, bytes, list[bytes], Node | None]
"""A directory to go into: itself, its path in the snapshot, where it is, its entries' names, its node in the parent."""


def _subtree(node: Node | None) -> str | None:
    return node.subtree if node is not None and node.type == DIR else None


def _shown(path: bytes) -> str:
    """The absolute path, as text."""
    return gojson.to_text(path if path.startswith(b"/") else os.path.abspath(path))
