"""The message of ``stats``."""

from __future__ import annotations

import msgspec

from restic_format.explore.stats import Statistics
from restic_spec.gojson import go_float


class StatsMessage(msgspec.Struct, kw_only=True):
    """``stats``: what was counted; what is 0 or not counted by the mode is left out."""

    total_size: int
    total_uncompressed_size: int | msgspec.UnsetType = msgspec.UNSET
    compression_ratio: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """How many times smaller compressed blobs are."""
    compression_progress: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Per cent of the data that is compressed."""
    compression_space_saving: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Per cent of the space."""
    total_file_count: int | msgspec.UnsetType = msgspec.UNSET
    total_blob_count: int | msgspec.UnsetType = msgspec.UNSET
    snapshots_count: int


def stats_message(found: Statistics) -> StatsMessage:
    """The message for what was counted."""
    return StatsMessage(
        total_size=found.size,
        total_uncompressed_size=found.uncompressed or msgspec.UNSET,
        compression_ratio=_number(found.compression_ratio),
        compression_progress=_number(found.compression_progress),
        compression_space_saving=_number(found.space_saving),
        total_file_count=found.files or msgspec.UNSET,
        total_blob_count=found.blobs or msgspec.UNSET,
        snapshots_count=found.snapshots,
    )


def _number(value: float) -> msgspec.Raw | msgspec.UnsetType:
    return go_float(value) if value else msgspec.UNSET
