"""What a check can find: typed records that name the object, the rule, the consequence and the remedy.

A finding is made where a fault is seen; what the fault costs (which snapshots, which files) is worked out at
the end of a check, see :class:`Consequence`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from restic_spec.layout import FileKind


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


FILE_KINDS = {
    ObjectKind.CONFIG: FileKind.CONFIG,
    ObjectKind.KEY: FileKind.KEY,
    ObjectKind.LOCK: FileKind.LOCK,
    ObjectKind.SNAPSHOT: FileKind.SNAPSHOT,
    ObjectKind.INDEX: FileKind.INDEX,
    ObjectKind.PACK: FileKind.PACK,
}
"""The files of a repository among what a finding can be about."""


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
    KEY_UNREADABLE = "key-unreadable"
    LOCK_DAMAGED = "lock-damaged"
    LOCK_UNREADABLE = "lock-unreadable"
    FILE_STRAY = "file-stray"
    LIST_FAILED = "list-failed"
    HOT_INCOMPLETE = "hot-incomplete"

    INDEX_DAMAGED = "index-damaged"
    INDEX_UNREADABLE = "index-unreadable"
    INDEX_ENTRIES_DIFFER = "index-entries-differ"
    INDEX_DUPLICATE_PACK = "index-duplicate-pack"
    INDEX_LAYOUT = "index-layout"
    INDEX_WRONG = "index-wrong"
    INDEX_NONE = "index-none"
    PACK_MIXED = "pack-mixed"
    PACK_MISSING = "pack-missing"
    PACKS_GONE = "packs-gone"
    PACK_SIZE = "pack-size"
    PACK_UNINDEXED = "pack-unindexed"
    PACK_UNINDEXED_DAMAGED = "pack-unindexed-damaged"
    PACK_HEADER = "pack-header"
    PACK_HEADER_DAMAGED = "pack-header-damaged"
    BLOB_DUPLICATE = "blob-duplicate"
    BLOB_LENGTH = "blob-length"

    SNAPSHOT_DAMAGED = "snapshot-damaged"
    SNAPSHOT_UNREADABLE = "snapshot-unreadable"
    SNAPSHOT_NO_TREE = "snapshot-no-tree"
    SNAPSHOT_NOT_FOUND = "snapshot-not-found"
    SNAPSHOTS_GONE = "snapshots-gone"

    TREE_MISSING = "tree-missing"
    TREE_DAMAGED = "tree-damaged"
    TREE_UNREADABLE = "tree-unreadable"
    TREE_COPY_DAMAGED = "tree-copy-damaged"
    TREE_ORDER = "tree-order"
    TREE_FAULTY = "tree-faulty"
    NODE_NAME = "node-name"
    NODE_TYPE = "node-type"
    NODE_NO_CONTENT = "node-no-content"
    NODE_NO_SUBTREE = "node-no-subtree"
    NODE_NULL_ID = "node-null-id"
    NODE_SIZE = "node-size"
    BLOB_MISSING = "blob-missing"
    BLOB_UNREADABLE = "blob-unreadable"
    BLOB_UNUSED = "blob-unused"

    PACK_DAMAGED = "pack-damaged"
    PACK_UNSTEADY = "pack-unsteady"
    PACK_UNREADABLE = "pack-unreadable"
    PACK_INCOMPLETE = "pack-incomplete"

    @property
    def severity(self) -> Severity:
        """How bad every finding with this code is."""
        return FACTS[self].severity


class Facts(NamedTuple):
    """What is true of every finding with one code."""

    severity: Severity
    clause: str
    effect: str
    """What such a fault costs."""
    repair: tuple[str, ...] = ()
    """Command lines, without the program's name, that put it right; ``ID`` is the object's name, ``PACK`` its pack.

    In which order those of several findings are run is decided in `restic_format.check.advice`.
    """
    advice: str = ""
    """What has to be done by hand, before any command; ``ID`` is the object's name."""


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
REPAIR_INDEX = "repair index"
REPAIR_INDEX_READING = "repair index --read-all-packs"
REPAIR_PACK = "repair packs ID"
REPAIR_SNAPSHOTS = "repair snapshots --forget"
RECOVER = "recover"

UNREADABLE = "the storage does not give it back now; that is not damage, nothing is known to be lost"
MAKE_READABLE = (
    "make the storage readable (is the medium connected and mounted, may this user read the files, is the disk well?) and "
    "check again; until then run no repair, forget or prune"
)
WITHOUT_KEY = "put the key file of another copy of this repository in its place: without a key nothing can be read"
_FIND_PACKS = (
    "look for the missing files: in other folders below data, in another copy of the repository, on a medium that is not "
    "mounted, in lost+found; where they are found, put them where they belong and check again"
)
_UNSTEADY = "test this machine's memory, the disk and the cables or the network before anything is repaired, then check again"
_BY_ANOTHER_PROGRAM = (
    "no command of restic 0.19.1 repairs this, which no damage does, but a faulty program or an attacker: restore what is "
    "wanted from the snapshots affected (such entries are left out), and back it up again before these snapshots are forgotten"
)
_OUT_OF_ORDER = (
    "`repair snapshots` puts the entries in order; where a name stands twice it refuses, as nobody can tell which is meant: "
    "restore what is wanted from the snapshots affected, and back it up again before these snapshots are forgotten"
)
_MOVE_SNAPSHOT = (
    "move the file snapshots/ID out of the repository: no program can use it; `recover` then makes a snapshot of the trees "
    "that no other snapshot has; run no prune before that"
)

