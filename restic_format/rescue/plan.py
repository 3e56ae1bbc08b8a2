"""The plan of a repair: what is wrong, what will be done about it, what that needs and what it saves. Nothing changes here.

It stands on `restic_format.rescue.diagnosis`, which reads everything and says what each fault costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from restic_format.check import Code, Finding, ObjectKind, Severity
from restic_format.check.advice import UNREADABLE_CODES
from restic_format.check.findings import FILE_KINDS
from restic_format.errors import FileMissing, FileUnusable, ResticFormatError, SpecError
from restic_format.maintenance import recover
from restic_format.maintenance.restrictions import check_is_whole, check_may_remove
from restic_format.repository import Repository
from restic_format.rescue.diagnosis import Diagnosis, DiagnosisEvent, Hope, Opened, Origin, diagnose
from restic_format.storage import hash_file
from restic_format.work import Cancel, Progress, silent
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

_LYING = frozenset(
    (Code.INDEX_WRONG, Code.INDEX_LAYOUT, Code.INDEX_ENTRIES_DIFFER, Code.INDEX_DUPLICATE_PACK, Code.INDEX_UNREADABLE)
)
_INDEX = _LYING | {Code.INDEX_DAMAGED, Code.INDEX_NONE, Code.PACK_UNINDEXED, Code.PACK_MISSING}
_PACKS = frozenset((Code.PACK_DAMAGED, Code.PACK_SIZE, Code.PACK_HEADER_DAMAGED, Code.PACK_UNINDEXED_DAMAGED, Code.PACK_HEADER))
_FILES = frozenset((Code.INDEX_DAMAGED, Code.SNAPSHOT_DAMAGED, Code.KEY_DAMAGED))
_CONTENT = frozenset(
    (
        Code.TREE_MISSING,
        Code.TREE_DAMAGED,
        Code.TREE_ORDER,
        Code.TREE_FAULTY,
        Code.NODE_NO_CONTENT,
        Code.NODE_NO_SUBTREE,
        Code.NODE_NULL_ID,
        Code.BLOB_MISSING,
        Code.SNAPSHOT_NO_TREE,
    )
)
_ROOTLESS = frozenset((Code.SNAPSHOT_DAMAGED, Code.SNAPSHOTS_GONE, Code.INDEX_NONE))
_PARENTLESS = frozenset((Code.TREE_MISSING, Code.TREE_DAMAGED))


class ActionKind(Enum):
    """What is done; in this order."""

    RESTORE_FILES = "restore files"
    RESTORE_BLOBS = "restore blobs"
    REPAIR_INDEX = "repair index"
    SALVAGE_PACKS = "salvage packs"
    SET_ASIDE = "set aside"
    RECOVER_TREES = "recover trees"
    REPAIR_SNAPSHOTS = "repair snapshots"


class Certainty(Enum):
    """How sure it is that an action brings back what it is for."""

    CERTAIN = "certain"
    """What is needed is there, and has been read."""
    LIKELY = "likely"
    """Most of it will be there; what is not is named in the end."""
    ATTEMPT = "attempt"
    """It may succeed; where it does not, nothing is worse than before."""


class Action(NamedTuple):
    """One step of a repair."""

    kind: ActionKind
    objects: tuple[str, ...]
    """What it is about: files by their path in the repository."""
    changes: str
    needs: str
    saves: str
    certainty: Certainty


@dataclass
class HealPlan:
    """What a repair would do."""

    repository: Repository
    diagnosis: Diagnosis
    """What is wrong, and what it costs."""
    actions: list[Action] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    """Why nothing may be done yet: what cannot be read may be intact."""
    packs: set[bytes] = field(default_factory=set)
    """Packs in which something is damaged, and which are there."""
    lying: set[bytes] = field(default_factory=set)
    """Packs that the index lists otherwise than they are."""
    missing: set[bytes] = field(default_factory=set)
    """Packs that the index lists and that are not there."""
    files: list[tuple[FileKind, str]] = field(default_factory=list)
    """Damaged files that are no packs."""
    foreign: list[str] = field(default_factory=list)
    """Names of keys of another repository."""
    lost: list[str] = field(default_factory=list)
    """Snapshots that are gone and should come back."""
    roots: int = 0
    """Trees that can be read and that no snapshot and no other tree names."""

    @property
    def is_healthy(self) -> bool:
        """Whether there is nothing to do."""
        return not self.actions and not self.obstacles

    def has(self, kind: ActionKind) -> bool:
        """Whether an action of this kind is among those planned."""
        return any(action.kind is kind for action in self.actions)


def make_plan(
    repository: Repository,
    means: Sequence[str] = (),
    *,
    forget: bool = False,
    foreign: Sequence[str] = (),
    lost: Sequence[str] = (),
    progress: Progress[DiagnosisEvent] = silent,
    cancel: Cancel | None = None,
) -> HealPlan:
    """Diagnose everything, and say what will be done. The index must not have been loaded; an exclusive lock should be held.

    *means* are the names of those that will be tried. With *forget* damaged snapshots go when their replacements are stored.
    *foreign* are names of keys of another repository (`restic_format.rescue.entrance.foreign_keys`), *lost* those of snapshots
    that are gone and should come back.

    Raises:
        UsageError: this repository must not be repaired so (`restic_format.maintenance.restrictions`).
        Interrupted: it was cancelled.
    """
    check_is_whole(repository, "heal")
    check_may_remove(repository, "heal")
    diagnosis = examine(repository, progress, cancel)
    made = HealPlan(repository, diagnosis, foreign=list(foreign))
    made.obstacles = unreadable(diagnosis)
    made.lying.update(diagnosis.wrong_packs)
    for found in findings(diagnosis):
        if _is_odd(diagnosis, found):
            if diagnosis.missing or is_rootless(diagnosis):
                made.missing.add(bytes.fromhex(found.object.name))
        elif found.code in _PACKS:
            made.packs.add(bytes.fromhex(found.object.name))
        elif found.code in _LYING and found.object.kind is ObjectKind.PACK:
            made.lying.add(bytes.fromhex(found.object.name))
        elif found.code is Code.PACK_MISSING:
            made.missing.add(bytes.fromhex(found.object.name))
        elif found.code in _FILES:
            made.files.append((FILE_KINDS[found.object.kind], found.object.name))
        elif found.code is Code.TREE_COPY_DAMAGED:
            made.packs.add(bytes.fromhex(found.object.pack))
    made.lost += lost
    if not made.obstacles:
        # What the check calls damaged may be an index that says of an intact pack what cannot be.
        intact = {pack for pack in made.packs if is_intact(repository, pack, cancel)}
        made.packs -= intact
        made.lying |= intact
        # What is not whole now may be so when packs are.
        only_whole = not (made.packs or made.missing or is_rootless(diagnosis))
        made.roots = len(recoverable(repository, only_whole=only_whole, cancel=cancel).roots)
    _add_actions(made, means, forget=forget)
    return made


def _add_actions(made: HealPlan, means: Sequence[str], *, forget: bool) -> None:
    diagnosis = made.diagnosis
    counts = Counter(found.code for found in findings(diagnosis))

    def add(kind: ActionKind, objects: Iterable[str], changes: str, needs: str, saves: str, certainty: Certainty) -> None:
        made.actions.append(Action(kind, tuple(objects), changes, needs, saves, certainty))

    wanted = [f"{kind.value}/{name}" for kind, name in made.files]
    packs = [f"data/{pack.hex()}" for pack in sorted(made.packs)]
    missing = [f"data/{pack.hex()}" for pack in sorted(made.missing)] + [f"snapshots/{name}" for name in made.lost]
    if wanted or packs or missing:
        add(
            ActionKind.RESTORE_FILES,
            [*wanted, *packs, *missing],
            "files that can be brought back as they were are stored again under their names",
            "one of: " + ", ".join(means) if means else "nothing",
            "all that is in them",
            Certainty.ATTEMPT,
        )
    lost = [f"{kind.name.lower()} {blob.hex()}" for (kind, blob), hope in diagnosis.missing.items() if hope is Hope.LOST]
    if lost and not (packs or missing):
        add(
            ActionKind.RESTORE_BLOBS,
            lost,
            "blobs that snapshots need and that are in no pack are stored again",
            "one of: " + ", ".join(means) if means else "nothing",
            "all that is in them",
            Certainty.ATTEMPT,
        )
    if made.lying or _needs_index(diagnosis, counts):
        add(
            ActionKind.REPAIR_INDEX,
            _named(diagnosis, _INDEX - {Code.PACK_MISSING}),
            "new index files list every pack as its own header does; those they replace are set aside",
            "the headers of these packs",
            "blobs are found again",
            Certainty.CERTAIN,
        )
    if made.packs:
        add(
            ActionKind.SALVAGE_PACKS,
            packs,
            "every intact blob in them is put into new packs; the damaged packs are set aside",
            "their headers or the index",
            "what is intact in them, and what other copies or means give back",
            Certainty.LIKELY,
        )
    damaged = [name for name in wanted if not name.startswith("index/")]
    damaged += [f"keys/{name}" for name in made.foreign]
    if damaged:
        add(
            ActionKind.SET_ASIDE,
            damaged,
            "files that no program can use are moved to the quarantine",
            "nothing",
            "programs work on the repository again",
            Certainty.CERTAIN,
        )
    # A damaged tree that no readable snapshot needs may be the root of one that is gone.
    rootless = any(copy.key[0] is BlobType.TREE and copy.key not in diagnosis.missing for copy in diagnosis.copies)
    if made.roots or rootless or _needs_index(diagnosis, counts) or any(counts[code] for code in _ROOTLESS):
        count = f"{made.roots} trees" if made.roots else "the trees, if there are any,"
        add(
            ActionKind.RECOVER_TREES,
            _named(diagnosis, _ROOTLESS),
            f"{count} that no snapshot names become directories of a new snapshot with the tag recovered",
            "the trees",
            "what lost snapshots had; also what was forgotten, and not pruned since",
            Certainty.LIKELY,
        )
    hurt = any(path.hope not in (Hope.WHOLE, Hope.FOUND) for path in diagnosis.paths)
    if hurt or any(counts[code] for code in _CONTENT) or made.packs or made.missing:
        add(
            ActionKind.REPAIR_SNAPSHOTS,
            _named(diagnosis, _CONTENT),
            "where something is lost, new snapshots with what is left are stored"
            + (", and those they replace set aside" if forget else " beside the old ones, with the tag repaired"),
            "the trees",
            "all files that are whole, and what is left of the others, with zeros in place of what is lost",
            Certainty.LIKELY,
        )


def _needs_index(diagnosis: Diagnosis, counts: Counter[Code]) -> bool:
    """Whether the index itself is not as it should be: packs that an interrupted backup has left do no harm."""
    if any(counts[code] for code in (Code.INDEX_DAMAGED, Code.INDEX_NONE, Code.PACK_MISSING)):
        return True
    return any(fault.origin is Origin.INDEX for fault in diagnosis.faults)


def _named(diagnosis: Diagnosis, codes: Iterable[Code]) -> list[str]:
    wanted = frozenset(codes)
    return list(dict.fromkeys(str(found.object) for found in findings(diagnosis) if found.code in wanted))


def examine(repository: Repository, progress: Progress[DiagnosisEvent] = silent, cancel: Cancel | None = None) -> Diagnosis:
    """Diagnose an open repository, whose index must not have been loaded. Raises `Interrupted`."""
    return diagnose(Opened(repository.storage, repository, None), progress, cancel)


def findings(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Everything that was found, also what is no fault."""
    for fault in diagnosis.faults:
        yield from fault.findings
    yield from diagnosis.notes


