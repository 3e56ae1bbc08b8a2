"""What can go wrong with the source of a backup."""

from __future__ import annotations

from typing import Self

from restic_format.errors import ResticFormatError
from restic_format.systemtext import errno_text
from restic_spec import gojson


class SourceError(ResticFormatError):
    """One item of the source cannot be backed up, or not as it should be; the backup goes on without it.

    The text follows restic's (``open /x: permission denied``), which scripts search in logs.
    """

    @classmethod
    def from_os(cls, operation: str, path: bytes, error: OSError, before: str = "") -> Self:
        """*error* happened in *operation* (``lstat``, ``open``, ``read``) on *path*; *before* goes in front."""
        return cls(f"{before}{operation} {gojson.to_text(path)}: {errno_text(error)}")


class BackupFailed(ResticFormatError):
    """No snapshot could be made at all."""


class NothingToBackUp(BackupFailed):
    """None of the targets exists, or everything in them is excluded."""


class CommandFailed(BackupFailed):
    """The command whose output was to be backed up failed, so its output cannot be trusted."""
