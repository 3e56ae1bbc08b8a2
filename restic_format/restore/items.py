"""First pass: along the walk over the snapshot directories and special items are made, and the files' content is planned."""

from __future__ import annotations

import os

from restic_format.restore.dirs import DirCache, DirMaker, remove_entry, status_of
from restic_format.restore.errors import Doing, RestoreError
from restic_format.restore.existing import may_replace
from restic_format.restore.files import FilePlanner
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.metadata import MetadataReader
from restic_format.restore.report import Action
from restic_format.restore.session import Session
from restic_format.restore.table import ROOT, DirState, Meta
from restic_format.snapshots import Level, NodeUnusable, Walk, subtree_of
from restic_spec import gojson
from restic_spec.errors import ResticFormatError
from restic_spec.pack import BlobType
from restic_spec.tree import CHARDEV, DEV, DIR, FIFO, FILE, NODE_TYPES, SOCKET, SYMLINK, Node

COLUMNS_BOUND = 64 << 20
"""Bytes of trees whose ordinary files are planned in one go, and of what is kept of the trees for that on the way down."""

_DEVICE_KIND = {name: NODE_TYPES[name].st_format for name in (DEV, CHARDEV, FIFO)}


class ItemPlanner:
    """Goes through one snapshot. Whatever is wrong with an item is reported and the item left out; the rest goes on."""

    def __init__(self, session: Session, cache: DirCache, writer: FileWriter) -> None:
        self._session = session
        self._options = session.options
        self._cache = cache
        self._maker = DirMaker(session.dirs, cache, overwrite=session.options.overwrite, dry_run=session.options.dry_run)
        self._reader = MetadataReader(
            ownership_by_name=session.options.ownership_by_name, select_xattr=session.options.select_xattr
        )
        self._files = FilePlanner(session, cache, writer)
        self._rest: dict[int, bytes] = {}
        """What is left to walk of the trees whose ordinary files are planned, by directory."""
        self._rest_size = 0

    def run(self, tree: bytes) -> None:
        """Walk the tree with the id *tree*.

        Raises:
            Interrupted: the caller wants to stop.
        """
        self._session.dirs.keep_trees(tree, keep=self._options.delete)
        walk = Walk(self._session.repository, tree, ROOT, fault=self._fault, left=self._leave, load=self._load)
        for level, node, name in walk:
            self._session.cancel.check()
            try:
                self._node(walk, level, node, name)
            except (ResticFormatError, OSError, OverflowError, ValueError) as error:
                self._session.report.error(level.path_of(name), error)

    def report_sizes(self) -> None:
        """See `FilePlanner.report_sizes`; to be called when the content is written."""
        self._files.report_sizes()

    def _fault(self, level: Level[int], node: Node | None, error: ResticFormatError) -> None:
        # It is not known any more what belongs into the target: deleting "everything else" could delete all there is.
        if node is None:
            self._session.dirs.state[level.data] |= DirState.INCOMPLETE
            self._session.report.error(level.location, error)
        else:
            self._session.may_delete = False
            self._session.report.error(level.path_of(node.quoted), error)

    def _load(self, level: Level[int]) -> bytes:
        """What is to be walked of a tree: all of it, or what is left when its ordinary files are planned."""
        if (rest := self._rest.get(level.data)) is not None:
            return rest
        raw = self._session.repository.load_blob(BlobType.TREE, level.tree)
        if len(raw) > COLUMNS_BOUND or self._rest_size > COLUMNS_BOUND:
            return raw
        rest = self._files.take(level.data, raw)
        if rest is None:
            return raw
        self._rest[level.data] = rest
        self._rest_size += len(rest)
        return rest

    def _leave(self, level: Level[int]) -> None:
        self._rest_size -= len(self._rest.pop(level.data, b""))

    def _node(self, walk: Walk[int], level: Level[int], node: Node, name: str) -> None:
        """Deal with one entry."""
        if node.type == SOCKET:
            return
        selected, below = True, node.type == DIR
        if self._options.select is not None:
            selected, below = self._options.select(level.path_of(name), node.type == DIR)
        if node.type == DIR:
            if selected or below:
                self._directory(walk, level, node, name, selected, below)
        elif selected:
            meta = self._reader.meta(node)
            self._maker.ensure(level.data)
            self._session.dirs.mark_used(level.data)
            if node.type == FILE:
                self._files.add(node, level.data, gojson.to_bytes(name), meta)
            else:
                self._special(node, level.data, gojson.to_bytes(name), meta)

    def _directory(self, walk: Walk[int], level: Level[int], node: Node, name: str, selected: bool, below: bool) -> None:
        dirs = self._session.dirs
        number = dirs.append(level.data, gojson.to_bytes(name), self._reader.meta(node), subtree_of(node))
        if selected:
            self._session.report.expect(0)
            self._maker.ensure(number)
            dirs.mark_used(number)
        # Until it is entered, nothing is known of what belongs there.
        dirs.state[number] |= DirState.INCOMPLETE
        if below:
            walk.enter(node, name, number)
            dirs.state[number] &= ~DirState.INCOMPLETE

    def _special(self, node: Node, directory: int, name: bytes, meta: Meta) -> None:
        if node.type != SYMLINK and node.type not in _DEVICE_KIND:
            raise NodeUnusable(f"items of type {node.type[:40]!r} cannot be restored")
        session = self._session
        session.report.expect(0)
        is_new = bool(session.dirs.state[directory] & DirState.NEW)
        existing = None if is_new else status_of(name, self._cache.fd(directory))
        if not may_replace(self._options.overwrite, existing, meta.mtime):
            session.report.skipped(lambda: session.dirs.location(directory, name), 0)
            return
        if not self._options.dry_run:
            parent = self._cache.fd(directory)
            if existing is not None:
                remove_entry(name, parent, recursive=session.may_delete)
            _create_special(node, name, parent)
            try:
                session.metadata.apply_entry(name, parent, node.type, meta)
            except OSError as error:
                session.report.error(session.dirs.location(directory, name), error)
        session.report.done(Action.OTHER_RESTORED, lambda: session.dirs.location(directory, name), 0)


def _create_special(node: Node, name: bytes, parent: int) -> None:
    if node.type == SYMLINK:
        target = gojson.to_bytes(node.target)
        if not target:
            raise RestoreError("the symlink has no target")
        with Doing(f"symlink {node.target}"):
            os.symlink(target, name, dir_fd=parent)
    else:
        # A FIFO has no device number, whatever the snapshot says.
        device = 0 if node.type == FIFO else node.device
        with Doing("mknod"):
            os.mknod(name, _DEVICE_KIND[node.type] | 0o600, device=device, dir_fd=parent)
