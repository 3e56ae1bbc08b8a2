"""Command lines in this process and real restic, as the tests of the command line have them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.explore.kit import change
from tests.tools.conftest import _cheap_keys, _clean_environment, empty, environment, restic, restic_here, run, spawn
from tests.tools.kit import PASSWORD, Runner, new_repository

__all__ = ["_cheap_keys", "_clean_environment", "empty", "environment", "restic", "restic_here", "run", "spawn"]


@pytest.fixture(scope="session")
def histories(tmp_path_factory: pytest.TempPathFactory, restic: Runner) -> dict[int, tuple[Path, list[str]]]:
    """By version a repository with a history of changes by real restic, and its snapshots from the oldest on."""
    made = {}
    for version in (1, 2):
        folder = tmp_path_factory.mktemp("history")
        source, repository = folder / "source", folder / "repository"
        source.mkdir()
        new_repository(repository, version)
        env = {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": PASSWORD}
        numbers = random.Random(version)
        # Two chunks that are the same, and one more: a file names a blob twice.
        block = numbers.randbytes(600_000)
        (source / "long").write_bytes(bytes(9 << 20) + block)
        ids: list[str] = []
        for number in range(5):
            change(source, numbers)
            words = ["backup", "-q", "--host", f"h{number % 2}", "--tag", f"t{number}", str(source)]
            assert restic(*words, env=env).code == 0
            ids += {path.name for path in (repository / "snapshots").iterdir()} - set(ids)
        with open(source / "long", "ab") as file:
            file.write(block)
        assert restic("backup", "-q", str(source), str(source / "a"), env=env).code == 0
        ids += {path.name for path in (repository / "snapshots").iterdir()} - set(ids)
        made[version] = repository, ids
    return made


@pytest.fixture(params=[1, 2])
def history(
    request: pytest.FixtureRequest, histories: dict[int, tuple[Path, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The snapshots of a history, which is named in the environment."""
    repository, ids = histories[request.param]
    monkeypatch.setenv("RESTIC_REPOSITORY", str(repository))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return ids
