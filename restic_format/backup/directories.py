"""Directories whose entries are still being saved, and the end of every item: its node is put in its place, and it is counted.

A directory counts its open entries. Whoever finishes the last one encodes the tree, saves it, and hands the directory's own
node to the directory above: no thread waits for another, and a directory's nodes are in memory only while it is open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from restic_format.backup.errors import SourceError
from restic_format.backup.job import BackupEvent, BytesDone, Change, FilesDone, ItemDone, ItemFailed, ItemStats, Summary
from restic_format.backup.nodes import EMPTY_TREE, encode_node, join_nodes
from restic_format.backup.source import Folder, Place
from restic_format.repository.writer import BlobWriter
from restic_format.snapshots.same import same_node
from restic_format.work import Progress
from restic_spec import gojson
from restic_spec.ids import id_of
from restic_spec.pack import BlobType
from restic_spec.tree import FILE, Node, decode_node

NOTHING = ItemStats()
"""What adding nothing to the repository comes to."""


class Directory:
    """A directory that is being saved."""

    __slots__ = ("before", "item", "node", "nodes", "open", "parent", "previous", "slot", "started")

    def __init__(self, parent: Directory | None, item: str, node: Node | None, previous: Node | None) -> None:
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
        self.nodes: list[bytes] = []
        """The JSON of what is in it, by name: a node, or several with commas between; empty where it is not yet known, or
        will not be stored."""
        self.open = 1
        """What is not yet known: entries, or groups of them, and one for the walk itself."""
        self.slot = 0 if parent is None else parent.reserve()
        """Where in the nodes of *parent* its own one stands."""
        self.started = time.monotonic()

    def reserve(self, count: int = 1) -> int:
        """Places for the next entries; gives the first one's number. To be called from the walking thread only."""
        first = len(self.nodes)
        self.nodes += [b""] * count
        return first


class Files(NamedTuple):
    """Files beside each other in a directory, to be read: a single one, or several small ones that are new."""

    directory: Directory
    slot: int
    """Where in the directory's nodes that of the first one goes; the others follow."""
    folder: Folder
    """Where they are."""
    names: list[bytes]
    """What they are called there."""
    saved_names: list[bytes]
    """What they are called in the snapshot."""
    item: str
    """The directory's path in the snapshot, without a slash at the end."""
    previous: Node | None
    """The node of a single file in the parent snapshot."""
    size: int
    """Bytes that a single one had when it was looked at, and all together at most what is read at once."""

    def one(self, number: int) -> Files:
        """One of several by itself; it counts as one more open entry of the directory."""
        if len(self.names) == 1:
            return self
        names = self.names[number : number + 1]
        return Files(self.directory, self.slot + number, self.folder, names, names, self.item, None, 0)

    def place(self, number: int = 0) -> Place:
        """Where one of them is."""
        return Place(self.folder, self.names[number])

    def item_of(self, number: int = 0) -> str:
        """The path of one of them in the snapshot."""
        return f"{self.item}/{gojson.to_text(self.saved_names[number])}"


class SavedFile(NamedTuple):
    """What became of a file."""

    encoded: bytes
    """Its node's JSON; empty where the file is left out of the snapshot."""
    node: Node | None
    """The same as an object, where it was made as one."""
    size: int
    """Bytes that were read."""
    stats: ItemStats
    """What they added to the repository."""


LEFT_OUT = SavedFile(b"", None, 0, NOTHING)


