"""Who may use the server: users and hashes of passwords from an ``.htpasswd`` file, which is read again when it changes.

Hashes may be bcrypt's (``htpasswd -B``) or SHA-1 (``htpasswd -s``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from restic_format.errors import ResticFormatError, UsageError

REMEMBERED = 60.0
"""Seconds from its last use in which a password that was right is not hashed again: bcrypt is slow on purpose."""

_LOOK = 1.0
"""Seconds between two looks at whether the file has changed."""

_MOST = 1 << 20
"""Bytes that the file may have."""

_MAX_REMEMBERED = 10_000
_BCRYPT = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}\Z")
_SHA = b"{SHA}"
_NOBODY = b"{SHA}" + base64.b64encode(bytes(20))


class Users:
    """The users in the file *path*. *report* is told what is wrong with it, in one line, and when it was read again."""

    def __init__(self, path: str, report: Callable[[str], object]) -> None:
        self.path = path
        self._report = report
        self._lock = threading.Lock()
        self._key = os.urandom(32)
        self._right: dict[bytes, float] = {}
        self._looked = time.monotonic()
        self._due = False
        self._state, self._hashes = self._read()

    def _read(self) -> tuple[tuple[int, int, int], Mapping[bytes, bytes]]:
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(_MOST + 1)
        except OSError as error:
            text = (os.strerror(error.errno) if error.errno else str(error)).lower()
            raise UsageError(f"cannot load {self.path} (use --no-auth to disable): {text}") from error
        if len(content) > _MOST:
            raise UsageError(f"cannot load {self.path}: it has more than {_MOST} bytes")
        return (status.st_mtime_ns, status.st_size, status.st_ino), self._parse(content)

    def _parse(self, content: bytes) -> Mapping[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for number, line in enumerate(content.splitlines(), 1):
            text = line.strip()
            if not text or text.startswith(b"#"):
                continue
            name, colon, rest = text.partition(b":")
            hashed = rest.partition(b":")[0]
            if not colon or not is_user_name(name):
                self._report(f"{self.path}: line {number} is ignored: it has no user of letters, digits, _ - . and @")
            elif not hashed.startswith(_SHA) and not _BCRYPT.match(hashed):
                self._report(f"{self.path}: line {number} is ignored: only bcrypt and SHA are supported (htpasswd -B)")
            else:
                if hashed.startswith(b"$"):
                    _bcrypt()
                found[name] = hashed
        return found

    def look_again(self) -> None:
        """Read the file again before the next password is looked at. May be called from a signal handler."""
        self._due = True

    def _reload(self) -> None:
        """Read the file again. Where it cannot be read, what was read before stays."""
        try:
            state, hashes = self._read()
        except ResticFormatError as error:
            self._report(f"{error}; the users from before stay")
            return
        with self._lock:
            self._state, self._hashes = state, hashes
            self._right.clear()
        self._report(f"reloaded {self.path}")

    def _look(self) -> None:
        now = time.monotonic()
        with self._lock:
            due, self._due = self._due, False
            if not due and now - self._looked < _LOOK:
                return
            self._looked = now
        try:
            status = os.stat(self.path)
        except OSError:
            return
        if due or (status.st_mtime_ns, status.st_size, status.st_ino) != self._state:
            self._reload()

    def remembered(self, user: bytes, password: bytes) -> bool:
        """Whether this password was right a short while ago. Takes no time."""
        self._look()
        mark, now = self._mark(user, password), time.monotonic()
        with self._lock:
            found = now < self._right.get(mark, 0.0)
            if found:
                self._right[mark] = now + REMEMBERED
        return found

    def check(self, user: bytes, password: bytes) -> bool:
        """Whether *password* is that of *user*; takes as long for a user who is not there."""
        with self._lock:
            hashes = self._hashes
        hashed = hashes.get(user)
        right = _fits(hashed or _like(hashes), password) and hashed is not None
        if right:
            with self._lock:
                if len(self._right) >= _MAX_REMEMBERED:
                    self._right.clear()
                if hashes is self._hashes:  # not read again meanwhile
                    self._right[self._mark(user, password)] = time.monotonic() + REMEMBERED
        return right

    def _mark(self, user: bytes, password: bytes) -> bytes:
        return hmac.digest(self._key, b"%d:%b:%b" % (len(user), user, password), "sha256")


def is_user_name(name: bytes) -> bool:
    """Whether a user may have this name: letters, digits, ``_``, ``-``, ``.`` and ``@``."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return False
    return bool(text) and all(char.isalpha() or char.isdecimal() or char in "@._-" for char in text)


def _like(hashes: Mapping[bytes, bytes]) -> bytes:
    """A hash as the other users have, which no password fits that anybody could know."""
    first = next(iter(hashes.values()), _NOBODY)
    return first[:-31] + b"." * 31 if first.startswith(b"$") else _NOBODY


def _fits(hashed: bytes, password: bytes) -> bool:
    if hashed.startswith(_SHA):
        try:
            wanted = base64.b64decode(hashed[len(_SHA) :], validate=True)
        except binascii.Error:
            return False
        return hmac.compare_digest(hashlib.sha1(password).digest(), wanted)
    try:
        return _bcrypt()(password[:72], hashed)  # what is behind 72 bytes never counted
    except ValueError:
        return False


def _bcrypt() -> Callable[[bytes, bytes], bool]:
    try:
        from bcrypt import checkpw
    except ImportError:
        raise UsageError("users with bcrypt passwords need bcrypt: pip install 'restic-format[serve]'") from None
    return checkpw


class Login(NamedTuple):
    """What a request says of who sends it."""

    user: bytes
    password: bytes


def read_basic(header: bytes) -> Login | None:
    """User and password of an ``Authorization`` header; None where it has none."""
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return Login(user, password) if colon else None
