"""What can go wrong in a restore, beyond a damaged repository and the operating system's own errors."""

from __future__ import annotations

from restic_spec.errors import ResticFormatError


class RestoreError(ResticFormatError):
    """An item cannot be restored as the snapshot describes it."""


class TargetInTheWay(RestoreError):
    """Something in the target stands where an item belongs and may not be removed."""


class VerifyFailed(RestoreError):
    """A restored file does not have the content the snapshot says."""
