"""The JSON messages of ``--json``, one struct each, fields in restic's order.

They are encoded like restic's: compact, Go's number formats, fields with Go's ``omitempty`` left out when empty. Which
programs read them matters more than how they look: wrappers compare the first bytes (``{"message_type":…``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from restic_spec import gojson
from restic_spec.snapshot import Snapshot, SnapshotSummary
from restic_tools.gotext import canonical

if TYPE_CHECKING:
    from restic_format.snapshots import FoundSnapshot


def encode_message(message: Any) -> bytes:
    """A message as one line of JSON, without the line's end."""
    return gojson.encode(message)


class ExitError(msgspec.Struct):
    """Why the program ends with an exit code other than 0 (standard error)."""

    message_type: str
    code: int
    message: str


class Initialized(msgspec.Struct):
    """``init``: the repository that was made."""

    message_type: str
    id: str
    repository: str


class KeyInfo(msgspec.Struct, rename={"user_name": "userName", "host_name": "hostName"}):
    """``key list``: one key."""

    current: bool
    id: str
    user_name: str
    host_name: str
    created: str


class ObjectError(msgspec.Struct):
    """``error`` (standard error): one object that could not be handled; the command goes on."""

    message_type: str
    error: ErrorText
    during: str
    item: str


class ErrorText(msgspec.Struct):
    """The text of an error, in the object restic wraps it in."""

    message: str


class SnapshotMessage(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One snapshot, in ``snapshots`` (with its ids) and ``ls`` (with its message type as well)."""

    time: str
    parent: str | None = None
    tree: str | None
    paths: list[str] | None
    hostname: str = ""
    username: str = ""
    uid: int = 0
    gid: int = 0
    excludes: list[str] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    original: str | None = None
    program_version: str = ""
    summary: SnapshotSummary | None = None
    id: str = ""
    short_id: str = ""
    message_type: str = ""
    struct_type: str = ""


class GroupKey(msgspec.Struct):
    """What the snapshots of a group have in common."""

    hostname: str
    paths: list[str] | None
    tags: list[str] | None


class SnapshotGroup(msgspec.Struct):
    """``snapshots --group-by``: one group."""

    group_key: GroupKey
    snapshots: list[SnapshotMessage]


class NodeMessage(msgspec.Struct):
    """``ls``: one file, directory or other node. ``size`` is there for files only."""

    name: str
    type: str
    path: str
    uid: int
    gid: int
    size: int | msgspec.UnsetType
    mode: int | msgspec.UnsetType
    permissions: str | msgspec.UnsetType
    mtime: str
    atime: str
    ctime: str
    inode: int | msgspec.UnsetType
    message_type: str = "node"
    struct_type: str = "node"


class NcduNode(msgspec.Struct):
    """``ls --ncdu``: one node in the export format of ncdu (sizes in bytes, time in seconds)."""

    name: str
    asize: int
    dsize: int
    dev: int
    ino: int
    nlink: int
    notreg: bool
    uid: int
    gid: int
    mode: int
    mtime: int


def snapshot_message(
    found: FoundSnapshot, *, tree: str | None = None, kind: str = "", paths: list[str] | None = None
) -> SnapshotMessage:
    """A snapshot as a message. *tree* stands in for its root tree (``snapshot:subfolder``), *paths* for its paths.

    *kind* is the message type.
    """
    message = snapshot_fields(found.snapshot)
    message.tree = tree or message.tree
    message.paths = paths or message.paths
    message.id = found.id.hex()
    message.short_id = found.short_id
    message.message_type = message.struct_type = kind
    return message


def snapshot_fields(snapshot: Snapshot) -> SnapshotMessage:
    """A snapshot's own fields, as restic writes them after reading them."""
    summary = snapshot.statistics()
    if summary is not None:
        summary.backup_start, summary.backup_end = canonical(summary.backup_start), canonical(summary.backup_end)
    return SnapshotMessage(
        time=canonical(snapshot.time),
        parent=snapshot.parent,
        tree=snapshot.tree or None,
        paths=snapshot.paths if snapshot.paths is not msgspec.UNSET else None,
        hostname=snapshot.hostname,
        username=snapshot.username,
        uid=snapshot.uid,
        gid=snapshot.gid,
        excludes=snapshot.excludes,
        tags=snapshot.tags,
        original=snapshot.original,
        program_version=snapshot.program_version,
        summary=summary,
    )


class RestoreStatus(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``restore``: how far it is."""

    message_type: str
    seconds_elapsed: int = 0
    percent_done: msgspec.Raw
    """0 to 1, by bytes; a Go float."""
    total_files: int = 0
    files_restored: int = 0
    files_skipped: int = 0
    files_deleted: int = 0
    total_bytes: int = 0
    bytes_restored: int = 0
    bytes_skipped: int = 0


class RestoreItem(msgspec.Struct):
    """``restore --verbose=2``: one item is restored, updated, unchanged or deleted."""

    message_type: str
    action: str
    item: str
    size: int


class RestoreSummary(msgspec.Struct, omit_defaults=True):
    """``restore``: the outcome."""

    message_type: str
    seconds_elapsed: int = 0
    total_files: int = 0
    files_restored: int = 0
    files_skipped: int = 0
    files_deleted: int = 0
    total_bytes: int = 0
    bytes_restored: int = 0
    bytes_skipped: int = 0


class CheckError(msgspec.Struct):
    """``check``: one fault (standard error)."""

    message_type: str
    message: str


class CheckSummary(msgspec.Struct):
    """``check``: the outcome; ``broken_packs`` is null where there are none."""

    message_type: str
    num_errors: int
    broken_packs: list[str] | None
    suggest_repair_index: bool
    suggest_prune: bool


class CheckFinding(msgspec.Struct):
    """``check --verbose``: everything known about one fault. restic has no such message."""

    message_type: str
    code: str
    severity: str
    object: str
    id: str
    clause: str
    message: str
    effect: str
    snapshots: list[str]
    snapshots_total: int
    paths: list[str]
    paths_total: int
    repair: list[str]
    advice: str


class BackupStatus(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``backup``: how far it is."""

    message_type: str
    seconds_elapsed: int = 0
    seconds_remaining: int = 0
    percent_done: msgspec.Raw
    """0 to 1, by bytes; a Go float."""
    total_files: int = 0
    files_done: int = 0
    total_bytes: int = 0
    bytes_done: int = 0
    error_count: int = 0
    current_files: list[str] = msgspec.field(default_factory=list)


class BackupItem(msgspec.Struct):
    """``backup --verbose``: one item is new, modified or unchanged, or the scan is finished."""

    message_type: str
    action: str
    item: str
    duration: msgspec.Raw
    """Seconds; a Go float."""
    data_size: int = 0
    data_size_in_repo: int = 0
    metadata_size: int = 0
    metadata_size_in_repo: int = 0
    total_files: int = 0


class BackupSummary(msgspec.Struct, omit_defaults=True):
    """``backup``: the outcome."""

    message_type: str
    files_new: int
    files_changed: int
    files_unmodified: int
    dirs_new: int
    dirs_changed: int
    dirs_unmodified: int
    data_blobs: int
    tree_blobs: int
    data_added: int
    data_added_packed: int
    total_files_processed: int
    total_bytes_processed: int
    total_duration: msgspec.Raw
    """Seconds; a Go float."""
    backup_start: str
    backup_end: str
    snapshot_id: str = ""
    dry_run: bool = False
