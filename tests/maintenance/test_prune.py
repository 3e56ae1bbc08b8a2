"""Prune decides like restic 0.19.1, leaves no more than it, and loses nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.maintenance import prune
from restic_format.maintenance.prune import MaxUnused, PruneOptions
from restic_spec.pack import BlobType
from restic_tools.cli import main
from tests.maintenance.kit import contents, generate, open_repo, pack_bytes
from tests.restore.kit import environment, ours, restic

OPTIONS = [
    [],
    ["--max-unused", "0"],
    ["--max-unused", "unlimited", "--repack-smaller-than", "1k"],
    ["--max-unused", "30%", "--repack-smaller-than", "20k"],
    ["--max-unused", "40k", "--max-repack-size", "200k"],
    ["--repack-cacheable-only"],
    ["--repack-uncompressed", "--max-unused", "unlimited"],
    ["--max-repack-size", "0"],
]


def left(folder: Path) -> int:
    """Bytes of all blobs in packs, each as often as it is stored, before compression: which copy of a blob is kept, one that is
    compressed or one that is not, depends on chance in restic, and compressors differ by some bytes.
    """
    return sum(entry.plain_length for pack in open_repo(folder).index.packs() for entry in pack.entries())


def between_copies(folder: Path) -> int:
    """By how many bytes packs may differ that hold the same, as it is chance which copy is kept: one may be compressed."""
    lengths: dict[tuple[BlobType, bytes], list[int]] = {}
    for pack in open_repo(folder).index.packs():
        for entry in pack.entries():
            lengths.setdefault((entry.type, entry.id), []).append(entry.length)
    return sum(max(copies) - min(copies) for copies in lengths.values())


def options_for(version: int) -> list[list[str]]:
    return [words for words in OPTIONS if version == 2 or "--repack-uncompressed" not in words]


@pytest.mark.parametrize("version", [1, 2])
def test_the_plan_is_restics(
    version: int,
    tmp_path: Path,
    peer: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Where nothing depends on the order of a Go map, the printed plan is the same in every byte."""
    for name in ("RESTIC_PASSWORD", "RESTIC_PROGRESS_FPS"):
        monkeypatch.setenv(name, environment()[name])

    def told_here(*words: str) -> tuple[int, bytes]:
        capfdbinary.readouterr()
        code = main(["--no-cache", "-r", str(made.folder), *words])
        sys.stdout.flush()
        return code, capfdbinary.readouterr().out

    for seed in range(3):
        made = generate(tmp_path / f"repo{seed}", seed + 10 * version, version, duplicates=False)
        for words in options_for(version):
            for level in ([], ["-v"], ["-vv"], ["-q"]):
                told = told_here("prune", "--dry-run", *words, *level)
                theirs = restic(peer("restic-0.19"), made.folder, "prune", "--dry-run", *words, *level)
                expected = theirs.stdout.replace(b"warning: running prune without a cache, this may be very slow!\n", b"")
                assert told == (theirs.returncode, expected), (seed, words)


@pytest.mark.clause("ORDER-10")
@pytest.mark.parametrize("version", [1, 2])
def test_no_more_is_left_than_by_restic(version: int, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    """With duplicates, mixed, uncompressed and unindexed packs; every program that knows the version agrees, and so do we after
    restic's.
    """
    programs = ["restic-0.14", "restic-0.18", "restic-0.19"]
    for number, words in enumerate(options_for(version)):
        made = generate(tmp_path / f"{number}", 100 * version + number, version)
        before = contents(made.folder)
        assert set(before) == set(made.snapshots)
        other = tmp_path / f"{number}-restic"
        shutil.copytree(made.folder, other)
        chance = between_copies(made.folder)
        done = ours(made.folder, "prune", *words)
        assert done.returncode == 0, done
        assert restic(peer("restic-0.19"), other, "prune", *words).returncode == 0
        # What fits under --max-repack-size depends on which copies are chosen: in restic on chance.
        spare = 40 << 10 if "--max-unused" in words and "--max-repack-size" in words else 0
        assert left(made.folder) <= left(other) + spare, words
        assert pack_bytes(made.folder) <= pack_bytes(other) * 1.005 + spare + chance, words
        assert contents(made.folder) == contents(other) == before
        checked = restic(peer(programs[number % 3]), made.folder, "check", "--read-data")
        assert checked.returncode == 0 and b"no errors were found" in checked.stdout, checked
        assert ours(other, "check", "--read-data").returncode == 0
        if words == ["--max-unused", "0"]:
            again = ours(made.folder, "prune", *words, "--json", "--dry-run")
            assert b'"unused":0,"remove":0' in again.stdout, again.stdout


LIMITED = [
    ("--max-unused 0", PruneOptions(max_unused=MaxUnused(bytes=0))),
    ("--max-unused 5%", PruneOptions(max_unused=MaxUnused(percent=5))),
    ("--max-unused 20k --repack-smaller-than 20k", PruneOptions(max_unused=MaxUnused(bytes=20 << 10), small_pack=20 << 10)),
    ("--max-unused 60k --repack-smaller-than 20k", PruneOptions(max_unused=MaxUnused(bytes=60 << 10), small_pack=20 << 10)),
    ("--max-unused 5% --repack-smaller-than 20k", PruneOptions(max_unused=MaxUnused(percent=5), small_pack=20 << 10)),
    ("--max-unused 15% --repack-smaller-than 5k", PruneOptions(max_unused=MaxUnused(percent=15), small_pack=5 << 10)),
]


@pytest.mark.clause("ORDER-10")
@pytest.mark.parametrize("share", range(4))
def test_where_blobs_are_stored_several_times_no_more_is_left_within_a_limit(
    share: int, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    """restic chooses among copies by chance, and so among the packs within the limit: whatever it does, we leave no more."""
    for seed in range(500 + share, 532, 4):
        made = generate(tmp_path / f"{seed}", seed, 1 + seed // 4 % 2, rounds=5 + seed % 5)
        other = tmp_path / f"{seed}-restic"
        shutil.copytree(made.folder, other)
        chance = between_copies(made.folder)
        words, options = LIMITED[seed % len(LIMITED)]
        done = restic(peer("restic-0.19"), other, "prune", *words.split())
        assert done.returncode == 0, done
        repo = open_repo(made.folder)
        with repo.lock(exclusive=True):
            prune.execute(prune.plan(repo, options))
        assert left(made.folder) <= left(other), (seed, words)
        assert pack_bytes(made.folder) <= pack_bytes(other) * 1.005 + chance, (seed, words)
