"""Trees and the blobs they name: is everything there that a restore would need?

Each tree is visited once, whichever snapshots it belongs to; what is remembered of it is its id. Where a fault
is, which snapshots and paths it touches, is worked out afterwards and only if there is one
(`restic_format.check.affected`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from restic_format.check.affected import Damage
from restic_format.check.blobs import BlobFault, Trouble, read_blob
from restic_format.check.findings import REPAIR_SNAPSHOTS, Code, Finding, ObjectKind, ObjectRef
from restic_format.check.headers import trust_header
from restic_format.check.state import Run, Stage
from restic_format.snapshots.idset import IdSet
from restic_format.snapshots.nodes import NodeReader
from restic_spec.constants import OVERHEAD
from restic_spec.errors import ResticFormatError, SpecError
from restic_spec.ids import ID_SIZE
from restic_spec.pack import BlobType
from restic_spec.tree import DIR, FILE, NODE_TYPES, Node

_NULL = bytes(ID_SIZE)
_UNKNOWN = -1 << 80
"""A size that no addition makes a real one again."""

_CODES = {
    Trouble.UNKNOWN: Code.TREE_MISSING,
    Trouble.GONE: Code.TREE_MISSING,
    Trouble.UNREADABLE: Code.TREE_UNREADABLE,
    Trouble.DAMAGED: Code.TREE_DAMAGED,
}

MAX_TOLD = 1000
"""Faults of entries that are told one by one for each tree."""

_NO_CONTENT_TYPES = frozenset(name for name, kind in NODE_TYPES.items() if not kind.members & {"content", "subtree"})


def _id(text: str) -> bytes | None:
    """The id *text* stands for, None for the null id."""
    ident = bytes.fromhex(text)
    return None if ident == _NULL else ident


class Usage:
    """Which blobs and packs the snapshots checked need; gathered only where something asks for it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.trees = IdSet()
        self.data = IdSet() if run.options.check_unused else None
        self.packs: set[bytes] | None = set() if run.options.filtered and run.options.reads else None
        self.tracks = self.data is not None or self.packs is not None

    def tree(self, ident: bytes) -> bool:
        """Note that a tree is needed; true the first time."""
        if not self.trees.add(ident):
            return False
        if self.packs is not None:
            self._packs_of(BlobType.TREE, ident)
        return True

    def content(self, ident: bytes) -> None:
        """Note that a data blob is needed."""
        if self.data is not None:
            self.data.add(ident)
        if self.packs is not None:
            self._packs_of(BlobType.DATA, ident)

    def _packs_of(self, kind: BlobType, ident: bytes) -> None:
        assert self.packs is not None
        self.packs.update(location.pack for location in self.run.repo.index.lookup_all(kind, ident))


