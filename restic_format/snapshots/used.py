"""Which blobs snapshots need: what prune keeps, copy copies, and statistics count.

Every tree is read once, however many snapshots have it. Trees that are waiting are read pack by pack, neighbours in one go and
ahead of their use. Memory: some 45 bytes for each tree and each data blob that is used, and a few trees at a time.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from restic_format.errors import BlobMissing, DamagedFile, ResticFormatError, SpecError
from restic_format.native.table import REPACKED, STORED
from restic_format.repository import Repository
from restic_format.repository.index import BlobIndex
from restic_format.snapshots.idset import IdSet
from restic_format.snapshots.nodes import NodeReader
from restic_format.work import Cancel, in_order
from restic_spec.ids import ID_SIZE
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import DIR, FILE

MOST_MISSING = 10_000
"""Missing blobs that are remembered; whoever misses one wants to know a few more."""

_AT_ONCE = 1 << 10
"""Trees that are looked up together, so that those of one pack are read together."""


class Needed(NamedTuple):
    """What one tree needs: ids, joined."""

    trees: bytes
    data: bytes


class Used(Protocol):
    """What `find_used` puts the blobs into that it finds."""

    def add_tree(self, tree_id: bytes) -> bool:
        """Put a tree in; false if it is there already."""

    def read(self, tree_id: bytes, raw: bytes) -> Needed:
        """What a tree needs of which `take` does not know yet, from its plaintext; from any thread. Raises `SpecError`."""

    def take(self, needed: Needed) -> bytes:
        """Put that in; the ids of the trees that were not there, joined."""


class UsedBlobs:
    """The trees and data blobs that some snapshots need."""

    def __init__(self) -> None:
        self.trees = IdSet()
        self.data = IdSet()

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the blob is needed."""
        return blob_id in (self.trees if blob_type is BlobType.TREE else self.data)

    def __len__(self) -> int:
        return len(self.trees) + len(self.data)

    def add_tree(self, tree_id: bytes) -> bool:
        """See `Used`."""
        return self.trees.add(tree_id)

    def read(self, tree_id: bytes, raw: bytes) -> Needed:
        """See `Used`."""
        return needed_of(tree_id, raw)

    def take(self, needed: Needed) -> bytes:
        """See `Used`."""
        for blob in _split(needed.data):
            self.data.add(blob)
        return b"".join(child for child in _split(needed.trees) if self.trees.add(child))


class UsedInIndex:
    """The same as marks on the rows of an index, a byte each: for whoever wants to know it of all blobs. Until it has been
    looked at, nothing may be added to the index.
    """

    def __init__(self, index: BlobIndex) -> None:
        self.marks = index.use()
        self._index = index
        self.missing = IdSet()
        """Data blobs that are needed and are not in the index, as many as `MOST_MISSING`."""

    def add_tree(self, tree_id: bytes) -> bool:
        """See `Used`. A tree that is not in the index is never there."""
        return self.marks.mark(BlobType.TREE, tree_id) is not False

    def read(self, tree_id: bytes, raw: bytes) -> Needed:
        """See `Used`. What it gives of trees is marked already; of data, what is missing."""
        found = self.marks.mark_tree(raw)
        if found is not None:
            return Needed(*found)
        needed = needed_of(tree_id, raw)
        missing = b"".join(blob for blob in _split(needed.data) if self.marks.mark(BlobType.DATA, blob) is None)
        return Needed(b"".join(tree for tree in _split(needed.trees) if self.add_tree(tree)), missing)

    def take(self, needed: Needed) -> bytes:
        """See `Used`."""
        for blob in _split(needed.data):
            if len(self.missing) < MOST_MISSING:
                self.missing.add(blob)
        return needed.trees

    def copies(self) -> Iterator[PackEntry]:
        """Every copy of each blob that is marked."""
        packs = len(self._index.pack_ids())
        several = any(use.copies for use in self.marks.choose(bytes([STORED]) * packs))
        chosen = self.marks.kept(bytes([REPACKED]) * packs)
        for number in range(packs):
            for entry in chosen.entries(number):
                if several:
                    for location in self._index.lookup_all(entry.type, entry.id):
                        yield location.entry(entry.type, entry.id)
                else:
                    yield entry


class _PackJob(NamedTuple):
    """Trees of one pack to be read."""

    pack: bytes
    entries: list[PackEntry]


def find_used(
    repository: Repository,
    roots: Iterable[bytes],
    *,
    used: UsedBlobs | None = None,
    damaged: Callable[[bytes, ResticFormatError], None] | None = None,
    progress: Callable[[int], None] | None = None,
    cancel: Cancel | None = None,
) -> UsedBlobs:
    """What the trees *roots* and everything below them need; the index must be loaded.

    What *used* has already is not visited again; the blobs are added to it. A tree that cannot be read counts as used and is
    given to *damaged* with the reason; without that callback it is raised, for whoever removes what is unused must know
    everything that is used. *progress* gets the trees read so far.

    Raises:
        BlobMissing, DamagedFile, StorageError: a tree cannot be read.
        Interrupted: it was cancelled.
    """
    used = UsedBlobs() if used is None else used
    add_used(repository, roots, used, damaged=damaged, progress=progress, cancel=cancel)
    return used


