"""Repositories in memory with keys that cost nothing."""

from __future__ import annotations

import pytest

from restic_format.repository import Repository
from restic_format.storage import MemoryStorage
from restic_spec.keyfile import Kdf

CHEAP = Kdf(16, 8, 1, b"s" * 64)
POLYNOMIAL = 0x3DA3358B4DC173


@pytest.fixture(params=[1, 2])
def repo(request: pytest.FixtureRequest) -> Repository:
    """A fresh repository of either version."""
    return Repository.init(MemoryStorage(), "pw", version=request.param, polynomial=POLYNOMIAL, kdf=CHEAP)
