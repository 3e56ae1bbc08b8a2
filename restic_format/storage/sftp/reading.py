"""Reading files on a server: opened once for all who read at a time, asked for in pieces, many of which are under way."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from restic_format.errors import FileUnusable
from restic_format.storage.limited import Pace
from restic_format.storage.sftp import protocol
from restic_format.storage.sftp.files import must, size_of, status_or_none, told_attributes
from restic_format.storage.sftp.protocol import Reply
from restic_format.storage.sftp.session import Pending, Session

_ROUND = 32
"""Requests for data of a file that are sent at once; two such rounds are under way."""


class Opened:
    """A file that is being opened for reading; `get_ready` waits until it is. *what* is for messages."""

    def __init__(self, session: Session, path: bytes, what: str, pace: Pace | None) -> None:
        """Asks the server to open *path*. Raises `StorageAway`."""
        self.session = session
        self.users = 0
        """How many use it, where it is shared."""
        self.size = -1
        """Bytes of the file, when it is ready."""
        self._path, self._what, self._pace = path, what, pace
        self._handle = b""
        self._pending = session.send([protocol.naming(protocol.STAT, path), protocol.opening(path, protocol.READ_FLAG)])

    def get_ready(self) -> None:
        """Wait until it is open. Several may. Raises `FileMissing`, `FileUnusable`, `StorageError`."""
        if self.size >= 0:
            return
        session, what = self.session, self._what
        found = told_attributes(session, self._pending[0].wait(), self._path, what)
        if found.mode is not None and not stat.S_ISREG(found.mode) and not stat.S_ISDIR(found.mode):
            session.fail(f"{what} is not a regular file, and the server may wait for ever to open it")
        size = size_of(found, what)
        reply = self._pending[1].wait()
        if reply.kind != protocol.HANDLE:
            must(session, reply, "open", self._path, what)
        self._handle = session.checked(protocol.handle_of, reply)
        self.size = size

    def close(self) -> None:
        """Close the file, once; nobody waits for that."""
        if self.session.ended:
            return
        self._pending[1].settle()
        reply = self._pending[1].reply
        if reply is not None and reply.kind == protocol.HANDLE:
            self.session.forget([protocol.naming(protocol.CLOSE, self.session.checked(protocol.handle_of, reply))])

    def read(self, offset: int, length: int) -> bytes:
        """*length* bytes from *offset*. Raises `FileUnusable`: there are fewer."""
        if not length:
            return b""
        if length <= self.session.sizes().read:
            self._wait(length)
            reply = self.session.ask(protocol.reading(self._handle, offset, length))
            if reply.kind == protocol.DATA and len(reply.body) == length:
                return reply.body
        content = bytearray(length)
        self.read_into(offset, memoryview(content))
        return bytes(content)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill *target* from *offset* on. Raises as `read`."""
        step = self.session.sizes().read
        places = iter(range(0, len(target), step))
        rounds: list[list[tuple[int, Pending]]] = []
        try:
            while True:
                while len(rounds) < 2 and (starts := list(islice(places, 1 if self._pace else _ROUND))):
                    rounds.append(self._ask(offset, target, starts, step))
                if not rounds:
                    return
                rounds[0][-1][1].settle()
                for start, pending in rounds[0]:
                    self._complete(offset + start, target[start : start + step], pending)
                del rounds[0]
        finally:
            # Whoever gave *target* may use it for something else now.
            for _, pending in [waits for asked in rounds for waits in asked]:
                pending.settle()

    def _ask(self, offset: int, target: memoryview, starts: Sequence[int], step: int) -> list[tuple[int, Pending]]:
        parts = [target[start : start + step] for start in starts]
        self._wait(sum(map(len, parts)))
        requests = [
            protocol.reading(self._handle, offset + start, len(part), part) for start, part in zip(starts, parts, strict=True)
        ]
        return list(zip(starts, self.session.send(requests), strict=True))

    def _complete(self, offset: int, part: memoryview, pending: Pending) -> None:
        """See that *part* is filled: a server may send less than it was asked for."""
        have = 0
        try:
            while True:
                reply = pending.wait()
                if pending.filled < 0:
                    self._say_why(reply, offset, have, len(part))
                have += pending.filled
                if have == len(part):
                    return
                rest = part[have:]
                [pending] = self.session.send([protocol.reading(self._handle, offset + have, len(rest), rest)])
        finally:
            pending.settle()

    def _say_why(self, reply: Reply, offset: int, have: int, wanted: int) -> None:
        """Raise what *reply* says, which came instead of data."""
        status = status_or_none(self.session, reply)
        if status is not None and status.code == protocol.END:
            found = f"has {offset + have} bytes, wanted {wanted} from {offset}"
            raise FileUnusable(f"{self._what}: {found}; it was cut short", object=self._what, clause="LAYOUT-8")
        must(self.session, reply, "read", self._path, self._what)
        self.session.checked(_no_data, reply)

    def _wait(self, size: int) -> None:
        if self._pace is not None:
            self._pace.wait(size)


class OpenFiles:
    """Files that are open for reading. Several who read ranges of one file at a time share it: it is opened and closed once."""

    def __init__(self, pace: Pace | None) -> None:
        self._pace = pace
        self._lock = threading.Lock()
        self._open: dict[bytes, Opened] = {}

    @contextmanager
    def open(self, session: Session, path: bytes, what: str) -> Iterator[Opened]:
        """The open file *path*, for the length of the block. Raises `FileMissing`, `FileUnusable`, `StorageError`."""
        with self._lock:
            file = self._open.get(path)
            if file is None or file.session is not session:
                file = self._open[path] = Opened(session, path, what, self._pace)
            file.users += 1
        try:
            file.get_ready()
            yield file
        finally:
            with self._lock:
                file.users -= 1
                is_last = not file.users
                if is_last and self._open.get(path) is file:
                    del self._open[path]
            if is_last:
                file.close()


def _no_data(reply: Reply) -> None:
    raise protocol.ProtocolError(f"an answer of type {reply.kind} came where data were due")
