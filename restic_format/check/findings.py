"""What a check can find: typed records that name the object, the rule, the consequence and the remedy.

A finding is made where a fault is seen; what the fault costs (which snapshots, which files) is worked out at
the end of a check, see :class:`Consequence`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """How bad a finding is."""

    ERROR = "error"
    """Data or structure are damaged; the check fails."""

    WARNING = "warning"
    """Nothing is lost, but the repository is not as it should be and a command puts it right."""

    NOTE = "note"
    """Worth knowing; nothing needs to be done."""


class ObjectKind(Enum):
    """What kind of thing a finding is about, in the words of the format."""

    CONFIG = "config"
    KEY = "key"
    LOCK = "lock"
    SNAPSHOT = "snapshot"
    INDEX = "index"
    PACK = "pack"
    TREE = "tree"
    DATA = "data"
    FILE = "file"
    REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The thing a finding is about.

    ``name`` is the hexadecimal id, or for ``FILE`` the path inside the repository; ``pack`` is the hexadecimal
    id of the pack that holds a blob, where it is known.
    """

    kind: ObjectKind
    name: str = ""
    pack: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}".rstrip()


class Code(Enum):
    """Every kind of fault a check tells apart. The value is stable and safe to match on."""

    CONFIG_DAMAGED = "config-damaged"
    KEY_DAMAGED = "key-damaged"
    LOCK_DAMAGED = "lock-damaged"
    FILE_STRAY = "file-stray"
    LIST_FAILED = "list-failed"

    INDEX_DAMAGED = "index-damaged"
    INDEX_ENTRIES_DIFFER = "index-entries-differ"
    INDEX_DUPLICATE_PACK = "index-duplicate-pack"
    INDEX_LAYOUT = "index-layout"
    PACK_MIXED = "pack-mixed"
    PACK_MISSING = "pack-missing"
    PACK_SIZE = "pack-size"
    PACK_UNINDEXED = "pack-unindexed"
    PACK_HEADER = "pack-header"
    BLOB_DUPLICATE = "blob-duplicate"

    SNAPSHOT_DAMAGED = "snapshot-damaged"
    SNAPSHOT_NO_TREE = "snapshot-no-tree"
    SNAPSHOT_NOT_FOUND = "snapshot-not-found"

    TREE_MISSING = "tree-missing"
    TREE_DAMAGED = "tree-damaged"
    TREE_COPY_DAMAGED = "tree-copy-damaged"
    TREE_ORDER = "tree-order"
    NODE_NAME = "node-name"
    NODE_TYPE = "node-type"
    NODE_NO_CONTENT = "node-no-content"
    NODE_NO_SUBTREE = "node-no-subtree"
    NODE_NULL_ID = "node-null-id"
    NODE_SIZE = "node-size"
    BLOB_MISSING = "blob-missing"
    BLOB_UNUSED = "blob-unused"

    PACK_DAMAGED = "pack-damaged"
    PACK_UNSTEADY = "pack-unsteady"
    PACK_UNREADABLE = "pack-unreadable"

    @property
    def severity(self) -> Severity:
        """How bad every finding with this code is."""
        return FACTS[self].severity


class Facts(NamedTuple):
    """What is true of every finding with one code."""

    severity: Severity
    clause: str
    effect: str
    """One sentence: what such a fault costs."""
    repair: tuple[str, ...]
    """Command lines (without the program's name) that put it right, in order; ``ID`` is the object's name."""


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_REPAIR_SNAPSHOTS = "repair snapshots --forget"

