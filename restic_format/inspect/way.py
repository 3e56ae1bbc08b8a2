"""The way of a file through a repository: snapshot, trees, node, blobs, and where each of them is stored.

What is missing or broken on the way is found and told; what is beside or behind it is shown all the same, where it can be.
Memory: one batch of a tree, the ids of the file's blobs in 32 bytes each, and what `Places` takes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from restic_format.errors import ResticFormatError, SnapshotNotFound, SpecError
from restic_format.inspect.places import Places, Stored, Wanted
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, Level, Walk
from restic_format.snapshots.nodes import NodeReader, RawNodeReader
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec import gojson
from restic_spec.errors import JsonInvalid
from restic_spec.ids import parse_id
from restic_spec.pack import BlobType
from restic_spec.regions import Document, Finding, explain, findings
from restic_spec.tree import DIR, FILE, Node

READ_UNASKED = 64 << 20
"""Bytes of a file's blobs in packs that are read without being asked for; of a larger file none is."""
WINDOW = 1000
"""Blobs that are looked at together."""
WINDOW_SIZE = 32 << 20
"""Bytes of their plaintexts, unless one has more."""


class WayTree(NamedTuple):
    """A tree on the way."""

    path: str
    """Of the directory that it is, in the snapshot."""
    entry: int | None
    """Which of its entries the way goes on with, counted from 0; None where it ends here."""
    stored: Stored


class WayNode(NamedTuple):
    """The entry that the way leads to."""

    tree: bytes
    """The tree that it is in."""
    number: int
    """Which of that tree's entries it is, counted from 0."""
    raw: bytes
    """Its JSON."""
    node: Node | None
    """The same decoded, None where that cannot be."""
    document: Document
    """The same explained, member by member."""
    problem: ResticFormatError | None
    """Why it cannot be decoded."""

    def findings(self) -> list[Finding]:
        """What is wrong with it."""
        if self.problem is None:
            return []
        told = [finding._replace(region=f"node{finding.region}") for finding in findings(self.document)]
        return told or [Finding("node", self.problem.clause or "TREE-3", "error", reason_of(self.problem))]


class WayBlob(NamedTuple):
    """A blob of the file's content."""

    number: int
    offset: int | None
    """Where it begins in the file; None behind one of a length that nobody knows."""
    stored: Stored


class Amounts(NamedTuple):
    """How much the content of a file is."""

    blobs: int
    """Blobs that it names."""
    distinct: int
    """Those that differ."""
    length: int
    """Bytes of all the blobs that it names, as the index has them."""
    stored: int
    """Bytes in packs of one copy of each that differs."""
    missing: int
    """How many of those it names no index knows."""


