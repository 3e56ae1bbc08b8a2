"""Removing what no snapshot needs: first a plan, which a program can look at, then what it says.

::

    with repository.lock(exclusive=True):
        plan = prune.plan(repository, PruneOptions(max_unused=MaxUnused(percent=5)))
        result = prune.execute(plan)

Nothing is lost whenever it ends: what is repacked is stored and in the index before the old pack leaves it, and a pack leaves
the index before it is removed (ORDER-3, ORDER-4). With `PruneOptions.lock_free` a shared lock is enough: packs are marked
first, and removed by a later run (RUSTIC-2, RUSTIC-9).
"""

from restic_format.maintenance.prune.acting import execute
from restic_format.maintenance.prune.errors import IndexIncomplete, PackSizeDiffers, PacksMissing, PlanOutdated, PruneRefused
from restic_format.maintenance.prune.planning import plan
from restic_format.maintenance.prune.records import (
    KEEP_DELETE,
    SMALL_PACK,
    BlobCounts,
    FileGone,
    FileStays,
    MaxUnused,
    PackCounts,
    PackForgotten,
    PruneEvent,
    PruneOptions,
    PrunePlan,
    PruneResult,
    PruneStatistics,
    SizeCounts,
    Stage,
    Unindexed,
)

__all__ = [
    "KEEP_DELETE",
    "SMALL_PACK",
    "BlobCounts",
    "FileGone",
    "FileStays",
    "IndexIncomplete",
    "MaxUnused",
    "PackCounts",
    "PackForgotten",
    "PackSizeDiffers",
    "PacksMissing",
    "PlanOutdated",
    "PruneEvent",
    "PruneOptions",
    "PrunePlan",
    "PruneRefused",
    "PruneResult",
    "PruneStatistics",
    "SizeCounts",
    "Stage",
    "Unindexed",
    "execute",
    "plan",
]
