"""The messages of ``diagnose``: a line for each fault, snapshot and path, and a summary at the end."""

from __future__ import annotations

from typing import Literal

import msgspec


class CostMessage(msgspec.Struct):
    """What a fault costs now, before anything is repaired."""

    snapshots: int
    """Snapshots that it touches."""
    files: int
    """Files that are not whole: different paths or contents."""
    directories: int
    """Directories that cannot be read now."""
    bytes: int
    """Bytes of those files that are not whole."""
    hope: Literal["whole", "found", "hidden", "damaged", "lost"]
    """What can be expected for the worst of it; see ``hope`` of a range."""


class FaultMessage(msgspec.Struct):
    """``diagnose``: one thing that is wrong."""

    message_type: str
    """``fault``."""
    number: int
    """Counted from 1; paths name the faults that cost them by it."""
    code: str
    """Code of the finding that tells it, as in ``check``."""
    object: str
    """What is damaged: ``config``, ``key``, ``lock``, ``snapshot``, ``index``, ``pack``, ``tree``, ``data``, ``repository``."""
    id: str
    """Its id; for the config and the repository empty."""
    message: str
    origin: str
    """What most likely made it: ``interrupted``, ``storage``, ``memory``, ``program``, ``missing``, ``index``, ``mixed-up``,
    ``unreadable``, ``left-behind``."""
    why: str
    """What makes that likely."""
    means: list[str]
    """What may help, the most certain first."""
    cost: CostMessage
    findings: list[str]
    """What check says of it, one line each."""


class RangeMessage(msgspec.Struct):
    """A part of a file."""

    start: int
    """Its first byte, counted from 0."""
    end: int
    """The first byte behind it."""
    hope: Literal["whole", "found", "hidden", "damaged", "lost"]
    """``found``: it is intact, and only the index must be put right. ``hidden``: the storage does not give it back now.
    ``damaged``: it is there but damaged, and may be solved. ``lost``: only copies from elsewhere bring it back."""
    exact: bool
    """False where the lengths of lost blobs are not known: then it is at most this part."""


class PathMessage(msgspec.Struct):
    """``diagnose``: a file or directory that is not whole."""

    message_type: str
    """``path``."""
    number: int
    """Counted from 1; snapshots name what is not whole in them by it."""
    path: str
    type: Literal["file", "dir"]
    """Of a directory nothing below it is known, unless ``hope`` is ``found``."""
    size: int
    """Bytes of the file; 0 for a directory."""
    hope: str
    """The worst of its parts."""
    ranges: list[RangeMessage]
    """What is not whole of it, in order."""
    faults: list[int]
    """The faults that cost it."""


class SnapshotMessage(msgspec.Struct):
    """``diagnose``: a snapshot, and what is whole of it."""

    message_type: str
    """``snapshot``."""
    id: str
    time: str
    hostname: str
    paths: list[str]
    tags: list[str]
    whole: bool
    """Whether everything in it can be restored now."""
    files: int | None
    """Files in it, without those in directories that cannot be read; ``null``, like the numbers that follow, where nothing is
    damaged in the repository, so that nobody counted."""
    bytes: int | None
    files_found: int | None
    """Files that are whole as soon as the index is right."""
    files_hidden: int | None
    """Files of which the storage does not give back something now."""
    files_damaged: int | None
    """Files with parts that are damaged and may be solved, and none that is lost."""
    files_lost: int | None
    """Files with parts that are lost."""
    directories_found: int | None
    """Directories that can be read as soon as the index is right; what is in them is counted."""
    directories_lost: int | None
    """Directories that cannot be read, whatever is in them."""
    damaged_paths: list[int]
    """What is not whole in it, by the numbers of ``path`` messages."""


class NoteMessage(msgspec.Struct):
    """``diagnose``: something worth knowing that costs nothing."""

    message_type: str
    """``note``."""
    code: str
    object: str
    id: str
    message: str


class ShareMessage(msgspec.Struct):
    """``diagnose --shard``: a share of the packs was read."""

    message_type: str
    """``share``."""
    shard: int
    """Which share, counted from 1."""
    shards: int
    packs: int
    """Packs of the share."""
    bytes_read: int
    """Bytes of them, whenever they were read."""
    damaged: int
    """Packs in it with which something is wrong."""


class DiagnosisSummary(msgspec.Struct):
    """``diagnose``: the outcome, the last message."""

    message_type: str
    """``summary``."""
    healthy: bool
    """Whether nothing is wrong but what was left behind and is not needed."""
    opened: bool
    """Whether a key was opened; if not, only files, names and sizes were looked at."""
    trouble: str
    """Why the repository could not be opened, or only without its config; else empty."""
    faults: int
    paths: int
    """All paths that are not whole, also those for which there is no message."""
    snapshots: int
    snapshots_whole: int
    unreferenced_trees: int | None
    """Trees that no snapshot has and that are part of no other: of snapshots that were forgotten, are damaged, or are gone;
    ``null`` where no key was opened."""
    missing_blobs: int
    """Blobs that snapshots need and that are not whole now."""
    damaged_copies: int
    """Copies of blobs that cannot be used."""
    unindexed_packs: int
    wrongly_indexed_packs: int
    packs: int
    packs_read: int
    bytes_read: int
    incomplete: bool
    """Whether there is more damage than the lists hold."""
    next_steps: list[str]
    """What to do, in order."""
