"""The content of many files one after the other: what is to be written in order is fetched and opened ahead, in parallel.

Whoever writes an archive, or a file from begin to end, makes `Batch` after `Batch` of blobs and of bytes of its own between
them. A few threads open them, neighbours in a pack in one range, and `opened` hands them out in order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple, TypeVar

from restic_format.errors import BlobMissing, DamagedFile
from restic_format.repository import Repository
from restic_format.snapshots.blobcache import BlobCache
from restic_format.work import in_order
from restic_spec.errors import ResticFormatError
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import Node

BATCH = 4 << 20
"""Bytes of a batch, unless a single blob has more."""
MOST_ITEMS = 1000
"""Items of a batch: about as many buffers as the system writes in one call."""
MOST_WORKERS = 8
"""Threads that open batches, however many requests a storage answers at once."""
MOST_BEYOND = 32 << 20
"""Bytes that the blobs of a batch may have beyond what the index states."""
REMEMBERED = 1 << 16
"""Blobs that are remembered to have come before."""
REPEATED = 32 << 20
"""Bytes of repeated blobs that are kept opened."""

Buffer = bytes | memoryview
Made = TypeVar("Made")


class Blob(NamedTuple):
    """A blob of a file's content, and where it is."""

    pack: bytes
    entry: PackEntry
    size: int
    """Bytes of its plaintext, as the index states them."""
    repeated: bool = False
    """Whether it came before not long ago, so that keeping it opened is worth while."""


class Batch:
    """What is opened, and written, in one piece: blobs, and bytes between them."""

    __slots__ = ("error", "items", "notes", "size")

    def __init__(self) -> None:
        self.items: list[Blob | bytes] = []
        self.size = 0
        """Bytes of the items, as the index states them."""
        self.notes: list[object] = []
        """What the maker wants to know of them."""
        self.error: ResticFormatError | None = None
        """Why nothing comes after it."""

    def add(self, raw: bytes) -> None:
        """Add bytes."""
        self.items.append(raw)
        self.size += len(raw)

    def add_blob(self, blob: Blob) -> None:
        """Add a blob."""
        self.items.append(blob)
        self.size += blob.size

    def holds(self, size: int) -> bool:
        """Whether there is room for another item of *size* bytes."""
        return not (self.items or self.notes) or (self.size + size <= BATCH and len(self.items) + len(self.notes) < MOST_ITEMS)


class Locator:
    """Says where the blobs of files are, for batches; for one thread."""

    def __init__(self, repository: Repository) -> None:
        self._lookup = repository.index.lookup
        self._recent: dict[bytes, None] = {}

    def blobs(self, node: Node) -> list[Blob]:
        """The blobs of a file in order.

        Raises:
            BlobMissing: no index knows one of them.
        """
        return list(map(self.blob, node.blobs))

    def blob(self, text: str) -> Blob:
        """The blob that has the hexadecimal id *text*. Raises likewise."""
        blob_id = parse_id(text)
        where = self._lookup(BlobType.DATA, blob_id)
        if where is None:
            raise BlobMissing.of(BlobType.DATA, text)
        entry = where.entry(BlobType.DATA, blob_id)
        recent = self._recent
        repeated = blob_id in recent
        if not repeated:
            recent[blob_id] = None
            if len(recent) > REMEMBERED:
                del recent[next(iter(recent))]
        return Blob(where.pack, entry, entry.plain_length, repeated)


def opened(
    repository: Repository, batches: Iterable[Batch], make: Callable[[Batch, list[Buffer]], Made], *, exact: bool = False
) -> Generator[tuple[Batch, Made], None, None]:
    """Each batch with what *make* makes of its items, the blobs being opened; in order, made by a few threads ahead of its use.

    With *exact* a blob of another length than the index states is an error; without it, only where the blobs of a batch have
    32 MiB more than that. Memory: 4 MiB or a blob for each of twice as many batches as the storage answers requests at
    once, and 32 MiB; where an index states wrong lengths, 32 MiB for each batch on top.

    Raises:
        ResticFormatError: a blob cannot be had, or what a batch says; all batches before it have been handed out.
    """
    workers = min(repository.storage.readers, MOST_WORKERS)
    with BlobCache(repository, limit=REPEATED, workers=0) as repeated:

        def work(batch: Batch) -> Made:
            return make(batch, _open(repository, batch.items, repeated, exact=exact))

        with contextlib.closing(in_order(work, batches, name="content", workers=workers, ahead=2 * workers)) as results:
            for batch, made in results:
                if isinstance(made, Exception):
                    raise made
                yield batch, made
                if batch.error is not None:
                    raise batch.error


def _open(repository: Repository, items: Sequence[Blob | bytes], repeated: BlobCache, *, exact: bool) -> list[Buffer]:
    """*items* with the plaintexts of blobs in their places."""
    packs: dict[bytes, dict[bytes, PackEntry]] = {}
    plain: dict[bytes, Buffer] = {}
    beyond = 0

    def keep(entry: PackEntry, found: Buffer) -> None:
        nonlocal beyond
        if entry.id not in plain:
            beyond += max(len(found) - entry.plain_length, 0)
        if beyond > MOST_BEYOND:
            raise DamagedFile(f"data blob {entry.id.hex()} and others are longer than an index states: run repair index")
        plain[entry.id] = found

    for item in items:
        if not isinstance(item, bytes):
            if item.repeated:
                keep(item.entry, repeated.get(item.entry.id))
            else:
                packs.setdefault(item.pack, {})[item.entry.id] = item.entry
    for pack, entries in packs.items():
        for entry, found in repository.packs.blobs(pack, entries.values()):
            # One that is not as the index says: another copy, or the same at a second try, or the error.
            keep(entry, repository.load_blob(BlobType.DATA, entry.id) if isinstance(found, ResticFormatError) else found)
    if exact:
        for item in items:
            if not isinstance(item, bytes) and len(plain[item.entry.id]) != item.size:
                raise DamagedFile(f"data blob {item.entry.id.hex()} has not the length an index states: run repair index")
    return [item if isinstance(item, bytes) else plain[item.entry.id] for item in items]
