"""What snapshots, directories and types of files cost: bytes in packs that they need, and that nothing else needs.

Only the index and trees are read. One copy of each blob counts, without its entry in the pack's header. Memory: some 60 bytes
for each blob, and 4 for each blob that a tree names.
"""

from restic_format.explore.cost.folders import FolderCost, FolderCosts, folder_costs
from restic_format.explore.cost.records import Cost, Stored, count_stored
from restic_format.explore.cost.snapshots import SnapshotCost, SnapshotCosts, snapshot_costs
from restic_format.explore.cost.types import TREES, TypeCost, TypeCosts, type_costs

__all__ = [
    "TREES",
    "Cost",
    "FolderCost",
    "FolderCosts",
    "SnapshotCost",
    "SnapshotCosts",
    "Stored",
    "TypeCost",
    "TypeCosts",
    "count_stored",
    "folder_costs",
    "snapshot_costs",
    "type_costs",
]
