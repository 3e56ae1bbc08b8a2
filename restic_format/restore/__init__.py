"""Restore: from a snapshot's tree to files, directories and everything else in a file system.

`Restorer` does it all: the trees are walked once, directories and special items made, the content of the files planned by
pack; then packs are read once each and written to wherever their blobs belong; at last come hard links, deletions and the
directories' metadata, from below. Names and symlinks of the snapshot or the target cannot lead out of the target directory
(see `restic_format.restore.dirs`).
"""

from restic_format.restore.engine import Restorer
from restic_format.restore.errors import (
    NodeUnusable,
    RestoreError,
    TargetInTheWay,
    TooDeep,
    UnsafeName,
    VerifyFailed,
)
from restic_format.restore.options import (
    Action,
    Overwrite,
    RestoreOptions,
    RestoreProgress,
    RestoreStats,
    Selector,
    XattrSelector,
)
from restic_format.restore.select import exclude_selector, include_selector, xattr_selector

__all__ = [
    "Action",
    "NodeUnusable",
    "Overwrite",
    "RestoreError",
    "RestoreOptions",
    "RestoreProgress",
    "RestoreStats",
    "Restorer",
    "Selector",
    "TargetInTheWay",
    "TooDeep",
    "UnsafeName",
    "VerifyFailed",
    "XattrSelector",
    "exclude_selector",
    "include_selector",
    "xattr_selector",
]
