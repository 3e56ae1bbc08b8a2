"""A repository is written, checked and read the same whichever native part is left out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from restic_format.native.parts import PARTS
from tests.safety import kit


@pytest.mark.parametrize("part", PARTS)
def test_the_whole_program_works_without_it(part: str, tmp_path: Path) -> None:
    source = kit.grow_source(tmp_path / "source", files=2, size=50_000)
    env = kit.environment(RESTIC_FORMAT_KERNEL=f"without:{part}")
    repo = tmp_path / "repo"
    kit.initialised(repo)
    for words in (
        ("backup", "-q", str(source)),
        ("backup", "-q", str(source)),
        ("check", "--read-data"),
        ("restore", "-q", "latest", "--target", str(tmp_path / "out")),
    ):
        done = subprocess.run(kit.ours_command(repo, *words), env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    kit.restic(repo, "check", "--read-data")
    restored = tmp_path / "out" / source.relative_to("/")
    assert (restored / "big").read_bytes() == (source / "big").read_bytes()
