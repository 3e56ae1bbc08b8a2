"""Findings put together to faults: one for each thing that was damaged, with origin, cost and what may help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from restic_format.check.advice import UNREADABLE_CODES
from restic_format.check.findings import FILE_KINDS, Code, Finding, ObjectKind, ObjectRef, Severity
from restic_format.check.state import Run
from restic_format.errors import FileMissing, FileUnusable, StorageError
from restic_format.rescue.diagnosis import origins
from restic_format.rescue.diagnosis.blobstates import BlobStates, worst
from restic_format.rescue.diagnosis.damagedpaths import FoundPath, PathFinder
from restic_format.rescue.diagnosis.origins import Judged, PackFacts
from restic_format.rescue.diagnosis.records import BadCopy, BadFile, Cause, Cost, DamagedPath, Fault, Hope, Means, Origin
from restic_format.rescue.wanted import Key
from restic_spec.layout import LISTED_KINDS, FileKind
from restic_spec.pack import BlobType

_OF_BLOBS = frozenset(
    (
        Code.TREE_MISSING,
        Code.TREE_DAMAGED,
        Code.TREE_UNREADABLE,
        Code.TREE_COPY_DAMAGED,
        Code.BLOB_MISSING,
        Code.BLOB_UNREADABLE,
        Code.BLOB_LENGTH,
    )
)
"""Findings about blobs, which are told with their packs where these have faults."""

_TOLD_LAST = (Code.PACK_HEADER, Code.INDEX_WRONG, Code.PACK_UNINDEXED_DAMAGED, Code.PACK_UNINDEXED, Code.PACK_INCOMPLETE)
"""Of several findings about an object, these do not tell what it is all about, the last least of all."""

_NOTED = frozenset((Code.PACK_MIXED, Code.INDEX_DUPLICATE_PACK))
"""Warnings that nothing is damaged by."""

_OF_FILES = frozenset((Code.KEY_DAMAGED, Code.LOCK_DAMAGED, Code.SNAPSHOT_DAMAGED, Code.INDEX_DAMAGED, Code.CONFIG_DAMAGED))

_SNAPSHOT_HOPES = {
    Code.SNAPSHOT_DAMAGED: Hope.DAMAGED,
    Code.SNAPSHOT_UNREADABLE: Hope.HIDDEN,
    Code.SNAPSHOT_NO_TREE: Hope.LOST,
}
"""What can be expected of a snapshot that cannot be used."""

_UNOPENED = ("", "CRYPTO-1", "CRYPTO-4", "CRYPTO-8")
"""Clauses that say that a file does not open with the repository's key."""

FaultKey = tuple[ObjectKind, str]


class _Share(NamedTuple):
    """What a fault costs at one path."""

    is_dir: bool
    bytes: int
    hope: Hope


class _Hits(NamedTuple):
    """What a fault costs, while it is added up."""

    shares: list[_Share]
    snapshots: set[bytes]


def blob_of(finding: Finding) -> Key:
    """The blob that a finding is about."""
    kind = BlobType.DATA if finding.object.kind is ObjectKind.DATA else BlobType.TREE
    return kind, bytes.fromhex(finding.object.name)


def _share(path: DamagedPath, kinds: set[bool]) -> _Share:
    """What a fault costs at *path*: parts that are intact and not found, if *kinds* has True, and others, if it has False."""
    if path.is_dir:
        return _Share(is_dir=True, bytes=0, hope=path.hope)
    parts = [part for part in path.ranges if (part.hope is Hope.FOUND) in kinds] or path.ranges
    return _Share(is_dir=False, bytes=sum(part.end - part.start for part in parts), hope=worst(part.hope for part in parts))


