"""What a diagnosis says, as records: faults with their likely origin, what they cost, and what can bring it back.

Every list is bounded, and says how many there are in all.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from restic_format.check.findings import Finding, ObjectRef
from restic_spec.layout import FileKind

if TYPE_CHECKING:
    from restic_format.errors import ResticFormatError
    from restic_format.rescue.wanted import Key


class Origin(StrEnum):
    """What most likely made a fault. The value is stable and safe to match on."""

    INTERRUPTED = "interrupted"
    """An upload or a copy of a file was cut short, or a backup was interrupted."""
    STORAGE = "storage"
    """Bytes have changed on the medium, or on the way to it."""
    MEMORY = "memory"
    """The file is as it was written: memory or processor erred before it was hashed."""
    PROGRAM = "program"
    """A program wrote what it should not have written."""
    MISSING = "missing"
    """A file that must be there is not."""
    INDEX = "index"
    """Index files are missing or damaged, or say something else than the packs."""
    MIXED_UP = "mixed-up"
    """A file is the content of another one, in another place, or of another repository."""
    UNREADABLE = "unreadable"
    """The storage, or the way to it, does not give back what is there, or not reliably. That is not damage."""
    LEFT_BEHIND = "left-behind"
    """Something that is not needed was left: a lock, a pack that no snapshot uses."""


class Means(StrEnum):
    """What can bring something back. The value is stable and safe to match on."""

    READ_AGAIN = "read again"
    """Make the storage readable first: nothing is known to be lost."""
    HEADERS = "index from headers"
    """The packs say themselves what they hold."""
    OTHER_COPY = "other copy"
    """The same blobs are intact elsewhere in the repository."""
    HEADER = "header from index"
    """The blobs are intact, the header of the pack is written anew."""
    SCANNING = "scanning"
    """The pack is searched for sealed blobs, which their checksums tell."""
    REWRITING = "rewriting"
    """Every blob of the pack is intact: they are written into a new one."""
    PUT_BACK = "put back"
    """The file is here, under another name or in another folder."""
    SOLVING = "solving"
    """The checksum of a sealed blob or file tells what a single place of damage was."""
    OTHER_KEY = "other key"
    """Another key opens the repository."""
    FROM_KEY = "config from key"
    """A new config is made of what a key and the packs tell."""
    SNAPSHOT_FROM_TREES = "snapshot from trees"
    """Trees that no snapshot needs are made into snapshots again."""
    COPIES = "copies"
    """Parity, another copy of the repository, a cache, or the original files."""
    SETTING_ASIDE = "setting aside"
    """The file is of no use in the repository, and is moved out of it."""
    UNLOCKING = "unlocking"
    """Locks are removed when no program works on the repository: until then some refuse to."""
    NONE_NEEDED = "none needed"
    """Nothing is lost by it."""


class Hope(StrEnum):
    """What can be expected for a part of a file or for a directory, best first."""

    WHOLE = "whole"
    """It is intact, and found."""
    FOUND = "found"
    """It is intact; only the index must be put right."""
    HIDDEN = "hidden"
    """The storage does not give it back now: nothing is known."""
    DAMAGED = "damaged"
    """It is there but damaged, and may be solved."""
    LOST = "lost"
    """Nothing of it is in the repository: only copies from elsewhere bring it back."""


class Problem(StrEnum):
    """Why a copy of a blob cannot be used."""

    SEAL = "seal"
    """Its bytes have changed: the MAC does not fit."""
    CONTENT = "content"
    """The MAC fits, but the content is not what the id says: it was damaged before it was sealed."""
    GONE = "gone"
    """The file does not reach that far, or is not there."""
    UNREADABLE = "unreadable"
    """The storage does not give it back."""
    UNSTEADY = "unsteady"
    """It was read rightly when it was read once more."""


class BadCopy(NamedTuple):
    """A copy of a blob that cannot be used."""

    key: Key
    pack: bytes
    offset: int
    length: int
    """Bytes of the sealed blob."""
    uncompressed_length: int | None
    problem: Problem


class ByteRange(NamedTuple):
    """A part of a file's content, in bytes from its beginning."""

    start: int
    end: int
    """The first byte behind it."""
    hope: Hope
    exact: bool = True
    """False where the lengths of blobs that are lost are not known: the part is at most this."""


class DamagedPath(NamedTuple):
    """A file or directory that is not whole, at one path, in the snapshots that have it so."""

    path: str
    is_dir: bool
    """Then it has no ranges; nothing below it is known, unless it is only not found by the index."""
    size: int
    """Bytes of the file."""
    ranges: tuple[ByteRange, ...]
    """What is not whole of it, in order; at most `MAX_RANGES`, the last of which reaches to the end of what is missing."""
    hope: Hope
    """The worst of its parts."""
    faults: tuple[int, ...]
    """Which faults cost it, as numbers in `Diagnosis.faults`."""

    @property
    def lost_bytes(self) -> int:
        """Bytes that are not whole."""
        return sum(part.end - part.start for part in self.ranges)


MAX_RANGES = 1000
"""Ranges that are told one by one for each file."""

MAX_PATHS = 100_000
"""Paths that a diagnosis names; all are counted."""


