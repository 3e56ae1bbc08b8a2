"""Which blobs snapshots need: what prune keeps, copy copies, and statistics count.

Every tree is read once, however many snapshots have it. Trees that are waiting are read pack by pack, neighbours in one go and
ahead of their use. Memory: some 45 bytes for each tree and each data blob that is used, and a few trees at a time.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from restic_format.errors import BlobMissing, DamagedFile, ResticFormatError, SpecError
from restic_format.repository import Repository
from restic_format.snapshots.idset import IdSet
from restic_format.snapshots.nodes import NodeReader
from restic_format.work import Cancel, in_order
from restic_spec.ids import ID_SIZE
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import DIR, FILE

_AT_ONCE = 1 << 10
"""Trees that are looked up together, so that those of one pack are read together."""


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


class _Needed(NamedTuple):
    """What one tree needs: ids, joined."""

    trees: bytes
    data: bytes


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
    waiting = bytearray()
    for root in roots:
        if used.trees.add(root):
            waiting += root
    done = 0
    while waiting:
        start = max(len(waiting) - _AT_ONCE * ID_SIZE, 0)
        batch = bytes(waiting[start:])
        del waiting[start:]
        for tree_id, needed in _read(repository, batch):
            if cancel is not None:
                cancel.check()
            if isinstance(needed, ResticFormatError):
                if damaged is None:
                    raise needed
                damaged(tree_id, needed)
                continue
            for child in _split(needed.trees):
                if used.trees.add(child):
                    waiting += child
            for blob in _split(needed.data):
                used.data.add(blob)
            done += 1
            if progress is not None:
                progress(done)
    return used


def _split(ids: bytes) -> Iterator[bytes]:
    for start in range(0, len(ids), ID_SIZE):
        yield ids[start : start + ID_SIZE]


def _read(repository: Repository, trees: bytes) -> Iterator[tuple[bytes, _Needed | ResticFormatError]]:
    """What each of *trees* needs, or why that cannot be told."""
    packs: dict[bytes, list[PackEntry]] = {}
    for tree_id in _split(trees):
        location = repository.index.lookup(BlobType.TREE, tree_id)
        if location is None:
            yield tree_id, BlobMissing(f"tree blob {tree_id.hex()} is not in any index; run check, then repair index")
        else:
            packs.setdefault(location.pack, []).append(location.entry(BlobType.TREE, tree_id))

    def work(job: _PackJob) -> list[tuple[bytes, _Needed | ResticFormatError]]:
        return [(entry.id, _needed(repository, entry, raw)) for entry, raw in repository.packs.blobs(*job)]

    jobs = [_PackJob(*item) for item in packs.items()]
    with contextlib.closing(in_order(work, jobs, name="used")) as results:
        for _, found in results:
            if isinstance(found, Exception):
                raise found
            yield from found


def _needed(
    repository: Repository, entry: PackEntry, raw: bytes | memoryview | ResticFormatError
) -> _Needed | ResticFormatError:
    tree_id = entry.id
    try:
        if isinstance(raw, ResticFormatError):
            raw = repository.load_blob(BlobType.TREE, tree_id)  # there may be another copy
        return _needed_of(tree_id, bytes(raw))
    except SpecError as error:
        return DamagedFile(f"tree {tree_id.hex()}", error)
    except ResticFormatError as error:
        return error


def _needed_of(tree_id: bytes, raw: bytes) -> _Needed:
    trees, data = bytearray(), bytearray()
    reader = NodeReader(raw, f"tree {tree_id.hex()[:8]}")
    while nodes := reader.next():
        for node in nodes:
            if node.type == DIR and node.subtree is not None:
                trees += bytes.fromhex(node.subtree)
            elif node.type == FILE and node.content:
                for text in node.content:
                    data += bytes.fromhex(text)
    return _Needed(bytes(trees), bytes(data))


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
        for tree_id, needed in _read(repository, batch):
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
