"""Writing out what is in a snapshot: a file as it is, a directory as a tar or zip archive.

Blobs are opened, and archives compressed, by a few threads ahead; what comes of it is written in order. Anything that cannot be
had ends it: an archive that lacks something has no end mark.
"""

from __future__ import annotations

import enum
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from restic_format.explore import tar, zipfile
from restic_format.explore.tar import LeftOut
from restic_format.repository import Repository
from restic_format.snapshots.errors import NodeUnusable
from restic_format.snapshots.sequence import Batch, Blob, Buffer, Locator, opened
from restic_format.snapshots.walk import Level, Walk
from restic_format.work import Cancel
from restic_spec.errors import ResticFormatError
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, SYMLINK, Node

Write = Callable[[Sequence[Buffer]], object]
"""Writes pieces one after the other. They may be changed when it has returned. What it raises ends the dump."""

_ZSTD_LEVEL = 3
_GZIP_LEVEL = 6


class Form(enum.Enum):
    """The form of an archive, as it is named."""

    TAR = "tar"
    TAR_GZ = "tar.gz"
    TAR_ZST = "tar.zst"
    ZIP = "zip"

    @classmethod
    def of_file(cls, name: str) -> Form:
        """The form that the name of a file asks for, tar where it does not say."""
        lower = name.lower()
        return next((form for ending, form in _ENDINGS if lower.endswith(ending)), cls.TAR)


_ENDINGS = (
    (".tar.gz", Form.TAR_GZ),
    (".tgz", Form.TAR_GZ),
    (".tar.zst", Form.TAR_ZST),
    (".tzst", Form.TAR_ZST),
    (".zip", Form.ZIP),
)


def dump_file(repository: Repository, node: Node, write: Write, *, cancel: Cancel | None = None) -> None:
    """Write the content of the file *node*. The repository's index must be loaded.

    Raises:
        NodeUnusable: it is not a file.
        BlobMissing, DamagedFile, StorageError: a blob cannot be had; all before it has been written.
        Interrupted: it was cancelled.
    """
    if node.type != FILE:
        raise NodeUnusable(f"{node.quoted[:200]!r} is not a file but {node.type[:40]!r}")

    def batches() -> Iterator[Batch]:
        batch = Batch()
        try:
            for blob in map(Locator(repository).blob, node.blobs):
                if not batch.holds(blob.size):
                    yield batch
                    batch = Batch()
                batch.add_blob(blob)
        except ResticFormatError as error:
            batch.error = error
        yield batch

    with closing(opened(repository, batches(), lambda _, plain: plain)) as results:
        for _, plain in results:
            if cancel is not None:
                cancel.check()
            write(plain)


def dump_tree(
    repository: Repository,
    tree: bytes,
    write: Write,
    *,
    path: str = "/",
    form: Form = Form.TAR,
    left_out: LeftOut | None = None,
    cancel: Cancel | None = None,
) -> None:
    """Write what is below the directory *path*, whose tree is *tree*, as an archive. The repository's index must be loaded.

    Members are named by their paths from the top of the snapshot on. As with restic devices, pipes and sockets are left out,
    but directly in *path*, where they become empty files.

    Raises:
        NotInArchive: the archive cannot hold an item.
        NodeUnusable: the size of a file does not fit its content.
        BlobMissing, DamagedFile, StorageError, UnsafeName: something cannot be had.
        Interrupted: it was cancelled.
    """
    archive: _Archive
    if form is Form.ZIP:
        archive = _ZipArchive(repository)
    else:
        archive = _TarArchive(repository, form, left_out or (lambda _path, _name: None))
    batches = _batches(archive, _members(repository, tree, path))
    with closing(opened(repository, batches, archive.make, exact=archive.exact)) as results:
        for batch, made in results:
            if cancel is not None:
                cancel.check()
            archive.write(batch, made, write)
    archive.finish(write)


def _members(repository: Repository, tree: bytes, path: str) -> Iterator[tuple[str, Node]]:
    """What goes into an archive, with the path of each without a slash at the begin."""
    top = path.strip("/")

    def fault(_level: Level[None], _node: Node | None, error: ResticFormatError) -> None:
        raise error

    walk = Walk(repository, tree, None, fault=fault)
    directory, prefix = None, ""
    for level, node, name in walk:
        if level is not directory:
            directory, prefix = level, f"{top}{level.prefix}/".removeprefix("/")
        if level.above is None or node.type in (FILE, DIR, SYMLINK):
            yield prefix + name, node
        if node.type == DIR:
            walk.enter(node, name, None)


def _batches(archive: _Archive, members: Iterator[tuple[str, Node]]) -> Iterator[Batch]:
    """The batches of an archive; the last one says what has gone wrong, if anything has."""
    batch = Batch()
    try:
        for path, node in members:
            if not batch.holds(0):
                yield batch
                batch = Batch()
            blobs = archive.begin(batch, path, node)
            for blob in blobs:
                if not batch.holds(blob.size):
                    archive.interrupt(batch)
                    yield batch
                    batch = Batch()
                batch.add_blob(blob)
            archive.end(batch)
    except ResticFormatError as error:
        batch.error = error
        archive.interrupt(batch)
    yield batch


