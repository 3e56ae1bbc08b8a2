"""Merging snapshots: one new snapshot with everything that is in any of several.

Where several have an item of the same name, the one with the latest modification time stays; directories are merged. Nodes
go as the JSON they were read as, so that nothing that is not known of them is lost (TREE-25). Trees are stored and in an index
before the snapshot is (ORDER-1). Memory is bounded by the trees of one directory in all snapshots, for each level of depth.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypeAlias

import msgspec

from restic_format import __version__
from restic_format.errors import DamagedFile, UsageError
from restic_format.maintenance.restrictions import check_may_remove
from restic_format.repository import Repository
from restic_format.repository.keys import current_host, current_user
from restic_format.repository.writer import BlobWriter
from restic_format.snapshots.change import save_checked
from restic_format.snapshots.errors import TooDeep
from restic_format.snapshots.find import FoundSnapshot
from restic_format.snapshots.nodes import NodeReader, RawNodeReader
from restic_format.snapshots.rewriter import TreeRewriter, TreeRules, assemble, with_subtree
from restic_format.snapshots.walk import MAX_DEPTH, subtree_of
from restic_format.work import Cancel
from restic_spec import gojson, gotime, wire
from restic_spec.errors import SpecError
from restic_spec.ids import parse_id
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType
from restic_spec.rustic import DeleteMark, delete_mark, snapshot_members
from restic_spec.snapshot import PARTIAL, Snapshot, SnapshotSummary, is_partial, summary_fields
from restic_spec.tree import DIR, FILE, Node, Tree, check_order


@dataclass(frozen=True)
class MergeOptions:
    """What the new snapshot says."""

    hostname: str = ""
    """Its host; by default this one."""
    tags: Sequence[str] = ()
    label: str = ""
    """rustic's label (RUSTIC-3), where there is one."""
    description: str = ""
    """rustic's description, likewise."""
    delete: DeleteMark | None = None
    """When it may be removed, where that is said (RUSTIC-8)."""
    time: str = ""
    """Its time, RFC 3339; by default that of the latest snapshot that is merged."""
    command: str = ""
    """The command line that its summary names, as rustic's do, where there is one."""
    remove_merged: bool = False
    """Whether the snapshots it was made from go, but for those that are marked not to be removed yet."""
    dry_run: bool = False
    program_version: str = ""


@dataclass(frozen=True)
class MergePlan:
    """What would be merged, from `plan_merge`: the oldest first."""

    repository: Repository
    snapshots: Sequence[FoundSnapshot]
    options: MergeOptions


class MergeResult(NamedTuple):
    """The new snapshot."""

    id: bytes | None
    """Its id; None after a dry run."""
    snapshot: Snapshot
    removed: Sequence[FoundSnapshot]
    kept: Sequence[FoundSnapshot]
    """Those that were to be removed, but are marked not to be yet."""


def plan_merge(repository: Repository, snapshots: Sequence[FoundSnapshot], options: MergeOptions) -> MergePlan:
    """The plan to merge *snapshots*, each of which counts once.

    Raises:
        UsageError: there are none.
        DamagedFile: one has no tree.
    """
    if not snapshots:
        raise UsageError("there are no snapshots to merge")
    for found in snapshots:
        if not found.snapshot.tree:
            raise DamagedFile(f"snapshot {found.short_id} has no tree")
    each = {found.id: found for found in snapshots}
    return MergePlan(repository, sorted(each.values(), key=lambda found: (found.time_ns, found.id)), options)


