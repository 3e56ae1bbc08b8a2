"""Fixtures of the tests of mounting."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user can reach and write to, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="restic-format-"))
    folder.chmod(0o777)
    yield folder
    for above, names, _ in os.walk(folder):
        for name in names:
            if not os.path.islink(os.path.join(above, name)):
                os.chmod(os.path.join(above, name), 0o700)
    shutil.rmtree(folder)
