"""A repository by real restic, made once, copies of it that a test may damage, and command lines in this process."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.safety import kit
from tests.tools.conftest import _clean_environment, run

__all__ = ["_clean_environment", "fresh", "rescue_original", "rescue_source", "run"]

Fresh = Callable[[], Path]


@pytest.fixture(scope="session")
def rescue_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.grow_source(tmp_path_factory.mktemp("rescue") / "src", files=2, size=300_000)


@pytest.fixture(scope="session")
def rescue_original(tmp_path_factory: pytest.TempPathFactory, rescue_source: Path) -> Path:
    """A repository with two snapshots and several packs and indexes; tests must not change it."""
    return kit.make_repository(tmp_path_factory.mktemp("rescue") / "repo", rescue_source)


@pytest.fixture
def fresh(rescue_original: Path, tmp_path: Path) -> Fresh:
    """Gives a copy of the repository each time."""
    numbers = itertools.count()
    return lambda: kit.copy_repository(rescue_original, tmp_path / f"copy{next(numbers)}")
