"""The directories of snapshots as a mount needs them: entries by number and by name, kept within a bound."""

from __future__ import annotations

import threading
from collections.abc import Callable

from restic_format.repository import Repository
from restic_format.snapshots import Level, NodeUnusable, Walk
from restic_spec.errors import ResticFormatError
from restic_spec.gojson import to_bytes
from restic_spec.tree import DIR, NODE_TYPES, Node

LONGEST_NAME = 1024
"""Bytes of a name; the kernel takes no longer one, and without it nothing that comes behind."""
MOST_LARGE = 2
"""Large directories that are kept: so many are walked side by side, as by ``diff -r``."""
_NODE_SIZE = 1 << 10
"""Bytes of a decoded node, about; and for each blob of a file:"""
_BLOB_SIZE = 120

Fault = Callable[[str, ResticFormatError], None]
"""Told the name of an entry that cannot be used, "" for the tree or the rest of it, and why."""


class Listing:
    """The entries of a directory, in the tree's order; the place in it is an entry's number."""

    def __init__(self, names: list[bytes], nodes: list[Node], *, whole: bool) -> None:
        self.names = names
        self.nodes = nodes
        self.whole = whole
        """Whether nothing of the tree is missing."""
        self.folders = sum(node.type == DIR for node in nodes)
        self.first_file = next((number for number, node in enumerate(nodes) if node.blobs), 0)
        self.size = _NODE_SIZE * (1 + len(nodes)) + _BLOB_SIZE * sum(len(node.blobs) for node in nodes)
        """Bytes of memory it takes, about."""
        self._numbers: dict[bytes, int] | None = None

    def find(self, name: bytes) -> int | None:
        """The number of the entry with this name."""
        if self._numbers is None:
            self._numbers = {known: number for number, known in enumerate(self.names)}
        return self._numbers.get(name)


class Listings:
    """The directories that were looked at last, whichever snapshot they are in; used from any thread.

    What is in a large directory is not to displace it: it would be read again for each of its entries. So those that take more
    than half of the limit are kept apart, the last `MOST_LARGE` of them.
    """

    def __init__(self, repository: Repository, limit: int) -> None:
        """*limit* is how many bytes of memory they take at most, about, but for large ones."""
        self._repository = repository
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: dict[bytes, Listing] = {}
        self._size = 0
        self._large: dict[bytes, Listing] = {}
        self._reading: dict[bytes, threading.Lock] = {}
        """Held while a directory is read: several may want it, and memory is for one."""

    def get(self, tree: bytes, fault: Fault) -> Listing:
        """The directory whose tree is *tree*. What is wrong with entries is told to *fault* when it is read; they are left out.

        Raises:
            ResticFormatError: the tree cannot be read at all.
        """
        with self._lock:
            found = self._take(tree)
            if found is not None:
                return found
            reading = self._reading.setdefault(tree, threading.Lock())
        with reading:
            with self._lock:
                found = self._take(tree)
            if found is not None:
                return found
            try:
                found = self._read(tree, fault)
                if found.whole:
                    self._keep(tree, found)
            finally:
                with self._lock:
                    self._reading.pop(tree, None)
        return found

    def _take(self, tree: bytes) -> Listing | None:
        """What is kept of *tree*, which was used last from now on."""
        for kept in (self._kept, self._large):
            found = kept.pop(tree, None)
            if found is not None:
                kept[tree] = found
                return found
        return None

    def _keep(self, tree: bytes, listing: Listing) -> None:
        with self._lock:
            if listing.size > self._limit // 2:
                self._large[tree] = listing
                if len(self._large) > MOST_LARGE:
                    del self._large[next(iter(self._large))]
            elif tree not in self._kept:
                self._kept[tree] = listing
                self._size += listing.size
                while self._size > self._limit:
                    self._size -= self._kept.pop(next(iter(self._kept))).size

    def _read(self, tree: bytes, fault: Fault) -> Listing:
        names: list[bytes] = []
        nodes: list[Node] = []
        damage: list[ResticFormatError] = []

        def told(_level: Level[None], node: Node | None, error: ResticFormatError) -> None:
            if node is None:
                damage.append(error)
            else:
                fault(node.quoted, error)

        for _, node, name in Walk(self._repository, tree, None, fault=told):
            kind = NODE_TYPES.get(node.type)
            if kind is None or not kind.st_format:
                continue
            raw = to_bytes(name)
            if len(raw) > LONGEST_NAME:
                fault(name[:LONGEST_NAME], NodeUnusable("the name is too long for this system; the item is left out"))
                continue
            names.append(raw)
            nodes.append(node)
        if damage and not nodes:
            raise damage[0]
        if damage:
            fault("", damage[0])
        return Listing(names, nodes, whole=not damage)