def merge(plan: MergePlan, *, cancel: Cancel | None = None) -> MergeResult:
    """Merge; the index must be loaded, and the repository be locked, exclusively for `MergeOptions.remove_merged`.

    Raises:
        UsageError: snapshots are to be removed, and the repository is append-only.
        ResticFormatError: a tree cannot be read, or something cannot be stored; no snapshot is changed.
        Interrupted: it was cancelled; likewise.
    """
    repository, options = plan.repository, plan.options
    if options.remove_merged and not options.dry_run:
        check_may_remove(repository, "merge --delete")
    cancel = cancel or Cancel()
    started = time.time_ns()
    writer = repository.writer(dry_run=options.dry_run)
    try:
        trees = _TreeMerge(repository, writer, cancel)
        merged = trees.run([parse_id(str(found.snapshot.tree)) for found in plan.snapshots])
        snapshot = _new_snapshot(plan, merged, trees.summary, started)
        if options.dry_run:
            return MergeResult(None, snapshot, [], [])
        writer.flush()
        cancel.check()
        if options.remove_merged:
            writer.read_back(cancel)
    except BaseException:
        writer.discard()
        raise
    new_id = save_checked(repository, snapshot, "the snapshots it was made from stay")
    removed: list[FoundSnapshot] = []
    kept: list[FoundSnapshot] = []
    for found in plan.snapshots if options.remove_merged else ():
        mark = delete_mark(repository.load_snapshot(found.id), f"snapshot {found.short_id}")
        if found.id == new_id or (mark is not None and mark.must_keep(time.time_ns())):
            kept.append(found)
            continue
        cancel.check()
        repository.remove(FileKind.SNAPSHOT, found.id)
        removed.append(found)
    return MergeResult(new_id, snapshot, removed, kept)


class _Merged(NamedTuple):
    tree: bytes
    files: int
    size: int


_Request: TypeAlias = tuple[Sequence[bytes], str]
"""Trees to be merged, and the path of the directory that they are."""


class _Item(NamedTuple):
    """A node of one of several trees."""

    name: bytes
    order: int
    """Which of the trees it is in: a later one has a higher number."""
    node: Node
    text: msgspec.Raw


class _TreeMerge:
    """Merges trees, and what is below them, without recursion."""

    def __init__(self, repository: Repository, writer: BlobWriter, cancel: Cancel) -> None:
        self._repository, self._writer, self._cancel = repository, writer, cancel
        self._counter = TreeRewriter(repository, writer, TreeRules(by_path=False), cancel=cancel)
        self.summary = SnapshotSummary()

    def run(self, trees: Sequence[bytes]) -> _Merged:
        """Merge *trees*."""
        stack = [self._merge(trees, "")]
        result: _Merged | None = None
        while True:
            try:
                request = stack[-1].send(result)
            except StopIteration as ended:
                result = ended.value
                stack.pop()
                if not stack:
                    assert result is not None
                    return result
            else:
                if len(stack) >= MAX_DEPTH:
                    raise TooDeep(f"more than {MAX_DEPTH} directories inside each other, from {request[1][:200]!r} on")
                stack.append(self._merge(*request))
                result = None

    def _merge(self, trees: Sequence[bytes], path: str) -> Generator[_Request, _Merged | None, _Merged]:
        """Merge the trees of one directory: asks for what is below it, and is sent the outcome."""
        distinct = list(dict.fromkeys(reversed(trees)))[::-1]
        if len(distinct) == 1:
            counted = self._counter.rewrite(distinct[0])
            self.summary.dirs_unmodified += 1
            assert counted.tree is not None
            return _Merged(counted.tree, counted.files, counted.size)
        texts: list[bytes | msgspec.Raw] = []
        files = size = 0
        extra: dict[str, msgspec.Raw] = {}
        streams = [self._items(tree, number, extra) for number, tree in enumerate(distinct)]
        for _, group in groupby(heapq.merge(*streams), key=lambda item: item.name):
            same = list(group)
            newest = max(same, key=lambda item: (item.node.mtime_ns, item.order))
            text: bytes | msgspec.Raw = newest.text
            if newest.node.type == DIR:
                below = [subtree_of(item.node) for item in same if item.node.type == DIR]
                merged = yield below, f"{path}/{newest.node.name}"
                assert merged is not None
                if merged.tree.hex() != newest.node.subtree:
                    text = with_subtree(bytes(newest.text), merged.tree, path or "/")
                files += merged.files
                size += merged.size
            elif newest.node.type == FILE:
                files += 1
                size += newest.node.size
            texts.append(text)
        saved = self._writer.save_blob(BlobType.TREE, assemble(texts, extra))
        self._note(saved.id in distinct, saved.known, saved.length, saved.stored)
        return _Merged(saved.id, files, size)

    def _note(self, as_before: bool, known: bool, length: int, stored: int) -> None:
        if as_before:
            self.summary.dirs_unmodified += 1
        else:
            self.summary.dirs_changed += 1
        if not known:
            self.summary.tree_blobs += 1
            self.summary.data_added += length
            self.summary.data_added_packed += stored

    def _items(self, tree: bytes, order: int, extra: dict[str, msgspec.Raw]) -> Iterator[_Item]:
        """The nodes of a tree; what else is in it is added to *extra* when the first is asked for."""
        what = f"tree {tree.hex()[:8]}"
        raw = self._repository.load_blob(BlobType.TREE, tree)
        try:
            whole = Tree(nodes=None)
            whole.keep_extra(wire.raw_members(raw, what, "TREE-1"), what)
            extra.update(whole.extra)
            nodes, texts = NodeReader(raw, what), RawNodeReader(raw, what)
            ordered = check_order((node for batch in iter(nodes.next, []) for node in batch), what)
            for node, text in zip(ordered, (text for batch in iter(texts.next, []) for text in batch), strict=True):
                self._cancel.check()
                yield _Item(node.name_bytes, order, node, text)
        except SpecError as error:
            raise DamagedFile(f"tree {tree.hex()}", error) from error


