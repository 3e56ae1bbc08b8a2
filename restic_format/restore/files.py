"""Regular files of the first pass: compare with what is there, plan the content, keep hard links."""

from __future__ import annotations

import itertools
import os
import stat
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from restic_format.errors import BlobMissing
from restic_format.repository import BlobIndex
from restic_format.repository.coder import is_bounded
from restic_format.restore.dirs import DirCache, status_of
from restic_format.restore.existing import matching_blobs, may_replace, open_regular, same_content
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.request import Overwrite
from restic_format.restore.session import Session
from restic_format.restore.table import DirState, FileState, Meta
from restic_format.snapshots import NodeUnusable
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import Node

_KEPT_BLOBS = 1 << 12
"""Blobs of a file whose places are kept while the file is planned."""


class _Placed(NamedTuple):
    """A blob, where it is stored, and where in the file it goes."""

    pack: bytes
    entry: PackEntry
    offset: int


class _Content:
    """The blobs of a file that an index knows, and where they go; looked up again each time when they are many."""

    def __init__(self, index: BlobIndex, node: Node) -> None:
        """Where some are unknown, those before the first and after the last of these are taken.

        Raises:
            NodeUnusable: a blob has an impossible length.
        """
        self._index = index
        self._ids = node.blobs
        self._placed: list[_Placed] | None = [] if len(node.blobs) <= _KEPT_BLOBS else None
        self.complete = True
        """Whether all blobs are known."""
        self.count = 0
        """Blobs that are known and taken."""
        self.size = 0
        """Bytes of these."""
        self._tail: tuple[int, int] | None = None
        """Number of the first blob after the last unknown one, and where in the file it goes."""
        for blob in self._known(0, 0):
            self.count += 1
            self.size += blob.entry.plain_length
            if self._placed is not None:
                self._placed.append(blob)
        if self.count < len(self._ids):
            self.complete = False
            self._placed = None
            self._take_tail(node.size)

    def _take_tail(self, size: int) -> None:
        """The blobs after the last unknown one belong to the end of a file of *size* bytes."""
        first, start = len(self._ids), size
        while (found := self._look_up(self._ids[first - 1])) is not None:
            first -= 1
            start -= found[1].plain_length
        if start >= self.size:
            self._tail = first, start
            self.count += len(self._ids) - first
            self.size += size - start

    def __iter__(self) -> Iterator[_Placed]:
        if self._placed is not None:
            yield from self._placed
            return
        yield from self._known(0, 0)
        if self._tail is not None:
            yield from self._known(*self._tail)

    def _known(self, first: int, offset: int) -> Iterator[_Placed]:
        """The blobs from number *first* on up to one that is unknown; the first goes to *offset*."""
        last, found = "", None
        for text in itertools.islice(self._ids, first, None):
            if text != last:  # The same blob may come millions of times: disk images have long stretches of zeros.
                last, found = text, self._look_up(text)
            if found is None:
                return
            pack, entry = found
            yield _Placed(pack, entry, offset)
            offset += entry.plain_length

    def _look_up(self, text: str) -> tuple[bytes, PackEntry] | None:
        """The pack of a blob, and its entry there; None for a blob that no index knows."""
        blob = parse_id(text)
        where = self._index.lookup(BlobType.DATA, blob)
        if where is None:
            return None
        entry = PackEntry(BlobType.DATA, blob, where.offset, where.length, where.uncompressed_length)
        if not is_bounded(entry):
            # Refused before anything of that size is read or written.
            raise NodeUnusable(f"blob {text} has an impossible length in the index: run repair index")
        return where.pack, entry

    def missing(self) -> BlobMissing:
        """The error that says which blobs are unknown."""
        unknown = (text for text in self._ids if not self._index.has(BlobType.DATA, parse_id(text)))
        first = next(unknown)
        others = sum(1 for _ in unknown)
        more = f" and {others} more" if others else ""
        return BlobMissing(f"blob {first}{more} not found in the index: run check, then repair index")


def _other_size(said: int, size: int) -> NodeUnusable:
    return NodeUnusable(f"the node says {said} bytes, its content has {size}: the content is restored")


