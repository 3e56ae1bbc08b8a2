"""Who else needs the blobs of a file, or the tree of a directory: other files and snapshots, and what is freed without it.

Every tree of the repository is read once at each of its paths, as by `restic_format.explore.search`. Memory: some 250 bytes for
each blob of the file, and what is remembered between snapshots, which is bounded.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from restic_format.errors import ResticFormatError
from restic_format.inspect.way import Way, reason_of
from restic_format.snapshots import FoundSnapshot
from restic_format.snapshots.remembering import RememberingSearch
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.regions import Finding
from restic_spec.tree import DIR, FILE, Node

MOST_SHARES = 10_000
"""Files that are told of; a blob of zeros can be in any number of them."""
MOST_HELD = 64 << 20
"""Bytes of memory that these take, about: of a file with a million blobs 100 KiB for each, for which of the blobs it has."""
MOST_FAULTS = 1000
"""Faults that are told of."""
_HIT_SIZE = 300
"""Bytes of memory that a file with some of the blobs takes, about, besides which blobs it has."""


class Share(NamedTuple):
    """A file that has some of the same blobs, or a directory that has the same tree."""

    path: str
    snapshots: list[bytes]
    """The snapshots that have it with these at this path."""
    blobs: int
    """How many of the blobs it has, each counted once; 0 for a directory."""
    length: int
    """Bytes of their plaintexts."""


class Sharing(NamedTuple):
    """Who needs the same."""

    shares: list[Share]
    """Those that share most come first."""
    left_out: int
    """Further ones, beyond `MOST_SHARES` and `MOST_HELD`."""
    stored: int
    """Bytes in packs of one copy of each blob of the file; 0 for a directory, as the next two."""
    unique: int
    """Bytes of those that no other file of the snapshot has."""
    freed: int
    """Bytes of those that no other file of any snapshot has: what `prune` can remove when this one is gone."""
    findings: list[Finding]
    """What could not be looked at, so that something may be missing."""


class _Hit(NamedTuple):
    path: str
    blobs: int
    """The numbers of the blobs, a bit for each."""


class _Blobs:
    """The blobs of the file, each once: numbered, with lengths."""

    def __init__(self, way: Way) -> None:
        self.numbers: dict[str, int] = {}
        self.plain = array("Q")
        self.stored = array("Q")
        lookup = way.repository.index.lookup
        for text in () if way.file is None else way.file.blobs:
            if text in self.numbers:
                continue
            self.numbers[text] = len(self.numbers)
            blob_id = parse_id(text)
            place = lookup(BlobType.DATA, blob_id)
            self.plain.append(0 if place is None else place.entry(BlobType.DATA, blob_id).plain_length)
            self.stored.append(0 if place is None else place.length)
        self.all = (1 << len(self.numbers)) - 1

    def of(self, content: Sequence[str]) -> int:
        """Which of them are in *content*, a bit for each."""
        numbers = self.numbers
        found = {numbers[blob] for blob in content if blob in numbers}
        if len(found) == len(numbers):
            return self.all
        bits = bytearray(len(numbers) // 8 + 1)
        for number in found:
            bits[number >> 3] |= 1 << (number & 7)
        return int.from_bytes(bits, "little")

    def sum(self, sizes: array[int], blobs: int) -> int:
        """The sum of *sizes* for those that have a bit in *blobs*."""
        if blobs == self.all:
            return sum(sizes)
        bits = blobs.to_bytes(len(self.numbers) // 8 + 1, "little")
        return sum(size for number, size in enumerate(sizes) if bits[number >> 3] >> (number & 7) & 1)


def find_sharing(
    way: Way,
    snapshots: Iterable[FoundSnapshot],
    *,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> Sharing:
    """Who in *snapshots*, which are all of the repository, needs the blobs of the file that *way* leads to, or the tree of the
    directory. It is quickest when snapshots that are much the same follow each other. *progress* gets ``snapshots``.

    Raises:
        StorageError: the storage fails.
        Interrupted: it was cancelled.
    """
    blobs = _Blobs(way)
    numbers = blobs.numbers.keys()
    tree = None if way.subtree is None else way.subtree.hex()
    findings: list[Finding] = []
    place = ""

    def look(path: str, node: Node, _tree: bytes) -> tuple[Sequence[_Hit], bool]:
        if node.type == DIR:
            same = tree is not None and node.subtree == tree
            return ((_Hit(path, 0),) if same else ()), not same
        if node.type != FILE or not node.blobs or numbers.isdisjoint(node.blobs):
            return (), False
        return (_Hit(path, blobs.of(node.blobs)),), False

    def fault(path: str, error: ResticFormatError) -> None:
        if len(findings) < MOST_FAULTS:
            what = f"{path!r} in snapshot {place} cannot be looked at, so that others may share more: {reason_of(error)}"
            findings.append(Finding("shared", error.clause or "TREE-1", "error", what))

    search = RememberingSearch(way.repository, look, _size_of, fault=fault, cancel=cancel)
    found: dict[_Hit, list[bytes]] = {}
    beside = elsewhere = left_out = held = 0
    every = list(snapshots)
    for done, item in enumerate(every, 1):
        place = item.short_id
        own = item.id == way.found.id
        for hit in _hits(search, item, tree) if item.snapshot.tree and (numbers or tree) else ():
            if own and hit.path == way.path:
                continue
            if own:
                beside |= hit.blobs
            else:
                elsewhere |= hit.blobs
            if hit in found:
                found[hit].append(item.id)
            elif len(found) < MOST_SHARES and held < MOST_HELD:
                found[hit] = [item.id]
                held += _size_of(hit)
            else:
                left_out += 1
        progress(Advance("snapshots", done, len(every)))
    shares = [Share(hit.path, ids, hit.blobs.bit_count(), blobs.sum(blobs.plain, hit.blobs)) for hit, ids in found.items()]
    shares.sort(key=lambda share: (-share.length, -share.blobs, share.path))
    unique = blobs.sum(blobs.stored, blobs.all & ~beside)
    freed = blobs.sum(blobs.stored, blobs.all & ~(beside | elsewhere))
    return Sharing(shares, left_out, sum(blobs.stored), unique, freed, findings)


def _size_of(hit: _Hit) -> int:
    """Bytes of memory, about."""
    return _HIT_SIZE + hit.blobs.bit_length() // 8


def _hits(search: RememberingSearch[_Hit], item: FoundSnapshot, tree: str | None) -> Iterable[_Hit]:
    assert item.snapshot.tree
    if item.snapshot.tree == tree:
        return (_Hit("/", 0),)
    return search.results(parse_id(item.snapshot.tree))
