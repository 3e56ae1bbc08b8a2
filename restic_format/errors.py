"""The engine's errors, all under `ResticFormatError` of the specification, but for `Interrupted`.

Each says what failed, on which object, and what to do next. Programs decide on the class; the command line maps classes to
exit codes in one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from restic_spec.errors import ResticFormatError, SpecError

if TYPE_CHECKING:
    from typing import Self

    from restic_spec.pack import BlobType

__all__ = [
    "AccessDenied",
    "AlreadyLocked",
    "AnswerCut",
    "BlobMissing",
    "ConfigExists",
    "DamagedFile",
    "FileCold",
    "FileExists",
    "FileMissing",
    "FileUnusable",
    "Incomplete",
    "Interrupted",
    "InvalidLock",
    "KeepsNothing",
    "KeyUnusable",
    "LocationInvalid",
    "LockLost",
    "NoPolicy",
    "NoSpace",
    "PasswordUnavailable",
    "RepositoryNotFound",
    "ResticFormatError",
    "ServerNotTrusted",
    "SnapshotNotFound",
    "SpecError",
    "StorageAway",
    "StorageError",
    "UsageError",
    "WrongPassword",
]


class UsageError(ResticFormatError):
    """The caller asked for something that cannot be."""


class PasswordUnavailable(ResticFormatError):
    """The file or the command that has the password does not give it."""


class LocationInvalid(UsageError):
    """No storage has such a location."""


class StorageError(ResticFormatError):
    """The storage could not do what was asked. The classes below say why, where that is known."""

    permanent: ClassVar[bool] = False
    """Whether to ask again is of no use."""
    may_be_intact: ClassVar[bool] = True
    """Whether nothing is known about the file, which may be there and intact."""
    wanted_pause: float = 0.0
    """Seconds for which the server does not want to be asked again."""


class FileMissing(StorageError):
    """The storage holds no such file."""

    permanent = True
    may_be_intact = False


class FileExists(StorageError):
    """A file of that name is there already, and is not to be replaced."""

    permanent = True
    may_be_intact = False


class FileUnusable(StorageError):
    """Something is there, but no file of a repository: cut short, larger than its kind may be, or not a regular file."""

    permanent = True
    may_be_intact = False


class AccessDenied(StorageError):
    """The storage does not let us: permissions, or it may only be read. Nothing is known about the file."""

    permanent = True


class NoSpace(StorageError):
    """The storage is full."""

    permanent = True


class StorageAway(StorageError):
    """The medium or the connection fails or is gone (EIO, ENODEV, ESTALE). Nothing is known about the file."""


class ServerNotTrusted(StorageError):
    """The server cannot show that it is the one that is meant: its certificate or host key."""

    permanent = True


class AnswerCut(StorageError):
    """The server sent fewer bytes than were asked for, or others: nothing is known about the file."""


class FileCold(StorageError):
    """The file is in a class of storage that must be asked before anything can be read from it. It may well be intact."""

    permanent = True


class RepositoryNotFound(ResticFormatError):
    """There is no repository at this location."""


class ConfigExists(ResticFormatError):
    """A repository is already there; it is never overwritten."""


class WrongPassword(ResticFormatError):
    """Every key file was tried, and none opens with this password."""


class KeyUnusable(ResticFormatError):
    """No key file opens with this password, but one that might cannot be used, or was not tried."""


class AlreadyLocked(ResticFormatError):
    """Somebody else holds a lock that conflicts."""


class InvalidLock(ResticFormatError):
    """A lock file cannot be read, so that nobody can tell whether it conflicts."""


class LockLost(ResticFormatError):
    """Our own lock vanished or could not be refreshed in time; going on would be unsafe."""


class BlobMissing(ResticFormatError):
    """No index knows this blob."""

    @classmethod
    def of(cls, blob_type: BlobType, blob_id: str) -> Self:
        """The error for a blob, which has the hexadecimal id *blob_id*."""
        return cls(f"{blob_type.value} blob {blob_id} is not in any index; run check, then repair index")


class DamagedFile(ResticFormatError):
    """A file or blob in the repository is there but not what it must be; ``cause`` says why."""

    def __init__(
        self,
        what: str,
        cause: ResticFormatError | None = None,
        *,
        object: str = "",
        pack: bytes = b"",
    ) -> None:
        """*what* is the object's name, or a sentence about *object*."""
        super().__init__(what, object=object or what, pack=pack, cause=cause)

    def __str__(self) -> str:
        if self.cause is None:
            return self.what
        # The cause may name the same object in other words.
        told = f"{self.cause.what} [{self.cause.clause}]" if isinstance(self.cause, SpecError) else str(self.cause)
        return f"{self.what}: {told}"


class SnapshotNotFound(ResticFormatError):
    """No snapshot, or more than one, fits what was asked for."""


class KeepsNothing(UsageError):
    """A keep policy would remove every snapshot of a group."""


class NoPolicy(UsageError):
    """No snapshot is named and no rule given, so that nothing says which snapshots to keep."""


class Incomplete(ResticFormatError):
    """An operation of the library has come to its end, but not everything could be done; the rest was."""

    def __init__(self, what: str, result: object) -> None:
        super().__init__(what)
        self.result = result
        """The result that is returned where all is well; it says what could not be done."""


class Interrupted(BaseException):
    """The user, or the system, asked to stop.

    It is not a fault of a repository, and a signal raises it anywhere: like `KeyboardInterrupt` and `asyncio.CancelledError`
    it is not an `Exception`, so that nothing which goes on after an error takes it for one.
    """