class Bookkeeper:
    """Settles items, finishes directories and keeps the statistics. Every method may be called from any thread."""

    def __init__(self, writer: BlobWriter, summary: Summary, progress: Progress[BackupEvent], *, tells_files: bool) -> None:
        self._writer = writer
        self._summary = summary
        self._progress = progress
        self._tells_files = tells_files
        self._lock = threading.Lock()
        self._unfinished: dict[Directory, None] = {}
        self.root: str | None = None
        """Id of the root tree, once it is saved."""
        self.root_is_empty = False
        """Whether nothing is in it."""

    # Directories

    def begin(self) -> Directory:
        """The root directory, to which entries will be added."""
        root = Directory(None, "/", None, None)
        with self._lock:
            self._unfinished[root] = None
        return root

    def enter(self, parent: Directory, item: str, node: Node, previous: Node | None) -> Directory:
        """A directory in *parent* to which entries will be added; *item* is its path in the snapshot."""
        directory = Directory(parent, item + "/", node, previous)
        with self._lock:
            parent.open += 1
            self._unfinished[directory] = None
        return directory

    def opened(self, directory: Directory, count: int = 1) -> None:
        """Count *count* more entries of *directory* as open: they will be settled later."""
        with self._lock:
            directory.open += count

    def closed(self, directory: Directory) -> None:
        """Count an entry as done: its node is in its place, or will never come."""
        current: Directory | None = directory
        while current is not None:
            with self._lock:
                current.open -= 1
                if current.open:
                    return
            self._finish(current)
            current = current.parent

    def finish_early(self) -> None:
        """Finish every directory with those of its entries that are known. Nobody may be at work any more."""
        for directory in sorted(self._unfinished, key=lambda directory: directory.item.count("/"), reverse=True):
            self._finish(directory)

    def _finish(self, directory: Directory) -> None:
        """Save the tree of a directory whose entries are all known and tell the directory above."""
        with self._lock:
            del self._unfinished[directory]
        raw = join_nodes(filter(None, directory.nodes))
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
        change = change_of(directory.previous, node)
        with self._lock:
            self._summary.stats.add(stats)
            self._summary.dirs.count(change)
        self._progress(ItemDone(directory.item, node.type, change, stats, time.monotonic() - directory.started))

    def _save_tree(self, directory: Directory, raw: bytes) -> tuple[str, ItemStats]:
        """The id of a tree, and what saving it has added."""
        previous, before = directory.previous, directory.before
        directory.before = None
        if raw == before and previous is not None and previous.subtree is not None:
            return previous.subtree, NOTHING
        [saved] = self._writer.save(BlobType.TREE, [(id_of(raw), raw)])
        if saved.known:
            return saved.id.hex(), NOTHING
        return saved.id.hex(), ItemStats(tree_blobs=1, tree_size=len(raw), tree_size_in_repo=saved.stored)

    # Files

    def settle(self, files: Files, saved: Sequence[SavedFile | None], started: float) -> list[Files]:
        """The end of files that were read: put their nodes into their places, count them and tell of them.

        Those of which nothing is known (None) are given back, one by one, to be settled later.
        """
        directory, first = files.directory, files.slot
        changes: list[Change] = []
        size, added = 0, ItemStats()
        for number, one in enumerate(saved):
            if one is None or not one.encoded:
                continue
            directory.nodes[first + number] = one.encoded
            size += one.size
            if one.stats is not NOTHING:
                added.add(one.stats)
            changes.append("new" if files.previous is None else change_of(files.previous, one.node or decode_node(one.encoded)))
        with self._lock:
            self._summary.stats.add(added)
            self._summary.processed_bytes += size
            for change in set(changes):
                self._summary.files.count(change, changes.count(change))
        if self._tells_files:
            seconds = time.monotonic() - started
            done = [(number, one) for number, one in enumerate(saved) if one is not None and one.encoded]
            for (number, one), change in zip(done, changes, strict=True):
                self._progress(ItemDone(files.item_of(number), FILE, change, one.stats, seconds))
        elif changes:
            self._progress(FilesDone(len(changes)))
        left = [files.one(number) for number, one in enumerate(saved) if one is None]
        if left:
            self.opened(directory, len(left))
        self.closed(directory)
        return left

    def taken_over(self, item: str, names: Sequence[bytes], size: int) -> None:
        """Count files of the directory *item*, *size* bytes in all, that are as they were in the parent snapshot."""
        with self._lock:
            self._summary.files.unchanged += len(names)
            self._summary.processed_bytes += size
        self._progress(BytesDone(size))
        if self._tells_files:
            for name in names:
                self._progress(ItemDone(f"{item}/{gojson.to_text(name)}", FILE, "unchanged", NOTHING, 0.0))
        else:
            self._progress(FilesDone(len(names)))

    def error(self, item: str, error: Exception) -> None:
        """Report an item that could not be saved as it should be; the text will name it."""
        if item not in str(error):
            error = SourceError(f"{item}: {error}")
        with self._lock:
            self._summary.errors += 1
        self._progress(ItemFailed(item, error))


def change_of(previous: Node | None, current: Node) -> Change:
    """How an item differs from its node in the parent snapshot."""
    if previous is None:
        return "new"
    return "unchanged" if same_node(previous, current) else "modified"
