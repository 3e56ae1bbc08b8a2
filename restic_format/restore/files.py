"""Regular files of the first pass: compare with what is there, plan the content, keep hard links."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from restic_format.errors import BlobMissing
from restic_format.repository.coder import is_bounded
from restic_format.restore.dirs import DirCache, status_of
from restic_format.restore.errors import NodeUnusable
from restic_format.restore.existing import matching_blobs, may_replace, open_regular, same_content
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.options import Action, Overwrite
from restic_format.restore.session import Session
from restic_format.restore.table import DirState, FileState, Meta
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType, PackEntry
from restic_spec.tree import Node


class _Placed(NamedTuple):
    """A blob, where it is stored, and where in the file it goes."""

    pack: bytes
    entry: PackEntry
    offset: int


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
            self._first[key] = _First(number, hash(tuple(node.blobs)), trusted)

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
        if hash(tuple(node.blobs)) != first.content:
            return False  # it changed while it was backed up: linking would lose one of the two contents
        files = session.files
        if not first.trusted:
            # The first name was kept as the target has it, which need not be what this name is to have.
            ids = [parse_id(text) for text in node.blobs]
            blobs, _ = self._head(ids)
            parent = self._cache.fd(files.directory[first.number])
            if len(blobs) < len(ids) or not same_content(files.names[first.number], parent, [blob.entry for blob in blobs]):
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
        ids = [parse_id(text) for text in node.blobs]
        blobs, size = self._head(ids)
        complete = len(blobs) == len(ids)
        if not complete:
            if existing is not None:
                raise BlobMissing(f"{self._missing(ids)}; the file in the target is left as it is")
            blobs += self._tail(ids, size, node.size)
            size = sum(blob.entry.plain_length for blob in blobs)
        if complete and size != node.size:
            session.report.error(
                session.dirs.location(directory, name),
                NodeUnusable(f"the node says {node.size} bytes, its content has {size}: the content is restored"),
            )
        in_place, matches = False, [False] * len(blobs)
        if existing is not None and complete:
            unchanged, in_place, matches = self._compare(name, directory, existing, blobs, size, meta)
            if unchanged:
                session.report.skipped(lambda: session.dirs.location(directory, name), size)
                kept = session.files.append(directory, name, meta, size, FileState.KEPT) if keep else -1
                return kept, True
        state = FileState.CONTENT | (FileState.EXISTED if in_place else 0)
        number = session.files.append(directory, name, meta, size if complete else node.size, state)
        session.report.expect(size)
        if not complete:
            # Before it is planned: a file of which nothing is known is finished by that.
            session.fail(number, self._missing(ids))
        self._plan(number, blobs, matches)
        return number, True

    def _plan(self, number: int, blobs: Sequence[_Placed], matches: Sequence[bool]) -> None:
        session, files = self._session, self._session.files
        size = files.size[number]
        if self._dry_run:
            if files.state[number] & FileState.FAILED:
                return
            session.report.written(size)
            existed = files.state[number] & FileState.EXISTED
            action = Action.FILE_UPDATED if existed else Action.FILE_RESTORED
            session.report.done(action, lambda: session.file_location(number), size)
            return
        files.blobs[number] = len(blobs)
        files.remaining[number] = matches.count(False)
        for blob, matched in zip(blobs, matches, strict=True):
            session.plan.add(number, blob.offset, blob.entry, blob.pack, needed=not matched)
            if matched:
                session.report.written(blob.entry.plain_length)
        if not files.remaining[number]:
            self._writer.write_whole(number, self._cache, None)

    def _missing(self, ids: Sequence[bytes]) -> BlobMissing:
        index = self._session.repository.index
        missing = [blob.hex() for blob in ids if not index.has(BlobType.DATA, blob)]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return BlobMissing(f"blob {missing[0]}{more} not found in the index: run check, then repair index")

    def _placed(self, blob: bytes, offset: int) -> _Placed | None:
        where = self._session.repository.index.lookup(BlobType.DATA, blob)
        if where is None:
            return None
        entry = PackEntry(BlobType.DATA, blob, where.offset, where.length, where.uncompressed_length)
        if not is_bounded(entry):
            # Refused before anything of that size is read or written.
            raise NodeUnusable(f"blob {blob.hex()} has an impossible length in the index: run repair index")
        return _Placed(where.pack, entry, offset)

    def _head(self, ids: Sequence[bytes]) -> tuple[list[_Placed], int]:
        """The blobs up to the first one that no index knows, and how many bytes they are."""
        blobs, offset = [], 0
        for blob in ids:
            placed = self._placed(blob, offset)
            if placed is None:
                break
            blobs.append(placed)
            offset += placed.entry.plain_length
        return blobs, offset

    def _tail(self, ids: Sequence[bytes], head: int, size: int) -> list[_Placed]:
        """The blobs after the last one that no index knows, where they belong in a file of *size* bytes that begins with
        *head* known ones."""
        blobs: list[_Placed] = []
        start = size
        for blob in reversed(ids):
            placed = self._placed(blob, 0)
            if placed is None:
                break
            start -= placed.entry.plain_length
            blobs.append(placed._replace(offset=start))
        return blobs[::-1] if start >= head else []

    def _compare(
        self,
        name: bytes,
        directory: int,
        existing: os.stat_result,
        blobs: Sequence[_Placed],
        size: int,
        meta: Meta,
    ) -> tuple[bool, bool, list[bool]]:
        """(unchanged, can be changed in place, which blobs match) of a file that exists; its metadata are applied if
        it is unchanged."""
        nothing = [False] * len(blobs)
        if not stat.S_ISREG(existing.st_mode):
            return False, False, nothing
        same_size = existing.st_size == size
        descriptor = open_regular(name, self._cache.fd(directory))
        if descriptor is None:
            return False, False, nothing
        try:
            trusted = self._overwrite is Overwrite.IF_CHANGED and same_size and existing.st_mtime_ns == meta.mtime
            matches = [True] * len(blobs) if trusted else matching_blobs(descriptor, [blob.entry for blob in blobs])
            if same_size and all(matches):
                self._apply(descriptor, directory, name, meta)
                return True, False, matches
        finally:
            os.close(descriptor)
        # Other names of the file may lie anywhere: they must not change with it.
        in_place = existing.st_nlink == 1
        return False, in_place, matches if in_place else nothing

    def _apply(self, descriptor: int, directory: int, name: bytes, meta: Meta) -> None:
        if self._dry_run:
            return
        try:
            self._session.metadata.apply_fd(descriptor, meta)
        except OSError as error:
            self._session.report.error(self._session.dirs.location(directory, name), error)
