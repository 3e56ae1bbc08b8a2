"""Reading one pack whole: hash of the file, every blob, the header, and the header against the index."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from restic_format.check.blobs import describe
from restic_format.check.findings import Fault, ObjectKind, ObjectRef
from restic_format.check.state import Run
from restic_format.errors import FileMissing, FileUnusable, StorageError
from restic_format.repository.coder import Hash, PackCheck, check_size
from restic_format.repository.index import ListedPack, layout_of
from restic_format.storage import Buffer
from restic_spec.errors import CompressionInvalid, LengthInvalid, SpecError
from restic_spec.pack import LENGTH_SIZE, MAX_HEADER_SIZE, BlobType, PackEntry

PIECE = 4 << 20
"""Bytes read at a time; a blob that is larger is read in one go."""

HEADER_OVERHEAD = 36
"""Bytes of a pack's end that are not a header entry: IV, MAC and the length field."""

_KINDS = {BlobType.TREE: ObjectKind.TREE, BlobType.DATA: ObjectKind.DATA}


class Outcome(Enum):
    """What reading a pack showed."""

    INTACT = "intact"
    DAMAGED = "damaged"
    HEADER_DAMAGED = "header damaged"
    """The blobs are intact, and where the index says they are."""
    INDEX_WRONG = "index wrong"
    """The pack is intact, but its header lists other blobs than the index."""
    INCOMPLETE = "incomplete"
    """The file is missing, or shorter than the index says."""
    MISPLACED = "misplaced"
    """A file of this name is there, but not in the folder where it is looked for."""
    UNREADABLE = "unreadable"
    """The storage did not give it back."""
    UNSTEADY = "unsteady"
    """A fault was gone at the second attempt."""


class PackResult(NamedTuple):
    """What reading one pack showed."""

    pack: bytes
    bytes_read: int
    outcome: Outcome
    faults: list[Fault]
    unreadable: str
    """Why the storage did not give the whole file, "" where it did."""
    bad: list[PackEntry]
    """Blobs that are damaged, or that could not be read though the file has the size it must have."""
    lengths: list[PackEntry]
    """Intact blobs that do not expand to the length that is stated."""
    hash: bytes = b""
    """SHA-256 of the file, b"" where not all of it was read."""
    holds: list[PackEntry] | None = None
    """What is in it, where the index says something else, and that is wrong."""


class UnlistedPack(NamedTuple):
    """A pack that no index lists."""

    id: bytes


class _Reading:
    """What is known so far of a pack that is being read."""

    def __init__(self, pack: bytes, entries: Callable[[], list[PackEntry]], size: int, file_size: int | None) -> None:
        self.id = pack
        self._entries = entries
        self.size = size
        self.file_size = file_size
        self.name = pack.hex()
        self.ref = ObjectRef(ObjectKind.PACK, self.name)
        self.done = 0
        self.gaps = False
        self.faults: list[Fault] = []
        self.bad: list[PackEntry] = []
        self.lengths: list[PackEntry] = []
        self.header: list[Fault] = []
        self.listed: list[PackEntry] | None = None
        """What the header lists, where it was read and is intact."""
        self.hash = b""

    @cached_property
    def entries(self) -> list[PackEntry]:
        """What should be in the pack, in order of the offsets."""
        return self._entries()

    def fault(self, what: str, clause: str) -> None:
        """Something is wrong with the pack as a whole."""
        self.faults.append(Fault(self.ref, what, clause))

    def blob_fault(self, entry: PackEntry, error: SpecError) -> None:
        """Something is wrong with one of its blobs."""
        self.bad.append(entry)
        ref = ObjectRef(_KINDS[entry.type], entry.id.hex(), self.name)
        self.faults.append(Fault(ref, describe(error, self.id, entry), error.clause))

    def result(self) -> PackResult:
        """The outcome after everything was read that is there."""
        if self.done < self.size:
            why = "no such file" if self.file_size is None else "file is too short"
            return self._result(Outcome.INCOMPLETE, why)
        if self.hash != self.id:
            self.fault(f"unexpected pack id {self.hash.hex()}", "LAYOUT-1")
        elif self.header:
            self.faults += self.header
        if not self.faults:
            return self._result(Outcome.INTACT)
        header_only = self.header and self.listed is None and not self.bad and not self.gaps and self.size == self.file_size
        return self._result(Outcome.HEADER_DAMAGED if header_only else Outcome.DAMAGED)

    def failed(self, error: Exception) -> PackResult:
        """The outcome where the storage did not give the rest."""
        if self.file_size is None or self.file_size < self.size:
            return self._result(Outcome.INCOMPLETE, str(error))
        if isinstance(error, FileMissing):
            return self._result(Outcome.MISPLACED, str(error))
        if isinstance(error, FileUnusable):
            return self._result(Outcome.INCOMPLETE, str(error))
        self.bad += [entry for entry in self.entries if entry.offset + entry.length > self.done]
        return self._result(Outcome.UNREADABLE, str(error))

    def damaged(self) -> PackResult:
        """The outcome where it is not even known what should be in the pack."""
        return self._result(Outcome.DAMAGED)

    def _result(self, outcome: Outcome, unreadable: str = "") -> PackResult:
        return PackResult(self.id, self.done, outcome, self.faults, unreadable, self.bad, self.lengths, self.hash)


