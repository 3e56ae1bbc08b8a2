"""A repository written by real restic, and two ways to run a command line: in this process, and as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from restic_format.repository import keys
from restic_tools.cli import main
from tests.reading import without_lock
from tests.tools.kit import PASSWORD, Filled, Outcome, Runner, make_source, new_repository, quick_kdf


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("RESTIC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "200")
    yield


@pytest.fixture(autouse=True)
def _cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that a command makes in this process cost nothing: how long a password takes is not what is tested here."""
    monkeypatch.setattr(keys, "calibrate", quick_kdf)


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Runner:
    """Run one of our command lines in this process."""

    def call(*words: str) -> Outcome:
        capfdbinary.readouterr()
        code = main(list(words))
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="session")
def environment(project_root: Path) -> dict[str, str]:
    """The environment for our program as a process of its own."""
    roots = [str(project_root / part) for part in (".", "spec", "tools", "conformance")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(roots), "TZ": "UTC"}


@pytest.fixture
def spawn(environment: dict[str, str]) -> Runner:
    """Run one of our command lines as a process of its own."""

    def call(*words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "restic_tools", *words],
            input=stdin,
            capture_output=True,
            env={**environment, **(env or {})},
            check=False,
            timeout=60,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def restic(peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Run real restic 0.19.1, without a lock where it only reads; settings come as environment variables."""
    program = peer("restic-0.19")
    cache = tmp_path_factory.mktemp("cache")

    def call(*words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
        settings = {"PATH": os.environ["PATH"], "HOME": str(cache), "TZ": "UTC", "RESTIC_CACHE_DIR": str(cache)}
        done = subprocess.run(
            [program, *without_lock(words)],
            input=stdin,
            capture_output=True,
            env={**settings, **(env or {})},
            check=False,
            timeout=60,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, named in the environment together with its password."""
    folder = tmp_path / "empty"
    new_repository(folder)
    monkeypatch.setenv("RESTIC_REPOSITORY", str(folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return folder


@pytest.fixture(scope="session")
def filled_once(tmp_path_factory: pytest.TempPathFactory, restic: Runner) -> Filled:
    """The repository behind ``filled``; tests must not change it."""
    base = tmp_path_factory.mktemp("filled")
    source = base / "src"
    make_source(source)
    folder = base / "repository"
    new_repository(folder)
    env = {"RESTIC_REPOSITORY": str(folder), "RESTIC_PASSWORD": PASSWORD}
    ids = []
    for words in (
        ("--host", "h1", "--tag", "a,b", "--tag", "c", str(source)),
        ("--host", "h2", str(source / "dir")),
        ("--host", "h1", "--tag", "x y", "--exclude", "*.bin", str(source), str(source / "dir")),
    ):
        before = {path.name for path in (folder / "snapshots").iterdir()}
        done = restic("backup", "-q", *words, env=env)
        assert done.code == 0, done.err
        ids.extend({path.name for path in (folder / "snapshots").iterdir()} - before)
    first, second, third = ids
    return Filled(folder, source, (first, second, third))


@pytest.fixture
def filled(filled_once: Filled, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """A repository with three snapshots by real restic, named in the environment together with its password."""
    monkeypatch.setenv("RESTIC_REPOSITORY", str(filled_once.folder))
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return filled_once


@pytest.fixture
def restic_here(restic: Runner) -> Runner:
    """Real restic with the settings that our program would find in the environment now."""

    def call(*words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
        settings = {name: value for name, value in os.environ.items() if name.startswith("RESTIC_") or name == "TZ"}
        return restic(*words, stdin=stdin, env={**settings, **(env or {})})

    return call
