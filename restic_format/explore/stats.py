"""Statistics of snapshots: what restoring them takes, and what of it is different.

The modes count the same as restic's (``stats``). Every tree is read once, whichever snapshots have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple, TypeAlias, cast

from restic_format.errors import BlobMissing, ResticFormatError
from restic_format.explore.treesizes import TreeFacts, TreeSizes, read_sizes
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot
from restic_format.snapshots.idset import IdSet
from restic_format.snapshots.used import UsedInIndex, add_used
from restic_format.work import Cancel
from restic_spec.constants import ID_SIZE, OVERHEAD
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, Node


class Mode(Enum):
    """What is counted."""

    RESTORE_SIZE = "restore-size"
    """Everything that restoring each of the snapshots gives."""
    FILES_BY_CONTENTS = "files-by-contents"
    """Files with the same content once."""
    BLOBS_PER_FILE = "blobs-per-file"
    """Of files with different contents the blobs that the path did not have before."""
    RAW_DATA = "raw-data"
    """Blobs, trees among them, as they are stored, every copy."""


@dataclass
class Statistics:
    """What was counted; 0 where the mode has no such number."""

    snapshots: int = 0
    files: int = 0
    """Files; with `Mode.RESTORE_SIZE` entries of any type."""
    blobs: int = 0
    size: int = 0
    """Bytes: of files, or of blobs as stored."""
    uncompressed: int = 0
    """Bytes that the blobs would have without compression; 0 in version 1."""
    compressed_before: int = 0
    """Bytes that those blobs would have which are compressed."""
    compressed: int = 0
    """Bytes that they have."""

    @property
    def compression_ratio(self) -> float:
        """How many times smaller compressed blobs are; 0 without any."""
        return self.compressed_before / self.compressed if self.compressed else 0.0

    @property
    def compression_progress(self) -> float:
        """Per cent of the data that is compressed."""
        return self.compressed_before / self.uncompressed * 100 if self.uncompressed else 0.0

    @property
    def space_saving(self) -> float:
        """Per cent of the space that compression saves."""
        return (1 - self.size / self.uncompressed) * 100 if self.uncompressed else 0.0


class Counted(NamedTuple):
    """How far counting is."""

    snapshot: int
    """Number of the snapshot that is looked at, from 1 on."""
    entries: int = 0
    """Entries of it."""
    blobs: int = 0
    size: int = 0
    """Bytes of its entries; of blobs, with `Mode.RAW_DATA`."""


Progress: TypeAlias = Callable[[Counted], None]


class SnapshotUnreadable(ResticFormatError):
    """A snapshot cannot be counted; ``cause`` says why."""


def count(
    repository: Repository,
    snapshots: Iterable[FoundSnapshot],
    mode: Mode,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Statistics:
    """Count what the snapshots hold, in their order; the index must be loaded. No data blob is read.

    Raises:
        SnapshotUnreadable: a snapshot has no tree, or one that cannot be read.
        BlobMissing: a blob whose size is wanted is in no index.
        Interrupted: it was cancelled.
    """
    tell = progress or _tell_nobody
    if mode is Mode.RAW_DATA:
        return _count_blobs(repository, snapshots, tell, cancel)
    statistics = Statistics()
    trees: TreeSizes
    if mode is Mode.RESTORE_SIZE:
        trees = TreeSizes()
    elif mode is Mode.FILES_BY_CONTENTS:
        trees = _DifferentFiles(statistics)
    else:
        trees = _FilesByPath(repository, statistics)
    for found in snapshots:
        statistics.snapshots += 1
        tell(Counted(statistics.snapshots))
        root = _root(found)
        try:
            read_sizes(repository, root, trees, cancel=cancel)
            blobs = trees.count(root) if isinstance(trees, _FilesByPath) else 0
        except ResticFormatError as error:
            raise SnapshotUnreadable(f"walking tree {root.hex()}: {error}", cause=error) from error
        sizes = trees.of(root)
        if mode is Mode.RESTORE_SIZE:
            statistics.files += sizes.entries
            statistics.size += sizes.size
        tell(Counted(statistics.snapshots, sizes.entries, blobs, sizes.every))
    return statistics


class _DifferentFiles(TreeSizes):
    """Counts each content where it comes first; entries without one count as one that is empty."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        self._statistics = statistics
        self._contents = IdSet()

    def look(self, nodes: Sequence[Node], directories: int) -> list[tuple[bytes, int]]:
        """The contents, each with its size."""
        del directories
        found = [(_content_id(node.content), node.size) for node in nodes if node.content]
        empty = next((node for node in nodes if not node.content), None)
        return found if empty is None else [(_content_id(()), empty.size), *found]

    def keep(self, number: int, facts: TreeFacts) -> None:
        """Count those that are new."""
        del number
        for found in facts.looked:
            for content, size in cast(list[tuple[bytes, int]], found):
                if self._contents.add(content):
                    self._statistics.files += 1
                    self._statistics.size += size


class _File(NamedTuple):
    directories: int
    """Directories of the tree that come before it."""
    name: str
    content: bytes
    """Names its content, see `_content_id`."""
    blobs: bytes
    """The ids of its blobs, joined."""


