"""Several backups into one repository at once, by this program and by real restic."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.safety import kit


@pytest.mark.clause("LOCK-2", "ORDER-1", "PACK-16")
def test_two_of_ours_and_one_of_restics(tmp_path: Path) -> None:
    rng = random.Random(3)
    shared = [rng.randbytes(1 << 20) for _ in range(12)]
    sources = []
    for number in range(3):
        folder = tmp_path / f"source{number}"
        folder.mkdir()
        # Much is the same everywhere, so that they store the same blobs at the same time.
        for name, content in enumerate(shared):
            (folder / f"shared{name}").write_bytes(content)
        for name in range(20):
            (folder / f"own{name}").write_bytes(rng.randbytes(200_000))
        sources.append(folder)
    repo = tmp_path / "repo"
    kit.initialised(repo)
    restic = [kit.restic_binary(), "--no-cache", "-r", str(repo), "--pack-size", "4", "backup", str(sources[2])]
    commands = [kit.ours_command(repo, "backup", "--pack-size", "4", str(source)) for source in sources[:2]]
    running = [
        subprocess.Popen(command, env=kit.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in [*commands, restic]
    ]
    for process in running:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
    assert kit.files_of(repo, "locks") == []
    kit.restic(repo, "check", "--read-data")
    kit.ours(repo, "check", "--read-data")
    for number, source in enumerate(sources):
        target = tmp_path / f"restored{number}"
        program = kit.ours if number == 2 else kit.restic
        program(repo, "restore", f"latest:{source}", "--path", str(source), "--target", str(target))
        kit.run(["diff", "-r", str(source), str(target)])
    # Blobs stored twice are no fault; prune by the real program tidies up and loses nothing.
    kit.restic(repo, "prune")
    kit.ours(repo, "check", "--read-data")
