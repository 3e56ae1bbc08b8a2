"""What each tree adds to a snapshot: entries and bytes. Every tree is read once, however many snapshots have it.

Trees are numbered as they are found. Of each there are three numbers, and the numbers of its subdirectories: some 90 bytes, and
24 more for each entry with several hard links.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from restic_format.errors import ResticFormatError
from restic_format.repository import Repository
from restic_format.snapshots import subtree_of
from restic_format.snapshots.idset import IdSet
from restic_format.snapshots.nodes import NodeReader
from restic_format.snapshots.used import Needed, add_used
from restic_format.work import Cancel
from restic_spec.ids import ID_SIZE
from restic_spec.tree import DIR, Node

_U64 = (1 << 64) - 1
"""Sums are kept in 64 bits as restic does: a forged repository can name one tree so often that they overflow."""


class Sizes(NamedTuple):
    """What is in a directory and everything below it."""

    entries: int
    """Files, directories and other entries."""
    size: int
    """Bytes to be restored: of an item with several hard links once (TREE-15)."""
    every: int
    """Bytes of all entries, each counted."""


class TreeNeeds(Needed):
    """What one tree needs, and adds."""

    tree: bytes
    facts: TreeFacts


class TreeFacts:
    """What one tree adds by itself."""

    __slots__ = ("entries", "every", "links", "looked", "single")

    def __init__(self, entries: int, single: int, every: int, links: array[int], looked: list[object]) -> None:
        self.entries = entries
        self.single = single
        """Bytes of entries that count each."""
        self.every = every
        self.links = links
        """Directories before it, inode, device and size of each entry that may be one item with another."""
        self.looked = looked
        """What `TreeSizes.look` made of each batch of nodes."""


class TreeSizes:
    """The trees that were read so far (`restic_format.snapshots.used.Used`).

    A class below it may look at the nodes, too: see `look` and `keep`.
    """

    def __init__(self) -> None:
        self.trees = IdSet()
        self._entries = array("Q")
        self._single = array("Q")
        self._every = array("Q")
        self._summed = bytearray()
        """For each tree whether its numbers are with those of everything below it."""
        self._linked = bytearray()
        """For each tree whether it, or once it is summed something below it, has entries with several links."""
        self._links: dict[int, array[int]] = {}
        self._children = array("I")
        self._first = array("Q")
        """For each tree where the numbers of its subdirectories begin in ``_children``, in order of their names."""
        self._count = array("I")
        self._known: dict[int, Sizes] = {}
        """Of the top trees that were asked for."""

    # The protocol `Used`

    def add_tree(self, tree_id: bytes) -> bool:
        """Put a tree in; false if it is there already."""
        if not self.trees.add(tree_id):
            return False
        for column in (self._entries, self._single, self._every, self._first):
            column.append(0)
        self._count.append(0)
        self._summed.append(0)
        self._linked.append(0)
        return True

    def read(self, tree_id: bytes, raw: bytes) -> Needed:
        """What a tree needs and adds. Raises `SpecError`, and `NodeUnusable` for a directory without a tree."""
        trees, links = bytearray(), array("Q")
        entries = single = every = directories = 0
        looked: list[object] = []
        reader = NodeReader(raw, f"tree {tree_id.hex()[:8]}")
        while nodes := reader.next():
            looked.append(self.look(nodes, directories))
            entries += len(nodes)
            for node in nodes:
                size = node.size
                if node.type == DIR:
                    trees += subtree_of(node)
                    directories += 1
                    single += size
                elif node.links == 1 or not node.inode:
                    single += size
                else:
                    links.extend((directories, node.inode, node.device_id, size))
                every += size
        needs = TreeNeeds(bytes(trees), b"")
        needs.tree = tree_id
        needs.facts = TreeFacts(entries, single & _U64, every & _U64, links, looked)
        return needs

    def take(self, needed: Needed) -> bytes:
        """Put that in; the ids of the trees that were not there, joined."""
        assert isinstance(needed, TreeNeeds)
        number, facts = self.number(needed.tree), needed.facts
        self._entries[number], self._single[number], self._every[number] = facts.entries, facts.single, facts.every
        if facts.links:
            self._links[number] = facts.links
            self._linked[number] = 1
        self._first[number] = len(self._children)
        self._count[number] = len(needed.trees) // ID_SIZE
        new = bytearray()
        for start in range(0, len(needed.trees), ID_SIZE):
            child = needed.trees[start : start + ID_SIZE]
            if self.add_tree(child):
                new += child
            self._children.append(self.number(child))
        self.keep(number, facts)
        return bytes(new)

    # For classes below

    def look(self, nodes: Sequence[Node], directories: int) -> object:
        """What is wanted of a batch of a tree's nodes besides, from any thread; *directories* of the tree came before it."""

    def keep(self, number: int, facts: TreeFacts) -> None:
        """Keep what `look` gave for the batches of a tree."""

    # Results

    def number(self, tree_id: bytes) -> int:
        """The number of a tree that was found."""
        number = self.trees.number(tree_id)
        assert number is not None
        return number

    def children(self, number: int) -> Sequence[int]:
        """The trees of the directories in a tree, in order of their names."""
        first = self._first[number]
        return self._children[first : first + self._count[number]]

    def of(self, tree_id: bytes) -> Sizes:
        """What is in the directory with this tree, which must have been read with everything below it."""
        number = self.number(tree_id)
        if number not in self._known:
            self._sum(number)
            size = (self._single[number] + self._linked_size(number)) & _U64
            self._known[number] = Sizes(self._entries[number], size, self._every[number])
        return self._known[number]

    def _sum(self, top: int) -> None:
        """Add to the numbers of a tree what is below it, which is done once for each tree."""
        waiting = [top]
        while waiting:
            number = waiting[-1]
            children = () if self._summed[number] else self.children(number)
            if below := [child for child in children if not self._summed[child]]:
                waiting += below
                continue
            waiting.pop()
            if self._summed[number]:
                continue
            for child in children:
                self._linked[number] |= self._linked[child]
            for column in (self._entries, self._single, self._every):
                column[number] = (column[number] + sum(column[child] for child in children)) & _U64
            self._summed[number] = 1

    def _linked_size(self, top: int) -> int:
        """Bytes of the entries with several links below a tree: the first entry of each item counts."""
        size = 0
        items: set[tuple[int, int]] = set()
        visited: set[int] = set()
        waiting = [self._linked_below(top)]
        while waiting:
            for found in waiting[-1]:
                if isinstance(found, int):
                    # In a tree that was looked through there is nothing new the second time.
                    if self._linked[found] and found not in visited:
                        visited.add(found)
                        waiting.append(self._linked_below(found))
                        break
                elif found[:2] not in items:
                    items.add(found[:2])
                    size += found[2]
            else:
                waiting.pop()
        return size

    def _linked_below(self, number: int) -> Iterator[int | tuple[int, int, int]]:
        """Entries of a tree with several links (inode, device, size), and the trees of its directories, in order."""
        links = iter(self._links.get(number, ()))
        entries = zip(links, links, links, links, strict=True)
        entry = next(entries, None)
        for before, child in enumerate(self.children(number)):
            while entry is not None and entry[0] <= before:
                yield entry[1:]
                entry = next(entries, None)
            yield child
        while entry is not None:
            yield entry[1:]
            entry = next(entries, None)


def read_sizes(
    repository: Repository,
    tree: bytes,
    sizes: TreeSizes,
    *,
    damaged: Callable[[bytes, ResticFormatError], None] | None = None,
    cancel: Cancel | None = None,
) -> None:
    """Read a tree and everything below it that is not in *sizes* yet; the index must be loaded.

    A tree that cannot be read is given to *damaged*, and counts as empty.

    Raises:
        BlobMissing, DamagedFile, StorageError, NodeUnusable: a tree cannot be read, and there is no *damaged*.
        Interrupted: it was cancelled.
    """
    add_used(repository, [tree], sizes, damaged=damaged, cancel=cancel)
