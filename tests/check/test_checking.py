"""A check in its own thread tells the same as one that is waited for, and nothing before it is asked."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from restic_format.check import CheckOptions, NoProgress, ReadPlan, Stage, check
from restic_format.check.checking import Checking
from restic_format.check.findings import Code, Finding
from restic_format.errors import Interrupted
from restic_format.repository import Repository, lock_repository
from restic_format.storage import LocalStorage
from tests.safety import kit


class Listener(NoProgress):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def stage(self, stage: Stage, total: int) -> None:
        self.told.append(("stage", stage, total))

    def advance(self, stage: Stage, done: int) -> None:
        self.told.append(("advance", stage, done))

    def reading(self, plan: ReadPlan) -> None:
        self.told.append(("reading", plan))

    def found(self, finding: Finding) -> None:
        self.told.append(("found", finding))


def opened(path: Path) -> Repository:
    return Repository.open(LocalStorage(path), kit.PASSWORD)


def others() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("check")}


def test_it_tells_what_a_check_tells(damaged: Path) -> None:
    kit.flip_bit(kit.files_of(damaged, "data")[-1], 1000)
    (damaged / "index" / "stray").write_text("?")
    options = CheckOptions(read_data=True, workers=1)
    waited, background = Listener(), Listener()
    expected = check(opened(damaged), options, waited)
    assert Checking(opened(damaged), options).finish(background) == expected
    assert background.told == waited.told
    assert {told[0] for told in waited.told} == {"stage", "advance", "reading", "found"}


def test_nothing_is_left_of_one_that_is_abandoned(real_repository: Path) -> None:
    checking = Checking(opened(real_repository), CheckOptions(read_data=True))
    checking.abandon()
    checking.abandon()
    assert not others()


def test_an_interrupt_ends_it(real_repository: Path) -> None:
    interrupt = threading.Event()
    interrupt.set()
    with pytest.raises(Interrupted):
        Checking(opened(real_repository), CheckOptions(), interrupt).finish(Listener())
    assert not others()


def test_it_ends_when_its_listener_fails(real_repository: Path) -> None:
    class Failing(Listener):
        def stage(self, stage: Stage, total: int) -> None:
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        Checking(opened(real_repository), CheckOptions(read_data=True)).finish(Failing())
    assert not others()


def test_a_long_tale_waits_to_be_heard(forge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restic_format.check.checking._WAITING", 10)
    for _ in range(50):
        forge.document("snapshots", {"time": "2024-02-03T04:05:06Z", "tree": None, "paths": []})
    checking = Checking(Repository.open(LocalStorage(forge.path), kit.PASSWORD), CheckOptions())
    time.sleep(0.2)
    assert checking._told.qsize() == 10
    assert checking.finish(Listener()).counts[Code.SNAPSHOT_NO_TREE] == 50


@pytest.mark.clause("LOCK-13")
def test_a_check_that_gets_no_lock_tells_nothing(damaged: Path) -> None:
    kit.flip_bit(kit.files_of(damaged, "snapshots")[0], 100)
    with lock_repository(opened(damaged)):
        done = kit.ours(damaged, "check", check=False)
    assert done.returncode == 11
    assert "already locked" in done.stderr and "load" not in done.stdout + done.stderr
    assert kit.ours(damaged, "check", check=False).returncode == 1
