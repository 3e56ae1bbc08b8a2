"""What a backup is asked to do, what it tells while it works, and what it says in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from restic_format.filter import ExcludeFilter
from restic_spec.rustic import DeleteMark
from restic_spec.snapshot import Snapshot

Change = Literal["new", "modified", "unchanged"]


class ItemStats(msgspec.Struct):
    """What saving one item, or many, added to the repository; sizes in bytes."""

    data_blobs: int = 0
    """New data blobs."""
    data_size: int = 0
    """Their plaintext."""
    data_size_in_repo: int = 0
    """Their compressed and sealed size."""
    tree_blobs: int = 0
    tree_size: int = 0
    tree_size_in_repo: int = 0

    def add(self, other: ItemStats) -> None:
        """Add another item's numbers."""
        self.data_blobs += other.data_blobs
        self.data_size += other.data_size
        self.data_size_in_repo += other.data_size_in_repo
        self.tree_blobs += other.tree_blobs
        self.tree_size += other.tree_size
        self.tree_size_in_repo += other.tree_size_in_repo


class Changes(msgspec.Struct):
    """How many items are new, changed and unmodified against the parent snapshot."""

    new: int = 0
    modified: int = 0
    unchanged: int = 0

    def count(self, change: Change, items: int = 1) -> None:
        """So many more."""
        if change == "new":
            self.new += items
        elif change == "modified":
            self.modified += items
        else:
            self.unchanged += items

    @property
    def total(self) -> int:
        """All of them."""
        return self.new + self.modified + self.unchanged


class Summary(msgspec.Struct):
    """The statistics of a whole backup; times in nanoseconds since the epoch."""

    backup_start: int
    backup_end: int = 0
    files: Changes = msgspec.field(default_factory=Changes)
    dirs: Changes = msgspec.field(default_factory=Changes)
    processed_bytes: int = 0
    stats: ItemStats = msgspec.field(default_factory=ItemStats)
    errors: int = 0
    """Items that could not be backed up as they should; the snapshot is incomplete where this is not 0."""


class Totals(NamedTuple):
    """Told by the scan of the targets: what it has found so far."""

    files: int = 0
    dirs: int = 0
    others: int = 0
    bytes: int = 0
    finished: bool = False


class FileStarted(NamedTuple):
    """Told when reading of a file begins."""

    item: str
    """Its path in the snapshot."""


class FileEnded(NamedTuple):
    """Told when reading of a file has ended, well or not."""

    item: str


class BytesDone(NamedTuple):
    """Told when so many more bytes of files have been dealt with."""

    bytes: int


class ItemDone(NamedTuple):
    """Told when a file or a directory has been saved; of files only where the options ask for it."""

    item: str
    """Its path in the snapshot; that of a directory ends with ``/``."""
    kind: str
    """``file`` or ``dir``."""
    change: Change
    stats: ItemStats
    """What saving it has added to the repository."""
    seconds: float
    """How long that took."""


class FilesDone(NamedTuple):
    """Told when so many files have been saved, where `ItemDone` does not tell of each."""

    files: int


class ItemFailed(NamedTuple):
    """Told when an item could not be backed up as it should be."""

    item: str
    error: Exception
    during: Literal["archival", "scan"] = "archival"
    """The scan fails without consequences: the backup itself will try again."""


class Warned(NamedTuple):
    """Told of what does not keep anything from being saved, such as a tag file that cannot be read."""

    text: str


BackupEvent: TypeAlias = Totals | FileStarted | FileEnded | BytesDone | ItemDone | FilesDone | ItemFailed | Warned
"""What the `restic_format.work.Progress` of a backup is told."""


class BackupOptions(msgspec.Struct):
    """How to back up. The defaults are restic's."""

    excludes: ExcludeFilter = msgspec.field(default_factory=ExcludeFilter)
    """Patterns of what to leave out."""
    exclude_patterns: Sequence[str] = ()
    """Those patterns that are recorded in the snapshot."""
    exclude_if_present: Sequence[str] = ()
    """``name`` or ``name:header``: leave out what lies beside such a file."""
    exclude_larger_than: int | None = None
    """Leave out files of more than so many bytes."""
    ignore_files: Sequence[str] = ()
    """Names of files like ``.gitignore``: leave out what their patterns say, see `restic_format.backup.ignorefiles`."""
    git_ignore: bool = False
    """Leave out what git ignores."""
    require_git_repository: bool = True
    """Let ``.gitignore`` count only within a repository of git."""
    git_user_file: str = ""
    """The user's own ignore file for git, wherever ``core.excludesFile`` says it is; empty for none."""
    one_file_system: bool = False
    """Do not descend into other file systems than the targets'."""
    with_atime: bool = False
    """Store access times; otherwise the modification time stands in for them."""
    ignore_ctime: bool = False
    """Do not take a file as changed because its ctime is another."""
    ignore_inode: bool = False
    """Do not take a file as changed because its inode or ctime is another."""
    device_id_for_hardlinks: bool = False
    """Store ``device_id`` only for files with several links (restic's feature of that name, off by default)."""
    as_path: str = ""
    """The path that the only target has in the snapshot; empty for its own."""
    parent: Snapshot | None = None
    """Snapshot to compare with."""
    parent_id: str | None = None
    """Its id, hexadecimal."""
    read_concurrency: int = 2
    """How many large files are read at the same time; no more than `restic_format.work.MOST_THREADS`."""
    scan: bool = True
    """Walk through the targets first to tell totals."""
    tells_files: bool = True
    """Tell the progress of every file by itself (`ItemDone`); otherwise only how many were saved (`FilesDone`)."""
    dry_run: bool = False
    """Write nothing."""
    skip_if_unchanged: bool = False
    """Make no snapshot when the root tree is the parent's."""
    time_ns: int | None = None
    """The snapshot's time; None is now."""
    start_ns: int | None = None
    """When the backup began, for the summary; None is now."""
    hostname: str = ""
    tags: Sequence[str] = ()
    program_version: str = ""
    """Who made the snapshot; empty is this engine."""
    label: str = ""
    """rustic's label for the snapshot (RUSTIC-3)."""
    description: str = ""
    """A text about the snapshot (RUSTIC-3)."""
    delete: DeleteMark | None = None
    """When the snapshot may be removed (RUSTIC-8)."""
    snapshot_on_interrupt: bool = False
    """When the backup of targets is cancelled, make a partial snapshot of what is finished (SNAP-21)."""


class Result(msgspec.Struct):
    """What came of a backup."""

    summary: Summary
    tree: str
    """Id of the root tree, hexadecimal."""
    snapshot_id: str | None
    """Id of the snapshot, None when it was left out because nothing has changed."""
    partial: bool = False
    """Whether the backup was cancelled, and this is a snapshot of what was finished by then."""