def is_sound(diagnosis: Diagnosis) -> bool:
    """Whether a check of all data finds no error."""
    return not diagnosis.incomplete and all(
        found.severity is not Severity.ERROR or _is_odd(diagnosis, found) for found in findings(diagnosis)
    )


def _is_odd(diagnosis: Diagnosis, found: Finding) -> bool:
    """Whether a finding is about something that only has the name of a pack."""
    return (
        found.object.kind is ObjectKind.PACK and bool(found.object.name) and bytes.fromhex(found.object.name) in diagnosis.odd
    )


def is_rootless(diagnosis: Diagnosis) -> bool:
    """Whether it is sure that snapshots, or directories in them, are lost; else a tree that none names may have been given up
    on purpose.
    """
    return any(found.code in _ROOTLESS | _PARENTLESS for found in findings(diagnosis))


def recoverable(repository: Repository, *, only_whole: bool, cancel: Cancel | None) -> recover.RecoveryPlan:
    """The trees that no snapshot names. With *only_whole* those are left out in which something is missing: what a repair has
    replaced by a snapshot without it. The index must be loaded. Raises as `recover.plan`.
    """
    made = recover.plan(repository, cancel=cancel)
    if only_whole:
        known: dict[bytes, bool] = {}
        made.roots = [root for root in made.roots if _is_whole(repository, root, known, cancel)]
    return made


