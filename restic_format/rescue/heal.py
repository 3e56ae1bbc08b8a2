"""Healing: a plan is carried out step by step, and then everything is diagnosed once more.

Packs are stored before the index that lists them, both before snapshots; what is replaced or removed goes to the quarantine
first. Each step leaves a repository that is no worse than before it, so that whoever is killed can begin again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from restic_format.errors import FileMissing, FileUnusable, ResticFormatError, SpecError, StorageError
from restic_format.maintenance import recover, repairindex, repairpacks
from restic_format.maintenance.repairsnapshots import LEARNED, TAG, Repaired, SnapshotRepairer
from restic_format.repository import Repository
from restic_format.repository.coder import check_size
from restic_format.rescue.budget import Budget
from restic_format.rescue.diagnosis import Diagnosis
from restic_format.rescue.displaced import displaced
from restic_format.rescue.means import Means
from restic_format.rescue.named import Comparing, missing_below, roots
from restic_format.rescue.plan import ActionKind, HealPlan, examine, is_rootless, is_sound, recoverable
from restic_format.rescue.quarantine import Quarantine, QuarantiningStorage
from restic_format.rescue.remains import Remains
from restic_format.rescue.scanning import Scanner
from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredFile
from restic_format.snapshots.find import FoundSnapshot, all_snapshots
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.ids import id_of
from restic_spec.layout import KINDS, FileKind
from restic_spec.pack import BlobType, PackEntry

FILES, BLOBS, SNAPSHOTS, PROOF = "damaged files", "damaged blobs", "snapshots repaired", "proof"
"""The stages that `Advance` names, besides those of what is done in them."""

_AT_ONCE = 64 << 20
"""Sealed bytes of damaged blobs that the means get together."""

_MOST_COPIES = 8
"""Damaged copies of a blob that the means get."""

_LARGEST_WHOLE = 256 << 20
"""Bytes of a damaged pack that the means get whole."""


_SCANNED = 4 << 20
"""Bytes a second of a damaged pack that are searched for blobs, whatever the budget is."""


class Rewritten(NamedTuple):
    """A snapshot that had lost something, and the new one."""

    old: str
    new: str
    """"" where nothing of it was left."""


@dataclass
class Healed:
    """What was done, and what a diagnosis says afterwards."""

    run: str = ""
    """Of the quarantine; "" where nothing changed."""
    files: list[RecoveredFile] = field(default_factory=list)
    """Files that are as they were; without their data."""
    blobs: list[tuple[Key, str]] = field(default_factory=list)
    """Blobs of which no copy was intact and that were brought back, and how."""
    salvaged: int = 0
    """Intact blobs of damaged packs that are in new packs now."""
    lost: list[Key] = field(default_factory=list)
    """Blobs of damaged packs that nothing gave back."""
    indexed: int = 0
    """Packs that were entered into the index."""
    set_aside: list[tuple[FileKind, str]] = field(default_factory=list)
    """Files that no program can use, and that are in the quarantine now."""
    snapshots: list[Rewritten] = field(default_factory=list)
    changes: list[tuple[str, Repaired]] = field(default_factory=list)
    """What was changed in which snapshot: the first `MOST_CHANGES`."""
    recovered: str = ""
    """Id of the snapshot with the trees that no other one names."""
    has_given_up: bool = False
    """Whether the budget was used up: a larger one may bring back more."""
    diagnosis: Diagnosis = field(default_factory=lambda: Diagnosis(opened=True))
    """Of everything afterwards."""

    @property
    def is_sound(self) -> bool:
        """Whether a check of all data finds no error afterwards."""
        return is_sound(self.diagnosis)


MOST_CHANGES = 10_000


def heal(
    made: HealPlan,
    quarantine: Quarantine,
    means: Sequence[Means],
    *,
    forget: bool = False,
    budget: Budget | None = None,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> Healed:
    """Carry out a plan, under the exclusive lock under which it was made, and check everything again.

    *budget* is the one that the means have, for each step to leave something of it to those that follow.

    Raises:
        ResticFormatError: something could not be read or stored; nothing is lost, and healing can begin again.
        Interrupted: it was cancelled; likewise.
    """
    repository = made.repository
    before = repository.storage
    repository.storage = storage = QuarantiningStorage(before, quarantine)
    healer = _Healer(made, storage, sorted(means, key=lambda one: one.certainty), budget, progress, cancel, forget=forget)
    try:
        healer.run()
    finally:
        repository.storage = before
    quarantine.end()
    healer.result.run = quarantine.name if quarantine.begun else ""
    healer.result.has_given_up = budget is not None and budget.has_run_out
    if made.is_healthy:
        healer.result.diagnosis = made.diagnosis
        return healer.result
    progress(Advance(PROOF, 0, 0))
    healer.result.diagnosis = examine(repository.past_cache(), cancel=cancel)
    return healer.result


class _Healer:
    def __init__(
        self,
        made: HealPlan,
        storage: QuarantiningStorage,
        means: Sequence[Means],
        budget: Budget | None,
        progress: Progress[Advance],
        cancel: Cancel | None,
        *,
        forget: bool,
    ) -> None:
        self.made = made
        self.repository: Repository = made.repository
        self.storage = storage
        self.means = means
        self.budget = budget or Budget(None)
        self.progress = progress
        self.cancel = cancel
        self.forget = forget
        self.result = Healed()
        self.packs = set(made.packs)
        self.found: dict[bytes, list[PackEntry]] = {}
        """What scanning has found in damaged packs."""
        self.moved: dict[bytes, dict[PackEntry, PackEntry]] = {}
        """Blobs of damaged packs that do not stand where they should."""
        self.remains = Remains(self.repository)
        self.lengths: dict[bytes, int] = {}
        """Bytes of blobs of files that are damaged or missing: the first `LEARNED`."""

    def run(self) -> None:
        made = self.made
        if made.has(ActionKind.RESTORE_FILES):
            self.restore_files()
        if made.has(ActionKind.REPAIR_INDEX) or made.packs or made.missing:
            self.enter_packs()  # Also those that were just brought back.
        self.bring_back_blobs()
        if self.packs:
            self.salvage()
        if made.has(ActionKind.REPAIR_INDEX):
            self.drop_missing()
        self.repository.load_index()
        self.set_aside()
        if made.has(ActionKind.RECOVER_TREES):
            self.recover_trees()
        if made.has(ActionKind.REPAIR_SNAPSHOTS):
            self.repair_snapshots()

    # Files

    def restore_files(self) -> None:
        """Bring back damaged files as they were, where a means can."""
        small = [self.damaged_file(*file) for file in self.made.files]
        # The key that has opened the repository is whole, whatever its name: that of another file, if it is there, or of none.
        mine = FileKind.KEY, self.repository.key_id.hex()
        there = {id_of(file.data).hex() for file in small if file.data is not None}
        small = [file for file in small if (file.kind, file.name) != mine or file.name in there]
        small += [DamagedFile(FileKind.SNAPSHOT, name, None) for name in self.made.lost]
        self.progress(Advance(FILES, 0, len(small) + len(self.packs)))
        with self.budget.shared(0.5 if self.packs else 1):
            self.try_files(small)
        missing = [DamagedFile(FileKind.PACK, pack.hex(), None) for pack in sorted(self.made.missing)]
        whole = list(missing)
        size = 0
        left = len(self.packs)
        for pack in sorted(self.packs):
            file = self.damaged_file(FileKind.PACK, pack.hex())
            size += len(file.data or b"")
            whole.append(file)
            if size > _LARGEST_WHOLE:
                part = len(whole) - len(missing)
                with self.budget.shared(0.5 * part / left):
                    self.try_files(whole)
                left -= part
                whole, size = list(missing), 0
        with self.budget.shared(0.5):  # What is not brought back whole is tried blob by blob.
            self.try_files(whole)
        for recovered in self.result.files:
            if recovered.kind is FileKind.PACK:
                self.packs.discard(bytes.fromhex(recovered.name))

    def damaged_file(self, kind: FileKind, name: str) -> DamagedFile:
        """What is there of a file now."""
        with suppress(FileMissing, FileUnusable):
            if self.storage.size(kind, name) <= min(KINDS[kind].max_size, _LARGEST_WHOLE):
                return DamagedFile(kind, name, self.storage.load(kind, name))
        return DamagedFile(kind, name, None)

    def try_files(self, damaged: Sequence[DamagedFile]) -> None:
        """Store those that a means gives back, the old ones set aside. What is damaged now is given to all means together."""
        left = [file for file in damaged if all(file.name != known.name for known in self.result.files)]
        for one in self.means:
            if not left:
                return
            for found in one.files(left, cancel=self.cancel):
                if not any((file.kind, file.name) == (found.kind, found.name) for file in left):
                    continue
                if hashlib.sha256(found.data).hexdigest() != found.name:
                    continue
                self.repository.may_change(found.kind)
                self.storage.save(found.kind, found.name, found.data)
                self.repository.check_stored(found.kind, bytes.fromhex(found.name))
                self.result.files.append(found._replace(data=b""))
                left = [file for file in left if (file.kind, file.name) != (found.kind, found.name)]

    def set_aside(self) -> None:
        """Move away damaged snapshots and keys that could not be brought back."""
        for kind, name in [*self.made.files, *((FileKind.KEY, name) for name in self.made.foreign)]:
            if kind is FileKind.INDEX or any((file.kind, file.name) == (kind, name) for file in self.result.files):
                continue
            if kind is FileKind.KEY and name == self.repository.key_id.hex() and not self.rename_key(name):
                continue
            self.repository.may_change(kind)
            with suppress(FileMissing):
                self.storage.remove(kind, name)
                self.result.set_aside.append((kind, name))

    def rename_key(self, name: str) -> bool:
        """Store the key that has opened the repository under the name that its content has: restic uses it only then. False
        where it has that name.
        """
        data = self.storage.load(FileKind.KEY, name)
        right = id_of(data)
        if right.hex() == name:
            return False
        self.repository.may_change(FileKind.KEY)
        self.storage.save(FileKind.KEY, right.hex(), data)
        self.repository.check_stored(FileKind.KEY, right)
        self.result.files.append(RecoveredFile(FileKind.KEY, right.hex(), b"", f"it stood under the name {name[:8]}"))
        return True

    # The index

    def enter_packs(self) -> None:
        """Enter every pack that says itself what it holds and that the index does not list so; damaged index files go.

        What the index says about damaged packs stays: it may be all that is known about them.
        """
        made = repairindex.plan(self.repository, progress=self.progress, cancel=self.cancel)
        made.gone = []
        sizes = dict(self.repository.list(FileKind.PACK))
        made.resized = {pack: size for pack, size in made.resized.items() if pack not in self.packs}
        made.unlisted = {pack: size for pack, size in made.unlisted.items() if pack not in self.packs}
        lying = {pack: sizes[pack] for pack in self.made.lying if pack in sizes and pack not in self.packs}
        made.reading = made.unlisted | {pack: size.actual for pack, size in made.resized.items()} | lying
        if not made.reading and not made.damaged:
            return
        done = repairindex.execute(made, progress=self.progress, cancel=self.cancel)
        self.result.indexed += done.entered

    def drop_missing(self) -> None:
        """Take packs that are gone out of the index."""
        made = repairindex.plan(self.repository, progress=self.progress, cancel=self.cancel)
        if made.gone or made.damaged:
            made.reading, made.resized = {}, {}
            repairindex.execute(made, progress=self.progress, cancel=self.cancel)

    # Blobs

    def bring_back_blobs(self) -> None:
        """Store blobs of which no copy is intact, where a means can."""
        self.repository.load_index()
        self.bring_back_missing()
        batch: dict[Key, list[DamagedCopy]] = {}
        size = 0
        salvaging = self.salvage_plan().packs
        left = sum(damaged.size for damaged in salvaging.values())
        for key, copies in self.damaged_blobs(salvaging):
            batch[key] = copies
            size += sum(len(copy.sealed) for copy in copies)
            if size >= _AT_ONCE:
                with self.budget.shared(min(size / max(left, size), 1)):
                    self.try_blobs(batch)
                left -= size
                batch, size = {}, 0
        self.try_blobs(batch)
        self.bring_back_below()

    def bring_back_below(self) -> None:
        """Blobs that only the trees name which were brought back: there is no copy of them, and nobody has looked for them."""
        trees = {blob for kind, blob in self.made.diagnosis.missing if kind is BlobType.TREE}
        names = {file.name for file in self.result.files if file.kind is FileKind.SNAPSHOT}
        if names:
            trees.update(roots(one for one in all_snapshots(self.repository, _skip) if one.id.hex() in names))
        tried = set(self.made.diagnosis.missing)
        while wanted := missing_below(self.repository, trees, self.cancel) - tried:
            tried |= wanted
            self.try_blobs(dict.fromkeys(wanted, ()))
            trees = {blob for kind, blob in wanted if kind is BlobType.TREE}

    def bring_back_missing(self) -> None:
        """Blobs of packs that are gone, and those that snapshots need and no index lists: there is no copy of them."""
        here = {pack for pack, _ in self.repository.list(FileKind.PACK)}
        lookup = self.repository.index.lookup
        wanted: dict[Key, list[DamagedCopy]] = {key: [] for key in self.made.diagnosis.missing if lookup(*key) is None}
        for pack, entries in self.repository.index.by_pack({one.id for one in self.repository.index.packs()} - here):
            for entry in entries:
                copies = self.repository.index.lookup_all(entry.type, entry.id)
                if all(copy.pack == pack or copy.pack not in here for copy in copies):
                    self.learn(entry)
                    wanted[entry.type, entry.id] = []
        self.try_blobs(wanted)

    def damaged_blobs(self, packs: Mapping[bytes, repairpacks.DamagedPack]) -> Iterator[tuple[Key, list[DamagedCopy]]]:
        """Blobs in damaged *packs* that do not open, and of which no other copy does, each once with all its copies."""
        seen: set[Key] = set()
        for pack, damaged in packs.items():
            for entry, opened in self.repository.packs.blobs(pack, damaged.entries):
                if self.cancel is not None:
                    self.cancel.check()
                key = entry.type, entry.id
                if not isinstance(opened, ResticFormatError) or key in seen:
                    continue
                with suppress(ResticFormatError):
                    self.repository.load_blob(*key)
                    continue
                seen.add(key)
                self.learn(entry)
                places = {(pack, entry): None}
                places |= {(copy.pack, copy.entry(*key)): None for copy in self.repository.index.lookup_all(*key)}
                yield key, [copy for place in islice(places, _MOST_COPIES) if (copy := self.damaged_copy(*place)) is not None]

    def damaged_copy(self, pack: bytes, entry: PackEntry) -> DamagedCopy | None:
        """What is there of a blob; None where it cannot be had."""
        try:
            check_size(entry)
            sealed = self.storage.load(FileKind.PACK, pack.hex(), entry.offset, entry.length)
        except (StorageError, SpecError):
            return None
        return DamagedCopy((entry.type, entry.id), pack, entry.offset, sealed, entry.uncompressed_length)

    def learn(self, entry: PackEntry) -> None:
        """Remember how long a blob is, for the hole that it may leave in files."""
        if entry.type is BlobType.DATA and len(self.lengths) < LEARNED:
            self.lengths.setdefault(entry.id, entry.plain_length)

    def try_blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]]) -> None:
        """Store those that a means gives back."""
        left = dict(wanted)
        if not left:
            return
        self.progress(Advance(BLOBS, 0, len(left)))
        writer = self.repository.writer()
        try:
            for one in self.means:
                if not left:
                    break
                for found in one.blobs(dict(left), cancel=self.cancel):
                    if found.key in left and id_of(found.plaintext) == found.key[1]:
                        writer.save(found.key[0], [(found.key[1], found.plaintext)], again=True)
                        del left[found.key]
                        self.result.blobs.append((found.key, found.how))
            writer.flush()
            writer.read_back(self.cancel)
        finally:
            writer.discard()
        for (kind, _), copies in left.items():
            for copy in copies if kind is BlobType.TREE else ():
                self.remains.note(copy)

    def salvage_plan(self) -> repairpacks.SalvagePlan:
        """What should be in the damaged packs, by their headers and the index."""
        here = [pack for pack in sorted(self.packs) if self.storage.exists(FileKind.PACK, pack.hex())]
        made = repairpacks.plan(self.repository, here)
        for pack, damaged in made.packs.items():
            if pack not in self.moved:
                self.moved[pack] = displaced(self.repository, pack, damaged.size, damaged.entries, self.cancel)
            listed = [self.moved[pack].get(entry, entry) for entry in damaged.entries]
            entries = {*listed, *self.found_in(pack, damaged)}
            made.packs[pack] = damaged._replace(entries=sorted(entries, key=lambda entry: entry.offset))
        return made

    def found_in(self, pack: bytes, damaged: repairpacks.DamagedPack) -> list[PackEntry]:
        """Blobs in those parts of a pack of which neither its header nor the index say what is there."""
        if pack not in self.found:
            self.found[pack] = []
            try:
                self.repository.packs.header(pack, damaged.size)
            except (SpecError, FileUnusable):
                with self.budget.shared(0.5 / max(len(self.packs), 1)), self.budget.spending() as seconds:
                    self.found[pack] += self.scanned(pack, damaged, seconds)
        return self.found[pack]

    def scanned(self, pack: bytes, damaged: repairpacks.DamagedPack, seconds: float | None) -> Iterator[PackEntry]:
        """What a search in those parts finds in so many *seconds*, and in those that it takes to read them."""
        gaps = [(start, end) for start, end in _gaps(damaged.entries, damaged.size) if end - start <= _LARGEST_WHOLE]
        more = sum(end - start for start, end in gaps) / _SCANNED
        scanner = Scanner(
            self.repository.master_key,
            self.repository.version,
            self.cancel,
            seconds=None if seconds is None else seconds + more,
        )
        for start, end in gaps:
            data = self.storage.load(FileKind.PACK, pack.hex(), start, end - start)
            yield from scanner.scan(data, start, ends_pack=end == damaged.size)
        if scanner.is_over:
            self.budget.has_run_out = True

    def salvage(self) -> None:
        """Put what is intact in damaged packs into new ones; the damaged ones are set aside."""
        done = repairpacks.execute(self.salvage_plan(), progress=self.advance, cancel=self.cancel)
        self.result.salvaged = done.saved
        back = {key for key, _ in self.result.blobs}
        self.result.lost = [(lost.type, lost.id) for lost in done.lost if (lost.type, lost.id) not in back]
        self.result.set_aside += [(FileKind.PACK, pack.hex()) for pack in done.removed]

    def advance(self, event: object) -> None:
        """Pass on how far it is."""
        if isinstance(event, Advance):
            self.progress(event)

    # Snapshots

    def repair_snapshots(self) -> None:
        """Store new snapshots in place of those that have lost something."""
        current = ""

        def note(event: Repaired) -> None:
            if len(self.result.changes) < MOST_CHANGES:
                self.result.changes.append((current, event))

        found = list(all_snapshots(self.repository, _skip))
        done: dict[str | None, list[FoundSnapshot]] = {}
        for one in found:
            if TAG in one.snapshot.tags:
                done.setdefault(one.snapshot.original, []).append(one)
        repairer = SnapshotRepairer(
            self.repository,
            forget=self.forget,
            lengths=self.lengths,
            remains=self.remains.tree,
            progress=note,
            cancel=self.cancel,
        )
        comparing = Comparing(self.repository, self.cancel)
        looking = SnapshotRepairer(self.repository, dry_run=True, cancel=self.cancel)
        try:
            for number, one in enumerate(found):
                self.progress(Advance(SNAPSHOTS, number, len(found)))
                current = one.id.hex()
                if any(comparing.has_all_of(one, new) for new in done.get(current, ())):
                    # It was repaired by an earlier run, which has left it, and nothing of it has come back since.
                    if self.forget and looking.repair(one).changed:
                        self.repository.remove(FileKind.SNAPSHOT, one.id)
                        self.result.set_aside.append((FileKind.SNAPSHOT, current))
                    continue
                outcome = repairer.repair(one)
                if outcome.changed or outcome.empty:
                    new = "" if outcome.new is None else outcome.new.hex()
                    self.result.snapshots.append(Rewritten(current, new))
        finally:
            repairer.close()
            looking.close()
        self.progress(Advance(SNAPSHOTS, len(found), len(found)))

    def recover_trees(self) -> None:
        """Make a snapshot of the trees that none names any more."""
        only_whole = not is_rootless(self.made.diagnosis)
        made = recoverable(self.repository, only_whole=only_whole, cancel=self.cancel)
        snapshot = recover.execute(made)
        self.result.recovered = "" if snapshot is None else snapshot.hex()


def _gaps(entries: Sequence[PackEntry], size: int) -> Iterator[tuple[int, int]]:
    """The parts of a pack of *size* bytes, as begin and end, in which none of *entries* is; these are in order."""
    place = 0
    for entry in entries:
        if entry.offset > place:
            yield place, min(entry.offset, size)
        place = max(place, entry.offset + entry.length)
    if place < size:
        yield place, size


def _skip(name: object, error: ResticFormatError) -> None:
    """Go on without a snapshot that cannot be read."""
    del name, error
