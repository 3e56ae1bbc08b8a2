"""Running our command line in this process while a server or the way to it is in trouble."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import restic_format.storage.retrying as retrying_module
from restic_format.storage import Storage
from restic_format.storage.retrying import Patience, RetryingStorage
from restic_format.storage.transport import Transport
from tests.fire.kit import Ended, run
from tests.servers.base import Place, peer
from tests.servers.faultyproxy import FaultyProxy
from tests.servers.faultysftp import FaultySftp
from tests.servers.kit import make_repository

PASSWORD = "correct horse"

QUICK = Patience(first=0.005, factor=1.5, longest=0.05, wanted=0.05, total=20.0)
"""How long our program tries: as often as restic, not as long."""


class Ours:
    """Our program at *place*; what it tries again it tries again soon."""

    def __init__(self, place: Place, work: Path, patience: Patience = QUICK) -> None:
        self.place = place
        self.work = work
        self.patience = patience
        self.work.mkdir(parents=True, exist_ok=True)

    def _retrying(self) -> type[RetryingStorage]:
        patience = self.patience

        class Quick(RetryingStorage):
            def __init__(self, inner: Storage, transport: Transport) -> None:
                super().__init__(inner, transport, patience)

        return Quick

    def __call__(self, *words: str, place: Place | None = None) -> Ended:
        """Run a command."""
        at = place or self.place
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retrying_module, "RetryingStorage", self._retrying())
            for name, text in {**at.environment, "RESTIC_PASSWORD": PASSWORD}.items():
                patch.setenv(name, text)
            patch.setattr("tests.fire.kit.ENVIRONMENT", {"RESTIC_PASSWORD": PASSWORD, "RESTIC_PROGRESS_FPS": "0.001"})
            return run([*at.words(), "--no-cache", *words], self.work)


def restic(place: Place, *words: str, work: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run real restic 0.19.1."""
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "HOME": str(work), **place.environment}
    command = [peer("restic-0.19", "restic"), "--no-cache", *place.words(), *words]
    return subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True, check=False, timeout=timeout)


def write_files(folder: Path, seed: object, files: int = 12) -> None:
    """Files of odd sizes; another seed changes half of them."""
    rng = random.Random(f"{seed}")
    for number in range(files):
        path = folder / f"d{number % 3}" / f"file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or rng.random() < 0.5:
            path.write_bytes(rng.randbytes(rng.randrange(1, 30_000)))


def tree_of(folder: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Story(NamedTuple):
    """What one run has shown."""

    steps: list[tuple[str, Ended]]
    faults: int


def through_faults(place: Place, proxy: FaultyProxy | FaultySftp, work: Path, seed: object) -> Story:
    """Back up, change, back up, forget and prune, check and restore through *proxy*; nothing may be lost at any moment.

    *place* is the same repository without a proxy. Real restic reads its folder, where its files lie in one.
    """
    make_repository(place)
    source = work / "source"
    ours = Ours(proxy.place(place), work)
    steps: list[tuple[str, Ended]] = []

    def step(*words: str, allowed: tuple[int, ...] = (0, 1)) -> bool:
        ended = ours(*words)
        steps.append((" ".join(words), ended))
        assert ended.code in allowed and "Traceback" not in ended.err and "Fatal: unexpected" not in ended.err, (words, ended)
        if ended.code == 0:
            return True
        last = ended.err.strip().splitlines()[-1]
        assert last.startswith("Fatal: ") and len(last) < 500, ended
        # Without trouble it works: what it has left does not hinder.
        assert ours("unlock", "--remove-all", place=place).code == 0
        again = ours(*words, place=place)
        assert again.code == 0, again
        return False

    for number in range(2):
        write_files(source, f"{seed}/{number}")
        step("backup", "source")
    step("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    step("check", "--read-data")
    target = work / "restored"
    step("restore", "latest", "--target", str(target))
    assert tree_of(target) == {f"source/{path}": data for path, data in tree_of(source).items()}
    proxy.be_good()
    assert ours("unlock", "--remove-all").code == 0
    local = place if place.folder is None else Place(str(place.folder))
    checked = restic(local, "check", "--read-data", work=work)
    assert checked.returncode == 0 and "no errors were found" in checked.stdout, checked
    theirs = work / "theirs"
    assert restic(local, "restore", "latest", "--target", str(theirs), work=work).returncode == 0
    assert tree_of(theirs) == tree_of(target)
    return Story(steps, sum(what.fault is not None for what in proxy.happened))
