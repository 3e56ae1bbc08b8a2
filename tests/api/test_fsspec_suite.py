"""fsspec's own tests of what every file system must do, as far as they read: `get` in all its forms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from restic_format import open_repository
from tests.restore.kit import PASSWORD, cheap_repo

SCENARIOS = (
    "bulk_operations_scenario_0",
    "glob_edge_cases_files",
    "dir_and_file_with_same_name_prefix",
    "10_files_with_hashed_names",
)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AbstractFileSystem, Path]]:
    """A repository with a snapshot in which each scenario has a folder; and that folder's parent."""
    top = tmp_path_factory.mktemp("suite")
    local = fsspec.filesystem("file", auto_mkdir=True)
    for name in SCENARIOS:
        (top / "source" / name).mkdir(parents=True)
        getattr(AbstractFixtures(), f"_{name}")(local, os.path.join, str(top / "source" / name))
    with open_repository(cheap_repo(top / "repository"), PASSWORD) as repository:
        repository.backup(top / "source")
    fs = fsspec.filesystem("restic", repo=str(top / "repository"), password=PASSWORD)
    yield fs, top / "source"
    fs.close()


def scenario(name: str) -> Callable[..., str]:
    def path(self: object, snapshots: tuple[AbstractFileSystem, Path]) -> str:
        return f"latest{snapshots[1]}/{name}/source"

    return path


class TestGet(AbstractGetTests, AbstractFixtures):  # type: ignore[misc]
    """Nothing can be written, so the scenarios come out of a snapshot."""

    @pytest.fixture
    def fs(self, snapshots: tuple[AbstractFileSystem, Path]) -> AbstractFileSystem:
        return snapshots[0]

    @pytest.fixture
    def fs_path(self, snapshots: tuple[AbstractFileSystem, Path]) -> str:
        return f"latest{snapshots[1]}"

    fs_bulk_operations_scenario_0 = pytest.fixture(scenario(SCENARIOS[0]))
    fs_glob_edge_cases_files = pytest.fixture(scenario(SCENARIOS[1]))
    fs_dir_and_file_with_same_name_prefix = pytest.fixture(scenario(SCENARIOS[2]))
    fs_10_files_with_hashed_names = pytest.fixture(scenario(SCENARIOS[3]))

    # The only one that writes its own source; test_filesystem.py has the like.
    test_get_directory_recursive = None
