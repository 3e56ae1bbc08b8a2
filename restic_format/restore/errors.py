"""What can go wrong in a restore, beyond a damaged repository and the operating system's own errors."""

from __future__ import annotations

from restic_spec.errors import ResticFormatError


class RestoreError(ResticFormatError):
    """An item cannot be restored as the snapshot describes it."""


class TargetInTheWay(RestoreError):
    """Something in the target stands where an item belongs and may not be removed."""


class VerifyFailed(RestoreError):
    """A restored file does not have the content the snapshot says."""


class SystemRefused(OSError):
    """The operating system refused an operation on an item; ``operation`` says which, in restic's words."""

    def __init__(self, operation: str, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error))
        self.operation = operation


class Doing:
    """In a ``with`` block: an operation whose `OSError` becomes `SystemRefused`."""

    __slots__ = ("_operation",)

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Name the operation that failed."""
        if isinstance(error, OSError) and not isinstance(error, SystemRefused):
            raise SystemRefused(self._operation, error) from error
