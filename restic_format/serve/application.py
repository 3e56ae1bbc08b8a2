"""restic's REST API, versions 1 and 2, as an ASGI application over a data folder.

Answers are those of rest-server, whose clients they are made for; where they differ the guide says so. What touches the disk
or hashes runs in threads; a request holds at most two pieces of a file at a time.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from restic_format.errors import AccessDenied, FileExists, FileMissing, FileUnusable, NoSpace, ResticFormatError
from restic_format.serve.accesslog import AccessLog
from restic_format.serve.exchange import PIECE, Exchange, Gone, Headers, Receive, Refused, Scope, Send
from restic_format.serve.folders import DataFolder, OnlyAdded, OpenedFile, TooLarge, Upload, WrongContent
from restic_format.serve.metrics import Metrics
from restic_format.serve.paths import Named, read_path
from restic_format.serve.ranges import RangeInvalid, read_range
from restic_format.serve.users import Users, is_user_name, read_basic
from restic_spec import gojson
from restic_spec.layout import FileKind

T = TypeVar("T")

_THREADS = 32
"""Files that are read from or written to at the same time."""

_LOGINS = 2
"""Passwords that are hashed at the same time, so that many wrong ones hold up neither the processor nor files."""

_NAMES = 8192
"""Names of a listing that are sent at once."""

_TYPES = {1: b"application/vnd.x.restic.rest.v1", 2: b"application/vnd.x.restic.rest.v2"}
_FILE_METHODS = b"HEAD, GET, POST, DELETE"
_CREATE = re.compile(rb"(?:\A|&)create=true(?:&|\Z)")

_STATUS: tuple[tuple[type[ResticFormatError], int], ...] = (
    (FileMissing, 404),
    (FileExists, 403),
    (AccessDenied, 403),
    (NoSpace, 507),
    (WrongContent, 400),
    (TooLarge, 413),
)


class Access(NamedTuple):
    """Who may do what."""

    users: Users | None = None
    """None for everybody."""
    user_header: str = ""
    """The header in which a proxy says who the user is; then nobody else is asked."""
    private: bool = False
    """Whether users may only use repositories below a folder that has their name."""
    open_metrics: bool = False
    """Whether everybody may see the metrics."""

    @property
    def everybody(self) -> bool:
        """Whether nobody is asked who they are."""
        return self.users is None and not self.user_header


class RestApplication:
    """The ASGI application. *report* is told in one line what the server's owner must know; *debug* tells of every request."""

    def __init__(
        self,
        folder: DataFolder,
        access: Access,
        *,
        report: Callable[[str], object],
        metrics: Metrics | None = None,
        log: AccessLog | None = None,
        debug: bool = False,
    ) -> None:
        self._folder = folder
        self._access = access
        self._report = report
        self._metrics = metrics
        self._log = log
        self._debug = debug
        self._threads = ThreadPoolExecutor(_THREADS, "serve")
        self._logins = ThreadPoolExecutor(_LOGINS, "login")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        exchange = Exchange(scope, receive, send)
        try:
            await self._answer(exchange)
        except Refused as refusal:
            await self._refuse(exchange, refusal)
        except Gone:
            exchange.status = exchange.status or 400
            if exchange.started:
                raise ConnectionAbortedError from None
            await exchange.reply(408, b"Request Timeout\n", [(b"connection", b"close")])
        finally:
            self._note(exchange)

    def close(self) -> None:
        """End the threads, once nothing is asked any more."""
        self._threads.shutdown()
        self._logins.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.header(b"upgrade") and exchange.length != 0 and exchange.method == "POST":
            raise Refused(400)  # the parser takes no body behind it
        if exchange.path == b"/metrics" and self._metrics is not None:
            await self._show_metrics(exchange, self._metrics)
            return
        exchange.user = await self._who(exchange)
        named = read_path(exchange.path)
        if named is None:
            raise Refused(404)
        if self._access.private and not self._access.everybody and named.folders[:1] != (exchange.user,):
            raise Refused(401)
        try:
            await self._serve(exchange, named)
        except ResticFormatError as error:
            if exchange.started:
                self._report(f"{exchange.shown}: {error}")
                raise Gone from None
            raise self._told(exchange, error) from error
        except OSError as error:
            self._report(f"{exchange.shown}: {error}")
            if exchange.started:
                raise Gone from None
            raise Refused(500) from error

    def _told(self, exchange: Exchange, error: ResticFormatError) -> Refused:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        troubled = status in (500, 507) or (isinstance(error, AccessDenied) and not isinstance(error, OnlyAdded))
        if troubled or self._debug:
            self._report(f"{exchange.shown}: {error}")
        if isinstance(error, FileUnusable) and exchange.method != "POST":
            status = 404  # what stands there is no file, and trying again would not help
        return Refused(status)

    async def _who(self, exchange: Exchange) -> bytes:
        """The user who asks. Raises `Refused`."""
        access = self._access
        if access.everybody:
            return b""
        if access.user_header:
            user = exchange.only(access.user_header.lower().encode())
            if not is_user_name(user):
                raise Refused(401)
            return user
        assert access.users is not None
        login = read_basic(exchange.only(b"authorization"))
        if login is None:
            raise Refused(401)
        if not access.users.remembered(*login):
            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(self._logins, partial(access.users.check, *login)):
                self._report(f"wrong user or password from {exchange.client or 'the unix socket'}")
                raise Refused(401)
        return login.user

    async def _serve(self, exchange: Exchange, named: Named) -> None:
        method = exchange.method
        if named.kind is None:
            if method != "POST":
                raise Refused(405, headers=[(b"allow", b"POST")])
            if not _CREATE.search(exchange.query):
                raise Refused(400)
            self._report(f"creating repository directories in {_shown(named)}")
            await self._run(partial(self._folder.create, named))
            await exchange.reply(200)
        elif not named.is_file:
            if method != "GET":
                raise Refused(405, headers=[(b"allow", b"GET")])
            await self._list(exchange, named)
        elif method == "HEAD":
            size = await self._run(partial(self._folder.size, named))
            await exchange.reply(200, headers=[(b"content-length", b"%d" % size)])
        elif method == "GET":
            await self._load(exchange, named)
        elif method == "POST":
            await self._save(exchange, named)
        elif method == "DELETE":
            await self._remove(exchange, named)
        else:
            raise Refused(405, headers=[(b"allow", _FILE_METHODS)])

    async def _list(self, exchange: Exchange, named: Named) -> None:
        """Send the listing piece by piece, so that its length does not matter."""
        version = 2 if exchange.header(b"accept") == _TYPES[2] else 1
        pieces = await self._run(partial(_listing, self._folder, named, version))
        piece = await self._run(partial(next, pieces, b""))
        await exchange.start(200, [(b"content-type", _TYPES[version])])
        while piece:
            await exchange.send(piece)
            piece = await self._run(partial(next, pieces, b""))
        await exchange.end()

    async def _load(self, exchange: Exchange, named: Named) -> None:
        header = exchange.header(b"range").decode("latin-1")
        answer = await self._run(partial(_open, self._folder, named, header))
        try:
            await exchange.start(answer.status, answer.headers)
            await exchange.send(answer.piece)
            if answer.file is not None:
                async with exchange.watched():
                    await self._send_rest(exchange, answer, answer.file)
            await exchange.end()
        finally:
            if answer.file is not None:
                await asyncio.shield(self._run(answer.file.close))
            self._count("read", exchange, named, exchange.sent)

    async def _send_rest(self, exchange: Exchange, answer: _Answer, file: OpenedFile) -> None:
        done = len(answer.piece)
        while done < answer.length:
            piece = await self._run(partial(file.read, answer.offset + done, min(PIECE, answer.length - done)))
            done += len(piece)
            await exchange.send(piece)

    async def _save(self, exchange: Exchange, named: Named) -> None:
        upload = await self._run(partial(self._folder.begin, named, exchange.length))
        storing = Storing(upload, self._run)
        try:
            async for batch in exchange.batches():
                await storing.append(batch)
            await storing.finish()
        finally:
            await asyncio.shield(storing.close())
        await exchange.reply(200)
        self._count("write", exchange, named, upload.size)

    async def _remove(self, exchange: Exchange, named: Named) -> None:
        try:
            size = await self._run(partial(self._folder.remove, named))
        except FileMissing:  # rest-server does not mind either
            await exchange.reply(200)
            return
        await exchange.reply(200)
        self._count("delete", exchange, named, size)

    async def _show_metrics(self, exchange: Exchange, metrics: Metrics) -> None:
        if not self._access.open_metrics:
            user = exchange.user = await self._who(exchange)
            if self._access.private and not self._access.everybody and user != b"metrics":
                raise Refused(401)
        if exchange.method not in ("GET", "HEAD"):
            raise Refused(405, headers=[(b"allow", b"GET, HEAD")])
        page, kind = await self._run(metrics.page)
        await exchange.reply(200, page, [(b"content-type", kind.encode())])

    def _count(self, operation: str, exchange: Exchange, named: Named, size: int) -> None:
        if self._metrics is not None and named.kind not in (None, FileKind.CONFIG):
            assert named.kind is not None
            repository = b"/".join(named.folders).decode("utf-8", "replace")
            user = exchange.user.decode("utf-8", "replace")
            self._metrics.count(operation, user, repository, named.kind.value, size)

    async def _refuse(self, exchange: Exchange, refusal: Refused) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff"), *refusal.headers]
        if not exchange.may_stay:
            headers.append((b"connection", b"close"))
        await exchange.reply(refusal.status, f"{refusal.text}\n".encode(), headers)

    def _note(self, exchange: Exchange) -> None:
        if self._debug:
            self._report(f"{exchange.shown}: {exchange.status}")
        if self._log is not None:
            problem = self._log.write(
                exchange.client,
                exchange.user.decode("utf-8", "replace"),
                exchange.line,
                exchange.status,
                exchange.sent,
                exchange.header(b"referer"),
                exchange.header(b"user-agent"),
            )
            if problem:
                self._report(problem)


