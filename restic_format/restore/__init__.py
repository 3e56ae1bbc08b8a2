"""Restore: from a snapshot's tree to files, directories and everything else in a file system.

`Restorer` does it all: the trees are walked once, directories and special items made, the content of the files planned by
pack; then packs are read once each and written to wherever their blobs belong; at last come hard links, deletions and the
directories' metadata, from below. Names and symlinks of the snapshot or the target cannot lead out of the target directory
(see `restic_format.restore.dirs`).

Memory: the largest tree and 64 MiB of those above it; about 60 bytes and its name for each item; 64 bytes for each blob of the
files' content, 100 more while its pack is read; and for each worker what is read at once (4 MiB sealed and 8 MiB of
plaintext, or one blob).
"""

from restic_format.restore.engine import Restorer
from restic_format.restore.errors import RestoreError, TargetInTheWay, VerifyFailed
from restic_format.restore.report import Action, Failed, Item, RestoreEvent, RestoreStats
from restic_format.restore.request import (
    Overwrite,
    RestoreOptions,
    Selector,
    XattrSelector,
    exclude_selector,
    include_selector,
    xattr_selector,
)

__all__ = [
    "Action",
    "Failed",
    "Item",
    "Overwrite",
    "RestoreError",
    "RestoreEvent",
    "RestoreOptions",
    "RestoreStats",
    "Restorer",
    "Selector",
    "TargetInTheWay",
    "VerifyFailed",
    "XattrSelector",
    "exclude_selector",
    "include_selector",
    "xattr_selector",
]
