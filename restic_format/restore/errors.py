"""What can go wrong in a restore, beyond a damaged repository and the operating system's own errors."""

from __future__ import annotations

from restic_spec.errors import ResticFormatError


class RestoreError(ResticFormatError):
    """An item cannot be restored as the snapshot describes it."""


class UnsafeName(RestoreError):
    """A node's name could lead out of its directory, or occurs twice in it."""


class TooDeep(RestoreError):
    """Directories are nested deeper than any real tree."""


class NodeUnusable(RestoreError):
    """A node lacks what its type demands, or says things that contradict each other."""


class TargetInTheWay(RestoreError):
    """Something in the target stands where an item belongs and may not be removed."""


class VerifyFailed(RestoreError):
    """A restored file does not have the content the snapshot says."""
