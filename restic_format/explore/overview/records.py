"""The records of an overview. Sizes are bytes, times nanoseconds since the epoch (UTC), ids hexadecimal.

Texts come from the repository as they are there: whoever shows them escapes them. Nothing here is secret.
"""

from __future__ import annotations

import msgspec


class Range(msgspec.Struct, frozen=True, gc=False):
    """How many there are with a size, or a share, in a range. Both ends belong to it."""

    lowest: int
    """Bytes; per cent in `PackFacts.by_fill`."""
    highest: int
    count: int
    size: int
    """Bytes of all of them."""


class Extension(msgspec.Struct, frozen=True, gc=False):
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


class RepositoryFacts(msgspec.Struct, frozen=True, gc=False):
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
    """zstd's level that the config asks for, 0 for none; None where it says nothing."""
    extensions: tuple[Extension, ...]


class KeyFacts(msgspec.Struct, frozen=True, gc=False):
    """A key file, and what trying a password with it costs."""

    id: str
    created: int | None
    """None where the key does not say."""
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
    """The work as a part of `RESTIC_WORK`; 1.0 is as strong as what restic makes on an ordinary machine."""
    weak: bool
    """Whether less memory or work is asked for than restic does at least (`MIN_MEMORY`, `MIN_WORK`)."""
    current: bool
    """Whether it opened the repository now."""


RESTIC_WORK = (1 << 15) * 8 * 5
"""N · r · p of keys that restic makes on a machine of today: it chooses p so that a try takes half a second (KEY-13)."""
MIN_MEMORY = 128 * (1 << 15) * 8
"""Bytes of memory that a try takes at least with the keys that restic makes (KEY-13)."""
MIN_WORK = (1 << 15) * 8
"""N · r · p of such keys, at least."""


class Author(msgspec.Struct, frozen=True, gc=False):
    """Who made snapshots: a program, a host or a user."""

    name: str
    """As it stands in the snapshots: ``restic 0.19.1``; "" where they do not say."""
    snapshots: int
    added: int
    """Bytes of blobs as stored that these snapshots were the first to need, see `SnapshotFacts.added`."""
    first: int
    """The time of the oldest of them."""
    last: int


class SnapshotFacts(msgspec.Struct, frozen=True, gc=False):
    """A snapshot: what is in it, and what it has added. They are in order of their times."""

    id: str
    time: int
    hostname: str
    username: str
    paths: tuple[str, ...]
    tags: tuple[str, ...]
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
    """Bytes that it has added before compression, as its own summary says; None where it has none (SNAP-9)."""
    summary_added_packed: int | None
    """The same as stored; None where the summary does not say."""


class FileFacts(msgspec.Struct, frozen=True, gc=False):
    """The files of one kind."""

    kind: str
    """``keys``, ``locks``, ``snapshots``, ``index`` or ``data``, as their folders are called."""
    count: int
    size: int


class PackFacts(msgspec.Struct, frozen=True, gc=False):
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
    by_size: tuple[Range, ...]
    """By powers of two, from the smallest to the largest that has any."""
    by_fill: tuple[Range, ...]
    """By how much of a pack's blobs is needed: 0 %, 1-10 %, 11-20 %, …, 91-99 %, 100 %; all twelve, also those without any."""


class BlobFacts(msgspec.Struct, frozen=True, gc=False):
    """The blobs of one type that the index lists, every copy."""

    type: str
    count: int
    stored: int
    """Bytes in packs, sealed."""
    plain: int
    """Bytes without sealing and compression."""
    uncompressed: int
    """How many are stored without compression."""
    by_size: tuple[Range, ...]
    """By their plain size, by powers of two, from the smallest to the largest that has any."""


class SpaceFacts(msgspec.Struct, frozen=True, gc=False):
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

    @property
    def compression_ratio(self) -> float:
        """How many times smaller compression makes what is needed; 0 without anything."""
        return self.referenced / self.needed if self.needed else 0.0

    @property
    def dedup_ratio(self) -> float:
        """How many times larger the files of all snapshots are than what of them is different; 0 without anything."""
        return self.restored / self.referenced_data if self.referenced_data else 0.0

    @property
    def total_ratio(self) -> float:
        """How many times larger the files of all snapshots are than what is stored for them; 0 without anything."""
        return self.restored / self.needed if self.needed else 0.0


