"""A tree of a snapshot as a file system: list, stat, walk, open. For those who ask for one path after another."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from restic_format.errors import SnapshotNotFound
from restic_format.repository import Repository
from restic_format.snapshots.blobcache import BlobCache
from restic_format.snapshots.stream import FileStream, open_file
from restic_format.snapshots.walk import Level, Walk, subtree_of
from restic_spec import gomode
from restic_spec.errors import ResticFormatError
from restic_spec.tree import DIR, Node

KEPT = 64 << 20
"""Bytes of directories that are kept, unless the caller says otherwise."""
_NODE_SIZE = 1 << 10
"""Bytes of a decoded node, about; and for each blob of a file:"""
_BLOB_SIZE = 120

Fault = Callable[[str, ResticFormatError], None]
"""Told the path of what cannot be used, and why. With the path of a directory, its tree or the rest of it."""


class Entry(NamedTuple):
    """An item that `SnapshotFileSystem.walk` comes to."""

    path: str
    node: Node


class Directory:
    """The entries of a directory by name; with how much memory they take."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: dict[str, Node] = {}
        self.size = _NODE_SIZE

    def add(self, name: str, node: Node) -> None:
        """Add an entry."""
        self.entries[name] = node
        self.size += _NODE_SIZE + _BLOB_SIZE * len(node.blobs)


