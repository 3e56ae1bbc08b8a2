"""The disk is full: nothing is lost, nothing pretends to have worked, and with more space it goes on."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.safety import kit


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    assert os.geteuid() == 0, "mounting a small file system needs root"
    place = tmp_path / "disk"
    place.mkdir()
    kit.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)])
    yield place
    kit.run(["umount", str(place)])


def make_larger(disk: Path) -> None:
    kit.run(["mount", "-o", "remount,size=200m", str(disk)])


def incompressible(folder: Path, megabytes: int) -> Path:
    folder.mkdir()
    rng = random.Random(7)
    for number in range(megabytes // 2):
        (folder / f"file{number}").write_bytes(rng.randbytes(2 << 20))
    return folder


@pytest.mark.clause("LAYOUT-8", "ORDER-6", "LOCK-10")
def test_backup_to_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    repo = small_disk / "repo"
    first = incompressible(tmp_path / "first", 4)
    second = incompressible(tmp_path / "second", 30)
    kit.initialised(repo)
    kit.ours(repo, "backup", str(first))
    done = kit.ours(repo, "backup", "--pack-size", "4", str(second), check=False)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "no space left on device" in done.stderr and "Traceback" not in done.stderr
    assert kit.files_of(repo, "locks") == []
    assert [path for path in kit.files_of(repo) if "-tmp-" in path.name] == [], "room is given back"
    assert len(kit.files_of(repo, "snapshots")) == 1
    # Checked without a lock, for there is no room for one.
    checked = kit.restic(repo, "check", "--no-lock", "--read-data")
    assert "no errors were found" in checked.stdout
    make_larger(small_disk)
    kit.ours(repo, "backup", str(second))
    kit.restic(repo, "check", "--read-data")
    restored = tmp_path / "restored"
    kit.restic(repo, "restore", f"latest:{second}", "--target", str(restored))
    kit.run(["diff", "-r", str(second), str(restored)])


def test_restore_to_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    source = incompressible(tmp_path / "src", 30)
    repo = tmp_path / "repo"
    kit.initialised(repo)
    kit.ours(repo, "backup", str(source))
    target = small_disk / "target"
    done = kit.ours(repo, "restore", f"latest:{source}", "--target", str(target), check=False)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "no space left on device" in done.stderr.lower() and "Traceback" not in done.stderr
    assert kit.files_of(repo, "locks") == []
    make_larger(small_disk)
    kit.ours(repo, "restore", f"latest:{source}", "--target", str(target), "--verify")
    kit.run(["diff", "-r", str(source), str(target)])
