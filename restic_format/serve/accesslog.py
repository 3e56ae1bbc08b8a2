"""The log of requests in the combined format, which programs that read web servers' logs understand (``--log``)."""

from __future__ import annotations

import os
import threading
import time

from restic_format.systemtext import errno_text

_MOST = 1000
"""Bytes of a header or path that are logged."""


class AccessLog:
    """Appends to the file *path*, to standard output for ``-``. It may be moved away: it is then made anew within a second.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._looked = 0.0
        self._descriptor = self._open()

    def _open(self) -> int:
        if self._path == "-":
            return os.dup(1)
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, host: str, user: str, line: bytes, status: int, size: int, referer: bytes, agent: bytes) -> str:
        """Add a line for a request with the request *line*; what makes that impossible is returned, "" for nothing."""
        now = time.strftime("%d/%b/%Y:%H:%M:%S %z")
        entry = f"{_plain(host)} - {_plain(user)} [{now}] {_quoted(line)} {status} {size} {_quoted(referer)} {_quoted(agent)}\n"
        with self._lock:
            try:
                self._follow()
                os.write(self._descriptor, entry.encode())
            except OSError as error:
                return f"{self._path}: {errno_text(error)}"
        return ""

    def _follow(self) -> None:
        now = time.monotonic()
        if self._path == "-" or now - self._looked < 1:
            return
        self._looked = now
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            moved = True
        else:
            moved = not os.path.samestat(there, os.fstat(self._descriptor))
        if moved:
            fresh = self._open()
            os.close(self._descriptor)
            self._descriptor = fresh

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _plain(text: str) -> str:
    return "".join(char if char.isalnum() or char in "@._-:[]%" else "_" for char in text[:_MOST]) or "-"


def _quoted(raw: bytes) -> str:
    """Text in quotes, in which nothing ends them or the line, and nothing moves a cursor."""
    text = raw[:_MOST].decode("latin-1")
    escaped = [f"\\{char}" if char in '"\\' else char if " " <= char <= "~" else f"\\x{ord(char):02x}" for char in text]
    return f'"{"".join(escaped)}"'