class PruneFacts(msgspec.Struct, frozen=True, gc=False):
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


class IndexFileFacts(msgspec.Struct, frozen=True, gc=False):
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
    written: int | None
    """When it was written, where the storage says so."""


class IndexFacts(msgspec.Struct, frozen=True, gc=False):
    """The index files."""

    files: tuple[IndexFileFacts, ...]
    """At most `MOST_INDEX_FILES`: the latest where times are known, or else the largest, first."""
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


MOST_INDEX_FILES = 100
"""Index files that are told of one by one."""


class LockFacts(msgspec.Struct, frozen=True, gc=False):
    """A lock, that of the overview itself left out."""

    id: str
    time: int
    age: int
    """Nanoseconds since it was made or refreshed; below 0 where its clock is ahead."""
    exclusive: bool
    hostname: str
    username: str
    pid: int
    stale: bool
    """Whether it was not refreshed for half an hour (LOCK-5)."""


class TypeFacts(msgspec.Struct, frozen=True, gc=False):
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


class NodeTypeFacts(msgspec.Struct, frozen=True, gc=False):
    """The entries of one type in all snapshots that are shown; an entry counts in each of them."""

    type: str
    """``file``, ``dir``, ``symlink``, …"""
    entries: int
    size: int


class LargeItem(msgspec.Struct, frozen=True, gc=False):
    """A file or a directory, in whichever snapshots it is, whatever was in it at the time."""

    path: str
    unique: int
    """Bytes of blobs as stored that nothing else needs: no other path, and no snapshot that is not shown."""
    size: int
    """Bytes of a file as one of the latest snapshots has it; 0 for a directory."""


class Age(msgspec.Struct, frozen=True, gc=False):
    """The oldest and the newest of something."""

    oldest: int
    newest: int


class Problem(msgspec.Struct, frozen=True, gc=False):
    """Something that could not be read, so that numbers are too small."""

    item: str
    """What: ``snapshots/ID``, ``index/ID``, ``keys/ID``, ``locks/ID``, ``tree ID``, ``data blob ID``, ``prune``."""
    what: str
    """What is wrong with it, one line."""
    category: str
    """One of `Category`."""


class Category:
    """What a `Problem` is about."""

    KEY, LOCK, INDEX, SNAPSHOT, TREE, BLOB, PACK, FILE = "key", "lock", "index", "snapshot", "tree", "blob", "pack", "file"


class Overview(msgspec.Struct, frozen=True, gc=False):
    """What a repository holds, as numbers."""

    made: int
    """When it was made."""
    repository: RepositoryFacts
    keys: tuple[KeyFacts, ...]
    locks: tuple[LockFacts, ...]
    programs: tuple[Author, ...]
    """By bytes added, most first; likewise the next two."""
    hosts: tuple[Author, ...]
    users: tuple[Author, ...]
    snapshots: tuple[SnapshotFacts, ...]
    """Those that are shown, the oldest first."""
    other_snapshots: int
    """How many there are besides."""
    snapshot_ages: Age | None
    """None without any that is shown."""
    files: tuple[FileFacts, ...]
    packs: tuple[PackFacts, ...]
    """Of data, then of trees."""
    blobs: tuple[BlobFacts, ...]
    """Data, then trees."""
    space: SpaceFacts
    prune: PruneFacts | None
    """None where `prune` would refuse; a `Problem` says why."""
    index: IndexFacts
    types: tuple[TypeFacts, ...]
    """By bytes stored, most first."""
    node_types: tuple[NodeTypeFacts, ...]
    """By entries, most first."""
    largest_files: tuple[LargeItem, ...]
    """By unique bytes, most first; at most as many as were asked for, none with 0. Likewise the next one."""
    largest_folders: tuple[LargeItem, ...]
    paths_complete: bool
    """Whether all paths were looked at for these two: there is a bound."""
    problems: tuple[Problem, ...]
    """What could not be read, at most `MOST_PROBLEMS`."""
    problem_count: int
    """All of it; 0 for a sound repository."""

    @property
    def complete(self) -> bool:
        """Whether everything could be read."""
        return not self.problem_count


MOST_PROBLEMS = 1000
"""Problems that are told of one by one."""