class PackChecker:
    """Reads packs and says what is wrong with them, in any thread."""

    def __init__(self, run: Run) -> None:
        self.coder = run.repo.coder
        self.run = run

    def check(self, pack: ListedPack | UnlistedPack) -> PackResult:
        """Read one pack; a fault is looked at a second time, for storage and memory can err once."""
        first = self._check(pack)
        if first.outcome is Outcome.INTACT:
            return first
        second = self._check(pack)
        return first._replace(outcome=Outcome.UNSTEADY, bad=[]) if second.outcome is Outcome.INTACT else second

    def _check(self, pack: ListedPack | UnlistedPack) -> PackResult:
        if isinstance(pack, UnlistedPack) or pack.id in self.run.wrong:
            return self._check_alone(pack.id)
        reading = _Reading(pack.id, pack.entries, self.run.sizes[pack.id], self.run.file_sizes.get(pack.id))
        header = pack.header() if reading.file_size == reading.size else None
        try:
            check = None if header is None else self.coder.check_pack(header)
            if check is None or not check.fits:
                self._read_plainly(reading)
            else:
                self._read_with(check, reading)
        except (StorageError, OSError) as error:
            return reading.failed(error)
        result = reading.result()
        if result.outcome is Outcome.DAMAGED and reading.listed is not None and reading.listed != reading.entries:
            # The pack's own header is intact and says something else than the index.
            alone = self._check_alone(pack.id)
            if alone.outcome is Outcome.INTACT:
                return result._replace(outcome=Outcome.INDEX_WRONG, bad=[], holds=reading.listed)
            return _between(result, reading.entries, alone, reading.listed)
        return result

    def _check_alone(self, pack: bytes) -> PackResult:
        """Read a pack that is expected to hold what its header says."""
        size = self.run.file_sizes[pack]
        reading = _Reading(pack, list, size, size)
        try:
            entries = self.run.repo.packs.header(pack, size)
            reading = _Reading(pack, lambda: entries, size, size)
            self._read_plainly(reading)
        except (StorageError, OSError) as error:
            return reading.failed(error)
        except SpecError as error:
            reading.fault(error.what, error.clause)
            return reading.damaged()
        return reading.result()

    def _read_with(self, check: PackCheck, reading: _Reading) -> None:
        """Read a pack that has the size it must have; look closer only at pieces in which something is wrong."""
        while length := check.ahead(PIECE):
            start = reading.done
            piece = self._load(reading, length)
            if check.take(piece):
                continue
            inside = [e for e in reading.entries if start <= e.offset and e.offset + e.length <= reading.done]
            self._verify(reading, piece, start, inside, self.coder.pack_hash())
            if reading.done == reading.size:
                end = sum(entry.length for entry in reading.entries)
                reading.header = self._header(reading, memoryview(piece)[end - start :])
        reading.hash = check.digest()

    def _read_plainly(self, reading: _Reading) -> None:
        entries = [entry for entry in reading.entries if self._fits(reading, entry)]
        if layout_of(reading.entries).gaps:
            reading.gaps = True
            reading.fault("index for pack contains gaps / overlapping blobs", "PACK-10")
        digest = self.coder.pack_hash()
        end = max((entry.offset + entry.length for entry in entries), default=0)
        tail = b""
        for length, inside in _pieces(entries, min(reading.size, reading.file_size or 0)):
            start = reading.done
            piece = self._load(reading, length)
            self._verify(reading, piece, start, inside, digest)
            if start >= end:
                tail = (tail + piece)[-MAX_HEADER_SIZE - LENGTH_SIZE :]
        if reading.done == reading.size:
            reading.header = self._header(reading, tail)
        reading.hash = digest.digest()

    @staticmethod
    def _fits(reading: _Reading, entry: PackEntry) -> bool:
        """Whether a blob may be read at once; one that may not is damaged."""
        try:
            check_size(entry)
        except SpecError as error:
            reading.blob_fault(entry, error)
            return False
        return True

    def _load(self, reading: _Reading, length: int) -> Buffer:
        """The next piece; good until the one after it is loaded."""
        piece = self.run.repo.packs.read(reading.id, reading.done, length)
        reading.done += length
        return piece

    def _verify(self, reading: _Reading, piece: Buffer, start: int, inside: list[PackEntry], digest: Hash) -> None:
        for entry, error in self.coder.verify_many(piece, start, inside, digest):
            if entry.uncompressed_length is not None and isinstance(error, LengthInvalid | CompressionInvalid):
                sealed = memoryview(piece)[entry.offset - start : entry.offset - start + entry.length]
                with contextlib.suppress(SpecError):
                    self.coder.open(entry, sealed)  # The id is the judge (PACK-22).
                    reading.lengths.append(entry)
                    continue
            reading.blob_fault(entry, error)

    def _header(self, reading: _Reading, tail: Buffer) -> list[Fault]:
        try:
            listed = self.run.repo.packs.open_header(tail, reading.size)
        except SpecError as error:
            return [Fault(reading.ref, error.what, error.clause)]
        reading.listed = listed
        if listed == reading.entries:
            return []
        faults = []
        want = reading.size - sum(entry.length for entry in reading.entries)
        have = HEADER_OVERHEAD + sum(entry.header_size for entry in listed)
        if want != have:
            what = f"pack header size does not match, want {want}, got {have}"
            faults.append(Fault(reading.ref, what, "INDEX-7"))
        known = set(reading.entries)
        for entry in listed:
            if entry not in known:
                ref = ObjectRef(_KINDS[entry.type], entry.id.hex(), reading.name)
                what = f"blob {entry.id.hex()} is not contained in index or position is incorrect"
                faults.append(Fault(ref, what, "INDEX-7"))
        return faults


