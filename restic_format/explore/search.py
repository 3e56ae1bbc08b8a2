"""Searching snapshots: files by patterns and times, and blobs, trees and packs by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from restic_format.errors import SpecError, StorageError
from restic_format.filter import AnyPattern
from restic_format.repository import Repository
from restic_format.snapshots.remembering import Fault, RememberingSearch
from restic_format.work import Cancel
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node

SHORT = 8
"""Digits of an id that stand for it."""
NODE_SIZE = 1 << 10
"""Bytes of memory that a match takes, about, and a place of a blob or tree:"""
PLACE_SIZE = 1 << 9

T = TypeVar("T")


class Match(NamedTuple):
    """A file, directory or other node that fits the patterns."""

    path: str
    node: Node


class FoundObject(NamedTuple):
    """A place where a snapshot has a blob or a tree that is searched for."""

    type: BlobType
    id: str
    """Hexadecimal."""
    path: str
    """Of the file with the blob, or the directory with the tree."""
    parent: str
    """Id of the tree with the file; empty for a tree."""


class PatternSearch(Generic[T]):
    """Searches trees for what fits any of *patterns* and was modified not before *oldest* and not after *newest* (nanoseconds
    since the epoch). See `RememberingSearch`.

    *form* says what is given and remembered of a match: of *size* bytes, as much as a node takes unless that is said.
    """

    def __init__(
        self,
        repository: Repository,
        patterns: AnyPattern,
        form: Callable[[Match], T],
        *,
        size: Callable[[T], int] = lambda _: NODE_SIZE,
        oldest: int | None = None,
        newest: int | None = None,
        fault: Fault,
        cancel: Cancel | None = None,
    ) -> None:
        self._patterns = patterns
        self._form = form
        self._oldest = oldest
        self._newest = newest
        self._search = RememberingSearch(repository, self._look, size, fault=fault, cancel=cancel)

    def matches(self, tree: bytes) -> Iterator[T]:
        """What fits in *tree* and below."""
        return self._search.results(tree)

    def _look(self, path: str, node: Node, _tree: bytes) -> tuple[Sequence[T], bool]:
        if self._patterns.match(path) and self._in_time(node):
            return (self._form(Match(path, node)),), True
        return (), node.type == DIR and self._patterns.child_may_match(path)

    def _in_time(self, node: Node) -> bool:
        if self._oldest is None and self._newest is None:
            return True
        time = node.mtime_ns
        return (self._oldest is None or time >= self._oldest) and (self._newest is None or time <= self._newest)


class ObjectSearch:
    """Searches trees for data blobs and trees by their ids: hexadecimal, whole or the first eight digits. See
    `RememberingSearch`.

    A short id stands for the first blob that is found with it. With *once* a snapshot's search ends, as in restic, when as many
    trees were found, in this snapshot and those before, as are searched for.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        blobs: Iterable[str] = (),
        trees: Iterable[str] = (),
        once: bool = False,
        fault: Fault,
        cancel: Cancel | None = None,
    ) -> None:
        self.blobs = dict.fromkeys(blobs)
        """Ids of the blobs in the order they were given or found: the short ones of which none was found yet."""
        self.trees = dict.fromkeys(trees)
        self._once = once
        self._found = 0
        """Places of trees that were found, in all snapshots."""
        self._search = RememberingSearch(repository, self._look, lambda _: PLACE_SIZE, fault=fault, cancel=cancel)

    def places(self, tree: bytes) -> Iterator[FoundObject]:
        """Where the tree *tree* and what is below have what is searched for."""
        for place in self._all(tree):
            yield place
            if place.type is BlobType.TREE:
                self._found += 1
                if self._once and self._found >= len(self.trees):
                    return

    def _all(self, tree: bytes) -> Iterator[FoundObject]:
        yield from self._tree(tree.hex(), "/")
        yield from self._search.results(tree)

    def _look(self, path: str, node: Node, tree: bytes) -> tuple[Sequence[FoundObject], bool]:
        if node.type == DIR:
            return (self._tree(node.subtree, path) if node.subtree is not None else ()), True
        if node.type != FILE or not self.blobs:
            return (), False
        return [self._blob(blob, path, tree) for blob in node.blobs if blob in self.blobs or blob[:SHORT] in self.blobs], False

    def _tree(self, tree: str, path: str) -> Sequence[FoundObject]:
        if tree in self.trees or tree[:SHORT] in self.trees:
            return (FoundObject(BlobType.TREE, tree, path, ""),)
        return ()

    def _blob(self, blob: str, path: str, tree: bytes) -> FoundObject:
        if blob not in self.blobs:
            del self.blobs[blob[:SHORT]]
            self.blobs[blob] = None
        return FoundObject(BlobType.DATA, blob, path, tree.hex())


class PackContent(NamedTuple):
    """What is in some packs; ids are hexadecimal."""

    blobs: list[str]
    trees: list[str]
    from_index: list[str]
    """Packs whose blobs the index tells: their files are not there, or their headers cannot be read."""
    missing: list[str]
    """Packs of which nobody knows, as they were named."""


def blobs_of_packs(repository: Repository, packs: Iterable[str]) -> PackContent:
    """What is in *packs*, given by their ids like those of `ObjectSearch`: from their headers, or else as the index has it. It
    must be loaded.

    Raises:
        StorageError: the packs cannot be listed.
    """
    wanted = dict.fromkeys(packs)
    content = PackContent([], [], [], [])

    def full(name: str) -> str | None:
        """The id, if the pack is wanted; it takes the place of the short one."""
        if name in wanted:
            return name
        if name[:SHORT] not in wanted:
            return None
        del wanted[name[:SHORT]]
        wanted[name] = None
        return name

    def add(kind: BlobType, blob: bytes) -> None:
        (content.trees if kind is BlobType.TREE else content.blobs).append(blob.hex())

    for pack, size in repository.list(FileKind.PACK):
        if not wanted:
            break
        name = full(pack.hex())
        if name is None:
            continue
        try:
            entries = repository.packs.header(pack, size)
        except (SpecError, StorageError):
            continue  # the index may know
        del wanted[name]
        for entry in entries:
            add(entry.type, entry.id)
    for listed in repository.index.packs() if wanted else ():
        name = full(listed.id.hex())
        if name is not None:
            del wanted[name]
            content.from_index.append(name)
            for entry in listed.entries():
                add(entry.type, entry.id)
    content.missing.extend(sorted(wanted))
    return content
