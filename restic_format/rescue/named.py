"""Blobs that trees name, whether they are there or not: what to look for elsewhere, and which of two trees has more left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from restic_format.errors import ResticFormatError
from restic_format.repository import Repository
from restic_format.rescue.wanted import Key
from restic_format.snapshots.find import FoundSnapshot
from restic_format.work import Cancel
from restic_spec.errors import SpecError
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, IRREGULAR, Tree

MOST_MISSING = 1_000_000
"""Missing blobs that are found at once."""


def missing_below(repository: Repository, trees: Iterable[bytes], cancel: Cancel | None = None) -> set[Key]:
    """Blobs that *trees* and those below them name, as far as they can be read, and that the index does not list: at most
    `MOST_MISSING`. The index must be loaded. Raises `Interrupted`.
    """
    found: set[Key] = set()
    for tree in _readable(repository, trees, cancel):
        found.update(key for key in _named(tree) if repository.index.lookup(*key) is None)
        if len(found) >= MOST_MISSING:
            break
    return found


def roots(snapshots: Iterable[FoundSnapshot]) -> list[bytes]:
    """The trees of *snapshots*, of those that have one."""
    return [parse_id(one.snapshot.tree) for one in snapshots if isinstance(one.snapshot.tree, str)]


Pair = tuple[bytes, bytes]


class Comparing:
    """Says of snapshots whether they have all that is left of others. Only trees in which they differ are gone through, each
    pair once.
    """

    def __init__(self, repository: Repository, cancel: Cancel | None = None) -> None:
        """The index of *repository* must be loaded, and must not lose anything meanwhile."""
        self._repository = repository
        self._cancel = cancel
        self._good: set[Pair] = set()

    def has_all_of(self, old: FoundSnapshot, new: FoundSnapshot) -> bool:
        """Whether *new* has every entry and every blob of files that is left of *old*. Raises `Interrupted`."""
        pending: list[Pair] = [(one, other) for one in roots([old]) for other in roots([new])]
        met: set[Pair] = set()
        while pending:
            if self._cancel is not None:
                self._cancel.check()
            pair = pending.pop()
            if pair[0] == pair[1] or pair in met or pair in self._good:
                continue
            met.add(pair)
            if not self._compare(pair, pending):
                return False
        if len(self._good) < MOST_MISSING:
            self._good |= met
        return True

    def _compare(self, pair: Pair, below: list[Pair]) -> bool:
        """Whether the second tree has what is left of the first; what is below them is added to *below*."""
        try:
            old = self._repository.load_tree(pair[0])
        except ResticFormatError:
            return True
        try:
            new = {node.name: node for node in self._repository.load_tree(pair[1])}
        except ResticFormatError:
            return False
        for node in old:
            if node.type in (IRREGULAR, ""):  # Repairs leave these out.
                continue
            other = new.get(node.name)
            if other is None:
                return False
            left = {blob for blob in node.blobs if self._repository.index.has(BlobType.DATA, bytes.fromhex(blob))}
            if not left.issubset(other.blobs):
                return False
            if node.type == DIR and node.subtree is not None and other.subtree is not None:
                below.append((bytes.fromhex(node.subtree), bytes.fromhex(other.subtree)))
        return True


def _readable(repository: Repository, trees: Iterable[bytes], cancel: Cancel | None) -> Iterator[Tree]:
    """Trees that can be read, from *trees* on, each once."""
    met = set(trees)
    pending = list(met)
    while pending:
        if cancel is not None:
            cancel.check()
        try:
            tree = repository.load_tree(pending.pop())
        except ResticFormatError:
            continue
        yield tree
        below = {key[1] for key in _named(tree) if key[0] is BlobType.TREE} - met
        met |= below
        pending += below


def _named(tree: Tree) -> Iterator[Key]:
    """The blobs that the entries of a tree name."""
    for node in tree:
        try:
            for blob in node.blobs:
                yield BlobType.DATA, bytes.fromhex(blob)
            if node.type == DIR and node.subtree is not None:
                yield BlobType.TREE, bytes.fromhex(node.subtree)
        except (SpecError, ValueError):
            continue
