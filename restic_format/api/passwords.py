"""Where a program that uses the library has the password of a repository: at hand, in a file, or from a command."""

from __future__ import annotations

import os
from collections.abc import Sequence

from restic_format.errors import PasswordUnavailable, UsageError
from restic_format.systemtext import errno_text, exit_text
from restic_format.words import WHITE_SPACE, decode_text, printable, split_command

_LARGEST = 1 << 20
"""Bytes of a password file that are read; one of more is another file."""


def find_password(
    password: str | bytes | None,
    file: str | os.PathLike[str] | None,
    command: str | Sequence[str] | None,
    *,
    allow_empty: bool = False,
) -> bytes:
    """The password, from the only one of the three that is given.

    A file's text is read as by restic: a byte order mark and white space at both ends do not belong to it. A *command* is run
    without a shell; what it prints is the password.

    Raises:
        UsageError: none or several are given, or the password is empty and that is not allowed.
        PasswordUnavailable: the file cannot be read, or the command fails.
    """
    if sum(given is not None for given in (password, file, command)) != 1:
        raise UsageError("give the password in exactly one way: password, password_file or password_command")
    if file is not None:
        secret = _from_file(file)
    elif command is not None:
        secret = _from_command(command)
    elif isinstance(password, str):
        secret = password.encode("utf-8", "surrogateescape")
    elif isinstance(password, bytes):
        secret = password
    else:
        raise TypeError(f"a password is str or bytes, not {type(password).__name__}")
    if not secret and not allow_empty:
        raise UsageError("the password is empty; give allow_empty_password=True where that is meant")
    return secret


def _from_file(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise PasswordUnavailable(f"password file {printable(os.fspath(path))}: {errno_text(error)}") from error
    if len(raw) > _LARGEST:
        raise PasswordUnavailable(f"password file {printable(os.fspath(path))}: is too large to hold a password")
    return decode_text(raw).strip(WHITE_SPACE).encode("utf-8", "surrogateescape")


def _from_command(command: str | Sequence[str]) -> bytes:
    import subprocess

    try:
        words = split_command(command) if isinstance(command, str) else [os.fspath(word) for word in command]
        if not words:
            raise ValueError("there is no command")
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    except ValueError as error:
        raise PasswordUnavailable(f"password command: {error}") from None
    except OSError as error:
        raise PasswordUnavailable(f"password command: cannot run {printable(words[0])}: {errno_text(error)}") from None
    if done.returncode:
        raise PasswordUnavailable(f"password command: {printable(words[0])}: {exit_text(done.returncode)}")
    return done.stdout.decode("utf-8", "surrogateescape").strip(WHITE_SPACE).encode("utf-8", "surrogateescape")
