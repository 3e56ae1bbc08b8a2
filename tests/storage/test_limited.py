"""Bytes a second: no more than asked for, in each direction for itself, and small files are not kept behind large ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from restic_format.errors import FileMissing
from restic_format.storage import MemoryStorage
from restic_format.storage.limited import PIECES, SAVED_UP, LimitedStorage, Pace
from restic_spec.ids import id_of
from restic_spec.layout import FileKind
from restic_tools.cli import main

RATE = 1000
NAME = id_of(b"x").hex()


class Clock:
    """A time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 50.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("sizes", [[10_000], [100] * 100, [1] * 10_000, [9_999, 1]])
def test_the_rate_is_kept_however_the_bytes_are_divided(sizes: list[int], clock: Clock) -> None:
    pace = Pace(RATE, clock=clock, sleep=clock.sleep)
    for size in sizes:
        pace.wait(size)
    assert clock.now - 50.0 == pytest.approx(sum(sizes) / RATE - SAVED_UP)


def test_a_pause_saves_up_for_one_second_only(clock: Clock) -> None:
    pace = Pace(RATE, clock=clock, sleep=clock.sleep)
    pace.wait(RATE)
    assert clock.naps == [], "the first second's worth goes at once"
    clock.now += 3600
    before = clock.now
    pace.wait(3 * RATE)
    assert clock.now - before == pytest.approx(2.0)


def test_no_sleep_is_long_when_one_waits(clock: Clock) -> None:
    Pace(RATE, clock=clock, sleep=clock.sleep).wait(100 * RATE)
    assert max(clock.naps) <= 1 / PIECES + 1e-9


def test_a_small_file_gets_through_between_the_pieces_of_a_large_one() -> None:
    pace = Pace(RATE)
    large = threading.Thread(target=pace.wait, args=(4 * RATE,))
    large.start()
    time.sleep(0.3)
    begun = time.monotonic()
    pace.wait(10)
    assert time.monotonic() - begun < 1.0
    assert large.is_alive(), "the large one has to wait for longer"
    large.join()


