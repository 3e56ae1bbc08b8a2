"""The way to a server: one session at a time, and a new one when it has ended.

A session that could not be started the first time is an error for good: the host, the key or the password is wrong. One that
ended later may have met a network that was away for a while: then the operation fails, and when it is repeated a new session
is started. That is safe, because no file has its name before the server has confirmed all of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from restic_format.errors import StorageError
from restic_format.storage.child import ChildUnusable
from restic_format.storage.sftp import protocol
from restic_format.storage.sftp.protocol import Attributes, Request, Status
from restic_format.storage.sftp.session import Pending, Session
from restic_format.storage.transport import Transport
from restic_format.words import visible
from restic_spec import gojson

_MOST_LEFT = 100
"""Unfinished files that are remembered, to be removed."""


class SessionNotStarted(StorageError):
    """The server cannot be reached, or does not let us in, or is none: asking again is of no use."""

    permanent = True


class Connection:
    """Sessions with the program *words*. *questions* are about paths: their attributes are asked for when a session begins.

    *location* is for messages.
    """

    def __init__(self, words: Sequence[str], transport: Transport, questions: Sequence[bytes], location: str) -> None:
        """Starts the program, and does not wait for it. Raises `SessionNotStarted`."""
        self._location = location
        self.transport = transport
        self._words = words
        self._questions = [protocol.naming(protocol.STAT, path) for path in questions]
        self._lock = threading.Lock()
        self._was_ready = False
        self._is_closed = False
        self._left: deque[tuple[Session, Pending | None, bytes]] = deque(maxlen=_MOST_LEFT)
        try:
            self._session = self._start()
        except ChildUnusable as error:
            raise SessionNotStarted(f"unable to open repository at {location}: {error}") from error

    def _start(self) -> Session:
        return Session(self._words, self.transport, self._questions)

    def session(self) -> Session:
        """A session that is ready. Raises `StorageError`."""
        session = self._session
        if session.ended and self._was_ready:
            with self._lock:
                if self._is_closed:
                    raise StorageError("sftp: the connection was closed")
                if self._session.ended:
                    self._session.close()
                    self._session = self._start()
                session = self._session
        try:
            session.get_ready()
        except StorageError as error:
            if self._was_ready:
                raise
            why = f"unable to start the sftp session, error: {error.what.removeprefix('sftp: ')}"
            raise SessionNotStarted(f"unable to open repository at {self._location}: {why}") from error
        self._was_ready = True
        if self._left:
            self._remove_left(session)
        return session

    def _remove_left(self, session: Session) -> None:
        with suppress(IndexError):
            while True:
                wrote, opening, path = self._left.popleft()
                requests = [protocol.naming(protocol.REMOVE, path)]
                if wrote is session and opening is not None:
                    opening.settle()
                    reply = opening.reply
                    if reply is not None and reply.kind == protocol.HANDLE:
                        requests.insert(0, protocol.naming(protocol.CLOSE, session.checked(protocol.handle_of, reply)))
                session.forget(requests)

    def known(self, number: int) -> Attributes | None:
        """What was answered first to a question; None where there is no such path, or it is not told. Raises `StorageError`."""
        session = self.session()
        reply = session.answers[number].wait()
        return session.checked(protocol.attributes_of, reply) if reply.kind == protocol.ATTRS else None

    def remove_later(self, wrote: Session, opening: Pending | None, path: bytes) -> None:
        """Have an unfinished file removed before the next operation. *opening* it was asked of the session *wrote*; None where
        it is closed.

        This may be called from anywhere, a destructor included: it waits for nothing.
        """
        self._left.append((wrote, opening, path))

    def close(self) -> None:
        """End the session, and wait for that. There will be no other."""
        self._is_closed = True
        self._session.close()

    def leave(self) -> None:
        """End the session, and do not wait for that. There will be no other."""
        self._is_closed = True
        self._session.leave()


def sending(session: Session, requests: Sequence[Request]) -> list[protocol.Reply]:
    """The answers to *requests*, which are under way at once."""
    pending = session.send(requests)
    pending[-1].settle()  # servers answer in order: the others are there by then
    return [waits.wait() for waits in pending]


def told(operation: str, path: bytes, status: Status, object: str = "") -> StorageError:
    """The error that *status* of an *operation* on *path* stands for."""
    return status.error_class(f"{operation} {visible(gojson.to_text(path))}: {status.words}", object=object)
