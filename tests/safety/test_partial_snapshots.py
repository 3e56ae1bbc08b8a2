"""`backup --snapshot-on-interrupt` under fire: signals at random moments, and a second signal."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.safety import kit


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def begin(repo: Path, source: Path, *options: str) -> subprocess.Popen[str]:
    command = kit.ours_command(repo, "backup", "--snapshot-on-interrupt", "--pack-size", "4", *options, source.name)
    return subprocess.Popen(
        command, env=kit.environment(), cwd=source.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def new_repository(folder: Path) -> Path:
    repo = folder / "repo"
    kit.initialised(repo)
    return repo


def grow(source: Path, rng: random.Random, number: int) -> None:
    for name in range(40):
        path = source / f"{number}" / f"{name % 4}" / f"{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.choice([10, 5_000, 300_000, 1_500_000])))


def snapshots(repo: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kit.restic(repo, "snapshots", "--json").stdout)
    return found


@pytest.mark.clause("SNAP-21", "ORDER-1")
@pytest.mark.parametrize("moments", [3, pytest.param(20, marks=pytest.mark.long)])
def test_interrupted_at_random_moments(tmp_path: Path, moments: int) -> None:
    rng = random.Random(moments)
    source = tmp_path / "src"
    repo = new_repository(tmp_path)
    partial = 0
    for number in range(moments):
        grow(source, rng, number)
        before = len(kit.files_of(repo, "snapshots"))
        process = begin(repo, source, "--json", "--limit-upload", "8000")
        if number % 2 == 0:  # something is stored by then, and much is not
            packs = len(kit.files_of(repo, "data"))
            while len(kit.files_of(repo, "data")) == packs and process.poll() is None:
                time.sleep(0.002)
        else:
            time.sleep(rng.uniform(0.15, 1.2))  # before that, it would be the interpreter that is ended
        process.send_signal(rng.choice([signal.SIGINT, signal.SIGTERM]))
        out, err = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT, -signal.SIGTERM) and "Traceback" not in err, err
        last = json.loads(out.splitlines()[-1]) if out else {}
        assert (last.get("message_type") == "summary") == (len(kit.files_of(repo, "snapshots")) > before)
        assert kit.files_of(repo, "locks") == []
        if last.get("partial"):
            partial += 1
            assert process.returncode == 130 and json.loads(err.splitlines()[-1])["code"] == 130
            target = tmp_path / "restored"
            kit.restic(repo, "restore", last["snapshot_id"], "--target", str(target))
            restored, there = content(target / "src"), content(source)
            assert restored and restored.items() <= there.items()
            subprocess.run(["rm", "-r", str(target)], check=True)
    assert partial
    assert "no errors were found" in kit.restic(repo, "check", "--read-data").stdout
    process = begin(repo, source)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "partial snapshot" not in out
    kit.restic(repo, "restore", "latest", "--path", str(source), "--target", str(tmp_path / "restored"))
    assert content(tmp_path / "restored" / "src") == content(source)


@pytest.mark.clause("SNAP-21", "SNAP-22")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_people_see_it(tmp_path: Path, number: signal.Signals) -> None:
    source = tmp_path / "src"
    rng = random.Random(3)
    repo = new_repository(tmp_path)
    grow(source, rng, 0)
    process = begin(repo, source, "--limit-upload", "8000")
    while not kit.files_of(repo, "data"):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    [snapshot] = snapshots(repo)
    assert snapshot["tags"] == ["partial"] and f"partial snapshot {snapshot['short_id']} saved" in out
    assert err.splitlines() == [
        "signal received, saving what is done as a partial snapshot; another one ends without it",
        "interrupted",
    ]
    out, _ = begin(repo, source).communicate(timeout=60)
    assert f"using parent snapshot {snapshot['short_id']} (partial)" in out
    unchanged = next(line for line in out.splitlines() if line.startswith("Files:")).split(",")[2]
    assert int(unchanged.split()[0]) == snapshot["summary"]["total_files_processed"] > 0
    assert kit.ours(repo, "ls", "latest", "--json").stdout.count('"message_type":"node"') > 40


SLOW = """
import threading
from restic_format.repository import Repository
from restic_format.repository.writer import BlobWriter
from restic_tools.cli import run
owner = {"flush": BlobWriter, "save_snapshot": Repository}["NAME"]
real = owner.NAME
def slow(*arguments):
    threading.Event().wait(60)
    return real(*arguments)
owner.NAME = slow
run()
"""


@pytest.mark.clause("ORDER-6")
@pytest.mark.parametrize("name", ["flush", "save_snapshot"])
def test_a_second_signal_ends_at_once(tmp_path: Path, name: str) -> None:
    source = tmp_path / "src"
    grow(source, random.Random(4), 0)
    repo = new_repository(tmp_path)
    command = kit.ours_command(
        repo, "backup", "--snapshot-on-interrupt", "--pack-size", "4", "--limit-upload", "8000", str(source)
    )
    command[1:3] = ["-c", SLOW.replace("NAME", name)]
    process = subprocess.Popen(command, env=kit.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not kit.files_of(repo, "data"):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None and "partial snapshot" in process.stderr.readline()
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert kit.files_of(repo, "snapshots") == [] == kit.files_of(repo, "locks")
    assert kit.restic(repo, "check", check=False).returncode == 0


def test_what_it_does_not_go_with(tmp_path: Path) -> None:
    repo = new_repository(tmp_path)
    for words in (["--dry-run", "x"], ["--stdin"]):
        (tmp_path / "x").touch()
        refused = kit.run(
            [*kit.ours_command(repo, "backup", "--snapshot-on-interrupt"), *words], check=False, cwd=tmp_path, input="x"
        )
        assert refused.returncode == 1 and "--snapshot-on-interrupt" in refused.stderr
