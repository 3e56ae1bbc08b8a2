"""Repositories for the tests of the explorer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restic_conformance import fixtures


@pytest.fixture(scope="session")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`fixture("restic-0.19-v2")` is the folder of that repository, unpacked once; it is not to be changed."""
    unpacked: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in unpacked:
            unpacked[name] = fixtures.unpack(name, tmp_path_factory.mktemp("explore") / name)
        return unpacked[name]

    return get