FACTS: dict[Code, Facts] = {
    Code.CONFIG_DAMAGED: Facts(
        _E,
        "CONFIG-1",
        "without it no program opens the repository; all other files may be intact",
        advice="put the config file of another copy of this repository in its place; change nothing else",
    ),
    Code.HOT_INCOMPLETE: Facts(
        _W,
        "RUSTIC-11",
        "it is read from the cold half, which may take long or not be possible at once; rustic stops at it",
        advice="run `init --hot-only` with the same -r and --repo-hot: it copies what is missing",
    ),
    Code.KEY_DAMAGED: Facts(
        _E,
        "LAYOUT-1",
        "its password may not open the repository; restic opens it with none while the file is there",
        advice="move the file keys/ID out of the repository; where its password is wanted, put the file of another copy of "
        "this repository in its place, or run `key add`",
    ),
    Code.KEY_UNREADABLE: Facts(_E, "LAYOUT-8", UNREADABLE, advice=MAKE_READABLE),
    Code.LOCK_DAMAGED: Facts(
        _W,
        "LOCK-9",
        "programs that honour locks may refuse to work",
        ("unlock --remove-all",),
        "make sure that no other program works on the repository",
    ),
    Code.LOCK_UNREADABLE: Facts(_W, "LAYOUT-8", "programs that honour locks may refuse to work", advice=MAKE_READABLE),
    Code.FILE_STRAY: Facts(_N, "LAYOUT-2", "every program ignores it; it only takes space"),
    Code.LIST_FAILED: Facts(
        _E, "LAYOUT-3", "what cannot be listed cannot be checked; that is not damage", advice=MAKE_READABLE
    ),
    Code.INDEX_DAMAGED: Facts(_E, "LAYOUT-1", "the blobs it lists cannot be found; their packs are untouched", (REPAIR_INDEX,)),
    Code.INDEX_UNREADABLE: Facts(_E, "LAYOUT-8", UNREADABLE, advice=MAKE_READABLE),
    Code.INDEX_ENTRIES_DIFFER: Facts(_E, "INDEX-7", "blobs may be looked for at the wrong place", (REPAIR_INDEX_READING,)),
    Code.INDEX_DUPLICATE_PACK: Facts(_W, "INDEX-8", "memory is wasted, nothing is lost", (REPAIR_INDEX,)),
    Code.INDEX_LAYOUT: Facts(_E, "PACK-10", "blobs may be looked for at the wrong place", (REPAIR_INDEX_READING,)),
    Code.INDEX_WRONG: Facts(
        _E,
        "INDEX-7",
        "blobs are looked for at the wrong place; the pack itself says what it holds, nothing in it is lost",
        (REPAIR_INDEX_READING,),
    ),
    Code.INDEX_NONE: Facts(
        _E,
        "ORDER-1",
        "nothing can be found, but the packs are here and say themselves what they hold",
        (REPAIR_INDEX, RECOVER),
        "run no prune: it would remove every pack",
    ),
    Code.PACK_MIXED: Facts(_W, "PACK-15", "old programs wrote such packs; reading trees is slower", ("prune",)),
    Code.PACK_MISSING: Facts(
        _E, "ORDER-3", "the blobs in it are lost, unless stored elsewhere", (REPAIR_INDEX, REPAIR_SNAPSHOTS), _FIND_PACKS
    ),
    Code.PACKS_GONE: Facts(
        _E,
        "ORDER-3",
        "no pack is here though the index lists some: the storage is not as it was",
        advice="connect or mount the storage, or look for the folder data in another copy of the repository, and check again; "
        "until then run no repair, forget or prune",
    ),
    Code.PACK_SIZE: Facts(_E, "PACK-11", "blobs in it may be cut off or misplaced", (REPAIR_PACK, REPAIR_SNAPSHOTS)),
    Code.PACK_UNINDEXED: Facts(_W, "ORDER-6", "usually left by an interrupted backup; it only takes space"),
    Code.PACK_UNINDEXED_DAMAGED: Facts(
        _W, "ORDER-6", "no index lists the pack, so no snapshot needs it unless blobs are reported as missing"
    ),
    Code.PACK_HEADER: Facts(
        _E,
        "PACK-3",
        "no index lists it and it does not say itself which blobs it holds, so that they are lost",
        (REPAIR_SNAPSHOTS,),
    ),
    Code.PACK_HEADER_DAMAGED: Facts(
        _E,
        "PACK-3",
        "its blobs are intact, but only the index knows where they are: nothing is lost while the index is there",
        (REPAIR_PACK,),
    ),
    Code.BLOB_DUPLICATE: Facts(_N, "PACK-16", "stored more than once; it only takes space", ("prune",)),
    Code.BLOB_LENGTH: Facts(_W, "PACK-22", "its content is intact, as its id tells; only the length that is stated is wrong"),
    Code.SNAPSHOT_DAMAGED: Facts(
        _E, "LAYOUT-1", "the snapshot cannot be listed or restored; the data it names may be intact", (RECOVER,), _MOVE_SNAPSHOT
    ),
    Code.SNAPSHOT_UNREADABLE: Facts(_E, "LAYOUT-8", UNREADABLE, advice=MAKE_READABLE),
    Code.SNAPSHOT_NO_TREE: Facts(_E, "SNAP-4", "the snapshot has no content", ("forget ID",)),
    Code.SNAPSHOT_NOT_FOUND: Facts(_E, "SNAP-12", "the snapshot asked for was not checked"),
    Code.SNAPSHOTS_GONE: Facts(
        _W,
        "ORDER-5",
        "where snapshots were removed on purpose, this is as it should be; else they can be made again from the trees",
        (RECOVER,),
        "run no prune before that: it would remove everything that no snapshot needs",
    ),
    Code.TREE_MISSING: Facts(_E, "ORDER-1", "the directory and all below it cannot be restored", (REPAIR_SNAPSHOTS,)),
    Code.TREE_DAMAGED: Facts(_E, "PACK-13", "the directory and all below it cannot be restored", (REPAIR_SNAPSHOTS,)),
    Code.TREE_UNREADABLE: Facts(_E, "LAYOUT-8", UNREADABLE, advice=MAKE_READABLE),
    Code.TREE_COPY_DAMAGED: Facts(_W, "PACK-16", "another copy of the tree is good; nothing is lost", ("repair packs PACK",)),
    Code.TREE_ORDER: Facts(_E, "TREE-4", "programs may not find the files in the directory", advice=_OUT_OF_ORDER),
    Code.TREE_FAULTY: Facts(_E, "TREE-1", "they are like those that are told one by one", (REPAIR_SNAPSHOTS,)),
    Code.NODE_NAME: Facts(_E, "TREE-6", "the entry cannot be restored safely", advice=_BY_ANOTHER_PROGRAM),
    Code.NODE_TYPE: Facts(_E, "TREE-9", "the entry cannot be restored", advice=_BY_ANOTHER_PROGRAM),
    Code.NODE_NO_CONTENT: Facts(_E, "TREE-8", "the file is restored empty", (REPAIR_SNAPSHOTS,)),
    Code.NODE_NO_SUBTREE: Facts(_E, "TREE-7", "the directory and all below it cannot be restored", (REPAIR_SNAPSHOTS,)),
    Code.NODE_NULL_ID: Facts(_E, "LAYOUT-2", "part of the content is not known", (REPAIR_SNAPSHOTS,)),
    Code.NODE_SIZE: Facts(_N, "TREE-16", "the file changed while it was backed up"),
    Code.BLOB_MISSING: Facts(_E, "ORDER-1", "the file cannot be restored whole", (REPAIR_SNAPSHOTS,)),
    Code.BLOB_UNREADABLE: Facts(_E, "LAYOUT-8", UNREADABLE, advice=MAKE_READABLE),
    Code.BLOB_UNUSED: Facts(_N, "ORDER-5", "no snapshot needs it; it only takes space", ("prune",)),
    Code.PACK_DAMAGED: Facts(
        _E, "LAYOUT-1", "the damaged blobs in it are lost, unless stored elsewhere", (REPAIR_PACK, REPAIR_SNAPSHOTS)
    ),
    Code.PACK_UNSTEADY: Facts(
        _E, "LAYOUT-1", "the storage, the way to it or this machine's memory errs now and then", advice=_UNSTEADY
    ),
    Code.PACK_UNREADABLE: Facts(_E, "LAYOUT-8", UNREADABLE, advice=MAKE_READABLE),
    Code.PACK_INCOMPLETE: Facts(_E, "LAYOUT-8", "its file is missing or cut short, which is told by itself"),
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
    advice_override: str | None = None

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
        """The same as `repair` with ``ID`` and ``PACK`` in place of the object's name and pack."""
        return FACTS[self.code].repair if self.repair_override is None else self.repair_override

    @property
    def repair(self) -> tuple[str, ...]:
        """Command lines, without the program's name, that put it right."""
        return tuple(self._fill(command) for command in self.repair_template)

    @property
    def advice_template(self) -> str:
        """The same as `advice` with ``ID`` in place of the object's name."""
        return FACTS[self.code].advice if self.advice_override is None else self.advice_override

    @property
    def advice(self) -> str:
        """What has to be done by hand, before any command; "" where nothing has."""
        return self._fill(self.advice_template)

    def _fill(self, template: str) -> str:
        return template.replace("ID", self.object.name).replace("PACK", self.object.pack)
