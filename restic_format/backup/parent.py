"""The parent snapshot: which one a backup is compared with, and what directories held when it was made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from restic_format.backup.errors import SourceError
from restic_format.backup.nodes import quote_in_json
from restic_format.errors import ResticFormatError, SnapshotNotFound
from restic_format.native import nodes
from restic_format.repository import Repository
from restic_format.snapshots import FoundSnapshot, SnapshotFilter, find_snapshot
from restic_spec import gojson
from restic_spec.ids import is_hex_id, parse_id
from restic_spec.pack import BlobType, PackEntry
from restic_spec.snapshot import Snapshot
from restic_spec.tree import DIR, Node, decode_node, decode_tree

MOST_AHEAD = 256 * 1024
"""Bytes of a tree that may be loaded before it is needed."""

DEFAULT_GROUPING = frozenset({"host", "paths"})


def find_parent(
    repository: Repository,
    *,
    name: str = "",
    group_by: frozenset[str] = DEFAULT_GROUPING,
    hostname: str = "",
    paths: Sequence[str] = (),
    tags: Sequence[str] = (),
    not_after_ns: int | None = None,
) -> FoundSnapshot | None:
    """The snapshot called *name*, or else the latest one of the same group; None where there is none.

    *group_by* holds ``host``, ``paths`` and ``tags``: what a snapshot must share with the new one.

    Raises:
        SnapshotNotFound: *name* is given and means no snapshot.
        DamagedFile: a snapshot cannot be read.
    """
    wanted = SnapshotFilter(
        hosts=[hostname] if "host" in group_by else (),
        tags=[list(tags)] if "tags" in group_by and tags else (),
        paths=list(paths) if "paths" in group_by else (),
        before_ns=not_after_ns,
    )
    try:
        found, _ = find_snapshot(repository, name or "latest", wanted)
    except SnapshotNotFound:
        if name:
            raise
        return None
    return found


class ParentDirectory(Protocol):
    """The nodes of a directory of the parent snapshot."""

    def find(self, name: bytes) -> Node | None:
        """The node of the entry *name*."""

    def __len__(self) -> int:
        """How many there are."""


class DecodedDirectory:
    """All nodes decoded; see `ParentDirectory`."""

    def __init__(self, decoded: list[Node]) -> None:
        # Other programs may quote a name in another way than restic does; a plain one leaves no choice.
        self._nodes = {node.quoted if "\\" not in node.quoted else gojson.quote(node.name): node for node in decoded}

    def find(self, name: bytes) -> Node | None:
        """See `ParentDirectory`."""
        return self._nodes.get(gojson.quote(gojson.to_text(name)))

    def __len__(self) -> int:
        """See `ParentDirectory`."""
        return len(self._nodes)


class ParsedDirectory:
    """A tree taken apart, its nodes decoded only when asked for; see `ParentDirectory`."""

    def __init__(self, tree: nodes.ParsedTree) -> None:
        self.tree = tree
        """For `NodeWriter.take_over`."""

    def find(self, name: bytes) -> Node | None:
        """See `ParentDirectory`."""
        raw = self.tree.find(quote_in_json(name))
        return None if raw is None else decode_node(raw)

    def __len__(self) -> int:
        """See `ParentDirectory`."""
        return self.tree.count()


_text_decoder = msgspec.json.Decoder(str)


def open_directory(raw: bytes, what: str) -> ParentDirectory:
    """The nodes of the tree *raw*.

    Raises:
        SpecError: it is not a tree.
    """
    parsed = _parse(raw)
    if parsed is not None:
        return ParsedDirectory(parsed)
    return DecodedDirectory(decode_tree(raw, what).nodes or [])


def _parse(raw: bytes) -> nodes.ParsedTree | None:
    """The tree taken apart where it has the form restic writes, names with escapes included."""
    parsed = nodes.parse_tree(raw)
    if parsed is not None and (escaped := parsed.escaped()):
        try:
            names = [gojson.unquote(_text_decoder.decode(b'"' + name + b'"')) for name in escaped]
        except ResticFormatError:
            return None
        canonical = [quote_in_json(gojson.to_bytes(name)) for name in names]
        if any(b"\\" not in name for name in canonical):
            return None
        parsed.rename(canonical)
    return parsed


def subtree_of(node: Node | None) -> str | None:
    """The id of the tree of a directory's node; None for any other node, or none."""
    return node.subtree if node is not None and node.type == DIR else None


class ParentTrees:
    """Reads the trees of the parent snapshot. *report* is told of those that cannot be read, with the item's path."""

    def __init__(self, repository: Repository, parent: Snapshot | None, report: Callable[[str, SourceError], None]) -> None:
        self.root = parent.tree or None if parent is not None else None
        """Id of its root tree, hexadecimal; None where there is no parent snapshot."""
        self._repository = repository
        self._report = report

    def load(self, tree: str | None, item: str) -> ParentDirectory | None:
        """The directory *item* as the parent snapshot has it; None where there is none, or it cannot be read."""
        if tree is None:
            return None
        try:
            tree_id = parse_id(tree)
            if not self._repository.index.has(BlobType.TREE, tree_id):
                raise SourceError(
                    f"tree {tree} is not known; the repository could be damaged, run `repair index` to try to repair it"
                )
            return open_directory(self._repository.load_blob(BlobType.TREE, tree_id), f"tree {tree[:8]}")
        except SourceError as error:
            problem = error
        except ResticFormatError as error:
            problem = SourceError(f"tree {tree} could not be loaded; the repository could be damaged: {error}")
        self._report(item, problem)
        return None

    def load_many(self, trees: Sequence[str]) -> dict[str, ParentDirectory]:
        """Those of several trees that are small and can be read, neighbours in a pack in one go."""
        packs: dict[bytes, list[PackEntry]] = {}
        for tree in trees:
            if not is_hex_id(tree):
                continue
            tree_id = bytes.fromhex(tree)
            location = self._repository.index.lookup(BlobType.TREE, tree_id)
            if location is not None:
                entry = location.entry(BlobType.TREE, tree_id)
                if entry.plain_length <= MOST_AHEAD:
                    packs.setdefault(location.pack, []).append(entry)
        found: dict[str, ParentDirectory] = {}
        for pack, entries in packs.items():
            for entry, raw in self._repository.packs.blobs(pack, entries):
                if not isinstance(raw, ResticFormatError):
                    with contextlib.suppress(ResticFormatError):
                        found[entry.id.hex()] = open_directory(bytes(raw), f"tree {entry.id.hex()[:8]}")
        return found