class TreeChecker:
    """Visits every tree below the snapshots' roots."""

    def __init__(self, run: Run, damage: Damage) -> None:
        self.run = run
        self.damage = damage
        self.usage = Usage(run)
        self._told = 0
        """Faults of entries of the tree that is being visited."""

    def check(self, roots: list[bytes]) -> None:
        """Visit all trees below *roots* (one for each snapshot) and record what is wrong with them."""
        run = self.run
        for done, root in enumerate(roots, 1):
            # Ids one after the other: there may be many millions in a single tree.
            pending = bytearray(root if self.usage.tree(root) else b"")
            while pending:
                run.cancel.check()
                ident = bytes(pending[-ID_SIZE:])
                del pending[-ID_SIZE:]
                run.report.trees += 1
                new = b"".join([child for child in self.visit(ident) if self.usage.tree(child)])
                for start in range(len(new) - ID_SIZE, -1, -ID_SIZE):
                    pending += new[start : start + ID_SIZE]
            run.advance(Stage.SNAPSHOTS, done, len(roots))
        run.report.snapshots = len(roots)

    def visit(self, ident: bytes) -> Iterable[bytes]:
        """Check one tree; the ids of the directories in it, possibly as they are found."""
        try:
            raw, bad_copies = self._read(ident)
        except BlobFault as fault:
            code = _CODES[fault.trouble]
            self._add(ident, Code.TREE_UNREADABLE if code is Code.TREE_MISSING and self.run.hidden else code, fault)
            return []
        for copy in bad_copies:
            if copy.trouble is Trouble.UNREADABLE:
                ref = ObjectRef(ObjectKind.PACK, copy.pack.hex())
                self.run.add(Finding(Code.PACK_UNREADABLE, ref, copy.what, copy.clause))
            elif copy.trouble is Trouble.DAMAGED and copy.pack not in self.run.wrong:
                self._add(ident, Code.TREE_COPY_DAMAGED, copy)
        if not self.usage.tracks:
            # Nearly every tree is all right; what is wrong with one is found below.
            subtrees = self.run.repo.index.check_tree(raw)
            if subtrees is not None:
                return subtrees
        return self._decode(ident, raw)

    def _decode(self, ident: bytes, raw: bytes) -> Iterator[bytes]:
        try:
            reader = NodeReader(raw, f"tree {ident.hex()}")
            yield from self.check_nodes(ident, itertools.chain.from_iterable(iter(reader.next, [])))
        except SpecError as error:
            self._add(ident, Code.TREE_DAMAGED, error)

    def _read(self, ident: bytes) -> tuple[bytes, list[BlobFault]]:
        """The tree's plaintext; where it is not where the index says, but where its pack says, that is a finding."""
        try:
            return read_blob(self.run, BlobType.TREE, ident)
        except BlobFault as fault:
            packs = {copy.pack for copy in self.run.repo.index.lookup_all(BlobType.TREE, ident)}
            wrong = [pack for pack in packs if pack in self.run.file_sizes and trust_header(self.run, pack)]
            if fault.trouble is Trouble.UNKNOWN or not wrong:
                raise
            for pack in wrong:
                message = f"pack {pack.hex()}: the index lists other blobs than the pack's own header"
                self.run.add(Finding(Code.INDEX_WRONG, ObjectRef(ObjectKind.PACK, pack.hex()), message))
        return read_blob(self.run, BlobType.TREE, ident)

    def check_nodes(self, ident: bytes, nodes: Iterable[Node]) -> Iterator[bytes]:
        """Check the entries of a tree; the ids of the directories among them."""
        previous: bytes | None = None
        self._told = 0
        for node in nodes:
            name = self._name(ident, node, previous)
            if name is not None:
                previous = name
            if node.type == FILE:
                self._file(ident, node)
            elif node.type == DIR:
                subtree = self._subtree(ident, node)
                if subtree is not None:
                    yield subtree
            elif node.type not in _NO_CONTENT_TYPES:
                self._node(ident, node, Code.NODE_TYPE, f'node "{node.quoted}" with invalid type "{node.type}"')
        if self._told > MAX_TOLD:
            what = f"tree {ident.hex()}: {self._told - MAX_TOLD} more faults in its entries"
            self.run.add(Finding(Code.TREE_FAULTY, ObjectRef(ObjectKind.TREE, ident.hex()), what))

    def _name(self, ident: bytes, node: Node, previous: bytes | None) -> bytes | None:
        try:
            name = node.name_bytes
        except SpecError as error:
            self._node(ident, node, Code.NODE_NAME, error.what, error.clause)
            return None
        if not name:
            self._node(ident, node, Code.NODE_NAME, "node with empty name")
        elif name in (b".", b"..") or b"/" in name or b"\0" in name:
            self._node(ident, node, Code.NODE_NAME, f'node "{node.quoted}" cannot be an entry of a directory')
        if previous is not None and name <= previous:
            what = f'nodes are not ordered or duplicate: "{node.quoted}"'
            self._node(ident, node, Code.TREE_ORDER, what)
        return name

    def _file(self, ident: bytes, node: Node) -> None:
        if not isinstance(node.content, Sequence):
            self._node(ident, node, Code.NODE_NO_CONTENT, f'file "{node.quoted}" has nil blob list')
            return
        index = self.run.repo.index
        usage = self.usage
        size = 0
        for number, text in enumerate(node.content):
            blob = _id(text)
            if blob is None:
                self._node(ident, node, Code.NODE_NULL_ID, f'file "{node.quoted}" blob {number} has null ID')
                size = _UNKNOWN
                continue
            location = index.lookup(BlobType.DATA, blob)
            if location is None:
                code = Code.BLOB_UNREADABLE if self.run.hidden else Code.BLOB_MISSING
                self._node(ident, node, code, f'file "{node.quoted}" blob {text} not found in index', blob=text)
                size = _UNKNOWN
                continue
            size += location.length - OVERHEAD if location.uncompressed_length is None else location.uncompressed_length
            if usage.tracks:
                usage.content(blob)
        if size >= 0 and size != node.size:
            what = f'file "{node.quoted}" says it has {node.size} bytes, its content has {size}'
            self._node(ident, node, Code.NODE_SIZE, what)

    def _subtree(self, ident: bytes, node: Node) -> bytes | None:
        if node.subtree is None:
            self._node(ident, node, Code.NODE_NO_SUBTREE, f'dir node "{node.quoted}" has no subtree')
            return None
        subtree = _id(node.subtree)
        if subtree is None:
            self._node(ident, node, Code.NODE_NULL_ID, f'dir node "{node.quoted}" subtree id is null')
        return subtree

    def _add(self, ident: bytes, code: Code, error: ResticFormatError) -> None:
        ref = ObjectRef(ObjectKind.TREE, ident.hex(), error.pack.hex())
        number = self.run.add(Finding(code, ref, error.what, error.clause))
        if code is Code.TREE_COPY_DAMAGED:
            return
        if code is Code.TREE_DAMAGED and error.pack:
            self.run.set_repair(number, ("repair packs PACK", REPAIR_SNAPSHOTS))
        self.damage.tree(ident, number)

    def _node(self, ident: bytes, node: Node, code: Code, what: str, clause: str = "", blob: str = "") -> None:
        if code is not Code.NODE_SIZE:
            self._told += 1
            if self._told > MAX_TOLD:
                return
        tree = ident.hex()
        target = ObjectRef(ObjectKind.DATA, blob) if blob else ObjectRef(ObjectKind.TREE, tree)
        number = self.run.add(Finding(code, target, f"tree {tree}: {what}", clause, tree=tree))
        self.damage.node(ident, node.quoted, number)
