"""Directories whose entries are still being saved, and the counting of what came of every item.

A directory counts its open entries. Whoever finishes the last one encodes the tree, saves it, and hands the directory's own
node to the directory above: no thread waits for another, and a directory's nodes are in memory only while it is open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from restic_format.backup.errors import SourceError
from restic_format.backup.options import Change, ItemStats, Progress, Summary
from restic_format.backup.trees import EMPTY_TREE, encode_node, join_nodes, same_node
from restic_format.repository import Repository
from restic_spec import gojson
from restic_spec.pack import BlobType
from restic_spec.tree import FILE, Node


class PendingDirectory:
    """A directory that is being saved."""

    __slots__ = ("before", "item", "node", "nodes", "open", "parent", "previous", "slot", "started")

    def __init__(self, parent: PendingDirectory | None, item: str, node: Node | None, previous: Node | None) -> None:
        self.parent = parent
        """The directory it stands in; None for the root."""
        self.item = item
        """Its path in the snapshot, ending with ``/``."""
        self.node = node
        """Its own node, whose subtree is not yet known; None for the root."""
        self.previous = previous
        """Its node in the parent snapshot."""
        self.before: bytes | None = None
        """Its tree in the parent snapshot, as it was loaded from the repository, where that is worth a comparison."""
        self.nodes: list[bytes | list[bytes | None] | None] = []
        """The JSON of what is in it, by name: a node, several with commas between, or a list of nodes; None where it is not
        yet known, or will not be stored."""
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
        self.root_is_empty = False
        """Whether nothing is in it."""

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
        raw = join_nodes(_flat(directory.nodes))
        directory.nodes = []
        tree, stats = self._save_tree(directory, raw)
        node = directory.node
        if node is None or directory.parent is None:
            with self._lock:
                self._summary.stats.add(stats)
            self.root = tree
            self.root_is_empty = raw == EMPTY_TREE
            return
        node.subtree = tree
        directory.parent.nodes[directory.slot] = encode_node(node)
        self.item_done(directory.item, directory.previous, node, stats, directory.started)

    def _save_tree(self, directory: PendingDirectory, raw: bytes) -> tuple[str, ItemStats]:
        """The id of a tree, and what saving it has added."""
        previous, before = directory.previous, directory.before
        directory.before = None
        if raw == before and previous is not None and previous.subtree is not None:
            return previous.subtree, NOTHING
        saved = self._repository.save_blob(BlobType.TREE, raw)
        if saved.known:
            return saved.id.hex(), NOTHING
        return saved.id.hex(), ItemStats(tree_blobs=1, tree_size=len(raw), tree_size_in_repo=saved.stored)

    def item_done(self, item: str, previous: Node | None, current: Node, stats: ItemStats, started: float) -> None:
        """Count a file or directory that has been saved."""
        change = change_of(previous, current)
        with self._lock:
            self._summary.stats.add(stats)
            self._summary.processed_bytes += current.size
            (self._summary.files if current.type == FILE else self._summary.dirs).count(change)
        self._progress.item_done(item, current.type, change, stats, time.monotonic() - started)

    def files_done(self, size: int, stats: Sequence[ItemStats]) -> None:
        """Count what saving some files together has added, *size* bytes in all."""
        added = ItemStats()
        for one in stats:
            if one is not NOTHING:
                added.add(one)
        with self._lock:
            self._summary.stats.add(added)
            self._summary.processed_bytes += size
        self._progress.bytes_done(size)

    def counted(self, change: Change, files: int = 1) -> None:
        """Count such files."""
        with self._lock:
            self._summary.files.count(change, files)
        if not self._progress.tells_items:
            self._progress.files_done(files)

    def taken_over(self, item: str, names: Sequence[bytes], size: int) -> None:
        """Count files of the directory *item*, *size* bytes in all, that are as they were in the parent snapshot."""
        with self._lock:
            self._summary.files.unchanged += len(names)
            self._summary.processed_bytes += size
        self._progress.bytes_done(size)
        if self._progress.tells_items:
            for name in names:
                self._progress.item_done(f"{item}/{gojson.to_text(name)}", FILE, "unchanged", NOTHING, 0.0)
        else:
            self._progress.files_done(len(names))

    def error(self, item: str, error: Exception) -> None:
        """Report an item that could not be saved as it should be; the text will name it."""
        if item not in str(error):
            error = SourceError(f"{item}: {error}")
        with self._lock:
            self._summary.errors += 1
        self._progress.error(item, error)


def _flat(nodes: Iterable[bytes | list[bytes | None] | None]) -> Iterator[bytes]:
    for node in nodes:
        if isinstance(node, list):
            yield from (one for one in node if one is not None)
        elif node is not None:
            yield node


def change_of(previous: Node | None, current: Node) -> Change:
    """How an item differs from its node in the parent snapshot."""
    if previous is None:
        return "new"
    return "unchanged" if same_node(previous, current) else "modified"


NOTHING = ItemStats()
"""What adding nothing to the repository comes to."""