def _new_snapshot(plan: MergePlan, merged: _Merged, summary: SnapshotSummary, started: int) -> Snapshot:
    options = plan.options
    username, uid, gid = current_user()
    summary.backup_start = gotime.format_ns(started)
    summary.backup_end = gotime.format_ns(time.time_ns())
    summary.files_unmodified = summary.total_files_processed = merged.files
    summary.total_bytes_processed = merged.size
    statistics = summary_fields(summary)
    partial = _is_partial([found.snapshot for found in plan.snapshots])
    if options.command:
        statistics["command"] = msgspec.Raw(gojson.encode(options.command))
    snapshot = Snapshot(
        time=options.time or plan.snapshots[-1].snapshot.time,
        tree=merged.tree.hex(),
        paths=merged_paths([path for found in plan.snapshots for path in found.snapshot.path_list()]),
        hostname=options.hostname or current_host(),
        username=username,
        uid=uid,
        gid=gid,
        tags=list(dict.fromkeys([*options.tags, *([PARTIAL] if partial else [])])),
        program_version=options.program_version or f"restic-format {__version__}",
        summary=statistics,
    )
    members = snapshot_members(label=options.label, description=options.description, delete=options.delete)
    if partial:
        members[PARTIAL] = msgspec.Raw(b"true")
    snapshot.keep_extra(members, "snapshot")
    return snapshot


def _is_partial(merged: Sequence[Snapshot]) -> bool:
    """Whether something is only in partial snapshots, which may lack part of it (SNAP-21)."""
    places = [{(snapshot.hostname, path) for path in snapshot.path_list()} or {(snapshot.hostname, "")} for snapshot in merged]
    whole = {place for snapshot, found in zip(merged, places, strict=True) if not is_partial(snapshot) for place in found}
    return any(is_partial(snapshot) and not found <= whole for snapshot, found in zip(merged, places, strict=True))


def merged_paths(paths: Sequence[str]) -> list[str]:
    """*paths* in order, each once, without those that are inside another one."""
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda text: text.split("/")):
        if not kept or not (path == kept[-1] or path.startswith(kept[-1].rstrip("/") + "/")):
            kept.append(path)
    return kept