class Way:
    """The way to *path* in a snapshot, as `find_way` has found it.

    ``findings`` has what is wrong with the index, the trees and the node; blobs and entries come with their own.
    """

    def __init__(self, repository: Repository, found: FoundSnapshot, path: str, cancel: Cancel | None) -> None:
        self.found = found
        self.path = path
        self.trees: list[WayTree] = []
        self.node: WayNode | None = None
        """None for the top of the snapshot, and where the way breaks off before."""
        self.subtree: bytes | None = None
        """The tree of the directory that the way leads to."""
        self.amounts: Amounts | None = None
        """Of a file."""
        self.read = True
        """Whether blobs are read, opened and hashed."""
        self.findings: list[Finding] = []
        self.repository = repository
        self.places = Places(repository, cancel)
        self._cancel = cancel

    @property
    def broken(self) -> bool:
        """Whether the way breaks off before what it was to lead to."""
        return self.node is None and self.subtree is None

    @property
    def file(self) -> Node | None:
        """The node of the file that the way leads to."""
        node = None if self.node is None else self.node.node
        return node if node is not None and node.type == FILE else None

    def blobs(self) -> Iterator[WayBlob]:
        """The blobs of the file in order.

        Raises:
            StorageError: the storage fails.
            Interrupted: it was cancelled.
        """
        offset: int | None = 0
        number = 0
        for window in self._windows():
            for stored in self.places.stored_as(window, read=self.read):
                yield WayBlob(number, offset, stored)
                offset = None if offset is None or stored.length is None else offset + stored.length
                number += 1

    def _windows(self) -> Iterator[list[Wanted]]:
        """The blobs, as many together as are looked at together."""
        window: list[Wanted] = []
        size = 0
        lookup = self.repository.index.lookup
        for number, text in enumerate(() if self.file is None else self.file.blobs):
            blob_id = parse_id(text)
            place = lookup(BlobType.DATA, blob_id) if self.read else None
            length = 0 if place is None else place.entry(BlobType.DATA, blob_id).plain_length
            if window and (len(window) == WINDOW or size + length > WINDOW_SIZE):
                yield window
                window, size = [], 0
            window.append(Wanted(f"blobs[{number}]", BlobType.DATA, blob_id))
            size += length
        if window:
            yield window

    def entries(self, fault: Callable[[Finding], None]) -> Iterator[Node]:
        """The entries of the directory that the way leads to; *fault* is told what is wrong with them.

        Raises:
            Interrupted: it was cancelled.
        """
        if self.subtree is None:
            return

        def tell(level: Level[None], node: Node | None, error: ResticFormatError) -> None:
            del level
            which = "" if node is None else f"{node.quoted[:200]!r}: "
            fault(Finding("entries", error.clause or "TREE-1", "error", f"{which}{reason_of(error)}"))

        for _, node, _ in Walk(self.repository, self.subtree, None, fault=tell):
            if self._cancel is not None:
                self._cancel.check()
            yield node


