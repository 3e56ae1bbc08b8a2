"""A check ends when it is told to, and leaves no thread behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from restic_format.check import CheckEvent, CheckOptions, Stage, check
from restic_format.errors import Interrupted
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_format.work import Advance, Cancel
from tests.safety import kit


def opened(path: Path) -> Repository:
    return Repository.open(LocalStorage(path), kit.PASSWORD)


def others() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(("check", "headers"))}


@pytest.mark.parametrize("stage", [Stage.FILES, Stage.INDEX, Stage.SNAPSHOTS, Stage.READ])
def test_a_cancelled_check_ends(real_repository: Path, stage: Stage) -> None:
    cancel = Cancel()
    seen = []

    def told(event: CheckEvent) -> None:
        if isinstance(event, Advance) and event.done == 0:
            seen.append(event.stage)
            if event.stage == stage:
                cancel.set()

    with pytest.raises(Interrupted):
        check(opened(real_repository), CheckOptions(read_data=True), told, cancel)
    assert seen[-1] in (stage, Stage.INDEX, Stage.PACKS) and not others()


def test_a_check_ends_when_its_listener_fails(real_repository: Path) -> None:
    def told(event: CheckEvent) -> None:
        if isinstance(event, Advance) and event.stage == Stage.READ and event.done:
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        check(opened(real_repository), CheckOptions(read_data=True), told)
    assert not others()


@pytest.mark.clause("LOCK-13")
def test_a_check_that_gets_no_lock_tells_nothing(damaged: Path) -> None:
    kit.flip_bit(kit.files_of(damaged, "snapshots")[0], 100)
    with opened(damaged).lock():
        done = kit.ours(damaged, "check", check=False)
    assert done.returncode == 11
    assert "already locked" in done.stderr and "load" not in done.stdout + done.stderr
    assert kit.ours(damaged, "check", check=False).returncode == 1
