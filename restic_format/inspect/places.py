"""Where the copies of some blobs are: in which packs, by which index files, and whether packs and copies are what they must be.

The index in memory knows every copy, but not which of its files lists it; so the files are read once more, one at a time. Packs
are asked of the storage itself, past any cache. Memory: some 45 bytes for each blob, and a few hundred for each pack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from restic_format.errors import DamagedFile, FileMissing, ResticFormatError, SpecError, StorageError
from restic_format.repository import Repository
from restic_format.repository.index import BlobIndex, Location
from restic_format.snapshots.idset import IdSet
from restic_format.work import Advance, Cancel, Progress, in_order, silent
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry
from restic_spec.regions import Finding

FEW_PACKS = 64
"""Packs whose sizes are asked for one by one; of more, all packs are listed."""
MOST_BROKEN = 10_000
"""Broken copies that are remembered, so that they are not read again where a blob is repeated."""


class Copy(NamedTuple):
    """One copy of a blob."""

    place: Location
    indexes: tuple[bytes, ...]
    """The index files that list it."""
    pack_size: int | None
    """Bytes of its pack's file, None where that is not there or cannot be asked for."""
    intact: bool | None
    """Whether it opens and has the hash that is its id; None where it was not read."""


class Stored(NamedTuple):
    """A blob, and its copies."""

    type: BlobType
    id: bytes
    length: int | None
    """Bytes of its plaintext as the index has it, None where no index knows it."""
    copies: tuple[Copy, ...]
    findings: tuple[Finding, ...]


class Wanted(NamedTuple):
    """A blob that something names, and the name of that: ``blobs[3]``."""

    region: str
    type: BlobType
    id: bytes


class _Pack(NamedTuple):
    """What the index says of a pack."""

    blobs: int
    """How many blobs it has."""
    size: int
    """Bytes of its file, if it has these blobs."""


