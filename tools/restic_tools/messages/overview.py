"""The messages of ``overview``."""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, TypeVar

import msgspec

from restic_spec import gotime

T = TypeVar("T", bound=msgspec.Struct)

Moment = Annotated[str, msgspec.Meta(extra={"form": "TIME"})]
"""A time: RFC 3339, UTC."""
Seconds = Annotated[float, msgspec.Meta(extra={"form": "SECONDS"})]


class SizeRange(msgspec.Struct):
    """How many there are with a size, or a share, in a range. Both ends belong to it."""

    lowest: int
    """Bytes; per cent in ``by_fill`` of packs."""
    highest: int
    count: int
    size: int
    """Bytes of all of them."""


class FormatExtension(msgspec.Struct):
    """Something in the repository that the design of restic does not have."""

    where: str
    """What has it: ``config``, ``snapshot``, ``node``, ``index`` or ``repository``."""
    name: str
    """The member's name, as ``append_only``; for ``repository`` what it is: ``hot``."""
    program: str
    """Whose it is: ``rustic``, ``restic-format``; "" where nobody knows the member."""
    count: int
    """How many have it; 1 for the config."""
    value: str
    """What it says, as JSON, for the config; "" for the others, and where it is long."""


class RepositoryShare(msgspec.Struct):
    """What the config says."""

    id: str
    version: int
    """1 or 2 (CONFIG-3)."""
    chunker_polynomial: str
    append_only: bool
    """Whether nothing may be removed (RUSTIC-1)."""
    hot: bool
    """Whether it is the hot half of a hot/cold repository: data packs are elsewhere (RUSTIC-1)."""
    compression: int | None
    """zstd's level that the config asks for, 0 for none; ``null`` where it says nothing."""
    extensions: list[FormatExtension]


class KeyStrength(msgspec.Struct):
    """A key file, and what trying a password with it costs."""

    id: str
    created: Moment | None
    """``null`` where the key does not say."""
    username: str
    hostname: str
    n: int
    """scrypt's cost (KEY-4)."""
    r: int
    p: int
    memory: int
    """Bytes that one try takes: 128 · N · r."""
    work: int
    """N · r · p: what one try takes in time."""
    strength: float
    """The work as a part of that of a key with N 32768, r 8, p 5, which restic makes on an ordinary machine."""
    weak: bool
    """Whether less memory or work is asked for than restic does at least: 32 MiB, and the work of N 32768, r 8, p 1."""
    current: bool
    """Whether it opened the repository now."""


class OverviewAuthor(msgspec.Struct):
    """Who made snapshots: a program, a host or a user."""

    name: str
    """As it stands in the snapshots: ``restic 0.19.1``; "" where they do not say."""
    snapshots: int
    added: int
    """Bytes of blobs as stored that these snapshots were the first to need; see ``added`` of snapshots."""
    first: Moment
    """The time of the oldest of them."""
    last: Moment


class SnapshotShare(msgspec.Struct):
    """A snapshot: what is in it, and what it has added. They are in order of their times."""

    id: str
    time: Moment
    hostname: str
    username: str
    paths: list[str]
    tags: list[str]
    program_version: str
    entries: int
    """Files, directories and other entries."""
    size: int
    """Bytes of its files, as they are restored (of several hard links one counts)."""
    stored: int
    """Bytes of the blobs that it needs, as stored."""
    added: int
    """Bytes of those that none of the earlier ones here needs: all these are what all snapshots need."""
    unique: int
    """Bytes of those that nothing else in the repository needs: what is freed when it is forgotten."""
    summary_added: int | None
    """Bytes that it has added before compression, as its own summary says; ``null`` where it has none (SNAP-9)."""
    summary_added_packed: int | None
    """The same as stored; ``null`` where the summary does not say."""


class FilesOfKind(msgspec.Struct):
    """The files of one kind."""

    kind: str
    """``keys``, ``locks``, ``snapshots``, ``index`` or ``data``, as their folders are called."""
    count: int
    size: int