FACTS: dict[Code, Facts] = {
    Code.CONFIG_DAMAGED: Facts(
        _E, "CONFIG-1", "without it no program opens the repository", ("copy the config file from another copy",)
    ),
    Code.KEY_DAMAGED: Facts(
        _E, "LAYOUT-1", "its password opens the repository no longer; others still do", ("key remove ID", "key add")
    ),
    Code.LOCK_DAMAGED: Facts(_W, "LOCK-9", "programs that honour locks may refuse to work", ("unlock --remove-all",)),
    Code.FILE_STRAY: Facts(_N, "LAYOUT-2", "every program ignores it; it only takes space", ()),
    Code.LIST_FAILED: Facts(_E, "LAYOUT-3", "what cannot be listed cannot be checked", ()),
    Code.INDEX_DAMAGED: Facts(
        _E, "LAYOUT-1", "the blobs it lists cannot be found; their packs are untouched", ("repair index",)
    ),
    Code.INDEX_ENTRIES_DIFFER: Facts(_E, "INDEX-7", "blobs may be looked for at the wrong place", ("repair index",)),
    Code.INDEX_DUPLICATE_PACK: Facts(_W, "INDEX-8", "memory is wasted, nothing is lost", ("repair index",)),
    Code.INDEX_LAYOUT: Facts(_E, "PACK-10", "blobs may be looked for at the wrong place", ("repair index --read-all-packs",)),
    Code.PACK_MIXED: Facts(_W, "PACK-15", "old programs wrote such packs; reading trees is slower", ("prune",)),
    Code.PACK_MISSING: Facts(
        _E, "ORDER-3", "the blobs in it are lost, unless stored elsewhere", ("repair index", _REPAIR_SNAPSHOTS)
    ),
    Code.PACK_SIZE: Facts(_E, "PACK-11", "blobs in it may be cut off or misplaced", ("repair packs ID", _REPAIR_SNAPSHOTS)),
    Code.PACK_UNINDEXED: Facts(_W, "ORDER-6", "usually left by an interrupted backup; it only takes space", ("prune",)),
    Code.PACK_HEADER: Facts(
        _E, "PACK-3", "no index lists it and it does not say itself which blobs it holds", ("repair packs ID",)
    ),
    Code.BLOB_DUPLICATE: Facts(_N, "PACK-16", "stored more than once; it only takes space", ("prune",)),
    Code.SNAPSHOT_DAMAGED: Facts(_E, "LAYOUT-1", "the snapshot cannot be listed or restored", ("forget ID",)),
    Code.SNAPSHOT_NO_TREE: Facts(_E, "SNAP-4", "the snapshot has no content", ("forget ID",)),
    Code.SNAPSHOT_NOT_FOUND: Facts(_E, "SNAP-12", "the snapshot asked for was not checked", ()),
    Code.TREE_MISSING: Facts(
        _E, "ORDER-1", "the directory and all below it cannot be restored", ("repair index", _REPAIR_SNAPSHOTS)
    ),
    Code.TREE_DAMAGED: Facts(_E, "PACK-13", "the directory and all below it cannot be restored", (_REPAIR_SNAPSHOTS,)),
    Code.TREE_COPY_DAMAGED: Facts(_W, "PACK-16", "another copy of the tree is good", ("check --read-data",)),
    Code.TREE_ORDER: Facts(_E, "TREE-4", "programs may not find the files in the directory", ("repair snapshots --forget",)),
    Code.NODE_NAME: Facts(_E, "TREE-6", "the entry cannot be restored safely", (_REPAIR_SNAPSHOTS,)),
    Code.NODE_TYPE: Facts(_E, "TREE-9", "the entry cannot be restored", (_REPAIR_SNAPSHOTS,)),
    Code.NODE_NO_CONTENT: Facts(_E, "TREE-8", "the file is restored empty", (_REPAIR_SNAPSHOTS,)),
    Code.NODE_NO_SUBTREE: Facts(_E, "TREE-7", "the directory and all below it cannot be restored", (_REPAIR_SNAPSHOTS,)),
    Code.NODE_NULL_ID: Facts(_E, "LAYOUT-2", "part of the content is not known", (_REPAIR_SNAPSHOTS,)),
    Code.NODE_SIZE: Facts(_N, "TREE-16", "the file changed while it was backed up", ()),
    Code.BLOB_MISSING: Facts(_E, "ORDER-1", "the file cannot be restored whole", ("repair index", _REPAIR_SNAPSHOTS)),
    Code.BLOB_UNUSED: Facts(_N, "ORDER-5", "no snapshot needs it; it only takes space", ("prune",)),
    Code.PACK_DAMAGED: Facts(
        _E,
        "LAYOUT-1",
        "the damaged blobs in it are lost, unless stored elsewhere",
        ("repair packs ID", _REPAIR_SNAPSHOTS),
    ),
    Code.PACK_UNSTEADY: Facts(
        _E, "LAYOUT-1", "the storage, the way to it or this machine's memory errs now and then", ("check --read-data",)
    ),
    Code.PACK_UNREADABLE: Facts(
        _E, "LAYOUT-8", "what the storage does not give back cannot be restored", ("check --read-data",)
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong inside an object, where an object can have several (blobs of a pack)."""

    object: ObjectRef
    detail: str
    clause: str


class AffectedPath(NamedTuple):
    """A file or directory of a snapshot that a fault touches."""

    snapshot: str
    path: str


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a fault costs: bounded lists, and how many there are in all.

    ``paths`` names each path once, in the first snapshot it was met in.
    """

    snapshots: tuple[str, ...] = ()
    snapshots_total: int = 0
    paths: tuple[AffectedPath, ...] = ()
    paths_total: int = 0


NOTHING_AFFECTED = Consequence()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault.

    ``message`` is one line that names the object and says what is wrong; ``faults`` has the parts where one
    object is wrong in several ways; ``clause`` names the rule of the specification that is broken; ``tree`` is
    the hexadecimal id of the directory an entry at fault stands in.
    """

    code: Code
    object: ObjectRef
    message: str
    clause: str = ""
    tree: str = ""
    faults: tuple[Fault, ...] = ()
    consequence: Consequence = field(default=NOTHING_AFFECTED)
    effect_override: str = ""
    repair_override: tuple[str, ...] | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return self.code.severity

    @property
    def rule(self) -> str:
        """The clause that is broken: the one seen at the place, or else the one of the code."""
        return self.clause or FACTS[self.code].clause

    @property
    def effect(self) -> str:
        """What the fault costs, in one sentence."""
        return self.effect_override or FACTS[self.code].effect

    @property
    def repair_template(self) -> tuple[str, ...]:
        """The same as `repair` with ``ID`` for the object's name."""
        return FACTS[self.code].repair if self.repair_override is None else self.repair_override

    @property
    def repair(self) -> tuple[str, ...]:
        """Command lines, without the program's name, that put it right."""
        return tuple(command.replace("ID", self.object.name) for command in self.repair_template)