def find_way(
    repository: Repository,
    found: FoundSnapshot,
    path: str,
    *,
    read: bool | None = None,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> Way:
    """The way to *path* in a snapshot; the index must be loaded.

    *read* says whether the blobs of a file are read, opened and hashed; unless it is given, those of a file are that has not
    more than 64 MiB of them. *progress* gets ``index files``.

    Raises:
        SnapshotNotFound: there is no such item, what should be a directory is not one, or the snapshot has no tree.
        StorageError: the storage fails.
        Interrupted: it was cancelled.
    """
    if not found.snapshot.tree:
        raise SnapshotNotFound(f"snapshot {found.short_id} has no tree")
    way = Way(repository, found, clean_path(path), cancel)
    steps = list(_steps(way, parse_id(found.snapshot.tree)))
    for step in steps:
        way.places.add(BlobType.TREE, step.tree)
    if way.file is not None:
        way.amounts = _add_content(way.places, way.file)
        if not way.amounts.missing and way.amounts.length != way.file.size:
            what = f"the file has {way.file.size} bytes, its blobs have {way.amounts.length}"
            way.findings.append(Finding("node.size", "TREE-16", "warning", what))
    way.read = way.places.all_copies <= READ_UNASKED if read is None else read
    way.places.look_up(progress)
    way.findings = way.places.findings + way.findings
    wanted = [Wanted(f"trees[{number}]", BlobType.TREE, step.tree) for number, step in enumerate(steps)]
    for step, stored in zip(steps, way.places.stored_as(wanted, read=way.read), strict=True):
        way.trees.append(WayTree(step.path, step.entry, stored))
        way.findings += stored.findings
        # Where no copy can be had, its places say why.
        if step.problem is not None and (step.problem.opened or not stored.findings):
            way.findings.append(step.problem.finding)
    return way


def clean_path(path: str) -> str:
    """A path in a snapshot from its top on, as ``dump`` takes it: ``a/./b/`` is ``/a/b``."""
    return posixpath.normpath("/" + path).replace("//", "/")


def reason_of(error: ResticFormatError) -> str:
    """What is wrong, without the clause."""
    return error.what if isinstance(error, SpecError) else str(error)


class _Problem(NamedTuple):
    """What is wrong with a tree."""

    finding: Finding
    opened: bool
    """Whether its plaintext could be had."""


class _Step(NamedTuple):
    path: str
    tree: bytes
    entry: int | None
    problem: _Problem | None = None


def _steps(way: Way, root: bytes) -> Iterator[_Step]:
    """The trees on the way; sets what the way leads to."""
    names = [name for name in way.path.split("/") if name]
    tree, path = root, "/"
    for number, name in enumerate(names):
        below = posixpath.join(path, name)
        try:
            found = _entry(way.repository, tree, name)
        except ResticFormatError as error:
            finding = Finding(f"trees[{number}]", error.clause or "TREE-24", "error", reason_of(error))
            yield _Step(path, tree, None, _Problem(finding, opened=isinstance(error, SpecError)))
            return
        if found is None:
            raise SnapshotNotFound(f"path {below}: not found")
        yield _Step(path, tree, found.number)
        node, last = found.node, number == len(names) - 1
        subtree = None if node is None or node.type != DIR or node.subtree is None else parse_id(node.subtree)
        if last:
            way.node, way.subtree = found, subtree
            way.findings += found.findings()
            if node is not None and node.type == DIR and subtree is None:
                way.findings.append(Finding("node", "TREE-7", "error", "the directory has no subtree"))
        elif node is not None and node.type != DIR:
            raise SnapshotNotFound(f"path {below}: not a directory")
        elif subtree is None:
            what = f"entry {found.number} is a directory that cannot be used, so that the way ends here"
            way.findings.append(Finding(f"trees[{number}]", "TREE-7", "error", what))
        if subtree is None:
            return
        tree, path = subtree, below
    way.subtree = tree
    yield _Step(path, tree, None)


def _entry(repository: Repository, tree: bytes, name: str) -> WayNode | None:
    """The first entry of a tree that has this name, None where there is none.

    Raises:
        ResticFormatError: the tree cannot be had.
        SpecError: what stands before an entry of that name is no tree.
    """
    for number, raw in enumerate(_raw_nodes(repository, tree)):
        if _has_name(raw, name):
            return _way_node(tree, number, bytes(raw))
    return None


def _raw_nodes(repository: Repository, tree: bytes) -> Iterator[msgspec.Raw]:
    raw = repository.load_blob(BlobType.TREE, tree)
    if not raw:
        raise JsonInvalid("the tree is empty, not even JSON", clause="TREE-1")
    reader = RawNodeReader(raw, f"tree {tree.hex()[:8]}")
    while nodes := reader.next():
        yield from nodes


class _Named(msgspec.Struct):
    name: str


_named = msgspec.json.Decoder(_Named)


def _has_name(raw: msgspec.Raw, wanted: str) -> bool:
    try:
        quoted = _named.decode(raw).name
        return (gojson.unquote(quoted) if "\\" in quoted else quoted) == wanted
    except (msgspec.MsgspecError, UnicodeDecodeError, SpecError):
        return False


def _way_node(tree: bytes, number: int, raw: bytes) -> WayNode:
    # As one of a tree: the ids of a large file's blobs take less memory so.
    node = problem = None

    def damaged(_: Node, error: SpecError) -> None:
        nonlocal problem
        problem = error

    try:
        nodes = NodeReader(b'{"nodes":[' + raw + b"]}", f"tree {tree.hex()[:8]}", damaged=damaged).next()
        node = nodes[0] if nodes else None
    except SpecError as error:
        problem = error
    return WayNode(tree, number, raw, node, explain(Node, raw), problem)


def _add_content(places: Places, node: Node) -> Amounts:
    length = missing = 0
    for text in node.blobs:
        found = places.add(BlobType.DATA, parse_id(text))
        length += found or 0
        missing += found is None
    return Amounts(len(node.blobs), places.distinct(BlobType.DATA), length, places.stored_size(BlobType.DATA), missing)
