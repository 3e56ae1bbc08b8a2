"""What the stages of a check share: options, the callback protocol, and the place findings are gathered in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from restic_format.check.advice import HIDING_CODES, LOSING_CODES, NOTHING_KNOWN, UNREADABLE_CODES
from restic_format.check.findings import Code, Consequence, Finding, ObjectKind, ObjectRef, Severity
from restic_format.check.subset import Subset
from restic_format.errors import StorageError
from restic_format.repository import Repository
from restic_format.storage.warming import WarmUp
from restic_format.work import Advance, Cancel, Progress
from restic_spec.layout import FileKind
from restic_spec.pack import PackEntry

MAX_KEPT = 10_000
"""Findings a report keeps; the callback is given every one, and all are counted."""


class Stage(StrEnum):
    """The parts of a check, in the order they run."""

    FILES = "files"
    INDEX = "index"
    PACKS = "packs"
    SNAPSHOTS = "snapshots"
    READ = "read"
    CONSEQUENCES = "consequences"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What to check.

    ``subset`` chooses packs to read, ``read_data`` reads all; ``snapshots`` are ids, prefixes or ``latest``, and with
    ``hosts``, ``tags`` and ``paths`` they narrow the check to what the snapshots chosen need.
    """

    read_data: bool = False
    subset: Subset | None = None
    check_unused: bool = False
    snapshots: Sequence[str] = ()
    hosts: Sequence[str] = ()
    tags: Sequence[Sequence[str]] = ()
    paths: Sequence[str] = ()
    workers: int | None = None
    """Threads that read packs; None for `Storage.readers`."""
    seed: int | None = None
    """Makes the random choice of packs repeatable; None draws a fresh one."""

    @property
    def filtered(self) -> bool:
        """Whether only some snapshots are looked at."""
        return bool(self.snapshots or self.hosts or self.tags or self.paths)

    @property
    def reads(self) -> bool:
        """Whether pack files are read."""
        return self.read_data or self.subset is not None


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Which packs are about to be read: how many out of how many, and their bytes by the index."""

    subset: Subset | None
    chosen: int
    total: int
    chosen_bytes: int
    total_bytes: int
    filtered: bool


CheckEvent: TypeAlias = Advance | ReadPlan | WarmUp | Finding
"""What a check tells while it works, always from the thread that called it: how far one of its `Stage` is (0 where it begins),
which packs are about to be read, and come from cold storage first, and every fault as it is found, when its consequence is not
known yet."""


@dataclass(slots=True)
class CheckReport:
    """The outcome of a check."""

    findings: list[Finding] = field(default_factory=list)
    """The first `MAX_KEPT` findings, with their consequences."""
    counts: Counter[Code] = field(default_factory=Counter)
    """How many findings there are of each code, kept or not."""
    snapshots: int = 0
    """Snapshots checked."""
    trees: int = 0
    """Distinct trees visited."""
    packs_read: int = 0
    """Packs read whole."""
    bytes_read: int = 0
    """Bytes of pack files read."""

    def count(self, severity: Severity) -> int:
        """How many findings there are of this severity."""
        return sum(n for code, n in self.counts.items() if code.severity is severity)

    @property
    def ok(self) -> bool:
        """Whether no error was found."""
        return self.count(Severity.ERROR) == 0

    @property
    def unreadable(self) -> bool:
        """Whether the storage did not give back everything: what looks lost may be intact."""
        return any(self.counts[code] for code in UNREADABLE_CODES)

    @property
    def broken_packs(self) -> list[str]:
        """Hexadecimal ids of the packs whose file is damaged."""
        broken = (Code.PACK_DAMAGED, Code.PACK_SIZE, Code.PACK_HEADER_DAMAGED)
        return list(dict.fromkeys(f.object.name for f in self.findings if f.code in broken))

    @property
    def suggest_repair_index(self) -> bool:
        """Whether ``repair index`` would put something right that was found while loading the index."""
        return bool(self.counts[Code.INDEX_DAMAGED] or self.counts[Code.INDEX_DUPLICATE_PACK])

    @property
    def suggest_prune(self) -> bool:
        """Whether ``prune`` would put something right, and remove nothing that may be wanted."""
        if self.unreadable or self.counts[Code.INDEX_NONE] or self.counts[Code.SNAPSHOTS_GONE]:
            return False
        return bool(self.counts[Code.PACK_MIXED] or self.counts[Code.PACK_UNINDEXED])


def list_failed(what: str, error: Exception) -> Finding:
    """The finding that files cannot be listed."""
    return Finding(Code.LIST_FAILED, ObjectRef(ObjectKind.REPOSITORY), f"cannot list {what}: {error}")


class Run:
    """One check under way."""

    def __init__(
        self,
        repo: Repository,
        options: CheckOptions,
        progress: Progress[CheckEvent],
        cancel: Cancel,
    ) -> None:
        self.repo = repo
        self.options = options
        self.progress = progress
        self.report = CheckReport()
        self.cancel = cancel
        self.sizes: dict[bytes, int] = {}
        """Size of each pack by the index, see `restic_format.check.index`."""
        self.file_sizes: dict[bytes, int] = {}
        """Size of each pack file there is."""
        self.consulted: set[bytes] = set()
        """Packs whose header was asked whether the index is right."""
        self.wrong: set[bytes] = set()
        """Packs that the index lists otherwise than their own headers, which are intact."""
        self.correcting: Callable[[bytes, Sequence[PackEntry]], None] | None = None
        """Told what a pack's own header says before the index in memory has it, where no index says the same."""
        self.damaged_unlisted: set[bytes] = set()
        """Packs that no index lists and in which something is damaged."""

    @property
    def workers(self) -> int:
        """How many threads read packs."""
        return self.options.workers or self.repo.storage.readers

    def files(self, kind: FileKind) -> Iterator[tuple[bytes, int]]:
        """Id and size of every file of *kind*; what cannot be listed is a finding, and ends the list."""
        try:
            yield from self.repo.list(kind)
        except (StorageError, OSError) as error:
            self.add(list_failed(kind.value, error))

    def advance(self, stage: Stage, done: int, total: int = 0) -> None:
        """Tell that *done* of *total* things of a stage are finished; 0 begins it."""
        self.progress(Advance(stage, done, total))

    def add(self, finding: Finding) -> int:
        """Record a finding; its number in the report, or -1 where the report is full."""
        self.report.counts[finding.code] += 1
        number = -1
        if len(self.report.findings) < MAX_KEPT:
            number = len(self.report.findings)
            self.report.findings.append(finding)
        self.progress(finding)
        return number

    def set_consequence(self, number: int, consequence: Consequence) -> None:
        """Say what the finding *number* costs."""
        self.report.findings[number] = replace(self.report.findings[number], consequence=consequence)

    def set_code(self, number: int, code: Code) -> None:
        """Say what the finding *number* turned out to be."""
        found = self.report.findings[number]
        self.report.counts.subtract((found.code,))
        self.report.counts[code] += 1
        self.report.findings[number] = replace(found, code=code)

    def set_repair(self, number: int, commands: tuple[str, ...]) -> None:
        """Say which commands put right the finding *number*, where these are others than for all like it."""
        if number >= 0:
            self.report.findings[number] = replace(self.report.findings[number], repair_override=commands)

    def withhold_repairs(self) -> None:
        """Leave out every command: a repair takes what cannot be read for lost."""
        for number, finding in enumerate(self.report.findings):
            if finding.code not in UNREADABLE_CODES:
                effect = NOTHING_KNOWN if finding.code in LOSING_CODES and self.hidden else finding.effect_override
                changed = replace(finding, effect_override=effect, repair_override=(), advice_override="")
                self.report.findings[number] = changed

    @property
    def hidden(self) -> bool:
        """Whether the index or packs cannot be read: then what is not found may be there all the same."""
        return any(self.report.counts[code] for code in HIDING_CODES)

    def set_remedy(self, number: int, effect: str, commands: tuple[str, ...], advice: str = "") -> None:
        """Say of the finding *number* something better than what is true of all like it."""
        if number >= 0:
            found = self.report.findings[number]
            changed = replace(found, effect_override=effect, repair_override=commands, advice_override=advice)
            self.report.findings[number] = changed