class FaultMaker:
    """Makes the faults of a diagnosis out of the findings of a check."""

    def __init__(
        self, run: Run, states: BlobStates, finder: PathFinder, hashes: Mapping[bytes, bytes], programs: set[str]
    ) -> None:
        self._run = run
        self._states = states
        self._finder = finder
        self._hashes = hashes
        self._programs = programs
        self.faults: list[Fault] = []
        self.notes: list[Finding] = []
        self.foreign: frozenset[str] = frozenset()
        """Key files of other repositories."""
        self.odd: set[bytes] = set()
        """Names of packs that no index lists and no program finds."""
        self._numbers: dict[FaultKey, int] = {}
        self._index_fault: int | None = None
        """The fault that has taken the packs that only their headers list out of the index."""
        strays = [finding.object.name for finding in run.report.findings if finding.code is Code.FILE_STRAY]
        self._names = origins.Names(self._listed(), strays)
        self._copies: dict[bytes, list[BadCopy]] = {}
        for copy in states.copies:
            self._copies.setdefault(copy.pack, []).append(copy)
        self._gone = self._hopes_of_gone()
        self._contents = {content: pack for pack, content in hashes.items() if content != pack}
        """Where a pack's content lies under another name."""

    def _listed(self) -> dict[bytes, FileKind]:
        found: dict[bytes, FileKind] = dict.fromkeys(self._run.repo.index.pack_ids(), FileKind.PACK)
        found.update(dict.fromkeys(self._run.file_sizes, FileKind.PACK))
        for kind in LISTED_KINDS:
            if kind is not FileKind.PACK:
                found.update((ident, kind) for ident, _ in self._run.files(kind))
        return found

    def make(self, snapshots: dict[bytes, list[int]]) -> None:
        """Make all faults; *snapshots* have the paths that are damaged in each."""
        findings = list(self._run.report.findings)
        blobs = []
        for finding in findings:
            if finding.code.severity is Severity.NOTE or finding.code in _NOTED:
                self.notes.append(finding)
            elif finding.code in _OF_BLOBS:
                blobs.append(finding)
            else:
                self._add((finding.object.kind, finding.object.name), finding)
        self._find_index_fault()
        for finding in blobs:
            self._add_blob(finding)
        self._settle(self._costs(snapshots))
        self._put_last()

    def _put_last(self) -> None:
        """Number what was left behind after everything else."""
        order = sorted(range(len(self.faults)), key=lambda number: self.faults[number].origin is Origin.LEFT_BEHIND)
        new = {old: number for number, old in enumerate(order)}
        self.faults = [self.faults[old] for old in order]
        self._numbers = {key: new[old] for key, old in self._numbers.items()}
        for found in self._finder.found:
            found.path = found.path._replace(faults=tuple(sorted(new[old] for old in found.path.faults)))

    def _add(self, key: FaultKey, finding: Finding) -> None:
        number = self._numbers.get(key)
        if number is None:
            self._numbers[key] = len(self.faults)
            self.faults.append(Fault(finding.object, [finding], Origin.STORAGE, ""))
            return
        known = self.faults[number].findings
        known.append(finding)
        known.sort(key=lambda finding: _TOLD_LAST.index(finding.code) + 1 if finding.code in _TOLD_LAST else 0)

    def _find_index_fault(self) -> None:
        for number, fault in enumerate(self.faults):
            if fault.findings[0].code in (Code.INDEX_DAMAGED, Code.INDEX_UNREADABLE, Code.INDEX_NONE):
                self._index_fault = number
                return

    def _of_pack(self, pack: bytes) -> int | None:
        number = self._numbers.get((ObjectKind.PACK, pack.hex()))
        return self._index_fault if number is None and pack in self._states.found else number

    def _add_blob(self, finding: Finding) -> None:
        """Tell a finding about a blob with the fault of its pack, where there is one."""
        state, packs = self._states.of(*blob_of(finding))
        named = [bytes.fromhex(finding.object.pack)] if finding.object.pack else []
        for pack in (*packs, *named):
            number = self._of_pack(pack)
            if number is not None:
                self.faults[number].findings.append(finding)
                return
        if state is Hope.WHOLE and finding.code in (Code.TREE_MISSING, Code.BLOB_MISSING):
            return
        if state is Hope.WHOLE and finding.code in (Code.TREE_DAMAGED, Code.TREE_COPY_DAMAGED) and named:
            # All of its pack was read after that, and is intact.
            ref = ObjectRef(ObjectKind.PACK, finding.object.pack)
            finding = replace(finding, code=Code.PACK_UNSTEADY, object=ref)
        self._add((finding.object.kind, finding.object.name), finding)

    def _of_unlisted(self, pack: bytes) -> int | None:
        """The fault that keeps what is intact in *pack* from being found."""
        number = self._of_pack(pack)
        if number is None or self._index_fault is None or pack not in self._states.found:
            return number
        return number if self.faults[number].findings[0].code is Code.PACK_UNINDEXED else self._index_fault

    def _blamed(self, found: FoundPath) -> dict[int, set[bool]]:
        """The faults that cost a path something: what is intact and not found (True), or anything else (False)."""
        numbers: dict[int, set[bool]] = {}
        for pack in found.packs:
            if (number := self._of_pack(pack)) is not None:
                numbers.setdefault(number, set()).add(False)
        for pack in found.unlisted:
            if (number := self._of_unlisted(pack)) is not None:
                numbers.setdefault(number, set()).add(True)
        for kind, ident in found.blobs:
            shown = ObjectKind.DATA if kind is BlobType.DATA else ObjectKind.TREE
            number = self._numbers.get((shown, ident.hex()))
            if number is not None:
                numbers.setdefault(number, set()).add(False)
        return numbers

    def _costs(self, snapshots: dict[bytes, list[int]]) -> dict[int, _Hits]:
        """Which paths and snapshots each fault costs; the paths are told which faults cost them."""
        hits: dict[int, _Hits] = {}
        blamed = []
        for found in self._finder.found:
            numbers = self._blamed(found)
            blamed.append(numbers)
            found.path = found.path._replace(faults=tuple(sorted(numbers)))
            for number, kinds in numbers.items():
                hits.setdefault(number, _Hits([], set())).shares.append(_share(found.path, kinds))
        for snapshot, paths in snapshots.items():
            for number in {number for path in set(paths) for number in blamed[path]}:
                hits[number].snapshots.add(snapshot)
        return hits

    def _settle(self, hits: dict[int, _Hits]) -> None:
        for number, fault in enumerate(self.faults):
            hit = hits.get(number)
            code = fault.findings[0].code
            if hit is not None:
                dirs = sum(share.is_dir for share in hit.shares)
                fault.cost = Cost(
                    len(hit.snapshots),
                    len(hit.shares) - dirs,
                    dirs,
                    sum(share.bytes for share in hit.shares),
                    worst(share.hope for share in hit.shares),
                )
            elif code in _SNAPSHOT_HOPES:
                fault.cost = Cost(snapshots=1, hope=_SNAPSHOT_HOPES[code])
            fault.origin, fault.why = self._judge(fault, needed=hit is not None)
            fault.means = self._means(fault)

    def _judge(self, fault: Fault, *, needed: bool) -> Judged:
        finding = fault.findings[0]
        code, name = finding.code, finding.object.name
        if code in (Code.LOCK_DAMAGED, Code.LOCK_UNREADABLE):
            return origins.of_finding(finding)
        if code is Code.KEY_DAMAGED and name in self.foreign:
            return Origin.MIXED_UP, "its content is what its name says, and the same password opens it"
        if code in _OF_FILES:
            kind = FILE_KINDS[finding.object.kind]
            return origins.of_file(self._run.repo.storage, kind, name, self._names, opens=finding.clause not in _UNOPENED)
        is_pack = finding.object.kind is ObjectKind.PACK
        if is_pack and code is Code.PACK_UNREADABLE and self._is_odd(bytes.fromhex(name)):
            self.odd.add(bytes.fromhex(name))
            if self._finder.lost:
                return Origin.MIXED_UP, "no index lists it, and it lies where no program looks for it"
            return Origin.LEFT_BEHIND, "no index lists it, no program looks for it at its place, and nothing is missing"
        if is_pack and code not in UNREADABLE_CODES:
            return self._judge_pack(code, bytes.fromhex(name), needed=needed)
        return origins.of_finding(finding)

    def _is_odd(self, pack: bytes) -> bool:
        """Whether something that no index lists has a pack's name, but is no regular file, or not in its folder."""
        if self._run.repo.index.has_pack(pack):
            return False
        try:
            self._run.repo.storage.load(FileKind.PACK, pack.hex(), 0, 1)
        except (FileMissing, FileUnusable):
            return True
        except (StorageError, OSError):
            return False
        return False

    def _judge_pack(self, code: Code, pack: bytes, *, needed: bool) -> Judged:
        content = self._hashes.get(pack, b"")
        is_intact = not content or content == pack
        if code is Code.PACK_UNINDEXED and is_intact:
            if needed:
                return Origin.INDEX, "snapshots need it, so an index listed it: that index file is gone"
            return Origin.LEFT_BEHIND, "no snapshot needs it: a backup was interrupted, or a pack was written twice"
        if code is Code.PACK_HEADER and content == pack:
            origin = Origin.MIXED_UP if self._finder.lost else Origin.LEFT_BEHIND
            return origin, "it is as it was written, but sealed with another key: most likely another repository's"
        if code is Code.PACK_HEADER and not (needed or self._finder.lost):
            return Origin.LEFT_BEHIND, "no index lists it, it cannot say what it holds, and nothing is missing"
        if code in (Code.INDEX_WRONG, Code.INDEX_ENTRIES_DIFFER, Code.INDEX_LAYOUT) and is_intact:
            return Origin.INDEX, "the pack is intact and says itself what it holds: an index file says something else"
        if code is Code.PACK_SIZE and content == pack:
            if pack in self._copies:
                return Origin.INDEX, "the pack is as it was written: an index file lists more than is in it"
            return Origin.MEMORY, "the pack is as it was written, but its header does not list all that is in it"
        if code is Code.PACK_MISSING and pack in self._contents:
            return Origin.MIXED_UP, f"its content lies at data/{self._contents[pack].hex()}"
        if pack in self._states.displaced:
            return Origin.STORAGE, "bytes are gone from the front or the middle of the file: its end is there"
        copies = self._copies.get(pack, [])
        facts = PackFacts(
            content,
            self._run.file_sizes.get(pack),
            0 if pack in self._states.found else self._run.sizes.get(pack, 0),
            frozenset(copy.problem for copy in copies),
            any(copy.uncompressed_length is not None for copy in copies),
        )
        return origins.of_pack(code, pack.hex(), facts, self._names, self._programs)

    def _means(self, fault: Fault) -> tuple[Means, ...]:
        finding = fault.findings[0]
        hopes: set[Hope] = set()
        if finding.object.kind is ObjectKind.PACK:
            hopes = self._hopes_of_pack(bytes.fromhex(finding.object.name))
        elif finding.code in _OF_BLOBS:
            hopes = {self._states.of(*blob_of(finding))[0]}
        if finding.code is Code.KEY_DAMAGED and finding.object.name in self.foreign:
            return (Means.SETTING_ASIDE,)
        if finding.code is Code.PACK_MISSING and not fault.cost.snapshots and fault.origin is Origin.MISSING:
            return (Means.HEADERS,)
        means = origins.means_for(finding.code, fault.origin, hopes)
        if finding.object.kind is ObjectKind.PACK and bytes.fromhex(finding.object.name) in self._states.displaced:
            means = (Means.SCANNING, *(one for one in means if one is not Means.SOLVING))
        if fault.origin is Origin.MIXED_UP and finding.object.kind is ObjectKind.PACK and Means.PUT_BACK not in means:
            means = (Means.PUT_BACK, *means)
        return means

    def _hopes_of_pack(self, pack: bytes) -> set[Hope]:
        """What can be expected of the blobs that are hit in a pack."""
        return {self._states.of(*copy.key)[0] for copy in self._copies.get(pack, ())} | self._gone.get(pack, set())

    def _hopes_of_gone(self) -> dict[bytes, set[Hope]]:
        """What can be expected of the blobs of packs of which nothing can be had."""
        gone = self._states.gone
        found = self._run.repo.index.by_pack(gone) if gone else ()
        return {pack: {self._states.of(entry.type, entry.id)[0] for entry in entries} for pack, entries in found}

    def causes(self) -> list[Cause]:
        """The faults by origin and by what helps, the most costly first."""
        groups: dict[tuple[Origin, tuple[Means, ...]], list[int]] = {}
        for number, fault in enumerate(self.faults):
            groups.setdefault((fault.origin, fault.means), []).append(number)

        def weight(cause: Cause) -> tuple[bool, int]:
            return cause.origin is Origin.LEFT_BEHIND, -sum(self.faults[number].cost.files for number in cause.faults)

        return sorted((Cause(origin, tuple(found), means) for (origin, means), found in groups.items()), key=weight)

    def paths(self) -> list[DamagedPath]:
        """What is not whole, with the faults that cost it."""
        return [found.path for found in self._finder.found]

    def files(self) -> list[BadFile]:
        """The files that are damaged or gone."""
        return list(self._files())

    def _files(self) -> Iterator[BadFile]:
        for fault in self.faults:
            code, kind = fault.findings[0].code, FILE_KINDS.get(fault.object.kind)
            if kind is None or code in UNREADABLE_CODES or (code is Code.PACK_UNINDEXED):
                continue
            if kind is FileKind.PACK and fault.origin is Origin.INDEX:
                continue
            name = fault.object.name or "config"
            is_there = code is not Code.PACK_MISSING and fault.origin is not Origin.MISSING
            yield BadFile(kind, name, is_there)
