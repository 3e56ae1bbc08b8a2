"""Command lines in this process and real restic, as the tests of the command line have them."""

from __future__ import annotations

import pytest

from tests.restore.kit import Maker, memory_repo
from tests.tools.conftest import _clean_environment, environment, restic, restic_here, run, spawn

__all__ = ["_clean_environment", "environment", "restic", "restic_here", "run", "spawn"]


@pytest.fixture
def maker() -> Maker:
    """Makes trees in a repository in memory."""
    return Maker(memory_repo())
