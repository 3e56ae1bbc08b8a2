"""Check: is a repository whole, what does each fault cost, and what puts it right?

`check` does it all: keys, locks and snapshots are loaded, the index is held against the pack files, every tree that a snapshot
needs is visited, and where that is asked for packs are read whole. Nothing is changed.
"""

from restic_format.check.engine import check
from restic_format.check.files import damaged_keys
from restic_format.check.findings import Code, Consequence, Finding, ObjectKind, ObjectRef, Severity
from restic_format.check.state import CheckEvent, CheckOptions, CheckReport, ReadPlan, Stage
from restic_format.check.subset import InvalidSubset, Subset, parse_subset

__all__ = [
    "CheckEvent",
    "CheckOptions",
    "CheckReport",
    "Code",
    "Consequence",
    "Finding",
    "InvalidSubset",
    "ObjectKind",
    "ObjectRef",
    "ReadPlan",
    "Severity",
    "Stage",
    "Subset",
    "check",
    "damaged_keys",
    "parse_subset",
]