class PacksOfType(msgspec.Struct):
    """The packs of one type; one with both types counts as one of trees, as it is cached (PACK-9)."""

    type: str
    """``data`` or ``tree``."""
    count: int
    """That an index lists and the storage has."""
    size: int
    """Bytes of their files."""
    smallest: int
    """Bytes; 0 without any."""
    largest: int
    target: int
    """Bytes that a new one should have."""
    stored: int
    """Bytes of the blobs in them, sealed."""
    used: int
    """Bytes of those that snapshots need, of each blob one copy."""
    by_size: list[SizeRange]
    """By powers of two, from the smallest to the largest that has any."""
    by_fill: list[SizeRange]
    """By how much of a pack's blobs is needed: 0 %, 1-10 %, 11-20 %, …, 91-99 %, 100 %; all twelve, also those without any."""


class BlobsOfType(msgspec.Struct):
    """The blobs of one type that the index lists, every copy."""

    type: str
    count: int
    stored: int
    """Bytes in packs, sealed."""
    plain: int
    """Bytes without sealing and compression."""
    uncompressed: int
    """How many are stored without compression."""
    by_size: list[SizeRange]
    """By their plain size, by powers of two, from the smallest to the largest that has any."""


class SpaceUse(msgspec.Struct):
    """What the space goes to. Bytes of blobs as stored, unless it says otherwise."""

    restored: int
    """Bytes that restoring each of the snapshots would give together."""
    referenced: int
    """Plain bytes of the blobs that snapshots need, each once."""
    referenced_data: int
    """Of these the bytes of data: of files."""
    needed: int
    """Of what snapshots need, each blob once."""
    unused: int
    """Of blobs that no snapshot needs."""
    duplicate: int
    """Of further copies of blobs that are needed."""
    unindexed: int
    """Bytes of files among the packs that no index lists."""
    marked: int
    """Bytes of packs that are marked for deletion (RUSTIC-2)."""
    files: int
    """Bytes of all files in the repository."""
    compression_ratio: float
    """How many times smaller compression makes what is needed; 0 without anything."""
    dedup_ratio: float
    """How many times larger the files of all snapshots are than what of them is different; 0 without anything."""
    total_ratio: float
    """How many times larger the files of all snapshots are than what is stored for them; 0 without anything."""


class PruneForecast(msgspec.Struct):
    """What `prune` with default options would do: its own numbers."""

    packs_removed: int
    packs_repacked: int
    packs_kept: int
    blobs_freed: int
    freed: int
    """Bytes in all: of packs that go, of blobs that repacking leaves out, of files that no index lists."""
    repacked: int
    """Bytes that would be written anew."""
    unused_after: int
    """Bytes that would stay unused."""


class IndexFileInfo(msgspec.Struct):
    """One index file."""

    id: str
    size: int
    """Bytes of the file."""
    packs: int
    blobs: int
    supersedes: int
    """Index files that it says it replaces (INDEX-9)."""
    marked: int
    """Packs that it marks for deletion (RUSTIC-2)."""
    written: Moment | None
    """When it was written, where the storage says so."""


class IndexFiles(msgspec.Struct):
    """The index files."""

    files: list[IndexFileInfo]
    """At most 100: the latest where times are known, or else the largest, first."""
    count: int
    """All of them."""
    size: int
    """Bytes of all."""
    packs: int
    """Packs that they list."""
    blobs: int
    """Copies of blobs that they list."""
    marked: int
    """Packs that are marked for deletion."""
    superseding: int
    """How many of them say that they replace others."""


class LockInfo(msgspec.Struct):
    """A lock, that of the overview itself left out."""

    id: str
    time: Moment
    age: Seconds
    """Seconds since it was made or refreshed; below 0 where its clock is ahead."""
    exclusive: bool
    hostname: str
    username: str
    pid: int
    stale: bool
    """Whether it was not refreshed for half an hour (LOCK-5)."""


