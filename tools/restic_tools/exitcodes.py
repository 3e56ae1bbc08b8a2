"""Exit codes and messages of errors, by error class.

The codes are restic's; scripts rely on them.
"""

from __future__ import annotations

import os

from restic_format.systemtext import errno_text
from restic_format.words import visible
from restic_tools.argv import UsageFailure

SUCCESS, FAILURE, NOT_COMPARED, INCOMPLETE = 0, 1, 2, 3
NO_REPOSITORY, LOCK_FAILED, WRONG_PASSWORD, INTERRUPTED, READER_GONE = 10, 11, 12, 130, 141

MEANINGS = {
    SUCCESS: "success",
    FAILURE: "the command failed",
    NOT_COMPARED: "two things could not be compared, as far as that is not said by another code",
    INCOMPLETE: "the rest was done: some source data could not be read, or some snapshots not removed",
    NO_REPOSITORY: "the repository does not exist",
    LOCK_FAILED: "the repository is locked by another process",
    WRONG_PASSWORD: "wrong password: it opens none of the keys",
    INTERRUPTED: "interrupted by a signal",
    READER_GONE: "ended quietly, because nobody reads its output any more (SIGPIPE)",
}
"""What each exit code says, for the help pages."""

TABLE: dict[str, int] = {
    "RepositoryNotFound": NO_REPOSITORY,
    "AlreadyLocked": LOCK_FAILED,
    "WrongPassword": WRONG_PASSWORD,
    "Interrupted": INTERRUPTED,
    "KeyboardInterrupt": INTERRUPTED,
}
"""Error classes (of ``restic_format.errors``, by name so that the engine need not be imported) that have their own code."""


PLAIN = {"AlreadyLocked", "KeepsNothing", "SnapshotNotFound"}
"""Errors that are told without ``Fatal:`` before them."""


SEVERAL_LINES = {"AlreadyLocked", "InvalidLock", "RepositoryNotFound", "LocationInvalid"}
"""Errors whose text has several lines; names in it are printable. All others are told in one."""


class Failure(Exception):
    """A command cannot do what it was asked: ``Fatal: text``, or the text alone where it is *plain*, by default with exit code
    1; a *block* has several lines."""

    def __init__(self, text: str, code: int = FAILURE, *, block: bool = False, plain: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.block = block
        self.plain = plain


class OutputFailed(Exception):
    """The output that a command is for cannot be written."""


class ReaderGone(OutputFailed):
    """Nobody reads that output any more: the command ends quietly."""


class Incomplete(Exception):
    """A command did part of its work: ``Warning: text`` and exit code 3."""


def exit_code(error: BaseException) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, Failure):
        return error.code
    if isinstance(error, Incomplete):
        return INCOMPLETE
    if isinstance(error, ReaderGone):
        return READER_GONE
    for kind in type(error).__mro__:
        code = TABLE.get(kind.__name__)
        if code is not None:
            return code
    return FAILURE


def describe(error: BaseException) -> str:
    """The message for an error: as few lines as possible, never a traceback."""
    if isinstance(error, UsageFailure):
        return visible(str(error))
    if isinstance(error, Failure):
        return ("" if error.plain else "Fatal: ") + visible(str(error), block=error.block)
    if isinstance(error, OutputFailed):
        return f"Fatal: {error}"
    if isinstance(error, Incomplete):
        return f"Warning: {visible(str(error))}"
    code = exit_code(error)
    if code == INTERRUPTED:
        return "interrupted"
    if _kinds(error) & PLAIN:
        return _text(error)
    if isinstance(error, OSError):
        return f"Fatal: {visible(_os_text(error))}"
    if isinstance(error, MemoryError):
        return "Fatal: not enough memory"
    if isinstance(error, RecursionError):
        return "Fatal: the data is nested too deeply"
    if "ResticFormatError" in _kinds(error):
        return f"Fatal: {_text(error)}"
    text = f"{type(error).__name__}: {visible(str(error))}"
    return f"Fatal: unexpected {text} (set RESTIC_FORMAT_DEBUG=1 to see where; please report this)"


def _text(error: BaseException) -> str:
    return str(error) if _kinds(error) & SEVERAL_LINES else visible(str(error))


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _os_text(error: OSError) -> str:
    if error.filename is None:
        try:
            os.getcwd()
        except OSError as gone:
            return f"getwd: {errno_text(gone)}, the current folder is gone"
        return errno_text(error)
    name = error.filename
    shown = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)
    return f"{shown}: {errno_text(error)}"