def _is_whole(repository: Repository, root: bytes, known: dict[bytes, bool], cancel: Cancel | None) -> bool:
    """Whether all below a tree is in the index; *known* are trees that were looked at."""
    pending, met = [root], {root}
    while pending:
        if cancel is not None:
            cancel.check()
        tree = pending.pop()
        if known.get(tree):
            continue
        try:
            children = repository.index.check_tree(repository.load_blob(BlobType.TREE, tree))
        except ResticFormatError:
            children = None
        if children is None:
            return False
        pending += [child for child in children if child not in met]
        met.update(children)
    known |= dict.fromkeys(met, True)
    return True


def unreadable(diagnosis: Diagnosis) -> list[str]:
    """What the storage did not give back, a line each: it may be intact. What only has a pack's name is none of it."""
    told = (found for found in findings(diagnosis) if found.code in UNREADABLE_CODES and not _is_odd(diagnosis, found))
    return list(dict.fromkeys(found.message for found in told))


def is_intact(repository: Repository, pack: bytes, cancel: Cancel | None) -> bool:
    """Whether a pack is what its name says, and every blob in it what its own header says.

    Raises:
        StorageError: the storage does not give it back now.
        Interrupted: it was cancelled.
    """
    try:
        digest, size = hash_file(repository.storage, FileKind.PACK, pack.hex(), cancel)
        if digest != pack:
            return False
        entries = repository.packs.header(pack, size)
    except (SpecError, FileMissing, FileUnusable):
        return False
    return not any(isinstance(blob, ResticFormatError) for _, blob in repository.packs.blobs(pack, entries))