class Places:
    """Where the blobs are that were given to `add`; the index must be loaded.

    *findings* has what is wrong with the index files, after `look_up`.
    """

    def __init__(self, repository: Repository, cancel: Cancel | None = None) -> None:
        self._repository = repository
        self._index = repository.index
        self._direct = repository.past_cache()
        self._direct.index = repository.index
        self._cancel = cancel
        self._blobs = {blob_type: IdSet() for blob_type in BlobType}
        self._packs: dict[bytes, _Pack] = {}
        self._sizes: dict[bytes, int] = {}
        self._withheld: dict[bytes, StorageError] = {}
        """Packs of which the storage does not say whether they are there."""
        self._whole: dict[bytes, tuple[bytes, ...]] = {}
        """For each pack the index files that list all that any lists of it."""
        self._part: dict[bytes, list[tuple[bytes, frozenset[PackEntry]]]] = {}
        """For each pack the index files that list a part of that, with those of the blobs that they list."""
        self._intact = {blob_type: IdSet() for blob_type in BlobType}
        """Blobs of which all copies that can be read are intact."""
        self._broken: dict[tuple[bytes, PackEntry], ResticFormatError] = {}
        self.findings: list[Finding] = []
        self._stored_size = dict.fromkeys(BlobType, 0)
        self.all_copies = 0
        """Bytes of all their copies."""

    def add(self, blob_type: BlobType, blob_id: bytes) -> int | None:
        """Add a blob; the bytes of its plaintext as the index has it, None where no index knows it."""
        copies = self._index.lookup_all(blob_type, blob_id)
        if self._blobs[blob_type].add(blob_id):
            self._stored_size[blob_type] += copies[0].length if copies else 0
            self.all_copies += sum(copy.length for copy in copies)
            for copy in copies:
                self._packs.setdefault(copy.pack, _Pack(0, 0))
        return copies[0].entry(blob_type, blob_id).plain_length if copies else None

    def distinct(self, blob_type: BlobType) -> int:
        """How many blobs of a type were added, each counted once."""
        return len(self._blobs[blob_type])

    def stored_size(self, blob_type: BlobType) -> int:
        """Bytes in packs of one copy of each of them."""
        return self._stored_size[blob_type]

    def look_up(self, progress: Progress[Advance] = silent) -> None:
        """Ask for the packs of all these blobs, and read the index files for them. *progress* gets ``index files``.

        Raises:
            StorageError: packs or index files cannot be listed or asked for.
            Interrupted: it was cancelled.
        """
        for listed in self._index.packs(self._packs):
            self._packs[listed.id] = _Pack(len(set(listed.entries())), listed.layout().size)
        storage = self._direct.storage
        if len(self._packs) <= FEW_PACKS:
            for pack in self._packs:
                try:
                    self._sizes[pack] = storage.size(FileKind.PACK, pack.hex())
                except FileMissing:
                    pass
                except StorageError as error:
                    self._withheld[pack] = error
        else:
            self._sizes = {pack: size for pack, size in self._direct.list(FileKind.PACK) if pack in self._packs}
        self._read_indexes(progress)

    def _read_indexes(self, progress: Progress[Advance]) -> None:
        files = sorted(file_id for file_id, _ in self._direct.list(FileKind.INDEX)) if self._packs else []

        def read(file_id: bytes) -> list[tuple[bytes, frozenset[PackEntry] | None]]:
            return list(self._listed(file_id))

        with contextlib.closing(in_order(read, files, name="index")) as results:
            for done, (file_id, found) in enumerate(results, 1):
                if self._cancel is not None:
                    self._cancel.check()
                if isinstance(found, ResticFormatError):
                    what = f"cannot be used, so that nothing is known of what it lists: {found.cause or found}"
                    self.findings.append(Finding(f"index/{file_id.hex()}", found.clause or "INDEX-1", "error", what))
                elif isinstance(found, Exception):
                    raise found
                else:
                    self._take(file_id, found)
                progress(Advance("index files", done, len(files)))

    def _listed(self, file_id: bytes) -> Iterator[tuple[bytes, frozenset[PackEntry] | None]]:
        """The packs that are of interest and that an index file lists; with each those of the blobs that it lists, None where
        it lists all there are."""
        index = BlobIndex()
        raw = self._repository.load_unpacked(FileKind.INDEX, file_id)
        try:
            index.add_raw(raw, f"index {file_id.hex()[:8]}")
        except SpecError as error:
            raise DamagedFile(f"index/{file_id.hex()}", error) from error
        index.finish_loading()
        for listed in index.packs(self._packs):
            entries = set(listed.entries())
            whole = len(entries) == self._packs[listed.id].blobs
            yield listed.id, None if whole else frozenset(entry for entry in entries if entry.id in self._blobs[entry.type])

    def _take(self, file_id: bytes, found: Iterable[tuple[bytes, frozenset[PackEntry] | None]]) -> None:
        for pack, entries in found:
            if entries is None:
                self._whole[pack] = (*self._whole.get(pack, ()), file_id)
            else:
                self._part.setdefault(pack, []).append((file_id, entries))

    def stored_as(self, wanted: Sequence[Wanted], *, read: bool) -> list[Stored]:
        """How some of the blobs are stored, and what is wrong with that; with *read* every copy is read, opened and hashed.

        Raises:
            Interrupted: it was cancelled.
        """
        if read:
            self._open(wanted)
        return [self._stored(item, read=read) for item in wanted]

    def _stored(self, wanted: Wanted, *, read: bool) -> Stored:
        region, blob_type, blob_id = wanted
        copies: list[Copy] = []
        findings: list[Finding] = []
        for number, place in enumerate(self._index.lookup_all(blob_type, blob_id)):
            name = f"{region}.copies[{number}]"
            entry = place.entry(blob_type, blob_id)
            pack_size = self._sizes.get(place.pack)
            intact = None
            if place.pack in self._withheld:
                what = f"pack {place.pack.hex()} cannot be asked for: {self._withheld[place.pack]}"
                findings.append(Finding(name, "PACK-1", "error", what))
            elif pack_size is None:
                findings.append(Finding(name, "ORDER-1", "error", f"pack {place.pack.hex()} is not there"))
            elif pack_size != self._packs[place.pack].size:
                what = f"pack {place.pack.hex()} has {pack_size} bytes, the index accounts for {self._packs[place.pack].size}"
                findings.append(Finding(name, "PACK-11", "error", what))
            if read and pack_size is not None:
                error = self._broken.get((place.pack, entry))
                intact = error is None or error.clause == _OTHER_LENGTH
                if error is not None:
                    severity = "warning" if intact else "error"
                    findings.append(Finding(name, error.clause or "PACK-13", severity, error.what))
            copies.append(Copy(place, self._indexes(entry, place.pack), pack_size, intact))
        if not copies:
            what = f"{blob_type.value} blob {blob_id.hex()} is not in any index"
            findings.append(Finding(region, "TREE-24", "error", what))
        length = copies[0].place.entry(blob_type, blob_id).plain_length if copies else None
        return Stored(blob_type, blob_id, length, tuple(copies), tuple(findings))

    def _indexes(self, entry: PackEntry, pack: bytes) -> tuple[bytes, ...]:
        parts = tuple(file_id for file_id, entries in self._part.get(pack, ()) if entry in entries)
        whole = self._whole.get(pack, ())
        return tuple(sorted((*whole, *parts))) if parts else whole

    def _open(self, wanted: Iterable[Wanted]) -> None:
        """Read the copies of these blobs that were not read yet."""
        if len(self._broken) > MOST_BROKEN:
            self._broken.clear()
        packs: dict[bytes, list[PackEntry]] = {}
        blobs = dict.fromkeys((item.type, item.id) for item in wanted if item.id not in self._intact[item.type])
        for blob_type, blob_id in blobs:
            for place in self._index.lookup_all(blob_type, blob_id):
                entry = place.entry(blob_type, blob_id)
                if place.pack in self._sizes and (place.pack, entry) not in self._broken:
                    packs.setdefault(place.pack, []).append(entry)
        broken = {key[1].id for key in self._broken}

        def work(job: tuple[bytes, list[PackEntry]]) -> list[tuple[PackEntry, ResticFormatError]]:
            return list(self._read(*job))

        with contextlib.closing(in_order(work, list(packs.items()), name="inspect")) as results:
            for (pack, _), found in results:
                if self._cancel is not None:
                    self._cancel.check()
                if isinstance(found, Exception):
                    raise found
                for entry, error in found:
                    broken.add(entry.id)
                    self._broken[pack, entry] = error
        for blob_type, blob_id in blobs:
            if blob_id not in broken:
                self._intact[blob_type].add(blob_id)

    def _read(self, pack: bytes, entries: Sequence[PackEntry]) -> Iterator[tuple[PackEntry, ResticFormatError]]:
        """What is wrong with some copies in a pack; each that is, is read twice."""
        again = []
        for entry, found in self._direct.packs.blobs(pack, entries):
            if isinstance(found, ResticFormatError):
                again.append(entry)
            elif len(found) != entry.plain_length:
                yield entry, _length_error(entry, len(found))
        for entry in again:
            for _, found in self._direct.packs.blobs(pack, [entry]):
                if isinstance(found, ResticFormatError):
                    yield entry, found


_OTHER_LENGTH = "PACK-22"


def _length_error(entry: PackEntry, length: int) -> ResticFormatError:
    return SpecError(f"expands to {length} bytes, the index says {entry.plain_length}", clause=_OTHER_LENGTH)
