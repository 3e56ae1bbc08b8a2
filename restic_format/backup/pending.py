"""Directories whose entries are still being saved, and the counting of what came of every item.

A directory counts its open entries. Whoever finishes the last one encodes the tree, saves it, and hands the directory's own
node to the directory above: no thread waits for another, and a directory's nodes are in memory only while it is open.
"""

from __future__ import annotations

import threading
import time

from restic_format.backup.errors import SourceError
from restic_format.backup.options import Change, Changes, ItemStats, Progress, Summary
from restic_format.backup.trees import encode_nodes, same_node
from restic_format.repository import Repository
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, Node


class PendingDirectory:
    """A directory that is being saved."""

    __slots__ = ("item", "node", "nodes", "open", "parent", "previous", "slot", "started")

    def __init__(self, parent: PendingDirectory | None, item: str, node: Node | None, previous: Node | None) -> None:
        self.parent = parent
        """The directory it stands in; None for the root."""
        self.item = item
        """Its path in the snapshot, ending with ``/``."""
        self.node = node
        """Its own node, whose subtree is not yet known; None for the root."""
        self.previous = previous
        """Its node in the parent snapshot."""
        self.nodes: list[Node | None] = []
        """What is in it, by name; None where it is not yet known, or will not be stored."""
        self.open = 1
        """Entries not yet known, and one for the walk itself."""
        self.slot = 0 if parent is None else parent.reserve()
        self.started = time.monotonic()

    def reserve(self) -> int:
        """A place for the next entry; call it from the walking thread only."""
        self.nodes.append(None)
        return len(self.nodes) - 1


class Bookkeeper:
    """Finishes directories and keeps the statistics. Every method may be called from any thread."""

    def __init__(self, repository: Repository, summary: Summary, progress: Progress) -> None:
        self._repository = repository
        self._summary = summary
        self._progress = progress
        self._lock = threading.Lock()
        self.root: str | None = None
        """Id of the root tree, once it is saved."""

    def opened(self, directory: PendingDirectory, count: int = 1) -> None:
        """*count* more entries of *directory* will be given later."""
        with self._lock:
            directory.open += count

    def closed(self, directory: PendingDirectory, count: int = 1) -> None:
        """*count* entries are now in their places, or will never come."""
        current: PendingDirectory | None = directory
        while current is not None:
            with self._lock:
                current.open -= count
                if current.open:
                    return
            self._finish(current)
            current = current.parent
            count = 1

    def _finish(self, directory: PendingDirectory) -> None:
        """Save the tree of a directory whose entries are all known and tell the directory above."""
        nodes = [node for node in directory.nodes if node is not None]
        directory.nodes = []
        raw = encode_nodes(nodes)
        saved = self._repository.save_blob(BlobType.TREE, raw)
        stats = ItemStats()
        if not saved.known:
            stats = ItemStats(tree_blobs=1, tree_size=len(raw), tree_size_in_repo=saved.stored)
        tree = saved.id.hex()
        node = directory.node
        if node is None or directory.parent is None:
            with self._lock:
                self._summary.stats.add(stats)
            self.root = tree
            return
        node.subtree = tree
        directory.parent.nodes[directory.slot] = node
        self.item_done(directory.item, directory.previous, node, stats, directory.started)

    def item_done(self, item: str, previous: Node | None, current: Node, stats: ItemStats | None, started: float) -> None:
        """Count a file or directory that has been saved; *stats* None is for a file taken over from the parent snapshot."""
        change: Change = "new"
        if previous is not None:
            change = "unchanged" if stats is None or same_node(previous, current) else "modified"
        counts: Changes | None = None
        if current.type == FILE:
            counts = self._summary.files
        elif current.type == DIR:
            counts = self._summary.dirs
        with self._lock:
            if stats is not None:
                self._summary.stats.add(stats)
            self._summary.processed_bytes += current.size
            if counts is not None:
                setattr(counts, change, getattr(counts, change) + 1)
        self._progress.item_done(item, current.type, change, stats or _NOTHING, time.monotonic() - started)

    def error(self, item: str, error: Exception) -> None:
        """Report an item that could not be saved as it should be; the text will name it."""
        if item not in str(error):
            error = SourceError(f"{item}: {error}")
        with self._lock:
            self._summary.errors += 1
        self._progress.error(item, error)


_NOTHING = ItemStats()