class _Archive(ABC):
    """Puts members into batches (in whichever thread), and writes what became of these (in one)."""

    exact = False
    """Whether a blob must have the length that the index states."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._locator = Locator(repository)

    def _content(self, node: Node) -> list[Blob]:
        return self._locator.blobs(node) if node.type == FILE else []

    @abstractmethod
    def begin(self, batch: Batch, path: str, node: Node) -> Sequence[Blob]:
        """Begin with a member, whose blobs come next."""

    @abstractmethod
    def end(self, batch: Batch) -> None:
        """The member is complete."""

    @abstractmethod
    def interrupt(self, batch: Batch) -> None:
        """The member goes on in another batch."""

    @abstractmethod
    def make(self, batch: Batch, plain: list[Buffer]) -> list[list[Buffer]]:
        """What `write` is given, from the items of a batch; called in several threads."""

    @abstractmethod
    def write(self, batch: Batch, made: list[list[Buffer]], write: Write) -> None:
        """Write a batch."""

    @abstractmethod
    def finish(self, write: Write) -> None:
        """Write the end of the archive."""


class _TarArchive(_Archive):
    exact = True

    def __init__(self, repository: Repository, form: Form, left_out: LeftOut) -> None:
        super().__init__(repository)
        self._left_out = left_out
        self._headers = tar.Headers()
        self._size = 0
        self._pack = _PACKERS.get(form)

    def begin(self, batch: Batch, path: str, node: Node) -> Sequence[Blob]:
        blobs = self._fitting(path, node, self._content(node))
        batch.add(self._headers.header(path, node, self._left_out))
        self._size = node.size if node.type == FILE else 0
        return blobs

    def _fitting(self, path: str, node: Node, blobs: list[Blob]) -> list[Blob]:
        """The blobs of a file that are sure to be as long as the header will say."""
        if node.type != FILE or (blobs[0].size if len(blobs) == 1 else sum(blob.size for blob in blobs)) == node.size:
            return blobs
        # An index may state a wrong length (PACK-22).
        fitting = []
        for blob in blobs:
            length = len(self._repository.load_blob(BlobType.DATA, blob.entry.id))
            if length != blob.size:
                blob = blob._replace(entry=blob.entry._replace(uncompressed_length=length), size=length)
            fitting.append(blob)
        size = sum(blob.size for blob in fitting)
        if size != node.size:
            raise NodeUnusable(f"/{path}: the content has {size} bytes, the snapshot says {node.size}: run repair snapshots")
        return fitting

    def end(self, batch: Batch) -> None:
        if self._size % tar.BLOCK:
            batch.add(tar.padding(self._size))

    def interrupt(self, batch: Batch) -> None:
        del batch

    def make(self, batch: Batch, plain: list[Buffer]) -> list[list[Buffer]]:
        del batch
        return [plain if self._pack is None else self._pack(plain)]

    def write(self, batch: Batch, made: list[list[Buffer]], write: Write) -> None:
        del batch
        write(made[0])

    def finish(self, write: Write) -> None:
        write([tar.END] if self._pack is None else self._pack([tar.END]))


class _Segment(NamedTuple):
    """A part of a member in a batch: which items are of it, and whether its begin and end are there."""

    member: zipfile.Member
    first: bool
    start: int
    stop: int
    last: bool


class _ZipArchive(_Archive):
    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self._directory = zipfile.Directory()
        self._offset = 0
        self._member: zipfile.Member | None = None
        self._first = True
        self._start = 0

    def begin(self, batch: Batch, path: str, node: Node) -> Sequence[Blob]:
        self._member = zipfile.Member(path, node)
        self._first, self._start = True, len(batch.items)
        if self._member.target is not None:
            batch.add(self._member.target)
        return self._content(node)

    def end(self, batch: Batch) -> None:
        self._note(batch, last=True)
        self._member = None

    def interrupt(self, batch: Batch) -> None:
        self._note(batch, last=False)

    def _note(self, batch: Batch, *, last: bool) -> None:
        if self._member is not None:
            batch.notes.append(_Segment(self._member, self._first, self._start, len(batch.items), last))
        self._first, self._start = False, 0

    def make(self, batch: Batch, plain: list[Buffer]) -> list[list[Buffer]]:
        made: list[list[Buffer]] = [plain]
        for segment in batch.notes:
            assert isinstance(segment, _Segment)
            pieces = plain[segment.start : segment.stop]
            made.append([*zipfile.deflate(pieces, last=segment.last)] if segment.member.deflated else pieces)
        return made

    def write(self, batch: Batch, made: list[list[Buffer]], write: Write) -> None:
        pieces: list[Buffer] = []
        offset = self._offset
        plain, *stored = made
        for segment, content in zip(batch.notes, stored, strict=True):
            assert isinstance(segment, _Segment)
            member = segment.member
            if segment.first:
                pieces.append(member.begin(offset))
                offset += len(pieces[-1])
            length = sum(map(len, content))
            member.count(plain[segment.start : segment.stop], length)
            pieces += content
            offset += length
            if segment.last:
                pieces.append(member.end())
                offset += len(pieces[-1])
                self._directory.add(member)
        self._offset = offset
        write(pieces)

    def finish(self, write: Write) -> None:
        write(self._directory.end(self._offset))


def _gzip(pieces: Sequence[Buffer]) -> list[Buffer]:
    """A member of a gzip file, which may have many: each batch is one, so that several are compressed at once."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return [*map(packer.compress, pieces), packer.flush()]


def _zstd(pieces: Sequence[Buffer]) -> list[Buffer]:
    """A frame of a zstd file, which may have many."""
    import zstandard

    packer = zstandard.ZstdCompressor(_ZSTD_LEVEL, write_checksum=True).compressobj()
    return [*map(packer.compress, pieces), packer.flush()]


_PACKERS = {Form.TAR_GZ: _gzip, Form.TAR_ZST: _zstd}
