"""A real repository to hurt, and one made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.check import CheckOptions, CheckReport, check
from restic_format.repository import Repository
from restic_format.storage import LocalStorage, Storage
from tests.safety import kit
from tests.safety.forge import Forge


@pytest.fixture(scope="session")
def real_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository real restic has made; never to be changed."""
    folder = tmp_path_factory.mktemp("real")
    return kit.make_repository(folder / "repo", kit.grow_source(folder / "src"))


@pytest.fixture
def damaged(real_repository: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return kit.copy_repository(real_repository, tmp_path / "repo")


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """An empty repository made by hand."""
    return Forge(tmp_path / "forged")


@pytest.fixture
def run_check() -> Callable[..., CheckReport]:
    """`run_check(path or storage, read_data=True, …)` opens and checks."""

    def run(place: Path | Storage, **options: object) -> CheckReport:
        storage = LocalStorage(place) if isinstance(place, Path) else place
        return check(Repository.open(storage, kit.PASSWORD), CheckOptions(**options))  # type: ignore[arg-type]

    return run