def _between(result: PackResult, entries: list[PackEntry], alone: PackResult, listed: list[PackEntry]) -> PackResult:
    """What is to be said of a pack that is damaged by the *entries* of the index, and by those *listed* in its header, too.

    Neither is right as a whole; blob by blob that one is whose blob is intact.
    """
    if not result.bad:
        return result  # The index is right, the header is not.
    bad_listed, bad_indexed = set(alone.bad), set(result.bad)
    good = [entry for entry in entries if entry not in bad_indexed]
    good += [entry for entry in listed if entry not in bad_listed and entry not in set(entries)]
    places = {entry.offset for entry in good}
    bad = [entry for entry in alone.bad if entry.offset not in places]
    holds = sorted((*good, *bad), key=lambda entry: entry.offset)
    return result._replace(bad=bad, holds=holds)


def _pieces(entries: Sequence[PackEntry], size: int) -> Iterator[tuple[int, list[PackEntry]]]:
    """The lengths of the pieces the first *size* bytes of a pack are read in, each with the blobs wholly inside it."""
    position = 0
    queue = list(reversed(entries))
    while position < size:
        inside: list[PackEntry] = []
        stop = position
        while queue:
            entry = queue[-1]
            if entry.offset < position:
                queue.pop()  # Overlaps what is behind; the index is at fault and has been named.
                continue
            if entry.offset + entry.length > size:
                queue.clear()  # Beyond the end of a file that was cut short; so are all that follow.
                break
            if inside and entry.offset + entry.length - position > PIECE:
                break
            if entry.offset - position > PIECE:
                stop = min(entry.offset, position + PIECE)
                break
            stop = max(stop, entry.offset + entry.length)
            inside.append(queue.pop())
        if not inside and stop == position:
            stop = position + PIECE
        stop = min(stop, size)
        yield stop - position, inside
        position = stop
