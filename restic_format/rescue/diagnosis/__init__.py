"""Diagnosis: damage as a map from each fault to the snapshots, paths and bytes it costs, and back.

`diagnose` reads everything that can be read, never stops at a fault, and writes nothing into the repository.
"""

from restic_format.rescue.diagnosis.engine import DiagnosisEvent, ShareRead, diagnose, read_share
from restic_format.rescue.diagnosis.opening import Opened, open_for_rescue
from restic_format.rescue.diagnosis.records import (
    BadCopy,
    BadFile,
    ByteRange,
    Cause,
    Cost,
    Counts,
    DamagedPath,
    Diagnosis,
    Fault,
    Hope,
    Means,
    Origin,
    Problem,
    SnapshotState,
)

__all__ = [
    "BadCopy",
    "BadFile",
    "ByteRange",
    "Cause",
    "Cost",
    "Counts",
    "DamagedPath",
    "Diagnosis",
    "DiagnosisEvent",
    "Fault",
    "Hope",
    "Means",
    "Opened",
    "Origin",
    "Problem",
    "ShareRead",
    "SnapshotState",
    "diagnose",
    "open_for_rescue",
    "read_share",
]
