"""Why a repository cannot be mounted."""

from __future__ import annotations

from restic_spec.errors import ResticFormatError


class MountFailed(ResticFormatError):
    """The system does not let us mount."""