class Storing:
    """An upload that is written in a thread while its next batch arrives."""

    def __init__(self, upload: Upload, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self._upload = upload
        self._run = run
        self._running: asyncio.Future[None] | None = None
        self._finished = False

    async def append(self, batch: Sequence[bytes]) -> None:
        """Add a batch; what went wrong with the one before it is raised here."""
        await self._wait()
        self._running = asyncio.ensure_future(self._run(partial(self._upload.append, batch)))

    async def finish(self) -> None:
        """Store the file. Raises as `Upload.finish`."""
        await self._wait()
        self._running = asyncio.ensure_future(self._run(self._upload.finish))
        await self._wait()
        self._finished = True

    async def close(self) -> None:
        """Drop what is not stored. Never fails."""
        if self._finished:
            return
        if self._running is not None:
            await asyncio.wait([self._running])
            self._running.exception()
        await self._run(self._upload.abort)

    async def _wait(self) -> None:
        """Wait for the thread. Who is cancelled meanwhile leaves it at work, and `close` waits for it."""
        if self._running is not None:
            await asyncio.shield(self._running)
            self._running = None


class _Answer(NamedTuple):
    """What is sent of a file."""

    status: int
    headers: Headers
    offset: int
    length: int
    piece: bytes
    """The first bytes."""
    file: OpenedFile | None
    """What more is read from, and must be closed; None where the first bytes are all."""


def _open(folder: DataFolder, named: Named, header: str) -> _Answer:
    """What to answer to a request for a file with this ``Range``. Raises `Refused`, and as `DataFolder.open`."""
    file = folder.open(named)
    kept = False
    try:
        try:
            found = read_range(header, file.size)
        except RangeInvalid as error:
            size = [(b"content-range", b"bytes */%d" % file.size)] if error.beyond else None
            raise Refused(416, str(error), size) from error
        offset, length = found or (0, file.size)
        headers = [
            (b"accept-ranges", b"bytes"),
            (b"content-type", b"application/octet-stream"),
            (b"content-length", b"%d" % length),
        ]
        if found is not None:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (offset, offset + length - 1, file.size)))
        piece = file.read(offset, min(length, PIECE))
        kept = length > len(piece)
        return _Answer(200 if found is None else 206, headers, offset, length, piece, file if kept else None)
    finally:
        if not kept:
            file.close()


def _listing(folder: DataFolder, named: Named, version: int) -> Iterator[bytes]:
    """The JSON of a listing in pieces. Raises as `DataFolder.list`, at once."""
    return _pieces(folder.list(named), version)


def _pieces(files: Iterator[tuple[str, int]], version: int) -> Iterator[bytes]:
    held: list[str] = []
    begin = "["
    for name, size in files:
        held.append(f'"{name}"' if version == 1 else f'{{"name":"{name}","size":{size}}}')
        if len(held) >= _NAMES:
            yield (begin + ",".join(held)).encode()
            held, begin = [], ","
    if held:
        yield (begin + ",".join(held) + "]").encode()
    else:
        yield b"[]" if begin == "[" else b"]"


def _shown(named: Named) -> str:
    return json.dumps(gojson.to_text(b"/".join(named.folders)) or ".")
