"""What can be expected of each blob: whole, found in a pack that the index does not list rightly, damaged, or lost.

Only packs with which something is wrong, and damaged copies, are remembered; of any other blob the index says where it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from restic_format.check.affected import MAX_COPIES
from restic_format.check.packreader import Outcome, PackResult
from restic_format.check.state import Run
from restic_format.errors import FileMissing, FileUnusable, StorageError
from restic_format.repository.coder import check_size
from restic_format.repository.index import BlobIndex, Location
from restic_format.rescue.diagnosis.records import BadCopy, Hope, Problem
from restic_format.rescue.displaced import displaced
from restic_format.rescue.wanted import Key
from restic_spec.constants import OVERHEAD
from restic_spec.errors import MacInvalid, SpecError
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType, PackEntry

_ORDER = {hope: number for number, hope in enumerate(Hope)}
_MAX_KNOWN = 100_000

PackKey = tuple[bytes, int]
"""Where a copy of a blob begins: pack and offset."""

State = tuple[Hope, tuple[bytes, ...]]
"""What can be expected of a blob, and the packs that make it so."""

WHOLE: State = (Hope.WHOLE, ())
LOST: State = (Hope.LOST, ())


def worst(hopes: Iterable[Hope]) -> Hope:
    """The least that can be expected."""
    return max(hopes, key=_ORDER.__getitem__, default=Hope.WHOLE)


def at_best(hopes: Iterable[Hope]) -> Hope:
    """The most that can be expected."""
    return min(hopes, key=_ORDER.__getitem__, default=Hope.LOST)


class BlobStates:
    """Gathers what is wrong with packs, and answers for blobs."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.copies: list[BadCopy] = []
        self.full = False
        """Whether there are more damaged copies than are remembered."""
        self.found: set[bytes] = set()
        """Packs that no index lists, and whose own headers tell what they hold."""
        self.wrong: set[bytes] = set()
        """Packs that the index lists otherwise than they are."""
        self._held = BlobIndex()
        """What is in these and those."""
        self._unsaid = BlobIndex()
        """What of it no index says."""
        run.correcting = self.correct
        self.gone: dict[bytes, Hope] = {}
        """Packs of which nothing can be had: not there, or not readable now."""
        self.headless: tuple[bytes, ...] = ()
        """Packs that no index lists, and that do not say what they hold: what is missing may be in them."""
        self._bad: dict[Key, dict[PackKey, Problem]] = {}
        self._suspects: set[bytes] = set()
        """Packs with a damaged copy in them."""
        self._known: dict[Key, State] = {}
        self.displaced: set[bytes] = set()
        """Packs that have lost bytes from within, so that blobs stand further in front."""

    def read(self, result: PackResult) -> None:
        """Take note of what reading a pack showed."""
        pack = result.pack
        if result.outcome in (Outcome.INTACT, Outcome.UNSTEADY):
            return
        if result.outcome is Outcome.MISPLACED:
            self.lose(pack, Hope.LOST)
        elif result.outcome is Outcome.UNREADABLE and not result.bytes_read:
            self.lose(pack, Hope.HIDDEN)
        else:
            for entry in result.bad:
                self.add(pack, entry)
            if result.holds is not None:
                self.correct(pack, result.holds)
                self._run.repo.index.add_pack(pack, result.holds)

    def lose(self, pack: bytes, hope: Hope) -> None:
        """Nothing of *pack* can be had."""
        self.gone[pack] = hope

    def correct(self, pack: bytes, entries: Sequence[PackEntry]) -> None:
        """Take note of what *pack* holds, before the index in memory does: until then that has what index files say."""
        if self._held.has_pack(pack):
            return
        self._held.add_pack(pack, entries)
        index = self._run.repo.index
        if index.has_pack(pack):
            self.wrong.add(pack)
            entries = [entry for entry in entries if not _lists(index, pack, entry)]
        self._unsaid.add_pack(pack, entries)
        self._known.clear()

    def add(self, pack: bytes, entry: PackEntry) -> None:
        """A copy of a blob is damaged: it is read once more, to see how."""
        here = self._bad.setdefault((entry.type, entry.id), {})
        if (pack, entry.offset) in here:
            return
        if len(self.copies) >= MAX_COPIES:
            self.full = True
            return
        problem = here[pack, entry.offset] = self._look(pack, entry)
        self._suspects.add(pack)
        if problem is not Problem.UNSTEADY:
            key = entry.type, entry.id
            self.copies.append(BadCopy(key, pack, entry.offset, entry.length, entry.uncompressed_length, problem))

    def cut(self, pack: bytes, entries: Sequence[PackEntry], behind: Iterable[PackEntry]) -> None:
        """The file of *pack* is too short for its *entries*: of those *behind* its end some may only stand further in front."""
        there: Iterable[PackEntry] = ()
        size = self._run.file_sizes[pack]
        with contextlib.suppress(SpecError, StorageError, OSError):
            there = displaced(self._run.repo, pack, size, entries, self._run.cancel)
        if there:
            self.displaced.add(pack)
        for entry in behind:
            self.add(pack, entry)
        for entry in there:
            self._bad.get((entry.type, entry.id), {})[pack, entry.offset] = Problem.SEAL
        moved = {(entry.type, entry.id): entry.offset for entry in there}
        self.copies = [
            copy._replace(problem=Problem.SEAL) if copy.pack == pack and moved.get(copy.key) == copy.offset else copy
            for copy in self.copies
        ]
        self._known.clear()

    def _look(self, pack: bytes, entry: PackEntry) -> Problem:
        try:
            check_size(entry)
            sealed = self._run.repo.storage.load(FileKind.PACK, pack.hex(), entry.offset, entry.length)
            self._run.repo.coder.open(entry, memoryview(sealed))
        except (FileMissing, FileUnusable):
            return Problem.GONE
        except (StorageError, OSError):
            return Problem.UNREADABLE
        except MacInvalid:
            return Problem.SEAL
        except SpecError:
            return Problem.CONTENT
        return Problem.UNSTEADY

    def of(self, kind: BlobType, ident: bytes) -> State:
        """What can be expected of a blob, and which packs are to blame where it is not whole."""
        location = self._run.repo.index.lookup(kind, ident)
        if location is None:
            if self._run.hidden:
                return Hope.HIDDEN, ()
            return (Hope.DAMAGED, self.headless) if self.headless else LOST
        if self._is_good(location.pack):
            return WHOLE
        key = kind, ident
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[key] = self._find(key)
        return known

    def length(self, blob: bytes) -> int | None:
        """Bytes of a data blob's plaintext; None where nobody knows."""
        copies = self._run.repo.index.lookup_all(BlobType.DATA, blob)
        for copy in copies:
            entry = copy.entry(BlobType.DATA, blob)
            if not self._held.has_pack(copy.pack) or _lists(self._held, copy.pack, entry):
                return entry.length - OVERHEAD if entry.uncompressed_length is None else entry.uncompressed_length
        return None

    def _is_good(self, pack: bytes) -> bool:
        return not (pack in self._suspects or pack in self.gone or self._held.has_pack(pack))

    def _find(self, key: Key) -> State:
        copies = self._run.repo.index.lookup_all(*key)
        hopes = [self._of_copy(key, copy) for copy in copies]
        best = at_best(hopes)
        if best is Hope.WHOLE:
            return WHOLE
        return best, tuple(dict.fromkeys(copy.pack for copy in copies))

    def _of_copy(self, key: Key, copy: Location) -> Hope:
        gone = self.gone.get(copy.pack)
        if gone is not None:
            return gone
        with contextlib.suppress(KeyError):
            problem = self._bad[key][copy.pack, copy.offset]
            if problem is Problem.SEAL:
                return Hope.DAMAGED
            if problem is Problem.UNREADABLE:
                return Hope.HIDDEN
            if problem is not Problem.UNSTEADY:
                return Hope.LOST
        if not self._held.has_pack(copy.pack):
            return Hope.WHOLE
        entry = copy.entry(*key)
        if not _lists(self._held, copy.pack, entry):
            return Hope.LOST
        return Hope.FOUND if _lists(self._unsaid, copy.pack, entry) else Hope.WHOLE


def _lists(index: BlobIndex, pack: bytes, entry: PackEntry) -> bool:
    """Whether *index* says that *entry* is in *pack*."""
    return any(
        copy.pack == pack and copy.entry(entry.type, entry.id) == entry for copy in index.lookup_all(entry.type, entry.id)
    )
