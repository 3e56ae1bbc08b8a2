"""First pass: walk the snapshot's trees, make directories and special items, and plan the files' content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from restic_format.restore.dirs import DirCache, DirMaker, remove_entry, status_of
from restic_format.restore.errors import NodeUnusable, RestoreError, TooDeep, UnsafeName
from restic_format.restore.existing import may_replace
from restic_format.restore.files import FilePlanner
from restic_format.restore.filewriter import FileWriter
from restic_format.restore.metadata import MetadataReader
from restic_format.restore.options import Action
from restic_format.restore.session import Session
from restic_format.restore.table import ROOT, DirState, Meta
from restic_spec import gojson
from restic_spec.errors import ResticFormatError, SpecError
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.tree import CHARDEV, DEV, DIR, FIFO, FILE, NODE_TYPES, SOCKET, SYMLINK, Damaged, Node

MAX_DEPTH = 4096
"""Levels of directories. A path of so many could not be named to the system; only a forged tree has them."""

_DEVICE_KIND = {name: NODE_TYPES[name].st_format for name in (DEV, CHARDEV, FIFO)}


class _Level(NamedTuple):
    """A directory whose entries are being walked."""

    directory: int
    location: str
    """Ends in ``/``; only kept up to date where a selector asks for it."""
    nodes: Iterator[Node]
    names: set[bytes]


class Scanner:
    """Walks one snapshot. Whatever is wrong with an item is reported and the item left out; the rest goes on."""

    def __init__(self, session: Session, cache: DirCache, writer: FileWriter) -> None:
        self._session = session
        self._options = session.options
        self._cache = cache
        self._maker = DirMaker(session.dirs, cache, overwrite=session.options.overwrite, dry_run=session.options.dry_run)
        self._reader = MetadataReader(
            ownership_by_name=session.options.ownership_by_name, select_xattr=session.options.select_xattr
        )
        self._files = FilePlanner(session, cache, writer)

    def run(self, tree: bytes) -> None:
        """Walk the tree with the id *tree*.

        Raises:
            Interrupted: the caller wants to stop.
        """
        self._session.dirs.keep_trees(tree, keep=self._options.delete)
        top = self._enter(ROOT, "/", tree)
        stack = [top] if top else []
        while stack:
            level = stack[-1]
            node = next(level.nodes, None)
            if node is None:
                stack.pop()
                continue
            self._session.check_cancelled()
            try:
                below = self._node(level, node, len(stack))
            except (ResticFormatError, OSError, OverflowError, ValueError) as error:
                self._session.report.error(self._location(level, node), error)
                continue
            if below:
                stack.append(below)

    def _enter(self, directory: int, location: str, tree: bytes) -> _Level | None:
        try:
            repository = self._session.repository
            raw = repository.load_blob(BlobType.TREE, tree)
            raw = self._files.take(directory, raw) or raw
            nodes = repository.decode_tree(tree, raw, damaged=self._left_out(directory)).nodes
        except ResticFormatError as error:
            # Deleting "everything else" here would delete all there is.
            self._session.dirs.state[directory] |= DirState.INCOMPLETE
            self._session.report.error(self._session.dirs.location(directory), error)
            return None
        return _Level(directory, location, iter(nodes or ()), set())

    def _left_out(self, directory: int) -> Damaged:
        """What to do with the nodes of a tree that are none."""

        def report(node: Node, error: SpecError) -> None:
            # It is unknown now what belongs into the target.
            self._session.may_delete = False
            name = gojson.to_bytes(node.quoted)
            self._session.report.error(self._session.dirs.location(directory, name), error)

        return report

    def _location(self, level: _Level, node: Node) -> str:
        try:
            name = node.name_bytes
        except ResticFormatError:
            name = gojson.to_bytes(node.quoted)
        return self._session.dirs.location(level.directory, name)

    def _node(self, level: _Level, node: Node, depth: int) -> _Level | None:
        """Deal with one entry; a directory to go into is returned."""
        try:
            name = _safe_name(node, level.names)
        except ResticFormatError:
            # It is unknown now what belongs into the target.
            self._session.may_delete = False
            raise
        if node.type == SOCKET:
            return None
        selected, below = True, node.type == DIR
        location = ""
        if self._options.select is not None:
            location = level.location + gojson.to_text(name)
            selected, below = self._options.select(location, node.type == DIR)
        if node.type == DIR:
            return self._directory(level, node, name, location, depth, selected, below)
        if selected:
            meta = self._reader.meta(node)
            self._maker.ensure(level.directory)
            self._session.dirs.mark_used(level.directory)
            if node.type == FILE:
                self._files.add(node, level.directory, name, meta)
            else:
                self._special(node, level.directory, name, meta)
        return None

    def _directory(
        self, level: _Level, node: Node, name: bytes, location: str, depth: int, selected: bool, below: bool
    ) -> _Level | None:
        if not (selected or below):
            return None
        if node.subtree is None:
            raise NodeUnusable("the directory has no subtree: run check")
        subtree = parse_id(node.subtree)
        dirs = self._session.dirs
        number = dirs.append(level.directory, name, self._reader.meta(node), subtree)
        if selected:
            self._session.report.expect(0)
            self._maker.ensure(number)
            dirs.mark_used(number)
        if not below:
            # Its entries are not walked, so nothing is known of what belongs there.
            dirs.state[number] |= DirState.INCOMPLETE
            return None
        if depth >= MAX_DEPTH:
            dirs.state[number] |= DirState.INCOMPLETE
            raise TooDeep(f"more than {MAX_DEPTH} directories inside each other; what is below is left out")
        return self._enter(number, location + "/", subtree)

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


def _safe_name(node: Node, names: set[bytes]) -> bytes:
    """The name of *node*, added to the *names* already seen in its directory.

    Raises:
        NameInvalid, UnsafeName: it is no name of a directory entry, or one that was there before.
    """
    name = node.name_bytes
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise UnsafeName(f"the name {node.quoted[:200]!r} could lead out of the directory; the item is left out")
    if name in names:
        raise UnsafeName("the name stands twice in its directory; only the first is restored")
    names.add(name)
    return name


def _create_special(node: Node, name: bytes, parent: int) -> None:
    if node.type == SYMLINK:
        target = gojson.to_bytes(node.target)
        if not target:
            raise RestoreError("the symlink has no target")
        os.symlink(target, name, dir_fd=parent)
    else:
        # A FIFO has no device number, whatever the snapshot says.
        device = 0 if node.type == FIFO else node.device
        os.mknod(name, _DEVICE_KIND[node.type] | 0o600, device=device, dir_fd=parent)