def test_threads_share_the_rate() -> None:
    rate = 1_000_000
    pace = Pace(rate)
    begun = time.monotonic()
    threads = [threading.Thread(target=pace.wait, args=(rate // 2,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun >= 0.99


def test_whoever_is_asked_to_stop_does_not_wait_any_more(clock: Clock) -> None:
    inner = MemoryStorage()
    stopped_at = 60.0
    upload, download = (
        Pace(rate, clock=clock, sleep=clock.sleep, stopping=lambda: clock.now >= stopped_at) for rate in (RATE, 1)
    )
    storage = LimitedStorage(inner, upload, download)
    content = bytes(1000 * RATE)
    storage.save(FileKind.PACK, NAME, content)
    assert stopped_at <= clock.now <= stopped_at + 0.25
    assert inner.load(FileKind.PACK, NAME) == content, "what was to be stored is stored"
    clock.now, stopped_at = 1000.0, 1010.1
    assert storage.load(FileKind.PACK, NAME) == content
    assert stopped_at <= clock.now <= stopped_at + 0.25, "a piece takes a second, and is not waited for"


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_that_lets_nothing_through_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="lets nothing through"):
        Pace(rate)


def test_each_direction_has_its_own_rate(clock: Clock) -> None:
    inner = MemoryStorage()
    storage = LimitedStorage(inner, *(Pace(rate, clock=clock, sleep=clock.sleep) for rate in (RATE, 10 * RATE)))
    content = os.urandom(21 * RATE)
    storage.save(FileKind.PACK, NAME, memoryview(content).cast("I"))
    assert clock.now - 50.0 == pytest.approx(20.0), "bytes are counted, not items of the view"
    before = clock.now
    assert storage.load(FileKind.PACK, NAME, RATE) == content[RATE:]
    assert clock.now - before == pytest.approx(1.0), "what was read, not what the file has"
    before = clock.now
    assert list(storage.list(FileKind.PACK)) == [(NAME, len(content))]
    assert storage.size(FileKind.PACK, NAME) == len(content)
    storage.remove(FileKind.PACK, NAME)
    assert not storage.exists(FileKind.PACK, NAME)
    assert (storage.location, storage.connections) == (inner.location, inner.connections)
    assert clock.now == before


def test_every_piece_of_a_content_counts(clock: Clock) -> None:
    storage = LimitedStorage(MemoryStorage(), Pace(RATE, clock=clock, sleep=clock.sleep))
    storage.save(FileKind.PACK, NAME, [bytes(RATE), memoryview(bytes(2 * RATE))])
    assert clock.now - 50.0 == pytest.approx(3 - SAVED_UP)
    assert storage.load(FileKind.PACK, NAME) == bytes(3 * RATE)


def test_a_file_written_in_pieces_waits_for_each(clock: Clock) -> None:
    storage = LimitedStorage(MemoryStorage(), Pace(RATE, clock=clock, sleep=clock.sleep))
    writer = storage.begin(FileKind.PACK)
    writer.append([bytes(RATE), memoryview(bytes(2 * RATE))])
    assert clock.now - 50.0 == pytest.approx(3 - SAVED_UP)
    writer.append(bytes(RATE))
    assert clock.now - 50.0 == pytest.approx(4 - SAVED_UP)
    writer.finish(NAME)
    assert storage.load(FileKind.PACK, NAME) == bytes(4 * RATE)


def test_without_a_rate_nothing_waits(clock: Clock) -> None:
    storage = LimitedStorage(MemoryStorage(), Pace(1, clock=clock, sleep=clock.sleep))
    storage.inner.save(FileKind.PACK, NAME, bytes(5000))
    assert len(storage.load(FileKind.PACK, NAME)) == 5000
    with pytest.raises(FileMissing):
        storage.load(FileKind.INDEX, NAME)
    assert clock.naps == []


def test_the_options_slow_a_backup_and_a_restore_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("RESTIC_PASSWORD", "pw")
    monkeypatch.setenv("RESTIC_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "data").write_bytes(os.urandom(1_000_000))

    def took(*words: str) -> float:
        begun = time.monotonic()
        assert main([*words]) == 0, capsys.readouterr().err
        return time.monotonic() - begun

    took("init")
    at_least = 1_000_000 / (400 * 1024) - SAVED_UP
    assert took("backup", str(tmp_path / "data"), "--limit-upload", "400") >= at_least
    assert took("restore", "latest", "--target", str(tmp_path / "out"), "--limit-download=400") >= at_least
    limited_by_the_wrong_one = 1_000_000 / 1024 - SAVED_UP
    taken = took("restore", "latest", "--target", str(tmp_path / "other"), "--limit-upload=1", "--limit-download=-1")
    assert taken < limited_by_the_wrong_one / 4


def test_an_interrupted_backup_does_not_wait_for_its_bytes(tmp_path: Path) -> None:
    """At this rate they would take ten minutes."""
    environment = {**os.environ, "RESTIC_PASSWORD": "pw", "RESTIC_CACHE_DIR": str(tmp_path / "cache")}
    repo, source = tmp_path / "repo", tmp_path / "data"
    source.write_bytes(os.urandom(6_000_000))
    program = [sys.executable, "-m", "restic_tools", "-r", str(repo)]
    subprocess.run([*program, "init"], env=environment, check=True, capture_output=True, timeout=60)
    words = ["--limit-upload", "10", "backup", str(source)]
    with subprocess.Popen([*program, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as backup:
        while not list((repo / "locks").iterdir()):
            time.sleep(0.05)
        time.sleep(1)
        backup.send_signal(signal.SIGINT)
        try:
            backup.communicate(timeout=60)
        finally:
            backup.kill()
    assert backup.returncode == 130
    assert not list((repo / "locks").iterdir())
    checked = subprocess.run([*program, "check", "--read-data"], env=environment, capture_output=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


def test_unfinished_files_are_removed_through_the_limits_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", str(tmp_path / "repo"))
    monkeypatch.setenv("RESTIC_PASSWORD", "pw")
    assert main(["init"]) == 0
    left = tmp_path / "repo" / "data" / "00" / f"{'0' * 64}-tmp-123"
    left.write_bytes(b"half a pack")
    os.utime(left, (1, 1))
    capsys.readouterr()
    assert main(["--no-cache", "--limit-upload", "1000", "unlock"]) == 0
    assert "removed 1 unfinished files" in capsys.readouterr().out
    assert not left.exists()
