"""A file system on which every file has a name from the beginning."""

from __future__ import annotations

import errno
import os

import pytest


def without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the system refuse files without a name."""
    real = os.open

    def refuse(path: bytes, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
