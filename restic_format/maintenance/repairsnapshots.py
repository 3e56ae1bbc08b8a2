"""Repairing snapshots: new ones without what is lost, which can be restored whole.

A folder whose tree cannot be read becomes an empty one, or has those entries that can be read. A file that has lost parts keeps
its length, and what is left of it keeps its place, where the length of what is missing can be told: holes of zeros stand for
what is lost. Everything a new snapshot needs is stored before it, and read back before an old one is removed (ORDER-1,
ORDER-9). Only what the index lacks counts as lost: `repairindex` and `repairpacks` come first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from restic_format.errors import ResticFormatError
from restic_format.maintenance.restrictions import check_may_remove
from restic_format.repository import Repository
from restic_format.snapshots.change import replace_snapshot
from restic_format.snapshots.find import FoundSnapshot
from restic_format.snapshots.rewriter import TreeRewriter, TreeRules
from restic_format.work import Cancel, Progress, silent
from restic_spec.ids import id_of, parse_id
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.rustic import config_members
from restic_spec.tree import FILE, IRREGULAR, Node

TAG = "repaired"
"""Tag of a new snapshot beside which the old one stays."""

CHUNK_MAX = 8 << 20
"""Bytes of the longest blob of a file that restic makes."""

ZEROS = 512 << 10
"""Bytes of the blobs that fill a hole: what restic's chunker makes of zeros, so that they are stored once."""

LEARNED = 1 << 18
"""Lost blobs whose length is remembered, for other files that have lost them."""


class Change(Enum):
    """What became of a node or a folder."""

    ZEROS = "missing content replaced by zeros"
    CUT = "missing content removed"
    SIZE = "size corrected"
    NODE_REMOVED = "node removed"
    SORTED = "nodes put in order"
    ENTRIES = "entries that can be read kept"
    EMPTIED = "replaced with an empty folder"
    UNREADABLE = "root not readable"


class Repaired(NamedTuple):
    """One thing that is changed in a snapshot: told as it is found, once for all snapshots that share it."""

    path: str
    change: Change
    zeros: int = 0
    """Bytes of zeros in place of what is lost, in a file."""
    reason: ResticFormatError | None = None
    node_type: str = ""


class Outcome(NamedTuple):
    """What became of a snapshot."""

    changed: bool
    new: bytes | None
    """Id of the new snapshot; None where there is none, or would be one."""
    empty: bool = False
    """Whether nothing of it is left, so that there is no new one."""
    removed: bool = False
    """Whether the old one is gone."""


