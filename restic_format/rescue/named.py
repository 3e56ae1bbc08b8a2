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
from restic_spec.tree import DIR, Tree

MOST_MISSING = 1_000_000
"""Missing blobs that are found at once."""


def missing_below(repository: Repository, trees: Iterable[bytes], cancel: Cancel | None = None) -> set[Key]:
    """Blobs that *trees* and those below them name, as far as they can be read, and that the index does not list: at most
    `MOST_MISSING`. The index must be loaded. Raises `Interrupted`.
    """
    found: set[Key] = set()
    for _, tree in _readable(repository, trees, set(), cancel):
        found.update(key for key in _named(tree) if repository.index.lookup(*key) is None)
        if len(found) >= MOST_MISSING:
            break
    return found


def roots(snapshots: Iterable[FoundSnapshot]) -> list[bytes]:
    """The trees of *snapshots*, of those that have one."""
    return [parse_id(one.snapshot.tree) for one in snapshots if isinstance(one.snapshot.tree, str)]


def has_all_of(repository: Repository, old: FoundSnapshot, new: FoundSnapshot, cancel: Cancel | None = None) -> bool:
    """Whether the snapshot *new* has every blob of files that is left of the snapshot *old*. The index must be loaded. Raises
    `Interrupted`.
    """
    kept = {tree_id for tree_id, _ in _readable(repository, roots([new]), set(), cancel)}
    left: set[Key] = set()
    met: set[bytes] = set(kept)  # What both have is the same in both.
    for _, tree in _readable(repository, roots([old]), met, cancel):
        left.update(key for key in _named(tree) if key[0] is BlobType.DATA and repository.index.lookup(*key) is not None)
    for _, tree in _readable(repository, roots([new]), set(), cancel):
        if not left:
            break
        left.difference_update(_named(tree))
    return not left


def _readable(
    repository: Repository, trees: Iterable[bytes], met: set[bytes], cancel: Cancel | None
) -> Iterator[tuple[bytes, Tree]]:
    """Trees that can be read, from *trees* on, each once; *met* are those that are not gone through (again)."""
    pending = [root for root in trees if root not in met]
    met.update(pending)
    while pending:
        if cancel is not None:
            cancel.check()
        tree_id = pending.pop()
        try:
            tree = repository.load_tree(tree_id)
        except ResticFormatError:
            continue
        yield tree_id, tree
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
