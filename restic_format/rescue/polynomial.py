"""The polynomial that cuts files, found again when the config is lost, from where files of the repository have been cut.

What follows is in CHUNK-13: about two dozen boundaries inside files tell it. They are the ends of data blobs that are not the
last of their file. So a few dozen blobs are read, and more of them where some were cut by other programs or in another
repository.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

from restic_format.native.chunker import Chunker
from restic_format.repository import Repository
from restic_format.rescue.solving.clock import Clock, OutOfTime
from restic_format.snapshots.find import FoundSnapshot, all_snapshots
from restic_format.snapshots.nodes import NodeReader
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.boundaries import ENOUGH, LEAST, Boundaries, can_be_chosen, is_chosen
from restic_spec.chunker import WINDOW
from restic_spec.crypto import OVERHEAD
from restic_spec.errors import ResticFormatError
from restic_spec.ids import parse_id
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

STAGE: Final = "boundaries"
"""What `Advance` counts: boundaries that were read, of those that are enough."""
DEFAULT_BUDGET: Final = 120.0
"""Seconds of wall clock that it may take."""
MOST_READ: Final = 160
"""Blobs that are read at most, if those before them contradict each other or say the same: about 250 MB."""
MOST_OF_A_FILE: Final = 40
"""Boundaries that are taken from one file: they have one origin."""
MOST_TRIES: Final = 300
"""Choices of files that are tried where boundaries have different origins."""

_MORE: Final = 2
"""Boundaries that are read besides those that are enough: they bear out what was found."""
_CUT_ANEW: Final = 2
"""Blobs that are cut anew."""


class Recovered(NamedTuple):
    """The polynomial that chose the boundaries."""

    polynomial: int
    boundaries: int
    """How many of those that were read it chose."""
    others: int
    """How many it did not: these blobs were cut by another program, or copied from another repository."""


class NotEnough(NamedTuple):
    """Why the polynomial cannot be told."""

    reason: str
    boundaries: int
    """How many were found."""
    needed: int
    """How many there would have to be, at least."""


class _Blob(NamedTuple):
    id: bytes
    size: int
    window: bytes


_File = list[_Blob]
"""The blobs of a file that were read, without its last."""


def recover_polynomial(
    repository: Repository,
    *,
    budget: float | None = DEFAULT_BUDGET,
    cancel: Cancel | None = None,
    progress: Progress[Advance] = silent,
) -> Recovered | NotEnough:
    """The polynomial by which files in *repository* were cut; what its config says of it is not looked at.

    The index must be loaded, as far as it can be; packs that it does not name are entered in memory, if they are needed. What
    cannot be read is gone past. *budget* is in seconds, None for no bound.

    Raises:
        StorageError: files cannot be listed.
        Interrupted: it was cancelled.
    """
    clock = Clock(budget, cancel)
    search = _Search(repository, clock, progress)
    try:
        found = search.run()
        if isinstance(found, NotEnough) and _enter_packs(repository, clock):
            search = _Search(repository, clock, progress)
            found = search.run()
        return found
    except OutOfTime:
        return search.failed("the time was used up")


def _enter_packs(repository: Repository, clock: Clock) -> bool:
    """Enter the packs that no index names; whether there are some."""
    entered = False
    for pack, size in list(repository.list(FileKind.PACK)):
        if repository.index.has_pack(pack):
            continue
        clock.check()
        with suppress(ResticFormatError):
            repository.index.add_pack(pack, repository.packs.header(pack, size))
            entered = True
    return entered


class _Search:
    def __init__(self, repository: Repository, clock: Clock, progress: Progress[Advance]) -> None:
        self.repository = repository
        self.clock = clock
        self.progress = progress
        self.equations = Boundaries()
        """Of all boundaries, as long as they do not contradict each other."""
        self.files: list[_File] = []
        self.read = 0

    def failed(self, reason: str) -> NotEnough:
        return NotEnough(reason, self.read, LEAST)

    def run(self) -> Recovered | NotEnough:
        more = _MORE
        for _blob in self.blobs():
            self.progress(Advance(STAGE, min(self.read, ENOUGH + _MORE), ENOUGH + _MORE))
            if self.read >= MOST_READ:
                break
            if not self.equations.contradictory and not self.equations.left:
                if not more:
                    break
                more -= 1
        if not self.equations.contradictory:
            for polynomial in self.equations.polynomials():
                if (found := self.judged(polynomial)) is not None:
                    return found
        if self.read < LEAST:
            return self.failed("too few files are so large that they were cut into several blobs")
        if self.equations.left and not self.equations.contradictory:
            return self.failed("too many of the places at which files were cut look alike")
        return self.of_some() or self.failed("the places at which files were cut do not follow from one polynomial")

    def blobs(self) -> Iterator[_Blob]:
        """Reads the boundaries of one file after the other."""
        seen: set[bytes] = set()
        for content in _contents(self.repository, self.clock):
            file: _File = []
            self.files.append(file)
            for blob_id in islice(content, MOST_OF_A_FILE):
                self.clock.check()
                if blob_id in seen:
                    continue
                seen.add(blob_id)
                blob = self.load(blob_id)
                if blob is not None:
                    file.append(blob)
                    self.read += 1
                    self.equations.add(blob.window)
                    yield blob
            if not file:
                self.files.pop()

    def load(self, blob_id: bytes) -> _Blob | None:
        """A blob that ends where its content may have said so; None for others, and for what cannot be read."""
        location = self.repository.index.lookup(BlobType.DATA, blob_id)
        if location is None:
            return None
        size = location.length - OVERHEAD if location.uncompressed_length is None else location.uncompressed_length
        if not can_be_chosen(size):
            return None
        with suppress(ResticFormatError):
            return _Blob(blob_id, size, self.repository.load_blob(BlobType.DATA, blob_id)[-WINDOW:])
        return None

    def of_some(self) -> Recovered | None:
        """The polynomial of the most boundaries, where not all have the same origin: files are taken until the equations have a
        solution, the largest first, then others by chance.
        """
        best: Recovered | None = None
        chance = random.Random(0)
        by_size = sorted(self.files, key=len, reverse=True)
        for number in range(min(MOST_TRIES, 8 * len(self.files) ** 2)):
            self.clock.check()
            order = [*self.files]
            chance.shuffle(order)
            if number < len(by_size):
                order.insert(0, by_size[number])
            for polynomial in _solutions(order):
                found = self.judged(polynomial)
                if found is not None and (best is None or found.boundaries > best.boundaries):
                    best = found
            if best is not None and best.boundaries > best.others:
                break
        return best

    def judged(self, polynomial: int) -> Recovered | None:
        """The result, if enough boundaries bear the polynomial out, and blobs cut anew end where they did (CHUNK-14)."""
        blobs = [blob for file in self.files for blob in file]
        chosen = [blob for blob in blobs if is_chosen(blob.window, polynomial)]
        if len(chosen) < LEAST:
            return None
        chunker = Chunker(polynomial)
        for blob in sorted(chosen, key=lambda blob: blob.size)[:_CUT_ANEW]:
            self.clock.check()
            with suppress(ResticFormatError):
                data = self.repository.load_blob(BlobType.DATA, blob.id)
                if chunker.next_cut(data, 0, len(data), True) != len(data):
                    return None
        return Recovered(polynomial, len(chosen), len(blobs) - len(chosen))


def _solutions(files: Sequence[_File]) -> Iterator[int]:
    """Polynomials that choose the boundaries of these files, of as many as the equations need."""
    equations = Boundaries()
    for file in files:
        for blob in file:
            equations.add(blob.window)
        if equations.contradictory:
            return
        if not equations.left:
            break
    yield from equations.polynomials()


def _contents(repository: Repository, clock: Clock) -> Iterator[list[bytes]]:
    """The blobs of each file that was cut, without its last: the newest snapshots first, then what no snapshot has."""
    met: set[bytes] = set()
    found = sorted(all_snapshots(repository, lambda _id, _error: None), key=_age, reverse=True)
    for one in found:
        pending = [parse_id(one.snapshot.tree)] if isinstance(one.snapshot.tree, str) else []
        while pending:
            below, contents = _read_tree(repository, pending.pop(), met, clock)
            pending += below
            yield from contents
    for _pack, entry in repository.index.entries():
        if entry.type is BlobType.TREE:
            yield from _read_tree(repository, entry.id, met, clock)[1]


def _age(found: FoundSnapshot) -> int:
    with suppress(ResticFormatError):
        return found.time_ns
    return 0


def _read_tree(repository: Repository, tree: bytes, met: set[bytes], clock: Clock) -> tuple[list[bytes], list[list[bytes]]]:
    """The trees below a tree that has not been met yet, and the blobs of its files that were cut, without the last of each."""
    clock.check()
    below: list[bytes] = []
    contents: list[list[bytes]] = []
    if tree in met:
        return below, contents
    met.add(tree)
    with suppress(ResticFormatError):
        reader = NodeReader(repository.load_blob(BlobType.TREE, tree), "tree", damaged=lambda _node, _error: None)
        while nodes := reader.next():
            for node in nodes:
                if node.subtree is not None:
                    below.append(parse_id(node.subtree))
                if len(node.blobs) > 1:
                    contents.append([parse_id(blob) for blob in node.blobs[: min(len(node.blobs) - 1, MOST_OF_A_FILE)]])
    return below, contents
