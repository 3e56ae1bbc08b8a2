"""A backup that ends in the middle, by whatever cause, costs nothing but its own work."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from restic_format.check import CheckOptions, check
from restic_format.repository import Repository
from restic_format.repository.lock import remove_locks, remove_unfinished
from restic_format.storage import LocalStorage, local
from restic_spec.layout import FileKind
from tests.safety import kit
from tests.safety.child import back_up, forked_backup

KILLS = 50


def new_content(source: Path, rng: random.Random, number: int) -> None:
    """Give the next backup something to do: new data, new directories, things it knows already."""
    folder = source / f"round{number % 5}" / "deeper"
    folder.mkdir(parents=True, exist_ok=True)
    for name in range(12):
        (folder / f"file{name}").write_bytes(rng.randbytes(rng.randrange(1, 120_000)))
    (folder / "text").write_text(f"round {number}\n" * 3000)


@pytest.mark.clause("ORDER-1", "ORDER-6", "LAYOUT-8", "LOCK-5")
def test_kill_9_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(20240203)
    source = kit.grow_source(tmp_path / "src", files=1, size=60_000)
    repo = tmp_path / "repo"
    kit.initialised(repo)
    new_content(source, rng, KILLS)
    started = time.perf_counter()
    with forked_backup(repo, source) as child:
        assert os.waitpid(child, 0)[1] == 0
    duration = time.perf_counter() - started
    snapshots = set(kit.files_of(repo, "snapshots"))
    assert len(snapshots) == 1
    killed_early = killed_late = 0
    for number in range(KILLS):
        new_content(source, rng, number)
        packs = len(packs_of(repo))
        with forked_backup(repo, source) as child:
            # However busy the machine is, a third of them come when something new is stored already.
            give_up = time.monotonic() + 60
            while number % 3 == 0 and len(packs_of(repo)) == packs and time.monotonic() < give_up:
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, duration / 10 if number % 3 == 0 else duration))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed_early += len(packs_of(repo)) == packs
            killed_late += len(packs_of(repo)) > packs
        judge(repo)
        now = set(kit.files_of(repo, "snapshots"))
        assert snapshots <= now, "a snapshot that was there is gone"
        snapshots = now
    # The moments must have been spread over the work, or this would have tested little.
    assert killed_late >= KILLS // 5, (killed_early, killed_late, duration)
    back_up(repo, source)
    kit.restic(repo, "check", "--read-data")
    restored = tmp_path / "restored"
    kit.restic(repo, "restore", "latest:" + str(source), "--target", str(restored))
    kit.run(["diff", "-r", "--no-dereference", str(source), str(restored)])
    assert leftovers(repo) == []


def judge(repo: Path) -> None:
    """What a killed backup may leave: a stale lock, packs nobody lists, and unfinished files only on a file system where they
    must have names. Nothing else.
    """
    opened = Repository.open(LocalStorage(repo), kit.PASSWORD)
    assert leftovers(repo) == [] or not opened.storage.lists_at_once
    locks = [path for path in kit.files_of(repo, "locks") if path not in leftovers(repo)]
    assert remove_locks(opened) == len(locks), "the lock of a killed process is stale"
    real = kit.restic(repo, "check", check=False)
    assert real.returncode == 0, real.stdout + real.stderr
    report = check(opened, CheckOptions(read_data=True))
    assert report.ok, report.findings
    for path in leftovers(repo):
        path.unlink()


def packs_of(repo: Path) -> list[Path]:
    """The packs that are finished."""
    return [path for path in kit.files_of(repo, "data") if "-tmp-" not in path.name]


def leftovers(repo: Path) -> list[Path]:
    """Unfinished files; nothing that names itself by a hash is among them."""
    return [path for path in kit.files_of(repo) if "-tmp-" in path.name]


@pytest.mark.clause("LOCK-10", "ORDER-6")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    source = tmp_path / "src"
    source.mkdir()
    rng = random.Random(1)
    for name in range(10):
        (source / f"file{name:02}").write_bytes(rng.randbytes(8 << 20))
    repo = tmp_path / "repo"
    kit.initialised(repo)
    command = kit.ours_command(repo, "backup", "--pack-size", "4", str(source))
    process = subprocess.Popen(command, env=kit.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(packs_of(repo)) < 3:
        assert process.poll() is None, "ended before anything was stored"
        time.sleep(0.002)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert kit.files_of(repo, "locks") == []
    assert leftovers(repo) == []
    assert kit.files_of(repo, "snapshots") == []
    stored = {path.name for path in kit.files_of(repo, "data")}
    listed = set(kit.restic(repo, "list", "packs").stdout.split())
    assert listed == stored
    done = kit.restic(repo, "check", "--read-data")
    assert "additional files" not in done.stdout, "every finished pack is findable"
    # What was stored is not stored again.
    kit.ours(repo, "backup", str(source))
    total = sum(path.stat().st_size for path in kit.files_of(repo, "data"))
    assert total < sum(path.stat().st_size for path in source.iterdir()) * 1.05
    kit.restic(repo, "check", "--read-data")


@pytest.mark.clause("LOCK-15")
def test_unlock_removes_what_a_killed_backup_has_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_ONE_VIEW", frozenset())  # as on a file system where unfinished files must have names
    source = kit.grow_source(tmp_path / "src", files=1, size=3_000_000)
    repo = tmp_path / "repo"
    kit.initialised(repo)
    with forked_backup(repo, source) as child:
        while not any(path.parent.parent.name == "data" for path in leftovers(repo)):
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended before it was seen writing"
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    dead = leftovers(repo)
    # What restic leaves, and what others have put there or may be writing without a lock.
    restics = repo / "index" / f"{'ab' * 32}-tmp-1234567"
    others = [repo / "data" / "notes-tmp-1", repo / "keys" / restics.name, repo / "locks" / restics.name]
    for path in (restics, *others):
        path.write_bytes(b"?")
    opened = Repository.open(LocalStorage(repo), kit.PASSWORD)
    assert remove_locks(opened) == 1
    assert remove_unfinished(opened) == 0, "they are new"
    for path in (*dead, restics, *others):
        os.utime(path, (time.time() - 1860, time.time() - 1860))
    with opened.lock():
        writer = opened.storage.begin(FileKind.PACK)
        writer.append(b"content")
        [living] = set(leftovers(repo)) - {*dead, restics, *others}
        os.utime(living, (0, 0))
        kit.ours(repo, "unlock")
        assert living.exists() and all(path.exists() for path in dead), "somebody writes"
        # A single listing may miss a lock that is being refreshed.
        seen = iter([[], [(b"", 0)]])
        with monkeypatch.context() as patched:
            patched.setattr(opened, "list", lambda kind: iter(next(seen)))
            assert remove_unfinished(opened) == 0
        assert living.exists()
        writer.finish(kit.PASSWORD.encode().hex().ljust(64, "0"))
    assert "removed" in kit.ours(repo, "unlock").stdout
    assert set(kit.files_of(repo)) & {*dead, restics, *others} == set(others)
    assert remove_unfinished(opened) == 0
