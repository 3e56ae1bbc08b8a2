"""The server that runs the application: uvicorn, with what it does not bound by itself.

A connection on which no request comes, or whose headers never end, is closed; there are only so many connections. When the
server is to stop it takes no new requests, lets those that run end, and gives up on them after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from restic_format.errors import UsageError
from restic_format.serve.listening import BACKLOG
from restic_format.systemtext import errno_text

if TYPE_CHECKING:
    from restic_format.serve.application import RestApplication

HEAD_PATIENCE = 30.0
"""Seconds in which a request's line and headers must have come, from the connection's begin or the answer before."""

REST_PATIENCE = 120.0
"""Seconds for which the body of a request is taken that was refused."""

IDLE_PATIENCE = 120
"""Seconds for which a connection is kept on which nothing is asked."""

STOP_PATIENCE = 30
"""Seconds that requests may take to end when the server is to stop."""

MOST_CONNECTIONS = 1000
"""Connections at the same time; those beyond are told to come back."""

_FILES = 8 * MOST_CONNECTIONS

_SAME = 10.0
"""Seconds in which the same trouble is not reported again."""

MOST_HEAD = 64 << 10
"""Bytes that a request's line and headers may have."""

MOST_WAITING = 64
"""Requests of one connection that may wait for the one before them."""

TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 10\r\ncontent-length: 0\r\n\r\n"


def check_packages() -> None:
    """Raise `UsageError` where a package is missing that serving needs."""
    try:
        import httptools  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"serve needs {error.name or 'uvicorn'}: pip install 'restic-format[serve]'") from None


def make_tls(certificate: str, key: str, minimum: str) -> ssl.SSLContext:
    """A server's TLS with the PEM files *certificate* and *key*; *minimum* is ``1.2`` or ``1.3``. Raises `UsageError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        what = error.reason.lower().replace("_", " ") if error.reason else "cannot be read"
        raise UsageError(f"TLS certificate {certificate} and key {key} cannot be used: {what}") from error
    except OSError as error:
        raise UsageError(f"TLS certificate {certificate} or key {key} cannot be read: {errno_text(error)}") from error
    return context


def _no_password() -> str:
    raise UsageError("the TLS key has a password, which nobody can type for a server: store it without one")


def run(
    application: RestApplication,
    listener: socket.socket,
    *,
    tls: ssl.SSLContext | None,
    report: Callable[[str], object],
    stopping: Callable[[Callable[[], None]], contextlib.AbstractContextManager[object]],
) -> None:
    """Serve until somebody asks to stop.

    *stopping* gives a context in which the function that it is given is called when that is asked, in any thread or a signal
    handler; *report* is told in one line what goes wrong in the server.

    """
    _allow_files()
    server = _make_server(application, tls, report)

    def stop() -> None:
        server.should_exit = True

    last = ("", 0.0)

    def told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal last
        error = context.get("exception")
        if isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            return  # a client's affair
        text = f"{context['message']}: {error}" if error else str(context["message"])
        if text != last[0] or loop.time() - last[1] > _SAME:
            report(text)
            last = text, loop.time()

    with stopping(stop), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.get_loop().set_exception_handler(told)
        runner.run(server.serve(sockets=[listener]))


def _make_server(application: RestApplication, tls: ssl.SSLContext | None, report: Callable[[str], object]) -> Any:
    import uvicorn

    from restic_format.serve.guard import GuardedProtocol

    class Server(uvicorn.Server):
        """uvicorn without its own signal handlers: this program's stay."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Leave them as they are."""
            yield

    config = uvicorn.Config(
        application,
        loop="asyncio",
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        workers=1,
        timeout_keep_alive=IDLE_PATIENCE,
        timeout_graceful_shutdown=STOP_PATIENCE,
        forwarded_allow_ips=[],
    )
    config.load()
    config.ssl = tls
    logger = logging.getLogger("uvicorn.error")
    logger.handlers = [_Reporting(report)]
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    return Server(config)


def _allow_files() -> None:
    """Let this process have as many open files as it may: each connection needs one or two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Reporting(logging.Handler):
    """Tells *report* what uvicorn logs."""

    def __init__(self, report: Callable[[str], object]) -> None:
        super().__init__(logging.ERROR)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Report a record, in one line."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ConnectionAbortedError | asyncio.CancelledError):
            return  # an answer that was broken off on purpose, and has been reported
        text = " ".join(record.getMessage().split())
        self._report(text if error is None else f"{text}: {type(error).__name__}: {error}")