class DirectoryCache:
    """Directories of a repository that were looked at last, whichever snapshot they are in; used from any thread."""

    def __init__(self, limit: int = KEPT) -> None:
        """*limit* is how many bytes of memory they take at most, about."""
        self.limit = limit
        self._lock = threading.Lock()
        self._kept: dict[bytes, Directory] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of memory that the directories take, about."""
        return self._size

    def get(self, tree: bytes) -> dict[str, Node] | None:
        """The entries of a directory by name, None where they are not kept. Not to be changed."""
        with self._lock:
            directory = self._kept.pop(tree, None)
            if directory is None:
                return None
            self._kept[tree] = directory
            return directory.entries

    def keep(self, tree: bytes, directory: Directory) -> None:
        """Keep a directory, unless it is larger than all that may be kept."""
        with self._lock:
            if directory.size > self.limit or tree in self._kept:
                return
            self._kept[tree] = directory
            self._size += directory.size
            while self._size > self.limit:
                self._size -= self._kept.pop(next(iter(self._kept))).size


class SnapshotFileSystem:
    """The files below the tree *tree*; every method may be called from any thread. The index must be loaded.

    Paths are separated by ``/`` and begin at *tree*; ``/`` and the empty path are *tree* itself. Opened files share *cache*,
    which the caller closes; without it there is one that `close` closes, as the end of a ``with`` block does. Several file
    systems may share *directories*. What is wrong with single entries, or with a tree that a walk comes to, is told to *fault*
    and left out; without it, it is raised.
    """

    def __init__(
        self,
        repository: Repository,
        tree: bytes,
        *,
        cache: BlobCache | None = None,
        directories: DirectoryCache | None = None,
        fault: Fault | None = None,
    ) -> None:
        self._repository = repository
        self._root = Node(quoted="", type=DIR, mode=gomode.DIR | 0o755, content=None, subtree=tree.hex())
        self._own = cache is None
        self._cache = BlobCache(repository) if cache is None else cache
        self._directories = DirectoryCache() if directories is None else directories
        self._fault = fault

    def __enter__(self) -> SnapshotFileSystem:
        """The file system."""
        return self

    def __exit__(self, *_: object) -> None:
        """`close`."""
        self.close()

    def close(self) -> None:
        """Let go of what is kept, unless it is shared. Files that are open may still be read."""
        if self._own:
            self._cache.close()

    def stat(self, path: str) -> Node:
        """The node at *path*. That of the top has no name and no times.

        Raises:
            SnapshotNotFound: there is no such item, or what should be a directory is not one.
            ResticFormatError: a tree on the way cannot be read.
        """
        node, walked = self._root, ""
        for name in _names(path):
            tree = _tree_of(node, walked)
            walked = f"{walked}/{name}" if walked else name
            found = self._entry(tree, name)
            if found is None:
                raise SnapshotNotFound(f"path {walked}: not found")
            node = found
        return node

    def list(self, path: str = "/") -> Iterator[Node]:
        """The entries of the directory *path*, in order.

        Raises:
            SnapshotNotFound: there is no such directory.
            ResticFormatError: a tree on the way, or its own, cannot be read.
        """
        tree = self._directory(path)
        entries = self._directories.get(tree)
        if entries is not None:
            return iter(entries.values())
        return self._read(tree, path)

    def walk(self, path: str = "/") -> Iterator[Entry]:
        """Everything below the directory *path* with its path, each directory before what is in it. Raises as `list`.

        Memory does not grow with what there is.
        """
        tree = self._directory(path)
        top = "/".join(["", *_names(path)])

        def fault(level: Level[None], node: Node | None, error: ResticFormatError) -> None:
            told = f"{top}{level.prefix}"
            self._tell((told or "/") if node is None else f"{told}/{node.quoted}", error)

        walk = Walk(self._repository, tree, None, fault=fault)
        for level, node, name in walk:
            yield Entry(f"{top}{level.prefix}/{name}", node)
            if node.type == DIR:
                try:
                    walk.enter(node, name, None)
                except ResticFormatError as error:
                    fault(level, node, error)

    def open(self, path: str) -> FileStream:
        """The content of the file *path*.

        Raises:
            NodeUnusable: it is not a regular file.
            BlobMissing: no index knows one of its blobs.
            SnapshotNotFound, ResticFormatError: as `stat`.
        """
        return self.open_node(self.stat(path))

    def open_node(self, node: Node) -> FileStream:
        """The content of the file that *node* is. Raises as `open`."""
        return open_file(self._repository, node, self._cache)

    def _tell(self, path: str, error: ResticFormatError) -> None:
        if self._fault is None:
            raise error
        self._fault(path, error)

    def _directory(self, path: str) -> bytes:
        return _tree_of(self.stat(path), "/".join(_names(path)))

    def _entry(self, tree: bytes, name: str) -> Node | None:
        """The entry of a directory with this name; what is wrong with others does not matter."""
        entries = self._directories.get(tree)
        if entries is not None:
            return entries.get(name)
        found = None
        damage: list[ResticFormatError] = []
        directory: Directory | None = Directory()

        def fault(_level: Level[None], node: Node | None, error: ResticFormatError) -> None:
            nonlocal directory
            directory = None  # `list` has to tell
            if node is None:
                damage.append(error)

        for _, node, entry in Walk(self._repository, tree, None, fault=fault):
            if entry == name:
                found = node
            directory = self._with(directory, entry, node)
            if found is not None and directory is None:
                return found
        if found is None and damage:
            raise damage[0]
        if directory is not None:
            self._directories.keep(tree, directory)
        return found

    def _read(self, tree: bytes, path: str) -> Iterator[Node]:
        """The entries of a directory, which is kept when all of them have come and nothing is wrong with it."""
        directory: Directory | None = Directory()
        top = "/".join(["", *_names(path)])

        def fault(_level: Level[None], node: Node | None, error: ResticFormatError) -> None:
            nonlocal directory
            directory = None
            self._tell((top or "/") if node is None else f"{top}/{node.quoted}", error)

        for _, node, name in Walk(self._repository, tree, None, fault=fault):
            directory = self._with(directory, name, node)
            yield node
        if directory is not None:
            self._directories.keep(tree, directory)

    def _with(self, directory: Directory | None, name: str, node: Node) -> Directory | None:
        """The directory with one more entry, None where it is too large to be kept."""
        if directory is None:
            return None
        directory.add(name, node)
        return directory if directory.size <= self._directories.limit else None


def _names(path: str) -> Sequence[str]:
    return [name for name in posixpath.normpath("/" + path).split("/") if name]


def _tree_of(node: Node, path: str) -> bytes:
    if node.type != DIR:
        raise SnapshotNotFound(f"path {path}: not a directory")
    return subtree_of(node)
