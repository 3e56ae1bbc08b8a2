"""A session with an SFTP server: requests from any number of threads, and the thread that hands out the answers.

Many requests are under way at once. The reader hands every answer to whoever waits for it, and waits for nobody itself: a
server that cannot get rid of its answers would take no more requests. Data are read straight to where they are wanted.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from restic_format.errors import StorageAway, StorageError
from restic_format.storage.base import Buffer
from restic_format.storage.child import Child, ChildStuck
from restic_format.storage.sftp import protocol
from restic_format.storage.sftp.protocol import ProtocolError, Reply, Request, Sizes
from restic_format.storage.transport import Transport
from restic_format.words import visible

Found = TypeVar("Found")

_MOST_IN_PACKET = 1 << 20
"""Bytes of the largest packet that is taken; OpenSSH sends a quarter of it."""

_BUFFER = 64 << 10
_LOOK = 1.0
"""Seconds between two looks at whether anything still moves."""

_EXIT = 2.0
"""Seconds that are waited for how the program ended, once its output has."""


class Pending:
    """A request that is under way, and then its answer."""

    __slots__ = ("_done", "_is_done", "_session", "filled", "reply", "target")

    def __init__(self, session: Session, target: memoryview | None) -> None:
        self._session = session
        self._done = threading.Lock()
        self._done.acquire()
        self._is_done = False
        self.target = target
        self.filled = -1
        """Bytes that were read into the target; -1 where the answer is another."""
        self.reply: Reply | None = None

    def finish(self, reply: Reply | None) -> None:
        """Hand over the answer; None where there will be none. For the reader."""
        self.reply = reply
        self._is_done = True
        self._done.release()

    def settle(self) -> None:
        """Wait until there is an answer, or will be none."""
        since = 0.0
        while not self._is_done:
            # A signal may strike while the lock is held for a moment: what counts is the mark.
            if self._done.acquire(timeout=_LOOK):
                self._done.release()
            else:
                since = since or time.monotonic()
                self._session.look(since)

    def wait(self) -> Reply:
        """The answer. Raises `StorageAway` where the session has ended before it came."""
        self.settle()
        if self.reply is None:
            raise self._session.failure_text()
        return self.reply


class Session:
    """An SFTP session with the program *words*, over its standard input and output.

    *questions* are asked as soon as the server has said which extensions it has; what it answers is in `answers`.
    """

    def __init__(self, words: Sequence[str], transport: Transport, questions: Sequence[Request]) -> None:
        """Raises `ChildUnusable`; whether the server can be reached shows later."""
        self._stuck_after = transport.stuck_after if transport.stuck_after > 0 else math.inf
        self._questions = questions
        self._child = Child(words, transport.environment, transport.report)
        self._sending = threading.Lock()
        self._waiting: dict[int, Pending] = {}
        self._number = 0
        self._moved = time.monotonic()
        self._why = ""
        self._ended = False
        self._started = threading.Event()
        self.extensions: dict[bytes, bytes] = {}
        """Those that the server offers, when the session is ready."""
        self.answers: list[Pending] = []
        """To the questions, when the session is ready."""
        self._sizes: Sizes | None = None
        self._limits: Pending | None = None
        self._reader = threading.Thread(target=self._run, name="sftp-reader", daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """Whether the session is over, or will be in a moment: another one is needed."""
        return self._ended or bool(self._why)

    def get_ready(self) -> None:
        """Wait until the server has answered for the first time. Raises `StorageAway`: it never did."""
        since = time.monotonic()
        while not self._started.wait(_LOOK):
            # A person may take any time to type a password.
            if not self._child.has_terminal and time.monotonic() - since > self._stuck_after:
                self.fail(f"no answer for {self._stuck_after:g} seconds")
        if self._ended:
            raise self.failure_text()

    def sizes(self) -> Sizes:
        """How much may be read and written at once."""
        if self._sizes is None:
            reply = None if self._limits is None else self._limits.wait()
            known = reply is not None and reply.kind == protocol.EXTENDED_REPLY
            self._sizes = self.checked(protocol.sizes_of, reply) if known and reply is not None else protocol.SMALLEST
        return self._sizes

    def send(self, requests: Sequence[Request]) -> list[Pending]:
        """Ask all of *requests* at once. Their data have been passed on when this returns. Raises `StorageAway`."""
        pending = [Pending(self, request.target) for request in requests]
        try:
            with self._sending:
                pieces = self._packed(requests, pending)
                self._child.write(pieces, self._stuck_after)
        except (ChildStuck, OSError) as error:
            if isinstance(error, ChildStuck):
                self.fail(f"the server took nothing for {self._stuck_after:g} seconds")
            if threading.current_thread() is not self._reader:
                self._reader.join(_EXIT)  # it learns why, and writes to no target any more
            raise self.failure_text() from None
        except BaseException:  # a signal: half a request may have been sent
            self.fail("a request was interrupted while it was sent")
            raise
        return pending

    def _packed(self, requests: Sequence[Request], pending: Sequence[Pending]) -> list[Buffer]:
        """The bytes to write; the answers are expected from now on."""
        if self._ended:  # the reader has answered everybody for the last time
            raise BrokenPipeError
        pieces: list[Buffer] = []
        small: list[bytes] = []
        for request, waits in zip(requests, pending, strict=True):
            self._number = number = (self._number + 1) & 0xFFFFFFFF
            self._waiting[number] = waits
            size = len(request.fields) + sum(map(len, request.data))
            small += (protocol.head(request.kind, number, size), request.fields)
            if request.data:
                pieces += (b"".join(small), *request.data)
                small = []
        if small:
            pieces.append(b"".join(small))
        return pieces

    def ask(self, request: Request) -> Reply:
        """The answer to one request. Raises `StorageAway`."""
        return self.send([request])[0].wait()

    def forget(self, requests: Sequence[Request]) -> None:
        """Ask *requests* without any interest in the answers, nor in whether the session has ended."""
        try:
            self.send(requests)
        except StorageError:
            return

    def look(self, since: float) -> None:
        """End the session if nothing was sent or received since *since*, and for too long."""
        if time.monotonic() - max(self._moved, self._child.moved, since) > self._stuck_after:
            self.fail(f"no answer for {self._stuck_after:g} seconds")

    def fail(self, why: str) -> None:
        """End the session, because of *why*. Who waits for an answer gets none."""
        self._why = self._why or why
        self._child.kill()

    def failure_text(self) -> StorageAway:
        """The error for those who wanted something of a session that has ended."""
        return StorageAway(f"sftp: {self._why or 'the session has ended'}")

    def checked(self, read: Callable[[Reply], Found], reply: Reply) -> Found:
        """What *read* makes of *reply*. Raises `StorageAway` where the server has sent nonsense, which ends the session."""
        try:
            return read(reply)
        except ProtocolError as error:
            self.fail(f"the server does not keep to the protocol: {error}")
            raise self.failure_text() from None

    def close(self) -> None:
        """End the session, within a few seconds."""
        if self._sending.acquire(timeout=_EXIT):
            try:
                self._why = self._why or "the session was closed"
                self._child.close()
            finally:
                self._sending.release()
        else:
            self.fail("the session was closed")
            self._child.close()

    def leave(self) -> None:
        """Close the program's input, at which it ends; nobody waits for that."""
        if self._sending.acquire(blocking=False):
            self._why = self._why or "the session was closed"
            self._child.close_input()
            self._sending.release()
        else:
            self.fail("the session was closed")

    # What follows is the reader's.

    def _run(self) -> None:
        try:
            source = _Source(self._child.output)
            self._greet(source)
            while True:
                self._moved = time.monotonic()
                self._pass_on(source)
        except (EOFError, OSError):
            self._why = self._why or self._say_end()
        except ProtocolError as error:
            self._why = self._why or f"the server does not keep to the protocol: {error}"
        except StorageError as error:
            self._why = self._why or error.what.removeprefix("sftp: ")
        finally:
            self._ended = True
            self._child.kill()
            with self._sending:  # nobody is added any more
                left, self._waiting = self._waiting, {}
            for pending in left.values():
                pending.finish(None)
            self._started.set()
            self._child.close_output()
            self._child.ended(_EXIT)

    def _say_end(self) -> str:
        """How the program ended."""
        name, how = self._child.name, self._child.ended(_EXIT)
        said = f": {self._child.last_line}" if self._child.last_line else ""
        return f"{name} has closed the connection{said}" if how is None else f"{name} has ended with {how}{said}"

    def _greet(self, source: _Source) -> None:
        """Learn what the server offers."""
        self._child.write([protocol.greeting()], self._stuck_after)
        size = source.u32()
        if not 5 <= size <= _MOST_IN_PACKET:
            raise ProtocolError(_no_server(size))
        packet = source.take(size)
        if packet[0] != protocol.VERSION_REPLY:
            raise ProtocolError(f"its first packet has type {packet[0]}")
        self.extensions = protocol.extensions_of(packet[1:])
        self._child.keep_terminal_no_longer()
        offers = [protocol.extended(protocol.LIMITS)] if protocol.LIMITS in self.extensions else []
        # Nothing was sent but the greeting: these fit into the pipe.
        sent = self.send([*offers, *self._questions])
        self._limits = sent.pop(0) if offers else None
        self.answers = sent
        self._started.set()

    def _pass_on(self, source: _Source) -> None:
        """Read one answer and hand it over."""
        size, kind, number = source.head()
        if not 5 <= size <= _MOST_IN_PACKET:
            raise ProtocolError(f"a packet of {size} bytes")
        pending = self._waiting.pop(number, None)
        if pending is None:
            raise ProtocolError(f"an answer to request {number}, which nobody has made")
        try:
            if kind != protocol.DATA:
                reply = Reply(kind, source.take(size - 5))
            else:
                length, target = source.u32(), pending.target
                if length != size - 9 or not length:
                    raise ProtocolError(f"a packet of {size} bytes with {length} bytes of data")
                if target is None:
                    reply = Reply(kind, source.take(length))
                elif length > len(target):
                    raise ProtocolError(f"{length} bytes of data where {len(target)} were asked for")
                else:
                    source.fill(target[:length])
                    pending.filled, reply = length, Reply(kind, b"")
        except BaseException:
            self._waiting[number] = pending
            raise
        pending.finish(reply)


