"""What an error says of a file: what is wrong with it, by which clause, or that the storage did not give it back at all."""

from __future__ import annotations

from restic_format.errors import FileUnusable, StorageError
from restic_spec.errors import IdMismatch, ResticFormatError, SpecError


def cause_of(error: BaseException) -> BaseException:
    """The first error of a chain: what was seen at the place."""
    while isinstance(error, ResticFormatError) and isinstance(error.cause, ResticFormatError):
        error = error.cause
    return error


def is_unreadable(error: BaseException) -> bool:
    """Whether the storage did not give the bytes back, so that nothing is known about them."""
    cause = cause_of(error)
    return isinstance(cause, StorageError | OSError) and not isinstance(cause, FileUnusable)


def reason(error: BaseException) -> str:
    """What is wrong, without the clause."""
    cause = cause_of(error)
    return cause.what if isinstance(cause, SpecError) else str(error)


def load_reason(kind: str, ident: bytes, error: BaseException) -> str:
    """What is wrong with a file that is named by its hash, in the words other programs use where they have some."""
    if isinstance(cause_of(error), IdMismatch):
        return f"LoadRaw(<{kind}/{ident.hex()[:10]}>): invalid data returned"
    return reason(error)


def clause_of(error: BaseException) -> str:
    """The clause that is broken; an error of the system names none."""
    return error.clause if isinstance(error, ResticFormatError) else ""
