"""A search through the trees of many snapshots that are much alike: what was found in a directory is found there again.

Most directories of a snapshot are those of the one before. Which of them hold nothing that is searched for is remembered, in 45
bytes each; of the others what was found, as far as that fits a bound. Neither is read a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from restic_format.repository import Repository
from restic_format.snapshots import Level, Walk, subtree_of
from restic_format.snapshots.idset import IdSet
from restic_format.work import Cancel
from restic_spec import gojson
from restic_spec.errors import ResticFormatError
from restic_spec.ids import ID_SIZE
from restic_spec.tree import DIR, Node

MOST_FOUND = 24 << 20
"""Bytes of findings that are remembered, about: less than deriving the key took, and gave back."""
MOST_EMPTY = 1 << 22
"""Directories that are remembered to hold nothing."""

T = TypeVar("T")

Look = Callable[[str, Node, bytes], tuple[Sequence[T], bool]]
"""Told of an entry: its path, its node, the id of the tree that it is in. Gives what is found there, and whether to go into
the directory that it is. It must say the same of the same entry every time."""
Fault = Callable[[str, ResticFormatError], None]
"""Told the path of what cannot be used, and why. With the path of a directory, its tree or the rest of it."""


class _Folder(Generic[T]):
    """A directory that is searched."""

    __slots__ = ("items", "key", "own", "whole")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.items: list[Any] = []
        """What was found: findings, and for directories lists of the same kind."""
        self.own = 0
        """Bytes of the findings that are directly in it."""
        self.whole = True
        """Whether that is all."""


class RememberingSearch(Generic[T]):
    """Gives everything that *look* finds in one tree after the other. What cannot be used is told to *fault* for each of them
    again, and the rest goes on. *size* tells how many bytes of memory a finding takes, about.
    """

    def __init__(
        self,
        repository: Repository,
        look: Look[T],
        size: Callable[[T], int],
        *,
        fault: Fault,
        cancel: Cancel | None = None,
    ) -> None:
        self._repository = repository
        self._look = look
        self._size = size
        self._fault = fault
        self._cancel = cancel
        self._empty = IdSet()
        self._found: dict[bytes, list[Any]] = {}
        self._room = MOST_FOUND
        self._open = 0
        """Bytes of the findings that are remembered of directories that are still being searched."""

    def results(self, tree: bytes) -> Iterator[T]:
        """What there is in *tree* and below, in the order of the tree; the index must be loaded.

        Raises:
            Interrupted: it was cancelled.
        """
        top: _Folder[T] = _Folder(_key(tree, ""))
        known = self._known(top.key)
        if known is not None:
            yield from _flat(known)
            return
        try:
            yield from self._search(tree, top)
        finally:
            self._room += self._open
            self._open = 0

    def _search(self, tree: bytes, top: _Folder[T]) -> Iterator[T]:
        look = self._look
        walk = Walk(self._repository, tree, top, fault=self._tell, left=self._left)
        directory: Level[_Folder[T]] | None = None
        prefix, folder = "", top
        for level, node, name in walk:
            if level is not directory:
                if self._cancel is not None:
                    self._cancel.check()
                directory, prefix, folder = level, level.prefix, level.data
            path = f"{prefix}/{name}"
            results, enter = look(path, node, level.tree)
            for result in results:
                self._add(folder, result)
                yield result
            if not enter or node.type != DIR:
                continue
            try:
                key = _key(subtree_of(node), path)
                known = self._known(key)
                if known is None:
                    walk.enter(node, name, _Folder(key))
            except ResticFormatError as error:
                folder.whole = False
                self._fault(path, error)
                continue
            if known:
                folder.items.append(known)
                yield from _flat(known)

    def _known(self, key: bytes) -> list[Any] | None:
        """What is remembered of a directory at its path, None for nothing."""
        return [] if key in self._empty else self._found.get(key)

    def _add(self, folder: _Folder[T], result: T) -> None:
        if not folder.whole:
            return
        size = self._size(result)
        if size <= self._room:
            self._room -= size
            self._open += size
            folder.own += size
            folder.items.append(result)
        else:
            folder.whole = False

    def _left(self, level: Level[_Folder[T]]) -> None:
        """All of a directory was searched."""
        folder = level.data
        self._open -= folder.own
        above = None if level.above is None else level.above.data
        if not folder.whole:
            self._room += folder.own
            if above is not None:
                above.whole = False
        elif folder.items:
            self._found[folder.key] = folder.items
            if above is not None:
                above.items.append(folder.items)
        elif len(self._empty) < MOST_EMPTY:
            self._empty.add(folder.key)

    def _tell(self, level: Level[_Folder[T]], node: Node | None, error: ResticFormatError) -> None:
        level.data.whole = False
        self._fault(level.place_of(node), error)


def _key(tree: bytes, path: str) -> bytes:
    """What stands for a tree at a path: what is found may depend on both."""
    return blake2b(tree + gojson.to_bytes(path), digest_size=ID_SIZE).digest()


def _flat(items: list[Any]) -> Iterator[Any]:
    """The findings in *items*, and in lists in it."""
    pending = [iter(items)]
    while pending:
        for item in pending[-1]:
            if type(item) is list:
                pending.append(iter(item))
                break
            yield item
        else:
            pending.pop()
