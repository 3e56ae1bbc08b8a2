"""Repositories through rclone: ``rclone:remote:path``. rclone is started, and speaks restic's REST protocol over its pipes."""

from __future__ import annotations

import random

from restic_format.errors import StorageError, UsageError
from restic_format.storage.base import Storage
from restic_format.storage.child import Child, words_of
from restic_format.storage.extended import RcloneOptions, read_options
from restic_format.storage.http.reply import NONE
from restic_format.storage.locations import Options
from restic_format.storage.rest import V2, RestStorage
from restic_format.storage.transport import Transport
from restic_format.words import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from restic_format.storage.http.h2pipe import H2Pipe


def open_rclone(rest: str, options: Options, transport: Transport) -> Storage:
    """The storage at ``rclone:`` *rest*, which is what rclone calls a remote and a path in it: ``remote:path``.

    Raises:
        UsageError: an option that makes no sense, or a package that is missing.
        StorageError: rclone cannot be started, or does not answer.
    """
    known = read_options(RcloneOptions, "rclone", options)
    words = [*_words(known.program, "program"), *_words(known.args, "args"), rest]
    try:
        from restic_format.storage.http.h2pipe import H2Pipe
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("restic_format"):
            raise
        raise UsageError("rclone: needs a package that is not installed: pip install 'restic-format[rclone]'") from None
    location = visible(f"rclone:{rest}")
    try:
        child = Child(words, transport.environment, transport.report, name="rclone", prefix="rclone: ")
        pipe = H2Pipe(child, transport)
        # Any answer will do: that there is no such file shows that it is ready.
        pipe.wait_ready(f"/file-{random.getrandbits(64)}", {"Accept": V2}, known.timeout)
    except StorageError as error:
        raise type(error)(f"unable to open repository at {location}: {error.what}") from None
    return RcloneStorage(pipe, location, known.connections)


def _words(text: str, option: str) -> list[str]:
    return words_of(text, f"rclone.{option}") if text.strip() else []


class RcloneStorage(RestStorage):
    """A repository behind the rclone that *pipe* talks to."""

    def __init__(self, pipe: H2Pipe, location: str, connections: int) -> None:
        super().__init__(pipe, "/", location, connections, dict(NONE))
        self.pipe = pipe

    @property
    def doubtful(self) -> bool:
        """rclone says that a file is missing also where it could not find out."""
        return True

    def close(self) -> None:
        """Let rclone end. That happens also when nobody has this object any more."""
        self.pipe.close()
