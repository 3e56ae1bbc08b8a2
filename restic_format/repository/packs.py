"""Reading packs: headers, ranges, blobs; neighbouring ranges are read in one go.

How far ranges may be apart to be read together, and how much is read at once, is decided here and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from restic_format.errors import FileUnusable, ResticFormatError, SpecError
from restic_format.repository.cipher import Buffer
from restic_format.repository.coder import check_size
from restic_format.repository.header import PackRecord, decode_entries, record_of
from restic_spec.errors import HeaderInvalid
from restic_spec.layout import FileKind
from restic_spec.pack import LENGTH_SIZE, BlobType, PackEntry, check_layout, header_length

if TYPE_CHECKING:
    from restic_format.repository.repository import Repository

T = TypeVar("T")

SPAN = 4 << 20
"""Bytes of a pack that are read at once, unless a single blob is longer."""

GAP = 256 << 10
"""Unwanted bytes between two wanted ranges that are cheaper read along than skipped with a second read."""

_KEPT_MEMORY = 16 << 20
"""Bytes that a thread keeps to read into."""

_TAIL = 64 << 10
"""Bytes read from a pack's end at first: enough for the header of nearly every pack."""


class Run(NamedTuple, Generic[T]):
    """Neighbouring ranges that are read in one go."""

    offset: int
    length: int
    """Bytes from the first range's beginning to the end of whichever ends last."""
    items: list[T]
    """What the ranges belong to, by offset."""


def coalesce(
    items: Iterable[T], offset: Callable[[T], int], length: Callable[[T], int], *, span: int = SPAN, gap: int = GAP
) -> Iterator[Run[T]]:
    """Group *items*, whose ranges come in order of their offsets, to be read together.

    A run takes at most *span* bytes or one range that is longer, and what lies inside of that.
    """
    run: list[T] = []
    first = end = 0
    for item in items:
        start = offset(item)
        stop = start + length(item)
        if run and (start > end + gap or (stop > end and stop > first + span)):
            yield Run(first, end - first, run)
            run = []
        if not run:
            first = end = start
        run.append(item)
        end = max(end, stop)
    if run:
        yield Run(first, end - first, run)


class _Memory(threading.local):
    """One thread's memory for what it reads."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def of_size(self, size: int) -> memoryview:
        """*size* bytes, the same again each time unless it is much."""
        if size <= len(self._kept):
            return memoryview(self._kept)[:size]
        memory = bytearray(size)
        if size <= _KEPT_MEMORY:
            self._kept = memory
        return memoryview(memory)


class PackReader:
    """Reads the packs of a repository, from any thread; each reads into the same memory again and again."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._memory = _Memory()

    def read(self, pack: bytes, offset: int, length: int) -> memoryview:
        """*length* bytes from *offset* on; good until this thread reads something else.

        Raises:
            FileMissing, StorageError: they cannot be read.
        """
        target = self._memory.of_size(length)
        self._repository.storage.load_into(FileKind.PACK, pack.hex(), offset, target)
        return target

    def header(self, pack: bytes, size: int) -> list[PackEntry]:
        """What the header of a pack lists; *size* is the pack's size in bytes.

        Raises:
            FileMissing, StorageError, SpecError: it cannot be read, or is wrong, twice.
        """
        return self._twice(lambda: self.open_header(self._tail(pack, size), size))

    def record(self, pack: bytes, size: int) -> PackRecord:
        """The same as the index's record of the pack. Raises likewise."""

        def read() -> PackRecord:
            plaintext, length = self._open_header(self._tail(pack, size), size)
            return record_of(pack, plaintext, self._repository.version, length, size)

        return self._twice(read)

    def _twice(self, read: Callable[[], T]) -> T:
        """What *read* gives, at the second attempt where a transfer may have been at fault."""
        try:
            return read()
        except (SpecError, FileUnusable):
            return read()

    def _tail(self, pack: bytes, size: int) -> memoryview:
        """The end of a pack, with all of its header."""
        # Nearly every header fits a guess, which saves the second request.
        tail = self.read(pack, max(size - _TAIL, 0), min(size, _TAIL))
        length = header_length(tail, size)
        if length + LENGTH_SIZE > len(tail):
            tail = self.read(pack, size - length - LENGTH_SIZE, length + LENGTH_SIZE)
        return tail

    def open_header(self, tail: Buffer, size: int) -> list[PackEntry]:
        """What the header lists that ends a pack of *size* bytes, of which *tail* holds the last ones.

        Raises:
            SpecError: it is not intact, or does not account for the pack's size.
        """
        plaintext, length = self._open_header(tail, size)
        entries = decode_entries(plaintext, self._repository.version)
        check_layout(entries, length, size)
        return entries

    def _open_header(self, tail: Buffer, size: int) -> tuple[bytes, int]:
        """The plaintext of the header, and how long it is sealed."""
        view = memoryview(tail)
        length = header_length(view, size)
        if length + LENGTH_SIZE > len(view):
            raise HeaderInvalid(f"pack header of {length} bytes overlaps the blobs", clause="PACK-11")
        return self._repository.coder.cipher.open(view[-length - LENGTH_SIZE : -LENGTH_SIZE]), length

    def blobs(
        self, pack: bytes, entries: Iterable[PackEntry], *, span: int = SPAN, again: bool = False
    ) -> Iterator[tuple[PackEntry, bytes | memoryview | ResticFormatError]]:
        """The plaintexts of some of a pack's blobs, in the order of their offsets, or what is wrong with each.

        They are good until the next one is asked for, or this thread reads something else. As much sealed as *span* says, or
        one blob, is held at a time, and at most 8 MiB of plaintext, or one blob. With *again* the plaintexts are in memory that
        this thread uses again the next time, too.
        """
        ordered = sorted(entries, key=lambda entry: entry.offset)
        if any(entry.type is BlobType.TREE for entry in ordered):
            self._repository.storage.prepare(FileKind.PACK, pack.hex())
        for run in coalesce(ordered, lambda entry: entry.offset, lambda entry: entry.length, span=span):
            yield from self._run(pack, run, span, again=again)

    def _run(
        self, pack: bytes, run: Run[PackEntry], span: int, *, again: bool
    ) -> Iterator[tuple[PackEntry, bytes | memoryview | ResticFormatError]]:
        try:
            if run.length > span:
                check_size(run.items[0])
            data = self.read(pack, run.offset, run.length)
        except ResticFormatError as error:
            if len(run.items) == 1:
                yield run.items[0], error
                return
            for entry in run.items:
                yield from self._run(pack, Run(entry.offset, entry.length, [entry]), 0, again=again)
            return
        yield from self._repository.coder.open_many(data, run.offset, run.items, again=again)
