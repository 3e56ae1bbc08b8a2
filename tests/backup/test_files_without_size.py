"""Files whose size is no size: /proc says 0 of each, and many give something only to the first read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.safety import kit

FOLDER = Path("/proc/sys/kernel")
NAMES = ["ostype", "osrelease", "pid_max", "threads-max", "cap_last_cap"]


@pytest.mark.parametrize("policy", ["auto", "off"])
def test_files_of_proc_are_whole(tmp_path: Path, policy: str) -> None:
    repo = tmp_path / "repo"
    kit.initialised(repo)
    paths = [FOLDER / name for name in NAMES]
    kit.run(kit.ours_command(repo, "backup", *map(str, paths)), env=kit.environment(RESTIC_FORMAT_KERNEL=policy))
    for path in paths:
        content = path.read_text()
        assert len(content) > 1
        assert kit.restic(repo, "dump", "latest", str(path)).stdout == content


@pytest.mark.parametrize("folder", ["/sys/kernel/mm", "/proc/sys/kernel"])
def test_trees_of_the_kernel_end_as_with_restic(tmp_path: Path, folder: str) -> None:
    """Some of their files cannot be read, and none has a size; nothing more is said of them than restic says."""
    repo = tmp_path / "repo"
    kit.initialised(repo)
    words = "backup", "--dry-run", "-q", folder
    theirs, ours = (run(repo, *words, check=False) for run in (kit.restic, kit.ours))
    assert ours.returncode == theirs.returncode
    assert sorted(ours.stderr.splitlines()) == sorted(theirs.stderr.splitlines())