class _Source:
    """What a program writes, in the pieces that are wanted. Raises `EOFError` at its end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._kept = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0

    def _need(self, size: int) -> None:
        """Have *size* bytes, of which there are few, in the buffer."""
        if self._end - self._start >= size:
            return
        if self._start + size > len(self._kept):
            rest = bytes(self._kept[self._start : self._end])
            self._kept[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        elif self._start == self._end:
            self._start = self._end = 0
        while self._end - self._start < size:
            self._end += self._read([self._kept[self._end :]])

    def _read(self, into: list[memoryview]) -> int:
        count = os.readv(self._descriptor, into)
        if not count:
            raise EOFError
        return count

    def u32(self) -> int:
        """A number."""
        self._need(4)
        self._start += 4
        return int.from_bytes(self._kept[self._start - 4 : self._start], "big")

    def head(self) -> tuple[int, int, int]:
        """Size of a packet, its type, and the request it answers."""
        self._need(9)
        self._start += 9
        return protocol.unpack_head(self._kept, self._start - 9)

    def take(self, size: int) -> bytes:
        """*size* bytes."""
        if self._end - self._start >= size:
            self._start += size
            return bytes(self._kept[self._start - size : self._start])
        content = bytearray(size)
        self.fill(memoryview(content))
        return bytes(content)

    def fill(self, target: memoryview) -> None:
        """Fill *target*; what comes with its last bytes is kept."""
        have = min(self._end - self._start, len(target))
        target[:have] = self._kept[self._start : self._start + have]
        self._start += have
        if have == len(target):
            return
        self._start = self._end = 0
        while have < len(target):
            have += self._read([target[have:], self._kept])
        self._end = have - len(target)


def _no_server(size: int) -> str:
    """What to say where the first bytes are no packet's: most often a shell prints something when it starts."""
    begin = size.to_bytes(4, "big").decode("latin-1")
    if begin.isprintable():
        return f"it begins with {visible(begin)!r}; does the server's shell print something at each start?"
    return f"its first packet has {size} bytes"