class _Named(NamedTuple):
    directories: list[str]
    files: list[_File]


class _FilesByPath(TreeSizes):
    """Counts the blobs of contents that come first, at the path where they do; so the order of trees matters."""

    def __init__(self, repository: Repository, statistics: Statistics) -> None:
        super().__init__()
        self._index = repository.index
        self._statistics = statistics
        self._contents = IdSet()
        self._new: dict[int, _Named] = {}
        """Of each tree that was not counted yet its directories, and the files with contents that were not."""
        self._paths: dict[str, bytes] = {}
        """The blobs of each path, joined."""

    def look(self, nodes: Sequence[Node], directories: int) -> _Named:
        """The directories, and the files that are not empty."""
        names: list[str] = []
        files = []
        for node in nodes:
            if node.type == DIR:
                names.append(node.name)
            elif node.content:
                blobs = bytes.fromhex("".join(node.content))
                files.append(_File(directories + len(names), node.name, _content_id(node.content), blobs))
        return _Named(names, files)

    def keep(self, number: int, facts: TreeFacts) -> None:
        """Keep those whose content is new."""
        named = [cast(_Named, found) for found in facts.looked]
        files = [file for found in named for file in found.files if file.content not in self._contents]
        self._new[number] = _Named([name for found in named for name in found.directories], files)

    def count(self, root: bytes) -> int:
        """Count what came with a snapshot; how many blobs its new contents have."""
        blobs = 0
        waiting = [self._below(self.number(root), "")]
        while waiting:
            for found in waiting[-1]:
                if isinstance(found, _File):
                    blobs += self._count_file(found)
                else:
                    waiting.append(self._below(*found))
                    break
            else:
                waiting.pop()
        return blobs

    def _below(self, number: int, prefix: str) -> Iterator[_File | tuple[int, str]]:
        """The files in a tree by their paths, and its directories, in order; nothing where they were counted before."""
        named = self._new.pop(number, None)
        if named is None:
            return
        files = iter(named.files)
        file = next(files, None)
        for before, (child, name) in enumerate(zip(self.children(number), named.directories, strict=True)):
            while file is not None and file.directories <= before:
                yield file._replace(name=f"{prefix}/{file.name}")
                file = next(files, None)
            yield child, f"{prefix}/{name}"
        while file is not None:
            yield file._replace(name=f"{prefix}/{file.name}")
            file = next(files, None)

    def _count_file(self, file: _File) -> int:
        """Count a file, given by its path, if its content is new; how many blobs that has."""
        if not self._contents.add(file.content):
            return 0
        known = self._paths.get(file.name)
        if known is None:
            known = b""
            self._statistics.files += 1
        blobs = _split(file.blobs)
        new = dict.fromkeys(blobs)
        for blob in _split(known):
            new.pop(blob, None)
        for blob in new:
            self._statistics.size += self._size(blob)
        self._statistics.blobs += len(new)
        self._paths[file.name] = known + b"".join(new) if known else b"".join(new)
        return len(blobs)

    def _size(self, blob: bytes) -> int:
        location = self._index.lookup(BlobType.DATA, blob)
        if location is None:
            raise BlobMissing(f"blob {blob.hex()[:8]} not found in any index: run check")
        plain = location.uncompressed_length
        return location.length - OVERHEAD if plain is None else plain


def _split(ids: bytes) -> list[bytes]:
    return [ids[start : start + ID_SIZE] for start in range(0, len(ids), ID_SIZE)]


def _content_id(content: Sequence[str]) -> bytes:
    """What names a file's content: the id of its only blob, or else a hash of all, of another kind than ids are."""
    if len(content) == 1:
        return bytes.fromhex(content[0])
    return blake2b(bytes.fromhex("".join(content)), digest_size=ID_SIZE).digest()


def _tell_nobody(counted: Counted) -> None:
    del counted


def _root(found: FoundSnapshot) -> bytes:
    if not found.snapshot.tree:
        raise SnapshotUnreadable(f"snapshot {found.short_id} has nil tree")
    return bytes.fromhex(found.snapshot.tree)


def _count_blobs(
    repository: Repository, snapshots: Iterable[FoundSnapshot], tell: Progress, cancel: Cancel | None
) -> Statistics:
    statistics = Statistics()
    used = UsedInIndex(repository.index)
    for found in snapshots:
        statistics.snapshots += 1
        tell(Counted(statistics.snapshots))
        try:
            add_used(repository, [_root(found)], used, cancel=cancel)
        except SnapshotUnreadable:
            raise
        except ResticFormatError as error:
            raise SnapshotUnreadable(str(error), cause=error) from error
    for missing in used.missing:
        raise BlobMissing(f"blob <data/{missing.hex()[:8]}> not found")
    for entry in used.copies():
        stored, plain = entry.length, entry.uncompressed_length
        statistics.blobs += 1
        statistics.size += stored
        if repository.version >= 2:
            before = stored if plain is None else plain + OVERHEAD
            statistics.uncompressed += before
            if plain is not None:
                statistics.compressed += stored
                statistics.compressed_before += before
    tell(Counted(statistics.snapshots, 0, statistics.blobs, statistics.size))
    return statistics
