"""A repository on disk that opens in no time, a source to back up, and both opened through the library's face."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from restic_format import OpenRepository, open_repository
from tests.restore.kit import PASSWORD, cheap_repo

MTIME = 1_600_000_000_123_456_789


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """``one`` and ``two`` in ``folder``, and links to them."""
    top = tmp_path / "source"
    (top / "folder" / "below").mkdir(parents=True)
    (top / "folder" / "one").write_bytes(b"one\n" * 1000)
    (top / "folder" / "below" / "two").write_bytes(random.Random(1).randbytes(2_048_000))
    os.utime(top / "folder" / "one", ns=(MTIME, MTIME))
    (top / "relative").symlink_to("folder/below/two")
    (top / "absolute").symlink_to(top / "folder")
    (top / "through").symlink_to("absolute/../folder/one")
    (top / "loop").symlink_to("loop")
    (top / "away").symlink_to("/etc/passwd")
    return top


@pytest.fixture
def location(tmp_path: Path) -> Path:
    return cheap_repo(tmp_path / "repository")


@pytest.fixture
def opened(location: Path) -> Iterator[OpenRepository]:
    with open_repository(location, PASSWORD) as repository:
        yield repository
    assert not list((location / "locks").iterdir())


@pytest.fixture
def filled(opened: OpenRepository, source: Path) -> OpenRepository:
    """With one snapshot of *source*."""
    opened.backup(source, tags=["first"])
    return opened