class FilesOfType(msgspec.Struct):
    """The files of one type in all snapshots that are shown; a file counts in each of them."""

    type: str
    """What their names end with, in small letters: ``txt``; "" for names without an ending."""
    entries: int
    size: int
    """Bytes of them, as they are restored."""
    stored: int
    """Bytes of the blobs they need, each once."""
    unique: int
    """Bytes of those that files of no other type need."""


class EntriesOfType(msgspec.Struct):
    """The entries of one type in all snapshots that are shown; an entry counts in each of them."""

    type: str
    """``file``, ``dir``, ``symlink``, …"""
    entries: int
    size: int


class LargePath(msgspec.Struct):
    """A file or a directory, in whichever snapshots it is, whatever was in it at the time."""

    path: str
    unique: int
    """Bytes of blobs as stored that nothing else needs: no other path, and no snapshot that is not shown."""
    size: int
    """Bytes of a file as one of the latest snapshots has it; 0 for a directory."""


class Ages(msgspec.Struct):
    """The oldest and the newest of something."""

    oldest: Moment
    newest: Moment


class OverviewProblem(msgspec.Struct):
    """Something that could not be read, so that numbers are too small."""

    item: str
    """What: ``snapshots/ID``, ``index/ID``, ``keys/ID``, ``locks/ID``, ``tree ID``, ``data blob ID``, ``prune``."""
    what: str
    """What is wrong with it, one line."""
    category: str
    """``key``, ``lock``, ``index``, ``snapshot``, ``tree``, ``blob``, ``pack`` or ``file``."""


class OverviewMessage(msgspec.Struct):
    """``overview``: what a repository holds, as numbers. Sizes are bytes."""

    message_type: str
    """``overview``."""
    made: Moment
    """When it was made."""
    repository: RepositoryShare
    keys: list[KeyStrength]
    locks: list[LockInfo]
    programs: list[OverviewAuthor]
    """By bytes added, most first; likewise the next two."""
    hosts: list[OverviewAuthor]
    users: list[OverviewAuthor]
    snapshots: list[SnapshotShare]
    """Those that are shown, the oldest first."""
    other_snapshots: int
    """How many there are besides."""
    snapshot_ages: Ages | None
    """``null`` without any that is shown."""
    files: list[FilesOfKind]
    packs: list[PacksOfType]
    """Of data, then of trees."""
    blobs: list[BlobsOfType]
    """Data, then trees."""
    space: SpaceUse
    prune: PruneForecast | None
    """``null`` where `prune` would refuse; one of the problems says why."""
    index: IndexFiles
    types: list[FilesOfType]
    """By bytes stored, most first."""
    node_types: list[EntriesOfType]
    """By entries, most first."""
    largest_files: list[LargePath]
    """By unique bytes, most first; at most as many as were asked for, none with 0. Likewise the next one."""
    largest_folders: list[LargePath]
    paths_complete: bool
    """Whether all paths were looked at for these two: there is a bound."""
    problems: list[OverviewProblem]
    """What could not be read, at most 1,000."""
    problem_count: int
    """All of it; 0 for a sound repository."""
    complete: bool
    """Whether everything could be read."""


def overview_message(overview: object) -> OverviewMessage:
    """The message of an overview (`restic_format.explore.overview.Overview`)."""
    return _message_of(OverviewMessage, overview, message_type="overview")


def _message_of(kind: type[T], record: object, **known: object) -> T:
    """A struct of *kind* with what the members of *record* that have the same names say."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return kind(**known, **{name: _value(hint, getattr(record, name)) for name, hint in hints.items() if name not in known})


def _value(hint: Any, value: Any) -> object:
    if value is None:
        return None
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return _value(next(one for one in typing.get_args(hint) if one is not type(None)), value)
    if hint == Moment:
        return gotime.format_ns(value, 0)
    if hint == Seconds:
        return value / gotime.NS
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        return [_value(item, one) for one in value]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _message_of(hint, value)
    return value
