"""Diagnosing a repository: the stages of a check, gone through to the end, and what they found put together."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from restic_format.check.affected import Damage
from restic_format.check.files import check_files
from restic_format.check.findings import Code, Finding, ObjectKind, ObjectRef, Severity
from restic_format.check.headers import add_unlisted, unlisted
from restic_format.check.index import check_packs, list_packs, load_indexes
from restic_format.check.orphans import count_roots
from restic_format.check.packreader import Outcome, PackResult
from restic_format.check.packs import PackReading, read_packs, with_threads
from restic_format.check.snapshots import load_snapshots
from restic_format.check.state import CheckEvent, CheckOptions, Run
from restic_format.check.subset import Bucket
from restic_format.check.trees import TreeChecker
from restic_format.errors import KeyUnusable, StorageError
from restic_format.rescue.diagnosis.blobstates import BlobStates
from restic_format.rescue.diagnosis.damagedpaths import PathFinder
from restic_format.rescue.diagnosis.faults import FaultMaker, blob_of
from restic_format.rescue.diagnosis.opening import Opened
from restic_format.rescue.diagnosis.records import Diagnosis, Hope, SnapshotState
from restic_format.rescue.diagnosis.remembered import RememberedPacks
from restic_format.rescue.diagnosis.sealed import empty_lock, look_at_files
from restic_format.snapshots import FoundSnapshot
from restic_format.storage import hash_file
from restic_format.work import Cancel, Progress, silent
from restic_spec import gotime
from restic_spec.layout import FileKind
from restic_spec.pack import PackEntry

DiagnosisEvent: TypeAlias = CheckEvent
"""What a diagnosis tells while it works: the same as a check, see there."""

_SEEN_LATER = {Code.TREE_MISSING: Hope.FOUND, Code.TREE_DAMAGED: Hope.WHOLE}
"""What trees that could not be read turn out to be when all packs have been."""

_MAX_HEADLESS = 100
"""Packs without a header that may be to blame for a blob that is missing."""

_INDEX_GONE = frozenset((Code.INDEX_DAMAGED, Code.INDEX_UNREADABLE, Code.INDEX_NONE))


def diagnose(
    opened: Opened,
    progress: Progress[DiagnosisEvent] = silent,
    cancel: Cancel | None = None,
    *,
    workers: int = 2,
    resume: str = "",
    shares: Sequence[str] = (),
    reading: PackReading | None = None,
) -> Diagnosis:
    """Read all of a repository, just opened, and say what is wrong, what it costs and what may help. Nothing is written into
    it, and no lock taken: what others write meanwhile may look like damage.

    What reading packs showed is kept in the file *resume*, and taken from there and from *shares* where it is known, see
    `restic_format.rescue.diagnosis.remembered`; *shares* are not changed. Without a key nothing is kept. *reading* reads the
    packs, see `restic_format.rescue.diagnosis.spread`.

    Raises:
        Interrupted: *cancel* was set.
        UsageError: a file that keeps what was read cannot be used.
    """
    repo = opened.repository
    if repo is None:
        return look_at_files(opened, progress, cancel or Cancel())
    run = Run(repo, CheckOptions(read_data=True, workers=workers), progress, cancel or Cancel())
    return _Diagnosing(run, opened, resume, shares, reading).diagnose()


class ShareRead(NamedTuple):
    """A share of the packs was read."""

    packs: int
    """In the share, whenever they were read."""
    bytes: int
    damaged: int
    """Packs in it with which something is wrong."""


def read_share(
    opened: Opened,
    share: Bucket,
    resume: str,
    progress: Progress[DiagnosisEvent] = silent,
    cancel: Cancel | None = None,
    *,
    workers: int = 2,
) -> ShareRead:
    """Read the packs of one share and keep in the file *resume* what that showed, for `diagnose`. Raises as that, and:

    Raises:
        KeyUnusable: no key opens the repository.
    """
    if opened.repository is None:
        raise opened.trouble or KeyUnusable("a share of the packs can only be read with a password")
    run = Run(opened.repository, CheckOptions(read_data=True, workers=workers), progress, cancel or Cancel())
    return _Diagnosing(run, opened, resume, ()).read_share(share)


class _Diagnosing:
    """A diagnosis under way."""

    def __init__(
        self, run: Run, opened: Opened, resume: str, shares: Sequence[str], reading: PackReading | None = None
    ) -> None:
        self.run = run
        self.reading = reading or with_threads
        self.resume = resume
        self.shares = shares
        self.opened = opened
        self.damage = Damage(run)
        self.states = BlobStates(run)
        self.snapshots: list[SnapshotState] = []
        self.hashes: dict[bytes, bytes] = {}
        """SHA-256 of each pack file that is not intact."""
        self.result = Diagnosis(opened=True, trouble=opened.trouble)

    def diagnose(self) -> Diagnosis:
        """All of it."""
        run = self.run
        if self.opened.trouble is not None:
            run.add(Finding(Code.CONFIG_DAMAGED, ObjectRef(ObjectKind.CONFIG), str(self.opened.trouble)))
        # As in a check: what the snapshots read need is then in the index.
        roots, faults = load_snapshots(run, self._seen)
        check_files(run)
        for name in self.opened.foreign:
            message = f"key {name} is another repository's: this password opens it, but it opens nothing here"
            run.add(Finding(Code.KEY_DAMAGED, ObjectRef(ObjectKind.KEY, name), message))
        for ident, size in run.files(FileKind.LOCK):
            if not size:
                run.add(empty_lock(ident.hex()))
        load_indexes(run)
        list_packs(run)
        self._hold_against_packs()
        for fault in faults:
            run.add(fault)
        trees = TreeChecker(run, self.damage)
        trees.check([root for _, root in roots])
        self._read_packs(set(run.sizes), list(unlisted(run)))
        self._after_reading()
        finder = PathFinder(run, self.states)
        if any(code.severity is not Severity.NOTE for code in +run.report.counts):
            finder.walk(self.snapshots)
        self.result.unreferenced = count_roots(run, trees.usage.trees)
        if self.result.unreferenced and not roots and not faults:
            message = f"there are {self.result.unreferenced} directory trees that are part of no other tree, but no snapshot"
            run.add(Finding(Code.SNAPSHOTS_GONE, ObjectRef(ObjectKind.REPOSITORY), message))
        self._put_together(finder)
        return self.result

    def read_share(self, share: Bucket) -> ShareRead:
        """Only read the packs of *share*."""
        run = self.run
        load_indexes(run)
        list_packs(run)
        self._hold_against_packs()
        chosen = share.select(run.sizes, random.Random())
        others = share.select(dict.fromkeys(unlisted(run), 0), random.Random())
        damaged = 0

        def watch(result: PackResult) -> None:
            nonlocal damaged
            damaged += result.outcome is not Outcome.INTACT

        self._read_packs(set(chosen), others, watch)
        return ShareRead(len(chosen) + len(others), run.report.bytes_read, damaged)

    def _read_packs(
        self, packs: set[bytes], others: Sequence[bytes], watch: Callable[[PackResult], None] | None = None
    ) -> None:
        watch = watch or self._read
        if not (self.resume or self.shares):
            read_packs(self.run, packs, others, self.damage, watch, self.reading)
            return
        indexes = [ident for ident, _ in self.run.files(FileKind.INDEX)]
        with RememberedPacks(self.resume, self.run, indexes, others=self.shares) as remembered:
            read_packs(self.run, packs, others, self.damage, watch, remembered.around(self.reading))
            self.result.packs_recalled = remembered.recalled

    def _seen(self, found: FoundSnapshot) -> None:
        snapshot = found.snapshot
        paths = snapshot.paths if isinstance(snapshot.paths, list) else []
        tree = bytes.fromhex(str(snapshot.tree))
        self.snapshots.append(
            SnapshotState(found.id, tree, snapshot.time, snapshot.hostname, paths, snapshot.tags, snapshot.program_version)
        )

    def _hold_against_packs(self) -> None:
        """Hold the index against the packs; what packs that no index lists say themselves is taken into the index in memory."""
        run = self.run
        before = set(unlisted(run))
        if before and not len(run.repo.index):
            if not any(run.report.counts[code] for code in _INDEX_GONE):
                message = f"there are {len(before)} packs, but no index lists any"
                run.add(Finding(Code.INDEX_NONE, ObjectRef(ObjectKind.REPOSITORY), message))
            add_unlisted(run)
        check_packs(run, self.damage)
        if any(True for _ in unlisted(run)):
            add_unlisted(run)
        found = {pack for pack in before if run.repo.index.has_pack(pack)}
        self.states.found = found
        if not any(run.report.counts[code] for code in _INDEX_GONE):
            named = {finding.object.name for finding in run.report.findings if finding.code is Code.PACK_UNINDEXED}
            for pack in found:
                if pack.hex() not in named:
                    message = f"pack {pack.hex()}: not referenced in any index"
                    run.add(Finding(Code.PACK_UNINDEXED, ObjectRef(ObjectKind.PACK, pack.hex()), message))

    def _read(self, result: PackResult) -> None:
        self.result.packs_read += result.pack in self.run.file_sizes
        if result.outcome is not Outcome.INTACT and result.hash:
            self.hashes[result.pack] = result.hash
        self.states.read(result)

    def _after_reading(self) -> None:
        """Put together what is known of packs, and check the trees that only now were found."""
        run, states = self.run, self.states
        strays = {finding.object.name.rpartition("/")[2] for finding in run.report.findings if finding.code is Code.FILE_STRAY}
        for pack, number in self.damage.lost_packs.items():
            code = run.report.findings[number].code if number >= 0 else Code.PACK_MISSING
            hidden = Hope.HIDDEN if code is Code.PACK_UNREADABLE else Hope.LOST
            states.lose(pack, Hope.FOUND if pack.hex() in strays else hidden)
        for pack, entries in self._too_short():
            behind = [entry for entry in entries if entry.offset + entry.length > run.file_sizes[pack]]
            states.cut(pack, entries, behind)
        headless = [bytes.fromhex(finding.object.name) for finding in run.report.findings if finding.code is Code.PACK_HEADER]
        for pack in headless:
            self._hash_alone(pack)
        # One that is as it was written, but does not open, is another repository's.
        states.headless = tuple(pack for pack in headless if self.hashes.get(pack) != pack)[:_MAX_HEADLESS]
        back = [
            bytes.fromhex(finding.object.name)
            for finding in run.report.findings
            if finding.code in _SEEN_LATER
            and (finding.code is Code.TREE_MISSING or finding.object.pack)
            and states.of(*blob_of(finding))[0] is _SEEN_LATER[finding.code]
        ]
        if back:
            # Of an index that lies it is only known now where these are; others have been read wrongly.
            snapshots = run.report.snapshots
            TreeChecker(run, self.damage).check(back)
            run.report.snapshots = snapshots

    def _too_short(self) -> Iterator[tuple[bytes, Sequence[PackEntry]]]:
        """The packs whose files are too short, and what should be in them."""
        sizes, run = self.run.file_sizes, self.run
        short = {pack for pack, size in run.sizes.items() if sizes.get(pack, size) < size}
        if short:
            yield from run.repo.index.by_pack(short)

    def _hash_alone(self, pack: bytes) -> None:
        """Hash a pack of which nothing else is known."""
        with contextlib.suppress(StorageError, OSError):
            self.hashes[pack] = hash_file(self.run.repo.storage, FileKind.PACK, pack.hex())[0]

    def _put_together(self, finder: PathFinder) -> None:
        """Fill in the result."""
        run, result, states = self.run, self.result, self.states
        faults = FaultMaker(run, states, finder, self.hashes, {state.program for state in self.snapshots})
        faults.foreign = frozenset(self.opened.foreign)
        faults.make({state.id: list(state.damaged) for state in self.snapshots})
        result.faults, result.notes, result.causes = faults.faults, faults.notes, faults.causes()
        result.snapshots = sorted(self.snapshots, key=lambda state: gotime.parse_ns(state.time), reverse=True)
        result.paths = faults.paths()
        result.paths_total = finder.total
        result.files = faults.files()
        result.copies, result.missing = states.copies, finder.wanted
        result.wrong_packs, result.unindexed = sorted(states.wrong), sorted(states.found)
        result.odd = faults.odd
        result.packs = len(run.file_sizes)
        result.bytes_read = run.report.bytes_read
        found = sum(run.report.counts.values())
        result.incomplete = finder.full or states.full or found > len(run.report.findings)
