"""``recover``: a snapshot of everything that no snapshot names any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_tools.commands.repair import damaged_objects, mend_index, tell_error
from restic_tools.context import Context

if TYPE_CHECKING:
    from restic_format.maintenance.recover import RecoveryPlan


def recover(ctx: Context) -> None:
    """Recover data from the repository not referenced by snapshots

    Builds a new snapshot from all directories that are in the repository and that no snapshot names, nor another directory.
    It can be used if, for example, a snapshot has been removed by accident with "forget". Trees and snapshots that cannot be
    read are named and gone past.
    """
    from restic_format.maintenance import recover as engine
    from restic_tools.messages.repair import RecoverSummary
    from restic_tools.stages import StagePrinter, stoppable

    with ctx.open_repository(lock="exclusive", options=ctx.options.replaced(no_cache=True)) as repository:
        ctx.out.info("ensuring index is complete")
        mend_index(ctx, repository)
        ctx.out.info("load index files")
        repository.load_index()
        with stoppable(ctx) as cancel:
            headings = {engine.TREES: "load {total} trees", engine.SNAPSHOTS: "load snapshots"}
            with StagePrinter(ctx, headings, uncounted=(engine.SNAPSHOTS,)) as progress:
                made = engine.plan(repository, progress=progress, cancel=cancel)
            ctx.out.info("done")
            _tell_plan(ctx, made)
            cancel.check()
            saved = engine.execute(made)
    if ctx.options.json:
        ctx.out.json(
            RecoverSummary(
                "summary",
                damaged_objects(made.damaged_trees),
                damaged_objects(made.damaged_snapshots),
                [root.hex() for root in made.roots],
                "" if saved is None else saved.hex(),
            )
        )
    elif saved is None:
        ctx.out.info("no snapshot to write.")
    else:
        ctx.out.line(f"saved new snapshot {saved.hex()[:8]}")


def _tell_plan(ctx: Context, made: RecoveryPlan) -> None:
    for tree, error in made.damaged_trees.items():
        tell_error(ctx, f"unable to load tree {tree.hex()[:8]}: {error}", tree.hex())
    for snapshot, error in made.damaged_snapshots.items():
        tell_error(ctx, f"unable to load snapshot {snapshot.hex()[:8]}: {error}", snapshot.hex())
    for root in made.roots:
        ctx.out.verbose(f"found root tree {root.hex()[:8]}")
    ctx.out.line(f"\nfound {len(made.roots)} unreferenced roots", block=True)