def add_used(
    repository: Repository,
    roots: Iterable[bytes],
    used: Used,
    *,
    damaged: Callable[[bytes, ResticFormatError], None] | None = None,
    progress: Callable[[int], None] | None = None,
    cancel: Cancel | None = None,
) -> None:
    """`find_used` that puts what it finds into *used*."""
    waiting = bytearray()
    for root in roots:
        if used.add_tree(root):
            waiting += root
    done = 0
    while waiting:
        start = max(len(waiting) - _AT_ONCE * ID_SIZE, 0)
        batch = bytes(waiting[start:])
        del waiting[start:]
        for tree_id, needed in _read(repository, batch, used):
            if cancel is not None:
                cancel.check()
            if isinstance(needed, ResticFormatError):
                if damaged is None:
                    raise needed
                damaged(tree_id, needed)
                continue
            waiting += used.take(needed)
            done += 1
            if progress is not None:
                progress(done)


def _split(ids: bytes) -> Iterator[bytes]:
    for start in range(0, len(ids), ID_SIZE):
        yield ids[start : start + ID_SIZE]


def _read(repository: Repository, trees: bytes, used: Used) -> Iterator[tuple[bytes, Needed | ResticFormatError]]:
    """What each of *trees* needs, or why that cannot be told."""
    packs: dict[bytes, list[PackEntry]] = {}
    for tree_id in _split(trees):
        location = repository.index.lookup(BlobType.TREE, tree_id)
        if location is None:
            yield tree_id, BlobMissing.of(BlobType.TREE, tree_id.hex())
        else:
            packs.setdefault(location.pack, []).append(location.entry(BlobType.TREE, tree_id))

    def work(job: _PackJob) -> list[tuple[bytes, Needed | ResticFormatError]]:
        return [(entry.id, _needed(repository, used, entry, raw)) for entry, raw in repository.packs.blobs(*job)]

    jobs = [_PackJob(*item) for item in packs.items()]
    readers = repository.storage.readers
    with contextlib.closing(in_order(work, jobs, name="used", workers=readers, ahead=readers + 2)) as results:
        for _, found in results:
            if isinstance(found, Exception):
                raise found
            yield from found


def _needed(
    repository: Repository, used: Used, entry: PackEntry, raw: bytes | memoryview | ResticFormatError
) -> Needed | ResticFormatError:
    tree_id = entry.id
    try:
        if isinstance(raw, ResticFormatError):
            raw = repository.load_blob(BlobType.TREE, tree_id)  # there may be another copy
        return used.read(tree_id, bytes(raw))
    except SpecError as error:
        return DamagedFile(f"tree {tree_id.hex()}", error)
    except ResticFormatError as error:
        return error


def needed_of(tree_id: bytes, raw: bytes) -> Needed:
    """What a tree needs, from its plaintext. Raises `SpecError`."""
    trees, data = bytearray(), bytearray()
    reader = NodeReader(raw, f"tree {tree_id.hex()[:8]}")
    while nodes := reader.next():
        for node in nodes:
            if node.type == DIR and node.subtree is not None:
                trees += bytes.fromhex(node.subtree)
            elif node.type == FILE and node.content:
                for text in node.content:
                    data += bytes.fromhex(text)
    return Needed(bytes(trees), bytes(data))


def find_unreferenced(
    repository: Repository,
    roots: Iterable[bytes],
    *,
    damaged: Callable[[bytes, ResticFormatError], None],
    progress: Callable[[int, int], None] | None = None,
    cancel: Cancel | None = None,
) -> list[bytes]:
    """The trees that are part of no other tree and are none of *roots*, sorted: what snapshots may have named that are lost.

    The index must be loaded; *roots* are asked for at the end. A tree that cannot be read is given to *damaged* and is not
    among them; what it may have named is, then. *progress* gets trees read and trees in all. Memory: some 90 bytes for each
    tree.

    Raises:
        Interrupted: it was cancelled.
    """
    trees, referenced = IdSet(), IdSet()
    for _, entry in repository.index.entries():
        if entry.type is BlobType.TREE:
            trees.add(entry.id)
    done = 0
    ordered = iter(trees)
    while batch := b"".join(itertools.islice(ordered, _AT_ONCE)):
        for tree_id, needed in _read(repository, batch, UsedBlobs()):
            if cancel is not None:
                cancel.check()
            if isinstance(needed, ResticFormatError):
                damaged(tree_id, needed)
                referenced.add(tree_id)
            else:
                for child in _split(needed.trees):
                    referenced.add(child)
            done += 1
            if progress is not None:
                progress(done, len(trees))
    for root in roots:
        referenced.add(root)
    return sorted(tree_id for tree_id in trees if tree_id not in referenced)