class Counts(NamedTuple):
    """Files in a snapshot, or below a directory."""

    files: int = 0
    bytes: int = 0
    found: int = 0
    """Files that come back whole as soon as the index is right."""
    hidden: int = 0
    """Files of which the storage does not give back something."""
    damaged: int = 0
    """Files with parts that may be solved, and none that is lost."""
    lost: int = 0
    """Files with parts that are lost."""
    dirs: int = 0
    """Directories that cannot be read, whatever is in them."""
    dirs_found: int = 0
    """Directories that can be read as soon as the index is right; what is in them is counted."""
    missing_bytes: int = 0
    """Bytes of files that are not whole now, without those in directories that cannot be read."""

    @property
    def hurt(self) -> int:
        """Files that are not whole now."""
        return self.found + self.hidden + self.damaged + self.lost

    @property
    def whole(self) -> bool:
        """Whether everything can be restored now."""
        return not (self.hurt or self.dirs or self.dirs_found)

    def __add__(self, other: tuple[int, ...]) -> Counts:  # type: ignore[override]
        """Both together."""
        return Counts(*map(int.__add__, self, other))


@dataclass(slots=True)
class SnapshotState:
    """A snapshot, and what is whole of it."""

    id: bytes
    tree: bytes
    time: str
    hostname: str
    paths: Sequence[str]
    tags: Sequence[str]
    program: str
    counts: Counts | None = None
    """None where nothing is damaged in the repository, so that nobody has counted."""
    damaged: array[int] = field(default_factory=lambda: array("I"))
    """What is not whole, as numbers in `Diagnosis.paths`."""

    @property
    def whole(self) -> bool:
        """Whether everything in it can be restored now."""
        return self.counts is None or self.counts.whole


class Cost(NamedTuple):
    """What a fault costs."""

    snapshots: int = 0
    """Snapshots that it touches."""
    files: int = 0
    """Different files at different paths."""
    dirs: int = 0
    """Different directories that cannot be read now."""
    bytes: int = 0
    """Bytes of those files."""
    hope: Hope = Hope.WHOLE
    """The best that can be expected for the worst part."""
    is_known: bool = True
    """False where no key was opened, so that nobody can say."""


NO_COST = Cost()
UNKNOWN_COST = Cost(is_known=False)


@dataclass(slots=True)
class Fault:
    """One thing that is wrong, with everything that check found because of it."""

    object: ObjectRef
    findings: list[Finding]
    """The first one tells it."""
    origin: Origin
    why: str
    """What makes the origin likely, one sentence."""
    means: tuple[Means, ...] = ()
    cost: Cost = NO_COST

    @property
    def message(self) -> str:
        """What is wrong, one line."""
        return self.findings[0].message


class Cause(NamedTuple):
    """Faults that have most likely one origin."""

    origin: Origin
    faults: tuple[int, ...]
    """Numbers in `Diagnosis.faults`."""
    means: tuple[Means, ...]


class BadFile(NamedTuple):
    """A file that is not what its name says, or is gone."""

    kind: FileKind
    name: str
    """Its hexadecimal name; ``config`` for the config."""
    is_there: bool


@dataclass(slots=True)
class Diagnosis:
    """What is wrong with a repository, what that costs, and what can be done."""

    opened: bool
    """Whether a key was opened; without one only files, names and sizes could be looked at."""
    trouble: ResticFormatError | None = None
    """Why the repository could not be opened, or only without its config."""
    faults: list[Fault] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    """What is worth knowing and costs nothing."""
    causes: list[Cause] = field(default_factory=list)
    snapshots: list[SnapshotState] = field(default_factory=list)
    """Newest first; those that cannot be read are among the faults."""
    paths: list[DamagedPath] = field(default_factory=list)
    """The first `MAX_PATHS`."""
    paths_total: int = 0
    unreferenced: int | None = None
    """Trees that no snapshot has and that are part of no other: of snapshots that were forgotten, are damaged, or are gone.
    None where no key was opened."""
    files: list[BadFile] = field(default_factory=list)
    """Damaged and missing files, for those who repair."""
    copies: list[BadCopy] = field(default_factory=list)
    """Damaged copies of blobs, for those who repair."""
    missing: Mapping[Key, Hope] = field(default_factory=dict)
    """Blobs that a snapshot needs and that are not whole."""
    wrong_packs: list[bytes] = field(default_factory=list)
    """Packs that the index lists otherwise than they do themselves."""
    unindexed: list[bytes] = field(default_factory=list)
    """Packs that no intact index lists."""
    odd: set[bytes] = field(default_factory=set)
    """Names of packs that no index lists and that are no files, or lie in a folder where no program looks for them."""
    packs: int = 0
    """Packs there are."""
    packs_read: int = 0
    packs_recalled: int = 0
    """Those of them that were read earlier: what has rotted since is not seen."""
    bytes_read: int = 0
    incomplete: bool = False
    """Whether there is more damage than the lists hold."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong that anything could be lost by, or that keeps a program from working."""
        return self.trouble is None and not self.is_damaged

    @property
    def is_damaged(self) -> bool:
        """Whether anything but what was left behind is wrong."""
        return any(fault.origin is not Origin.LEFT_BEHIND for fault in self.faults)

    @property
    def needed(self) -> bool:
        """Whether something is not whole now for somebody who restores."""
        return not all(state.whole for state in self.snapshots)