class SnapshotRepairer:
    """Repairs snapshots of one repository, whose index is loaded, one after the other; under an exclusive lock."""

    def __init__(
        self,
        repository: Repository,
        *,
        dry_run: bool = False,
        forget: bool = False,
        lengths: Mapping[bytes, int] | None = None,
        remains: Callable[[bytes], bytes | None] | None = None,
        progress: Progress[Repaired] = silent,
        cancel: Cancel | None = None,
    ) -> None:
        """With *dry_run* nothing is stored or removed; with *forget* old snapshots are removed when the new ones are stored.
        *lengths* are bytes of lost blobs of files, as far as anybody knows them. *remains* gives the plaintext of a tree with
        those entries of a damaged one, by its id, that can be read; None where there is none.

        Raises:
            UsageError: *forget* is given, and nothing may be removed (`restrictions`).
        """
        if forget and not dry_run:
            check_may_remove(repository, "repair snapshots --forget")
        self._repository = repository
        self._dry_run = dry_run
        self._forget = forget
        self._progress = progress
        self._cancel = cancel
        self._longest = _longest_blob(repository)
        self._lengths: dict[str, int] = {blob.hex(): length for blob, length in (lengths or {}).items()}
        """Lost blobs whose length is known, or other files have told."""
        self._zeros: dict[int, str] = {}
        """Ids of the blobs of zeros that are stored, by length."""
        self._remains_of = remains
        self._writer = repository.writer(dry_run=dry_run)
        rules = TreeRules(
            node=self._node,
            failed_tree=self._failed_tree,
            remains=self._remains,
            bad_node=self._bad_node,
            disordered=lambda path: self._progress(Repaired(path, Change.SORTED)),
            by_path=False,
        )
        self._rewriter = TreeRewriter(repository, self._writer, rules, cancel=cancel)

    def repair(self, found: FoundSnapshot) -> Outcome:
        """Repair one snapshot.

        Raises:
            ResticFormatError: something could not be read or stored; the snapshot is there.
            Interrupted: it was cancelled; likewise.
        """
        snapshot = self._repository.load_snapshot(found.id)
        old = parse_id(snapshot.tree) if isinstance(snapshot.tree, str) else None
        if old is None:
            self._failed_tree("/", None, None)
        tree = None if old is None else self._rewriter.rewrite(old).tree
        if tree is None:
            return self._remove_empty(found.id)
        if tree == old:
            return Outcome(False, None)
        if self._dry_run:
            return Outcome(True, None, removed=self._forget)
        self._writer.flush()
        if self._cancel is not None:
            self._cancel.check()
        snapshot.tree = tree.hex()
        snapshot.original = found.id.hex()
        if self._forget:
            self._writer.read_back(self._cancel)
            return Outcome(True, replace_snapshot(self._repository, found.id, snapshot), removed=True)
        if TAG not in snapshot.tags:
            snapshot.tags = [*snapshot.tags, TAG]
        return Outcome(True, self._repository.save_snapshot(snapshot))

    def close(self) -> None:
        """Let go of what was not stored after all: to be called at the end, also after an error."""
        self._writer.discard()

    def _remove_empty(self, snapshot_id: bytes) -> Outcome:
        """Nothing of a snapshot is left. It goes only where old ones are to be forgotten: its trees may come back."""
        if not self._forget:
            return Outcome(False, None, empty=True)
        if not self._dry_run:
            self._repository.remove(FileKind.SNAPSHOT, snapshot_id)
        return Outcome(True, None, empty=True, removed=True)

    # The rules

    def _node(self, path: str, node: Node) -> Node | None:
        if node.type in (IRREGULAR, ""):
            self._progress(Repaired(path, Change.NODE_REMOVED, node_type=node.type))
            return None
        return self._file(path, node) if node.type == FILE else node

    def _bad_node(self, path: str, node: Node | None, error: ResticFormatError) -> None:
        del node  # Its name may be what is wrong.
        self._progress(Repaired(path, Change.NODE_REMOVED, reason=error))

    def _remains(self, path: str, tree: bytes) -> bytes | None:
        found = None if self._remains_of is None else self._remains_of(tree)
        if found is not None:
            self._progress(Repaired(path, Change.ENTRIES))
        return found

    def _failed_tree(self, path: str, tree: bytes | None, error: ResticFormatError | None) -> Sequence[Node] | None:
        del tree
        if path == "/":
            self._progress(Repaired(path, Change.UNREADABLE, reason=error))
            return None
        self._progress(Repaired(path, Change.EMPTIED, reason=error))
        return []

    def _file(self, path: str, node: Node) -> Node:
        lengths = [self._length_of(blob) for blob in node.blobs]
        if None not in lengths:
            size = sum(length for length in lengths if length is not None)
            if size == node.size:
                # A file without a list of its content is none to restic (TREE-8): it gets an empty one.
                return node if node.content is not None else msgspec.structs.replace(node, content=[])
            self._progress(Repaired(path, Change.SIZE))
            return msgspec.structs.replace(node, content=list(node.blobs), size=size)
        holes = fill_holes(node.blobs, lengths, node.size, self._longest, self._lengths)
        content: list[str] = []
        size = zeros = 0
        for blob, length, hole in zip(node.blobs, lengths, holes, strict=True):
            if length is not None:
                content.append(blob)
                size += length
            elif hole:
                content += self._blobs_of_zeros(hole)
                size += hole
                zeros += hole
        self._progress(Repaired(path, Change.ZEROS if zeros else Change.CUT, zeros))
        return msgspec.structs.replace(node, content=content, size=size)

    def _length_of(self, blob: str) -> int | None:
        """Bytes of a file's blob; None where it is lost."""
        blob_id = parse_id(blob)
        location = self._repository.index.lookup(BlobType.DATA, blob_id)
        return None if location is None else location.entry(BlobType.DATA, blob_id).plain_length

    def _blobs_of_zeros(self, size: int) -> list[str]:
        """Stored blobs that hold *size* zeros together."""
        whole, rest = divmod(size, ZEROS)
        blobs = [self._stored_zeros(ZEROS)] * whole if whole else []
        return [*blobs, self._stored_zeros(rest)] if rest else blobs

    def _stored_zeros(self, size: int) -> str:
        if size not in self._zeros:
            data = bytes(size)
            self._writer.save(BlobType.DATA, [(id_of(data), data)])
            self._zeros[size] = id_of(data).hex()
        return self._zeros[size]


def fill_holes(
    blobs: Sequence[str], lengths: Sequence[int | None], size: int, longest: int, known: dict[str, int]
) -> list[int]:
    """Bytes of zeros to put in place of each of a file's *blobs*; 0 for those that are there.

    *lengths* has None for blobs that are lost, *size* is what the file had, and *longest* what a blob may have at most. *known*
    has lengths of lost blobs that other files told, and gets those that this one tells. Where several lost blobs follow each
    other, the first of them gets the zeros of all. All is 0 where the lengths cannot be told, or nothing of the file is left.
    """
    nothing = [0] * len(blobs)
    if all(length is None for length in lengths):
        return nothing
    missing = size - sum(length for length in lengths if length is not None)
    holes = [known.get(blob, 0) if length is None else 0 for blob, length in zip(blobs, lengths, strict=True)]
    missing -= sum(holes)
    unknown = [number for number, length in enumerate(lengths) if length is None and not holes[number]]
    if not unknown:
        return holes if missing == 0 else nothing
    if not len(unknown) <= missing <= len(unknown) * longest:
        return nothing
    one_blob = len({blobs[number] for number in unknown}) == 1
    if one_blob and missing % len(unknown) == 0:
        each = missing // len(unknown)
        if len(known) < LEARNED:
            known[blobs[unknown[0]]] = each
        for number in unknown:
            holes[number] = each
        return holes
    if unknown[-1] - unknown[0] + 1 == len(unknown):
        holes[unknown[0]] = missing
        return holes
    return nothing


def _longest_blob(repository: Repository) -> int:
    """Bytes that a blob of a file may have in this repository (RUSTIC-1)."""
    members = config_members(repository.config)
    return max(CHUNK_MAX, members.chunk_max_size or 0, members.chunk_size or 0)
