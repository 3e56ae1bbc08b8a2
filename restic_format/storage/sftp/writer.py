"""Writing files on a server.

A file is written under a temporary name as restic gives it, synced, made read-only and renamed when the server has confirmed
all of that; then its folder is synced, where the server can do it. What a killed program leaves is for `unlock` to remove.
"""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from restic_format.errors import FileExists, FileMissing, StorageError
from restic_format.storage.base import Buffer, Content, pieces_of
from restic_format.storage.sftp import protocol
from restic_format.storage.sftp.connection import Connection, sending
from restic_format.storage.sftp.files import attributes, make_folder_and_above, must, status_or_none
from restic_format.storage.sftp.protocol import Reply, Request
from restic_format.storage.sftp.session import Pending, Session
from restic_spec.ids import ID_SIZE

TEMPORARY = b"-restic-temp-"

_UNDER_WAY = 16 << 20
"""Bytes of a file that were sent and are not confirmed."""

_AT_ONCE = 8
"""Requests with data that are sent at once."""

_NO_SYNC = (protocol.UNSUPPORTED, protocol.BAD_MESSAGE)


def temporary_suffix() -> bytes:
    """What is added to a name for a file that is not finished."""
    return TEMPORARY + os.urandom(16).hex().encode()


class SftpWriter:
    """A file in the making (see `Writer`).

    *path_of* and *what* give the path of a file and what to call it by its name; *modes* are those of new folders and files.
    *place* is the path that it will have, where that is known.
    """

    def __init__(
        self,
        connection: Connection,
        path_of: Callable[[str], bytes],
        what: Callable[[str], str],
        modes: tuple[int, int],
        *,
        place: bytes = b"",
    ) -> None:
        self._temporary = b""
        self._connection = connection
        self._session = connection.session()
        self._path_of, self._what, self._modes = path_of, what, modes
        # Any id will do, and that of a pack picks a folder.
        self._temporary = (place or path_of(os.urandom(ID_SIZE).hex())) + temporary_suffix()
        self._pace = connection.transport.upload
        self._handle = b""
        self._is_open = True
        """Whether the server was not asked yet to close it."""
        self._waits: list[Buffer] = []
        self._waiting = 0
        self._size = 0
        self._sent: deque[Pending] = deque()
        [self._opening] = self._session.send([self._open()])

    def __del__(self) -> None:
        # Nothing can be waited for here: the interpreter may call this within any function, in any thread.
        if getattr(self, "_temporary", b"") and hasattr(self, "_opening"):
            self._leave(self._temporary)

    def _open(self) -> Request:
        flags = protocol.READ_FLAG | protocol.WRITE_FLAG | protocol.CREATE_FLAG | protocol.NEW_FLAG
        return protocol.opening(self._temporary, flags, self._modes[1])

    def _get_handle(self) -> bytes:
        """The handle of the file, whose folder is made if it is missing."""
        if not self._handle:
            session = self._session
            reply = self._opening.wait()
            status = status_or_none(session, reply)
            if status is not None and status.error_class is FileMissing:
                make_folder_and_above(session, self._folder, self._modes[0])
                [self._opening] = session.send([self._open()])
                reply = self._opening.wait()
            if reply.kind != protocol.HANDLE:
                self._must(reply, "open")
            self._handle = session.checked(protocol.handle_of, reply)
        return self._handle

    @property
    def _folder(self) -> bytes:
        return posixpath.dirname(self._temporary) or b"."

    def append(self, data: Content) -> None:
        """See `Writer`."""
        step, before, known = self._session.sizes().write, self._waits, len(self._waits)
        pieces: deque[Buffer] = deque(piece for piece in pieces_of(data) if len(piece))
        requests: list[Request] = []
        while pieces:
            piece = pieces.popleft()
            room = step - self._waiting
            if len(piece) > room:
                view = memoryview(piece)
                piece, rest = view[:room], view[room:]
                pieces.appendleft(rest)
            self._waits.append(piece)
            self._waiting += len(piece)
            if self._waiting == step:
                requests.append(self._full())
                if len(requests) == _AT_ONCE:
                    self._send(requests)
                    requests = []
        self._send(requests)
        # What is given may change.
        new = known if self._waits is before else 0
        self._waits[new:] = map(bytes, self._waits[new:])

    def _full(self) -> Request:
        """The request to write what waits."""
        data, self._waits = self._waits, []
        request = protocol.writing(self._get_handle(), self._size, data)
        self._size += self._waiting
        self._waiting = 0
        return request

    def _send(self, requests: Sequence[Request]) -> None:
        if not requests:
            return
        if self._pace is None:
            self._sent += self._session.send(requests)
        else:
            for request in requests:
                self._pace.wait(sum(map(len, request.data)))
                self._sent += self._session.send([request])
        most = max(2, _UNDER_WAY // self._session.sizes().write)
        if len(self._sent) > most:
            self._confirm(most // 2)

    def _confirm(self, left: int) -> None:
        """Wait until no more than *left* requests are unconfirmed."""
        if len(self._sent) > left:
            self._sent[len(self._sent) - left - 1].settle()
        while len(self._sent) > left:
            self._written(self._sent.popleft().wait())

    def _written(self, reply: Reply) -> None:
        self._must(reply, "write")

    def _must(self, reply: Reply, operation: str) -> None:
        """See `must`. The folder is named: the temporary name would tell nobody anything."""
        must(self._session, reply, operation, self._folder, folder=self._folder)

    def _flush(self) -> None:
        if self._waits:
            self._send([self._full()])

    def contents(self) -> Iterator[bytes]:
        """See `Writer`. They are read back from the server."""
        self._flush()
        self._confirm(0)
        offset, step = 0, self._session.sizes().read
        while offset < self._size:
            reply = self._session.ask(protocol.reading(self._get_handle(), offset, min(step, self._size - offset)))
            if reply.kind != protocol.DATA:
                self._must(reply, "read")
                raise StorageError("an unfinished file was not read back")
            offset += len(reply.body)
            yield reply.body

    def finish(self, name: str, *, replace: bool = True) -> None:
        """See `Writer`. Without *replace* a file of that name stays: then this raises `FileExists`."""
        target = self._path_of(name)
        try:
            self._finish(target, name, replace=replace)
        except BaseException:
            self.abort()
            raise

    def _finish(self, target: bytes, name: str, *, replace: bool) -> None:
        session, handle, what = self._session, self._get_handle(), self._what(name)
        self._flush()
        syncing = [protocol.extended(protocol.SYNC, handle)] if protocol.SYNC in session.extensions else []
        changing = protocol.changing_mode(protocol.FSETSTAT, handle, self._modes[1] & ~0o222)
        pending = session.send([changing, *syncing, protocol.naming(protocol.CLOSE, handle)])
        self._is_open = False
        folder = _Folder(session, target)
        try:
            self._confirm(0)
            # That the mode cannot be changed hinders nobody.
            _, *synced, closed = [waits.wait() for waits in pending]
            for reply in synced:
                status = status_or_none(session, reply)
                if status is None or status.code not in _NO_SYNC:
                    must(session, reply, "fsync", target, what)
            must(session, closed, "close", target, what)
            if replace:
                self._rename(target, what, folder)
            else:
                self._rename_new(target, what, folder)
        finally:
            folder.close()
        self._temporary = b""

    def _rename(self, target: bytes, what: str, folder: _Folder) -> None:
        session = self._session
        extension = protocol.POSIX_RENAME if protocol.POSIX_RENAME in session.extensions else b""
        request = protocol.renaming(self._temporary, target, extension)
        reply = folder.change(request)
        status = status_or_none(session, reply)
        if status is not None and status.error_class is FileMissing:
            folder.make(self._modes[0])
            reply = folder.change(request)
        elif not extension and status is not None and status.code != protocol.OK and _is_there(self, target):
            self._replace(target, what)
            return
        must(session, reply, "rename", target, what)

    def _replace(self, target: bytes, what: str) -> None:
        """Rename to a name that is taken, where the server does not: the file that has it is moved aside and then removed."""
        session, aside = self._session, target + temporary_suffix()
        must(session, session.ask(protocol.renaming(target, aside)), "rename", target, what)
        reply = session.ask(protocol.renaming(self._temporary, target))
        status = status_or_none(session, reply)
        if status is None or status.code != protocol.OK:
            session.ask(protocol.renaming(aside, target))
            must(session, reply, "rename", target, what)
        session.ask(protocol.naming(protocol.REMOVE, aside))

    def _rename_new(self, target: bytes, what: str, folder: _Folder) -> None:
        """Give the file its name, unless another has it."""
        session = self._session
        linked = protocol.HARD_LINK in session.extensions
        request = protocol.renaming(self._temporary, target, protocol.HARD_LINK if linked else b"")
        if not linked and _is_there(self, target):
            raise _taken(what)
        reply = folder.change(request)
        status = status_or_none(session, reply)
        if status is not None and status.error_class is FileMissing:
            folder.make(self._modes[0])
            reply = folder.change(request)
            status = status_or_none(session, reply)
        if status is None or status.code != protocol.OK:
            if _is_there(self, target):
                raise _taken(what)
            if linked:  # a file system without hard links: there it can only be looked at what has the name
                reply = folder.change(protocol.renaming(self._temporary, target))
                linked = False
            must(session, reply, "rename", target, what)
        if linked:
            session.ask(protocol.naming(protocol.REMOVE, self._temporary))

    def abort(self) -> None:
        """See `Writer`."""
        temporary, self._temporary = self._temporary, b""
        if not temporary:
            return
        session = self._session
        self._waits = []
        if session.ended:
            self._leave(temporary)
            return
        try:
            requests = [protocol.naming(protocol.REMOVE, temporary)]
            if self._is_open and (handle := self._handle or self._late_handle()):
                requests.insert(0, protocol.naming(protocol.CLOSE, handle))
            sending(session, requests)
        except StorageError:
            self._leave(temporary)

    def _late_handle(self) -> bytes:
        reply = self._opening.wait()
        return self._session.checked(protocol.handle_of, reply) if reply.kind == protocol.HANDLE else b""

    def _leave(self, temporary: bytes) -> None:
        """Have the file removed later."""
        self._connection.remove_later(self._session, self._opening if self._is_open else None, temporary)


class _Folder:
    """The folder of *target*, in which names are changed: each change is made durable where the server can do that.

    OpenSSH opens a folder like a file, and syncs it then. Another one may refuse; that hinders nobody.
    """

    def __init__(self, session: Session, target: bytes) -> None:
        """Asks for the folder, and does not wait."""
        self._session = session
        self._path = posixpath.dirname(target) or b"."
        self._opening = self._open()

    def _open(self) -> Pending | None:
        if protocol.SYNC not in self._session.extensions:
            return None
        return self._session.send([protocol.opening(self._path, protocol.READ_FLAG)])[0]

    def _handle(self) -> bytes:
        reply = None if self._opening is None else self._opening.wait()
        return self._session.checked(protocol.handle_of, reply) if reply and reply.kind == protocol.HANDLE else b""

    def make(self, mode: int) -> None:
        """Make the folder, which was missing. Raises `StorageError`."""
        make_folder_and_above(self._session, self._path, mode)
        self._opening = self._open()

    def change(self, request: Request) -> Reply:
        """The answer to *request*, which changes a name in the folder."""
        handle = self._handle()
        return sending(self._session, [request, *([protocol.extended(protocol.SYNC, handle)] if handle else [])])[0]

    def close(self) -> None:
        """Be done with it."""
        with suppress(StorageError):
            if handle := self._handle():
                self._session.forget([protocol.naming(protocol.CLOSE, handle)])


def _is_there(writer: SftpWriter, target: bytes) -> bool:
    try:
        attributes(writer._session, target)
    except FileMissing:
        return False
    return True


def _taken(what: str) -> FileExists:
    return FileExists(f"{what}: already exists", object=what)
