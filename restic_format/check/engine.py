"""Verifying a repository: from the files' names to, if wanted, every byte of every pack.

A check goes on past every fault. It names each with the object, the clause that is broken, what the fault costs, and the
command that puts it right; `check` returns them all in a report.
"""

from __future__ import annotations

import random
from functools import partial

from restic_format.check.affected import ConsequenceFinder, Damage, name_harmless
from restic_format.check.files import check_files, find_in_files
from restic_format.check.findings import Code, Finding, ObjectKind, ObjectRef
from restic_format.check.halves import check_hot_half
from restic_format.check.headers import look_for_missing, unlisted
from restic_format.check.index import check_packs, list_packs, load_indexes
from restic_format.check.orphans import look_for_roots
from restic_format.check.packs import read_packs
from restic_format.check.snapshots import load_snapshots
from restic_format.check.state import CheckEvent, CheckOptions, CheckReport, ReadPlan, Run, Stage
from restic_format.check.treepacks import fetching_trees
from restic_format.check.trees import TreeChecker, Usage
from restic_format.repository import Repository
from restic_format.snapshots.idset import IdSet
from restic_format.work import Cancel, Later, Progress, silent
from restic_spec.layout import FileKind
from restic_spec.pack import BlobType


def check(
    repo: Repository,
    options: CheckOptions | None = None,
    progress: Progress[CheckEvent] = silent,
    cancel: Cancel | None = None,
) -> CheckReport:
    """Check an open repository whose index has not been loaded yet.

    Nothing is changed. An exclusive lock should be held, or a backup that runs meanwhile may look like damage.

    Raises:
        Interrupted: *cancel* was set.
    """
    run = Run(repo, options or CheckOptions(), progress, cancel or Cancel())
    damage = Damage(run)
    files = Later(partial(find_in_files, run), now=not repo.storage.at_hand, name="check files")
    # Snapshots are read before the index: what they need is then in it (ORDER-2).
    with repo.listing_ahead(FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK):
        roots, faults = load_snapshots(run)
        check_files(run, files.get)
        load_indexes(run)
        list_packs(run)
    check_hot_half(run)
    check_packs(run, damage)
    if not roots and not faults and not run.options.filtered:
        look_for_roots(run)
    trees = TreeChecker(run, damage)
    run.advance(Stage.SNAPSHOTS, 0, len(roots))
    for fault in faults:
        run.add(fault)
    with fetching_trees(run):
        trees.check([root for _snapshot, root in roots])
    if run.options.check_unused and not run.options.filtered:
        _find_unused(run, trees.usage)
    if run.options.reads:
        whole = run.options.read_data and not run.options.filtered
        others = list(unlisted(run)) if whole else []
        read_packs(run, _choose(run, trees.usage, len(others)), others, damage)
    look_for_missing(run)
    if damage:
        ConsequenceFinder(run, damage).work_out(roots)
        name_harmless(run, damage)
    if run.report.unreadable:
        run.withhold_repairs()
    return run.report


def _choose(run: Run, usage: Usage, others: int) -> set[bytes]:
    """The packs to read, out of those an index lists; *others* are read besides."""
    sizes = run.sizes
    if usage.packs is not None:
        sizes = {pack: size for pack, size in sizes.items() if pack in usage.packs}
    subset = run.options.subset
    rng = random.Random(run.options.seed)
    chosen = set(sizes) if subset is None else set(subset.select(sizes, rng))
    plan = ReadPlan(
        subset,
        len(chosen) + others,
        len(sizes) + others,
        sum(sizes[pack] for pack in chosen),
        sum(sizes.values()),
        usage.packs is not None,
    )
    run.progress(plan)
    return chosen


def _find_unused(run: Run, usage: Usage) -> None:
    """Name the blobs no snapshot needs, and say how many are stored more than once."""
    seen = {BlobType.TREE: IdSet(), BlobType.DATA: IdSet()}
    needed = {BlobType.TREE: usage.trees, BlobType.DATA: usage.data or IdSet()}
    copies = extra = 0
    for pack, entry in run.repo.index.entries():
        if not seen[entry.type].add(entry.id):
            copies += 1
            extra += entry.length
        elif entry.id not in needed[entry.type]:
            kind = ObjectKind.TREE if entry.type is BlobType.TREE else ObjectKind.DATA
            ref = ObjectRef(kind, entry.id.hex(), pack.hex())
            run.add(Finding(Code.BLOB_UNUSED, ref, f"unused blob <{kind.value}/{entry.id.hex()[:8]}>"))
    if copies:
        message = f"{copies} blobs ({extra} bytes) are stored more than once"
        run.add(Finding(Code.BLOB_DUPLICATE, ObjectRef(ObjectKind.REPOSITORY), message))