def _hash(content: Iterable[str]) -> int:
    """A hash of a file's blobs that takes no room."""
    found = 0
    for text in content:
        found = hash((found, text))
    return found


class _Existing(NamedTuple):
    """What there is of a file in the target."""

    matches: bytes | bytearray
    """For each blob 1 if it is in its place, else 0."""
    is_file: bool = False
    """Whether there is a regular file that can be read."""
    unchanged: bool = False
    in_place: bool = False
    """Whether that file can be changed."""


class _First(NamedTuple):
    """The first name of a file that has several."""

    number: int
    content: int
    """Hash of the list of blobs."""
    trusted: bool
    """Whether the file in the target has, or will have, that content."""


class FilePlanner:
    """Adds files to the session's tables and plan; what needs no content is done at once."""

    def __init__(self, session: Session, cache: DirCache, writer: FileWriter) -> None:
        self._session = session
        self._cache = cache
        self._writer = writer
        self._overwrite = session.options.overwrite
        self._dry_run = session.options.dry_run
        self._tells_packs = self._dry_run and session.repository.storage.warming is not None
        self._first: dict[tuple[int, int], _First] = {}

    def add(self, node: Node, directory: int, name: bytes, meta: Meta) -> None:
        """Plan one file. Its directory is ready.

        Raises:
            ResticFormatError: the file cannot be restored.
        """
        # Inode 0 is what programs write that know no inodes.
        key = (node.device_id, node.inode) if node.links > 1 and node.inode else None
        if key is not None and key in self._first and self._add_link(node, directory, name, meta, self._first[key]):
            return
        number, trusted = self._add_file(node, directory, name, meta, keep=key is not None)
        if key is not None:
            self._first[key] = _First(number, _hash(node.blobs), trusted)

    def take(self, directory: int, tree: bytes) -> bytes | None:
        """Plan the ordinary files of a tree in one go; the tree that is left, or None where it has to be gone through whole.

        Ordinary are files with nothing special about them, that go into a directory in which nothing can be.
        """
        session, files = self._session, self._session.files
        options = session.options
        if not session.dirs.state[directory] & DirState.NEW or options.select is not None or options.ownership_by_name:
            return None
        index = session.repository.index
        columns = None if self._dry_run else index.plan_tree(tree, len(files), files.names.size)
        if columns is None:
            return None
        first = len(files)
        count = files.extend(directory, columns)
        if count:
            session.plan.extend(columns, index.pack_id)
            session.dirs.mark_used(directory)
            session.report.expect(sum(files.size[first:]), count)
            if 0 in (blobs := files.blobs[first:]):
                for number in range(count):
                    if not blobs[number]:
                        self._writer.write_whole(first + number, self._cache, None)
        others = array("Q")
        others.frombytes(columns.others)
        spans = zip(others[::2], others[1::2], strict=True)
        return b'{"nodes":[' + b",".join([tree[start:end] for start, end in spans]) + b"]}"

    def _add_link(self, node: Node, directory: int, name: bytes, meta: Meta, first: _First) -> bool:
        """Whether the file could be planned as one more name of *first*."""
        session = self._session
        if _hash(node.blobs) != first.content:
            return False  # it changed while it was backed up: linking would lose one of the two contents
        files = session.files
        if not first.trusted:
            # The first name was kept as the target has it, which need not be what this name is to have.
            content = _Content(session.repository.index, node)
            parent = self._cache.fd(files.directory[first.number])
            entries = (blob.entry for blob in content)
            if not content.complete or not same_content(files.names[first.number], parent, entries):
                return False
        link = session.links.append(directory, name, first.number)
        if files.meta[first.number] != meta:
            session.links.meta[link] = meta
        session.report.expect(0)
        return True

    def _add_file(self, node: Node, directory: int, name: bytes, meta: Meta, *, keep: bool) -> tuple[int, bool]:
        """Number in the table (if it is in it, as it is with *keep*), and whether its content will be the snapshot's."""
        session = self._session
        is_new = bool(session.dirs.state[directory] & DirState.NEW)
        existing = None if is_new else status_of(name, self._cache.fd(directory))
        if not may_replace(self._overwrite, existing, meta.mtime):
            session.report.skipped(lambda: session.dirs.location(directory, name), node.size)
            kept = session.files.append(directory, name, meta, 0, FileState.KEPT) if keep else -1
            return kept, False
        content = _Content(session.repository.index, node)
        if not content.complete and existing is not None:
            raise BlobMissing(f"{content.missing()}; the file in the target is left as it is")
        size = content.size
        there = _Existing(bytes(content.count))
        if existing is not None:
            there = self._compare(name, directory, existing, content, meta)
            if there.unchanged:
                if size != node.size:
                    session.report.error(session.dirs.location(directory, name), _other_size(node.size, size))
                session.report.skipped(lambda: session.dirs.location(directory, name), size)
                kept = session.files.append(directory, name, meta, size, FileState.KEPT) if keep else -1
                return kept, True
        state = FileState.CONTENT | (FileState.EXISTED if there.in_place else 0)
        number = session.files.append(directory, name, meta, size if content.complete else node.size, state)
        session.report.expect(size)
        if there.is_file and not there.in_place:
            session.files.replacing.add(number)
        if not content.complete:
            # Before it is planned: a file of which nothing is known is finished by that.
            session.fail(number, content.missing())
        elif size != node.size:
            session.files.claimed[number] = node.size
        self._plan(number, content, there.matches)
        return number, True

    def report_sizes(self) -> None:
        """Tell of the files whose content is complete and has another size than their nodes say."""
        session = self._session
        for number, size in session.files.claimed.items():
            if not session.files.state[number] & FileState.FAILED and session.files.size[number] != size:
                session.report.error(session.file_location(number), _other_size(size, session.files.size[number]))

    def _plan(self, number: int, content: _Content, matches: bytes | bytearray) -> None:
        session, files = self._session, self._session.files
        size = files.size[number]
        if self._dry_run:
            if files.state[number] & FileState.FAILED:
                return
            if self._tells_packs:
                for blob, matched in zip(content, matches, strict=True):
                    if not matched:
                        session.plan.note(blob.pack)
            session.report.written(size)
            session.report.done(files.action(number), lambda: session.file_location(number), size)
            return
        files.blobs[number] = content.count
        files.remaining[number] = matches.count(0)
        for blob, matched in zip(content, matches, strict=True):
            session.plan.add(number, blob.offset, blob.entry, blob.pack, needed=not matched)
            if matched:
                session.report.written(blob.entry.plain_length)
        if not files.remaining[number]:
            self._writer.write_whole(number, self._cache, None)

    def _compare(
        self,
        name: bytes,
        directory: int,
        existing: os.stat_result,
        content: _Content,
        meta: Meta,
    ) -> _Existing:
        """What there is of the file already; its metadata are applied if it is unchanged."""
        nothing = bytes(content.count)
        descriptor = open_regular(name, self._cache.fd(directory)) if stat.S_ISREG(existing.st_mode) else None
        if descriptor is None:
            return _Existing(nothing)
        try:
            same_size = existing.st_size == content.size
            trusted = self._overwrite is Overwrite.IF_CHANGED and same_size and existing.st_mtime_ns == meta.mtime
            matches = b"\1" * content.count if trusted else matching_blobs(descriptor, (blob.entry for blob in content))
            if same_size and not matches.count(0):
                self._apply(descriptor, directory, name, meta)
                return _Existing(matches, is_file=True, unchanged=True)
        finally:
            os.close(descriptor)
        # Other names of the file may lie anywhere: they must not change with it.
        in_place = existing.st_nlink == 1
        return _Existing(matches if in_place else nothing, is_file=True, in_place=in_place)

    def _apply(self, descriptor: int, directory: int, name: bytes, meta: Meta) -> None:
        if self._dry_run:
            return
        try:
            self._session.metadata.apply_fd(descriptor, meta)
        except OSError as error:
            self._session.report.error(self._session.dirs.location(directory, name), error)
