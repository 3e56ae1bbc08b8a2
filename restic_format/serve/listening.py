"""The socket that the server listens on: TCP, a Unix socket, or the one that systemd hands over (``LISTEN_FDS``)."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Mapping

from restic_format.errors import UsageError
from restic_format.systemtext import errno_text

BACKLOG = 512
"""Connections that may wait until they are accepted."""

_FIRST = 3
"""The first descriptor that systemd passes on."""

_UNIX = "unix:"


def open_listener(address: str, environment: Mapping[str, str]) -> socket.socket:
    """A socket that listens on *address*, ``host:port``, ``:port`` or ``unix:/path``, or the one in systemd's *environment*.

    Raises:
        UsageError: the address makes no sense or cannot be had.
    """
    passed = _passed(environment)
    if passed is not None:
        return passed
    try:
        if address.startswith(_UNIX):
            return _open_unix(address[len(_UNIX) :])
        listener = _open_tcp(address)
        # Connections inherit it; asyncio would not see that they are TCP.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        text = errno_text(error) if not isinstance(error, socket.gaierror) else error.strerror
        raise UsageError(f"listen on {address} failed: {text}") from error


def close_listener(listener: socket.socket, address: str) -> None:
    """Close what `open_listener` gave for *address*, and remove the file of a Unix socket that was made for it."""
    with contextlib.suppress(OSError):
        made = address.startswith(_UNIX) and listener.getsockname() == address[len(_UNIX) :]
        listener.close()
        if made:
            os.unlink(address[len(_UNIX) :])


def location_of(listener: socket.socket, *, tls: bool) -> str:
    """What clients write behind ``rest:`` to reach this socket."""
    scheme = "https" if tls else "http"
    if listener.family == socket.AF_UNIX:
        return f"{scheme}+unix://{listener.getsockname()}:/"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


def _passed(environment: Mapping[str, str]) -> socket.socket | None:
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = environment.get("LISTEN_FDS", "")
    if count != "1":
        raise UsageError(f"got {count or 'no'} sockets from systemd, expected one")
    os.set_inheritable(_FIRST, False)
    try:
        return socket.socket(fileno=_FIRST)
    except OSError as error:
        raise UsageError(f"the socket from systemd cannot be used: {errno_text(error)}") from error


def _open_tcp(address: str) -> socket.socket:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise UsageError(f"{address!r} is no address to listen on: it must be host:port, :port or unix:/path")
    host = host.removeprefix("[").removesuffix("]")
    if not host and socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(("", int(port)), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    family = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)


def _open_unix(path: str) -> socket.socket:
    """A Unix socket at *path*; one that a killed server has left there is replaced, one that is in use is not."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listener.bind(path)
        except OSError:
            if not _is_abandoned(path):
                raise
            os.unlink(path)
            listener.bind(path)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_abandoned(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
