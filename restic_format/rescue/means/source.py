"""The source of a backup as a donor: its files as they are now still have many of the chunks and trees that were stored."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from restic_format.backup import BackupFailed, BackupOptions, SourceError, backup
from restic_format.backup.content import ChunkReader, build_cutter, descriptor_reader
from restic_format.repository import Repository
from restic_format.repository.cipher import Buffer
from restic_format.repository.keys import OpenedKey
from restic_format.repository.writer import BlobWriter, DryBlobWriter, SavedBlob
from restic_format.rescue.wanted import DamagedCopy, DamagedFile, Key, RecoveredBlob, RecoveredFile
from restic_format.storage import MemoryStorage
from restic_format.words import printable
from restic_format.work import Cancel
from restic_spec import gojson
from restic_spec.config import Config
from restic_spec.crypto import MasterKey
from restic_spec.ids import ID_SIZE, id_of
from restic_spec.pack import BlobType

_MOST_TREES = 256 << 20
"""Bytes of trees of the source that are kept."""


class SourceFiles:
    """The original files: those in *paths* are cut as the repository with this *config* cuts, and chunks that are wanted taken.

    Trees are taken from a backup of *paths* that stores nothing: the tree of a directory that has the same entries as before,
    with the same metadata, is the same. Where chunks are is remembered, so that all files are read once, and again only what
    is taken. Symbolic links are not followed, what cannot be read is left out.

    Raises:
        ChunkerUnsupported: the config asks for a way of cutting that is not known.
    """

    name = "source"
    certainty = 25

    def __init__(self, config: Config, paths: Sequence[str]) -> None:
        self._config = config
        self._paths = paths
        self._cutter = build_cutter(config)
        self._names: list[bytes] = []
        self._places: dict[bytes, tuple[int, int, int]] | None = None
        """Number of the file, offset and length of each chunk; None before all was read."""
        self._trees: dict[bytes, bytes] | None = None

    def blobs(self, wanted: Mapping[Key, Sequence[DamagedCopy]], *, cancel: Cancel | None) -> Iterator[RecoveredBlob]:
        """See `Means`."""
        data = [blob_id for blob_type, blob_id in wanted if blob_type is BlobType.DATA]
        if data and self._places is None:
            self._places = self._find_chunks(cancel)
        for blob_id in data:
            if cancel is not None:
                cancel.check()
            chunk, path = self._chunk(blob_id)
            if chunk is not None and id_of(chunk) == blob_id:
                yield RecoveredBlob((BlobType.DATA, blob_id), chunk, f"the file {printable(gojson.to_text(path))}")
        trees = [blob_id for blob_type, blob_id in wanted if blob_type is BlobType.TREE]
        if trees and self._trees is None:
            self._trees = trees_of(self._config, self._paths, cancel)
        for blob_id in trees:
            if (raw := (self._trees or {}).get(blob_id)) is not None:
                yield RecoveredBlob((BlobType.TREE, blob_id), raw, "a directory of the source")

    def files(self, wanted: Sequence[DamagedFile], *, cancel: Cancel | None) -> Iterator[RecoveredFile]:
        """None: files of a repository are sealed."""
        del wanted, cancel
        return iter(())

    def _files(self) -> Iterator[bytes]:
        for path in map(gojson.to_bytes, self._paths):
            if os.path.isdir(path):
                for folder, subfolders, names in os.walk(path):
                    subfolders.sort()
                    yield from (os.path.join(folder, name) for name in sorted(names))
            else:
                yield path

    def _find_chunks(self, cancel: Cancel | None) -> dict[bytes, tuple[int, int, int]]:
        """Where which chunk is, of all files."""
        places: dict[bytes, tuple[int, int, int]] = {}
        buffer = memoryview(bytearray(2 * self._cutter.max_size))
        for path in self._files():
            number, offset = len(self._names), 0
            self._names.append(path)
            with suppress(OSError), _opened(path) as (descriptor, size):
                reader = ChunkReader(descriptor_reader(descriptor), self._cutter, size)
                while lengths := reader.next_chunks(buffer):
                    if cancel is not None:
                        cancel.check()
                    start = 0
                    for length in lengths:
                        places.setdefault(id_of(buffer[start : start + length]), (number, offset, length))
                        start, offset = start + length, offset + length
        return places

    def _chunk(self, blob_id: bytes) -> tuple[bytes | None, bytes]:
        """What a chunk is now, and the file that it is in."""
        place = (self._places or {}).get(blob_id)
        if place is None:
            return None, b""
        number, offset, length = place
        path = self._names[number]
        try:
            with _opened(path) as (descriptor, _):
                return os.pread(descriptor, length, offset), path
        except OSError:
            return None, path


@contextmanager
def _opened(path: bytes) -> Iterator[tuple[int, int]]:
    """A regular file, and its size; ``OSError`` where it is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


def trees_of(config: Config, paths: Sequence[str], cancel: Cancel | None) -> dict[bytes, bytes]:
    """The trees that a backup of *paths* would store in a repository with this *config*, by their ids.

    They are at most 256 MiB together; nothing is stored. Raises `Interrupted`.
    """
    found: dict[bytes, bytes] = {}
    with suppress(BackupFailed, SourceError):
        backup(_Nowhere(config, found), paths, BackupOptions(dry_run=True, scan=False, tells_files=False), cancel=cancel)
    return found


class _Nowhere(Repository):
    """A repository for a backup of which only the trees are wanted."""

    def __init__(self, config: Config, found: dict[bytes, bytes]) -> None:
        super().__init__(MemoryStorage(), config, OpenedKey(bytes(ID_SIZE), MasterKey.generate()))
        self._found = found

    def writer(self, *, dry_run: bool = False, stored: Callable[[bytes, int], None] | None = None) -> BlobWriter:
        """What looks at blobs and forgets them."""
        del dry_run, stored
        return _Looking(self, self._found)


class _Looking(DryBlobWriter):
    """Keeps trees, and forgets everything else."""

    def __init__(self, repository: Repository, found: dict[bytes, bytes]) -> None:
        super().__init__(repository)
        self._found = found
        self._room = _MOST_TREES

    def save(self, blob_type: BlobType, blobs: Sequence[tuple[bytes, Buffer]], *, again: bool = False) -> Sequence[SavedBlob]:
        """See `BlobWriter`."""
        del again
        if blob_type is BlobType.TREE:
            for blob_id, data in blobs:
                if blob_id not in self._found and len(data) <= self._room:
                    self._room -= len(data)
                    self._found[blob_id] = bytes(data)
        return [SavedBlob(blob_id, False, len(data), 0) for blob_id, data in blobs]
