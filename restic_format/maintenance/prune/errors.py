"""Why a prune does not begin, or does not go on. Nothing that a snapshot needs is gone then."""

from __future__ import annotations

from collections.abc import Sequence

from restic_format.errors import ResticFormatError


class PruneRefused(ResticFormatError):
    """The repository is not in a state in which it is known what can go."""

    def __init__(self, what: str, details: Sequence[str] = ()) -> None:
        """*details* are lines that name what is wrong, for people."""
        super().__init__(what)
        self.details = list(details)


class IndexIncomplete(PruneRefused):
    """Snapshots need blobs that no index lists."""


class PacksMissing(PruneRefused):
    """Packs that are needed are in the index, but not in the storage."""


class PackSizeDiffers(PruneRefused):
    """A pack that is needed has another size than the index says."""


class PlanOutdated(PruneRefused):
    """Somebody changed the repository after the plan was made."""
