"""An overview is made: the small files, the index, then one walk over the trees of all snapshots; no pack with data is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from restic_format.errors import ResticFormatError
from restic_format.explore.cost.snapshots import Passing
from restic_format.explore.cost.trees import mark_needed
from restic_format.explore.overview.paths import find_largest
from restic_format.explore.overview.ranges import Fills, Powers
from restic_format.explore.overview.records import (
    Age,
    Author,
    BlobFacts,
    Category,
    FileFacts,
    NodeTypeFacts,
    Overview,
    PackFacts,
    PruneFacts,
    SnapshotFacts,
    SpaceFacts,
    TypeFacts,
)
from restic_format.explore.overview.smallfiles import (
    RUSTIC,
    Extensions,
    KnownSnapshot,
    Problems,
    load_indexes,
    look_at_config,
    look_at_keys,
    look_at_locks,
    look_at_snapshots,
    repository_facts,
)
from restic_format.explore.overview.trees import OverviewTrees
from restic_format.explore.treesizes import Sizes
from restic_format.maintenance.prune import PruneOptions, PruneRefused
from restic_format.maintenance.prune.decisions import decide
from restic_format.maintenance.prune.markedpacks import load_marked
from restic_format.maintenance.prune.planning import choose_copies, count_overdue
from restic_format.native.table import HAS_TREES, PackUse
from restic_format.repository import Repository
from restic_format.repository.index import BlobIndex
from restic_format.snapshots import FoundSnapshot
from restic_format.work import Advance, Cancel, Progress, silent
from restic_spec.crypto import OVERHEAD
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType

TOP = 10
"""Files and directories that are told of unless asked otherwise."""
FILES = (FileKind.KEY, FileKind.LOCK, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK)
"""The kinds of files that are counted, beside the config."""
_BLOCKING = {Category.INDEX, Category.SNAPSHOT, Category.TREE, Category.BLOB}
"""Problems because of which it is not known what is needed."""


def make_overview(
    repository: Repository,
    select: Callable[[FoundSnapshot], bool] | None = None,
    *,
    top: int = TOP,
    is_own: Callable[[bytes], bool] | None = None,
    progress: Progress[Advance] = silent,
    cancel: Cancel | None = None,
) -> Overview:
    """What *repository* holds, as numbers. The index is loaded here; nothing is changed.

    *select* says which snapshots are shown, by default all. What is said of keys, packs, blobs, space and a prune is of the
    whole repository; authors, types and paths are those of the snapshots that are shown. *is_own* says which locks, by id, are
    the caller's, and do not count. What cannot be read is a problem in the result, and counts as empty.

    Memory: some 100 bytes for each blob, 24 for each file in each different tree, 200 for each path of a directory.

    Raises:
        StorageError: the files of a kind cannot be listed.
        Interrupted: it was cancelled.
    """
    return _Making(repository, progress, cancel).run(select, top, is_own)


class _Making:
    def __init__(self, repository: Repository, progress: Progress[Advance], cancel: Cancel | None) -> None:
        self._repository = repository
        self._progress = progress
        self._cancel = cancel
        self._problems = Problems()
        self._extensions = Extensions()

    def run(self, select: Callable[[FoundSnapshot], bool] | None, top: int, is_own: Callable[[bytes], bool] | None) -> Overview:
        repository, problems, extensions = self._repository, self._problems, self._extensions
        now = time.time_ns()
        hot = look_at_config(repository, extensions, problems)
        keys = look_at_keys(repository, problems)
        locks = look_at_locks(repository, now, is_own, problems)
        # Snapshots before the index (ORDER-2): whatever they need is in the index that is loaded afterwards.
        known = look_at_snapshots(repository, extensions, problems, self._cancel)
        shown = [one for one in known if select is None or select(one.found)]
        ids = {one.found.id for one in shown}
        others = [one for one in known if one.found.id not in ids]
        sizes = {kind: dict(repository.list(kind)) for kind in FILES}
        if is_own is not None:
            sizes[FileKind.LOCK] = {name: size for name, size in sizes[FileKind.LOCK].items() if not is_own(name)}
        repository.index = BlobIndex()
        indexes = load_indexes(repository, list(sizes[FileKind.INDEX].items()), problems, self._progress, self._cancel)
        listed = len(repository.index.pack_ids())
        self._count_index_members(indexes.rustic, len(repository.index.marked))
        marked = self._load_marked()
        trees = OverviewTrees(repository, self._damaged)
        facts, roots, restored, needed_later = self._walk(trees, shown, others)
        for name, count in trees.members.items():
            extensions.add("node", name, "", count)
        packs = choose_copies(trees.used.marks, repository.index.pack_ids(), sizes[FileKind.PACK], marked)
        prune = None if hot else self._prune(packs, sizes[FileKind.PACK], marked)
        elsewhere = bytearray(len(trees.sizes))
        mark_needed(trees, needed_later, elsewhere)
        largest = find_largest(repository, trees, reversed(roots), elsewhere, top, cancel=self._cancel)
        types = trees.count_types(roots)
        return Overview(
            made=now,
            repository=repository_facts(repository, extensions, hot=hot),
            keys=keys,
            locks=locks,
            programs=_authors(facts, lambda one: one.program_version),
            hosts=_authors(facts, lambda one: one.hostname),
            users=_authors(facts, lambda one: one.username),
            snapshots=tuple(facts),
            other_snapshots=len(others),
            snapshot_ages=Age(facts[0].time, facts[-1].time) if facts else None,
            files=tuple(FileFacts(kind.value, len(found), sum(found.values())) for kind, found in sizes.items()),
            packs=self._packs(packs, sizes[FileKind.PACK], marked),
            blobs=self._blobs(marked),
            space=self._space(trees, packs, sizes, marked, restored),
            prune=prune,
            index=indexes.facts(list(sizes[FileKind.INDEX].values()), listed),
            types=tuple(
                TypeFacts(name, *found)
                for name, found in sorted(types.items(), key=lambda item: (-item[1].stored, item[0]))
                if not name.startswith("/")
            ),
            node_types=_node_types({name: (found.entries, found.size) for name, found in types.items()}),
            largest_files=largest.files,
            largest_folders=largest.folders,
            paths_complete=largest.complete,
            problems=tuple(problems.told),
            problem_count=problems.count,
        )

    def _damaged(self, item: str, error: ResticFormatError) -> None:
        self._problems.add(item, error, Category.BLOB if item.startswith("data blob") else Category.TREE)

    def _count_index_members(self, rustic: int, marked: int) -> None:
        if rustic:
            self._extensions.add("index", "packs.time, packs.size", RUSTIC, rustic)
        if marked:
            self._extensions.add("index", "packs_to_delete", RUSTIC, marked)

    def _load_marked(self) -> Mapping[bytes, object]:
        try:
            return load_marked(self._repository)
        except ResticFormatError as error:
            self._problems.add("index", error, Category.INDEX)
            return {}

    def _walk(
        self, trees: OverviewTrees, shown: Sequence[KnownSnapshot], others: Sequence[KnownSnapshot]
    ) -> tuple[list[SnapshotFacts], list[int], int, list[int]]:
        """The snapshots *shown*, the numbers of their top trees, what restoring all takes, and the top trees of *others*."""
        found = [one.found for one in (*shown, *others)]
        passing = Passing(trees, len(shown))
        roots: list[int | None] = []
        stored: list[int] = []
        added: list[int] = []
        before = 0
        trees.counting = bool(shown)
        passed = trees.read_snapshots(found, self._progress, len(found), self._cancel)
        for number, root in enumerate(passed):
            passing.next(root)
            roots.append(root)
            if number < len(shown):
                stored.append(passing.present)
                added.append(passing.ever - before)
                before = passing.ever
            trees.counting = number + 1 < len(shown)
        passing.next(None)
        facts = []
        for one, root, *numbers in zip(shown, roots, stored, added, passing.unique, strict=False):
            facts.append(_snapshot_facts(one, _sizes(trees, root, one.found), *numbers))
        restored = sum(_sizes(trees, root, item).size for root, item in zip(roots, found, strict=True))
        tops = [root for root in roots[: len(shown)] if root is not None]
        return facts, tops, restored, [root for root in roots[len(shown) :] if root is not None]

    def _packs(
        self, packs: Sequence[PackUse], sizes: Mapping[bytes, int], marked: Mapping[bytes, object]
    ) -> tuple[PackFacts, ...]:
        powers = {kind: Powers() for kind in BlobType}
        fills = {kind: Fills() for kind in BlobType}
        used, stored = dict.fromkeys(BlobType, 0), dict.fromkeys(BlobType, 0)
        bounds: dict[BlobType, list[int]] = {kind: [] for kind in BlobType}
        for pack, use in zip(self._repository.index.pack_ids(), packs, strict=True):
            size = sizes.get(pack)
            if size is None or (pack in marked and not use.used):
                continue
            kind = BlobType.TREE if use.types & HAS_TREES else BlobType.DATA
            powers[kind].add(size)
            fills[kind].add(size, use.used_size, use.unused_size)
            used[kind] += use.used_size
            stored[kind] += use.used_size + use.unused_size
            found = bounds[kind]
            bounds[kind] = [min([size, *found]), max([size, *found])]
        targets = self._repository.pack_targets()
        return tuple(
            PackFacts(
                kind.value,
                powers[kind].count,
                powers[kind].size,
                min(bounds[kind], default=0),
                max(bounds[kind], default=0),
                targets[kind],
                stored[kind],
                used[kind],
                powers[kind].ranges(),
                fills[kind].ranges(),
            )
            for kind in (BlobType.DATA, BlobType.TREE)
        )

    def _blobs(self, marked: Mapping[bytes, object]) -> tuple[BlobFacts, ...]:
        powers = {kind: Powers() for kind in BlobType}
        stored, uncompressed = dict.fromkeys(BlobType, 0), dict.fromkeys(BlobType, 0)
        for pack in self._repository.index.packs():
            if pack.id in marked:
                continue
            if self._cancel is not None:
                self._cancel.check()
            found = pack.lengths()
            for kind in {one[0] for one in found}:
                of_kind = [(length, plain) for one, length, plain in found if one is kind]
                stored[kind] += sum(length for length, _ in of_kind)
                uncompressed[kind] += sum(plain is None for _, plain in of_kind)
                powers[kind].add_all(length - OVERHEAD if plain is None else plain for length, plain in of_kind)
        return tuple(
            BlobFacts(
                kind.value, powers[kind].count, stored[kind], powers[kind].size, uncompressed[kind], powers[kind].ranges()
            )
            for kind in (BlobType.DATA, BlobType.TREE)
        )

    def _space(
        self,
        trees: OverviewTrees,
        packs: Sequence[PackUse],
        sizes: Mapping[FileKind, Mapping[bytes, int]],
        marked: Mapping[bytes, object],
        restored: int,
    ) -> SpaceFacts:
        ids = self._repository.index.pack_ids()
        known = set(ids)
        counted = [use for pack, use in zip(ids, packs, strict=True) if use.used or pack not in marked]
        duplicate = sum(use.copies_size for use in counted)
        files = sizes[FileKind.PACK]
        try:
            config = self._repository.storage.size(FileKind.CONFIG, "")
        except ResticFormatError as error:
            self._problems.add("config", error, Category.FILE)
            config = 0
        return SpaceFacts(
            restored=restored,
            referenced=trees.plain[BlobType.DATA] + trees.plain[BlobType.TREE],
            referenced_data=trees.plain[BlobType.DATA],
            needed=sum(use.used_size for use in counted),
            unused=sum(use.unused_size for use in counted) - duplicate,
            duplicate=duplicate,
            unindexed=sum(size for pack, size in files.items() if pack not in known and pack not in marked),
            marked=sum(files.get(pack, 0) for pack in marked),
            files=config + sum(sum(found.values()) for found in sizes.values()),
        )

    def _prune(self, packs: Sequence[PackUse], sizes: Mapping[bytes, int], marked: Mapping[bytes, object]) -> PruneFacts | None:
        """What `prune` would do: what it would say, by its own rules."""
        if any(problem.category in _BLOCKING for problem in self._problems.told):
            error = PruneRefused("it would refuse: what is needed is not known, see the other problems")
            self._problems.add("prune", error, Category.PACK)
            return None
        repository = self._repository
        try:
            found = decide(PruneOptions(), repository.version, repository.index.pack_ids(), packs, sizes, marked)
        except ResticFormatError as error:
            self._problems.add("prune", error, Category.PACK)
            return None
        statistics = found.statistics
        count_overdue(statistics, found.marked_unused, sizes)
        return PruneFacts(
            packs_removed=statistics.packs.remove + statistics.packs.unreferenced,
            packs_repacked=statistics.packs.repack,
            packs_kept=statistics.packs.keep,
            blobs_freed=statistics.blobs.total_remove,
            freed=statistics.size.total_remove,
            repacked=statistics.size.repack,
            unused_after=statistics.size.unused_after,
        )


def _sizes(trees: OverviewTrees, root: int | None, found: FoundSnapshot) -> Sizes:
    tree = found.snapshot.tree
    return Sizes(0, 0, 0) if root is None or not isinstance(tree, str) else trees.of(bytes.fromhex(tree))


def _snapshot_facts(one: KnownSnapshot, sizes: Sizes, stored: int, added: int, unique: int) -> SnapshotFacts:
    found = one.found
    snapshot = found.snapshot
    return SnapshotFacts(
        id=found.id.hex(),
        time=found.time_ns,
        hostname=snapshot.hostname,
        username=snapshot.username,
        paths=tuple(snapshot.path_list()),
        tags=tuple(snapshot.tags),
        program_version=snapshot.program_version,
        entries=sizes.entries,
        size=sizes.size,
        stored=stored,
        added=added,
        unique=unique,
        summary_added=one.summary_added,
        summary_added_packed=one.summary_added_packed,
    )


def _authors(snapshots: Sequence[SnapshotFacts], name_of: Callable[[SnapshotFacts], str]) -> tuple[Author, ...]:
    found: dict[str, Author] = {}
    for one in snapshots:
        name = name_of(one)
        known = found.get(name, Author(name, 0, 0, one.time, one.time))
        found[name] = Author(name, known.snapshots + 1, known.added + one.added, known.first, one.time)
    return tuple(sorted(found.values(), key=lambda author: (-author.added, author.name)))


def _node_types(types: Mapping[str, tuple[int, int]]) -> tuple[NodeTypeFacts, ...]:
    found: dict[str, tuple[int, int]] = {}
    for name, (entries, size) in types.items():
        kind = name[1:] if name.startswith("/") else "file"
        before = found.get(kind, (0, 0))
        found[kind] = before[0] + entries, before[1] + size
    return tuple(NodeTypeFacts(kind, *both) for kind, both in sorted(found.items(), key=lambda item: (-item[1][0], item[0])))
