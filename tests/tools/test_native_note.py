"""Who has no compiled parts is told, once, unless they wanted it so or nobody reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.kit import PASSWORD, new_repository

NOTE = b"note: this could be faster, some compiled parts cannot be used: "
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({modules!r}))
from restic_tools.cli import main
sys.exit(main(sys.argv[1:]))
"""
MODULES = ("restic_format.native.chunker._chunker", "restic_format.native.blobs._blobs")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    new_repository(tmp_path / "repo")
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path


def notes(
    folder: Path, environment: dict[str, str], *words: str, missing: tuple[str, ...] = MODULES, policy: str = "auto"
) -> list[bytes]:
    """The notes a command line prints in a process where the modules *missing* cannot be imported."""
    settings = {
        **environment,
        "RESTIC_FORMAT_KERNEL": policy,
        "RESTIC_REPOSITORY": str(folder / "repo"),
        "RESTIC_PASSWORD": PASSWORD,
        "RESTIC_CACHE_DIR": str(folder / "cache"),
    }
    call = [sys.executable, "-c", WITHOUT.format(modules=missing), *words]
    done = subprocess.run(call, capture_output=True, env=settings, cwd=folder, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"note:" not in done.stdout
    assert done.stderr.count(b"note:") == done.stderr.count(NOTE)
    return [line for line in done.stderr.splitlines() if line.startswith(b"note:")]


def test_each_command_that_moves_data_says_it_once(repository: Path, environment: dict[str, str]) -> None:
    for words in (["backup", "file"], ["check", "--read-data"], ["restore", "latest", "--target", "out"]):
        [note] = notes(repository, environment, *words)
        assert b"not compiled" in note
        assert note.endswith(b"(see restic-format version -v)")
    assert notes(repository, environment, "snapshots") == []


def test_a_missing_chunker_matters_to_backup_only(repository: Path, environment: dict[str, str]) -> None:
    [note] = notes(repository, environment, "backup", "file", missing=MODULES[:1])
    assert b"chunker: not compiled" in note
    assert notes(repository, environment, "check", missing=MODULES[:1]) == []


@pytest.mark.parametrize("words", [["--quiet"], ["--json"]])
def test_nobody_is_told_who_does_not_read(words: list[str], repository: Path, environment: dict[str, str]) -> None:
    assert notes(repository, environment, "backup", "file", *words) == []


@pytest.mark.parametrize("policy", ["off", "wheels"])
def test_who_asked_for_it_is_not_told(policy: str, repository: Path, environment: dict[str, str]) -> None:
    assert notes(repository, environment, "backup", "file", policy=policy) == []


def test_nothing_is_said_where_all_is_there(repository: Path, environment: dict[str, str]) -> None:
    assert notes(repository, environment, "backup", "file", missing=()) == []
