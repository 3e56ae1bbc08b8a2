"""The parent snapshot: which one a backup is compared with, and what directories held when it was made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
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
from restic_spec.snapshot import PARTIAL, Snapshot, is_partial
from restic_spec.tree import DIR, Node, decode_node, decode_tree

MOST_AHEAD = 256 * 1024
"""Bytes of a tree that may be loaded before it is needed."""

MOST_LAYERS = 16
"""Partial snapshots in a row that are looked through for what the newest one lacks."""

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
    """The snapshot called *name*, or else the latest one of the same group, partial or not; None where there is none.

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
        found, _ = find_snapshot(repository, name or "latest", wanted, partial=True)
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


class LayeredDirectory:
    """A directory as a partial snapshot has it, and what is not there as the snapshots have it that come before; see
    `ParentDirectory`.
    """

    def __init__(self, layers: Sequence[ParentDirectory], item: str, older: dict[str, list[str]]) -> None:
        """*layers* hold the directory *item* as it was, the newest first. In *older* directories that are not the same in all
        of them are noted: their trees behind the newest one, by path in the snapshot.
        """
        self._layers = layers
        self._prefix = item.removesuffix("/")
        self._older = older

    def find(self, name: bytes) -> Node | None:
        """See `ParentDirectory`."""
        found = [node for layer in self._layers if (node := layer.find(name)) is not None]
        if not found:
            return None
        newest = subtree_of(found[0])
        if newest is not None:
            older = [tree for node in found[1:] if (tree := subtree_of(node)) not in (None, newest)]
            if older:
                self._older[f"{self._prefix}/{gojson.to_text(name)}"] = [tree for tree in dict.fromkeys(older) if tree]
        return found[0]

    def __len__(self) -> int:
        """See `ParentDirectory`."""
        return sum(map(len, self._layers))


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
    """Reads the trees of the parent snapshot. *report* is told of those that cannot be read, with the item's path.

    What a partial parent lacks is looked for in its own parent, and so on (SNAP-22).
    """

    def __init__(self, repository: Repository, parent: Snapshot | None, report: Callable[[str, SourceError], None]) -> None:
        self.root = parent.tree or None if parent is not None else None
        """Id of its root tree, hexadecimal; None where there is no parent snapshot."""
        self._repository = repository
        self._report = report
        self._older: dict[str, list[str]] = {}
        """Trees that older snapshots have of directories, by path in the snapshot."""
        roots = [snapshot.tree for snapshot in self._before(parent) if snapshot.tree]
        if roots:
            self._older["/"] = roots

    def _before(self, parent: Snapshot | None) -> Iterator[Snapshot]:
        """The snapshots that hold what a partial *parent* may lack, the newest first."""
        for _ in range(MOST_LAYERS):
            if parent is None or not is_partial(parent) or parent.parent is None:
                return
            try:
                parent = self._repository.load_snapshot(parse_id(parent.parent), keep_unknown=False, members=(PARTIAL,))
            except ResticFormatError:  # It was removed, or will be told of by others: files are read again.
                return
            yield parent

    def load(self, tree: str | None, item: str) -> ParentDirectory | None:
        """The directory *item* as the parent snapshot has it; None where there is none, or it cannot be read."""
        older = self._older.pop(item, [])
        layers = [found for each in (tree, *older) if (found := self._load(each, item)) is not None]
        if not older or not layers:
            return layers[0] if layers else None
        return LayeredDirectory(layers, item, self._older)

    def _load(self, tree: str | None, item: str) -> ParentDirectory | None:
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
