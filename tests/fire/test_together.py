"""Several programs at one repository: whoever comes in between loses nothing, and nobody loses what he needs."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restic_format.maintenance import prune
from restic_format.repository import Repository
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from tests.fire.cases import EXACTLY, World, filled, two_repositories
from tests.fire.kit import ENVIRONMENT, contents, errors, prepare, stored
from tests.restore.kit import PASSWORD
from tests.safety import kit as safety

LOCK_FREE = ("prune", *EXACTLY, "--lock-free", "--keep-delete", "0s")


@pytest.fixture
def world() -> World:
    return filled()()


@pytest.fixture
def repo(world: World, tmp_path: Path) -> Path:
    return Path(stored(world, tmp_path)["repo"])


def begin(command: list[str], **options: object) -> subprocess.Popen[str]:
    env = safety.environment(**ENVIRONMENT)
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def ours(repo: Path, *words: str) -> list[str]:
    return safety.ours_command(repo, *words)


def restic(repo: Path, *words: str) -> list[str]:
    return [safety.restic_binary(), "--no-cache", "-r", str(repo), *words]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def whole(repo: Path) -> None:
    """Both programs find nothing wrong."""
    assert errors(str(repo)) == set()
    done = safety.run(restic(repo, "check", "--read-data"), env=safety.environment(**ENVIRONMENT))
    assert "no errors were found" in done.stdout


def restores(repo: Path, program: Callable[..., list[str]], source: Path, target: Path) -> None:
    """The latest snapshot is *source*."""
    done = end(begin(program(repo, "restore", f"latest:{source}", "--target", str(target))))
    assert done[0] == 0, done
    safety.run(["diff", "-r", str(source), str(target)])


@contextmanager
def backup_in_the_middle(command: list[str], repo: Path) -> Iterator[subprocess.Popen[str]]:
    """A backup of what it reads from here, that has looked at the repository and not ended."""
    process = begin(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write("some data\n" * 100)
    process.stdin.flush()
    while not any(len(path.name) == 64 for path in safety.files_of(repo, "locks")):
        assert process.poll() is None
    yield process


@pytest.mark.clause("RUSTIC-9")
@pytest.mark.parametrize("program", [ours, restic])
def test_a_backup_that_goes_on_while_packs_are_marked_and_removed(program: Callable[..., list[str]], repo: Path) -> None:
    """What it stores stays, with both phases of the lock-free prune in its middle."""
    before = contents(str(repo))
    with backup_in_the_middle(program(repo, "backup", "--stdin", "--stdin-filename", "piped"), repo) as backup:
        for _ in range(2):
            done = end(begin(ours(repo, *LOCK_FREE)))
            assert done[0] == 0, done
        refused = end(begin(ours(repo, "prune", *EXACTLY)))
        assert refused[0] == 11 and "already locked" in refused[1]
        forgotten = end(begin(ours(repo, "forget", "--keep-last", "1")))
        assert forgotten[0] == 11
    assert end(backup)[0] == 0
    after = contents(str(repo))
    assert after.lost(before, before) == [] and len(after.snapshots) == len(before.snapshots) + 1
    assert end(begin(ours(repo, *LOCK_FREE)))[0] == 0
    assert end(begin(ours(repo, "prune", *EXACTLY)))[0] == 0
    assert contents(str(repo)).lost(after, after) == []
    whole(repo)


@pytest.mark.clause("RUSTIC-9")
@pytest.mark.parametrize("program", [ours, restic])
def test_a_backup_between_plan_and_act(program: Callable[..., list[str]], repo: Path, tmp_path: Path) -> None:
    """A plan that was made before a backup is not carried out, or spares what the backup needs."""
    source = prepare(tmp_path / "work") / "source"
    repository = Repository.open(LocalStorage(repo), PASSWORD)
    options = prune.PruneOptions(prune.MaxUnused(bytes=0), lock_free=True, keep_delete=0)
    for _ in range(2):  # packs to be marked, then packs to be removed
        with repository.lock():
            plan = prune.plan(repository, options)
            (source / "more").write_bytes(random.Random(3).randbytes(3000))
            assert end(begin(program(repo, "backup", str(source))))[0] == 0
            before = contents(str(repo))
            prune.execute(plan)
        assert contents(str(repo)).lost(before, before) == []
    exclusive = prune.plan(repository, prune.PruneOptions(prune.MaxUnused(bytes=0)))
    (source / "more").write_bytes(random.Random(4).randbytes(3000))
    assert end(begin(program(repo, "backup", str(source))))[0] == 0
    with repository.lock(exclusive=True), pytest.raises(prune.PlanOutdated):
        prune.execute(exclusive)
    restores(repo, program, source, tmp_path / "restored")
    whole(repo)


@pytest.mark.clause("ORDER-3", "LOCK-2")
def test_two_prunes_of_different_programs(repo: Path) -> None:
    """One of them waits, or says that the other is there."""
    before = contents(str(repo))
    pairs = [ours(repo, "prune", *EXACTLY), restic(repo, "prune", *EXACTLY), ours(repo, *LOCK_FREE)]
    ends = [end(process) for process in [begin(command) for command in pairs]]
    assert 0 in {code for code, _ in ends} and {code for code, _ in ends} <= {0, 11}, ends
    assert contents(str(repo)).lost(before, before) == []
    for command in pairs:
        assert end(begin(command))[0] == 0
    assert contents(str(repo)).lost(before, before) == []
    whole(repo)


@pytest.mark.clause("LOCK-2", "ORDER-1")
def test_a_copy_whose_source_others_want_to_prune(tmp_path: Path) -> None:
    """While it copies nobody removes packs of its source; a lock-free prune may mark them."""
    places = stored(two_repositories(), tmp_path)
    target, source = Path(places["repo"]), Path(places["other"])
    before = contents(str(source))
    copied = begin(ours(target, "copy", "--from-repo", str(source), "--limit-upload", "30"))
    while not any(len(path.name) == 64 for path in safety.files_of(source, "locks")):
        assert copied.poll() is None
    others = [begin(ours(source, "prune", *EXACTLY)), begin(restic(source, "prune", *EXACTLY)), begin(ours(source, *LOCK_FREE))]
    codes = [end(other)[0] for other in others]
    assert end(copied)[0] == 0
    assert codes[2] == 0 and set(codes) <= {0, 11}
    assert contents(str(source)).lost(before, before) == []
    assert contents(str(target)).items() >= before.items()
    for place in (source, target):
        whole(place)


WITHOUT_A_LOCK = """
import sys
from restic_format.backup import BackupOptions, backup
from restic_format.repository import Repository
from restic_format.storage import LocalStorage

repository = Repository.open(LocalStorage(sys.argv[1]), sys.argv[2])
repository.load_index()
backup(repository, sys.argv[3:], BackupOptions(hostname="lockless"))
"""
RUSTIC = Path(__file__).parents[2] / ".peers" / "rustic" / "bin" / "rustic"


# rustic takes many minutes to build: where it was not (`make kills` does it), the engine writes as it does, without a lock.
@pytest.mark.parametrize("writer", ["engine", *(["rustic"] if RUSTIC.exists() else [])])
@pytest.mark.clause("ORDER-1", "RUSTIC-9")
def test_a_backup_without_a_lock_beside_lock_free_prunes(repo: Path, writer: str, tmp_path: Path) -> None:
    """rustic takes no locks; what such a program stores while packs are marked stays."""
    if writer == "rustic":
        command = [str(RUSTIC), "-r", str(repo), "--password", PASSWORD, "--no-cache", "backup"]
    else:
        command = [sys.executable, "-c", WITHOUT_A_LOCK, str(repo), PASSWORD]
    source = safety.grow_source(tmp_path / "src", files=2, size=100_000)
    before = contents(str(repo))
    stop = threading.Event()
    prunes: list[tuple[int, str]] = []

    def keep_pruning() -> None:
        while not stop.is_set():
            prunes.append(end(begin(ours(repo, "prune", *EXACTLY, "--lock-free"))))

    pruning = threading.Thread(target=keep_pruning)
    pruning.start()
    try:
        for number in range(3):
            (source / "big").write_bytes(random.Random(number).randbytes(300_000))
            done = end(begin([*command, str(source)]))
            assert done[0] == 0, done
    finally:
        stop.set()
        pruning.join()
    assert {code for code, _ in prunes} == {0}, prunes
    after = contents(str(repo))
    assert after.lost(before, before) == [] and len(after.snapshots) == len(before.snapshots) + 3
    restores(repo, restic, source, tmp_path / "restored")
    assert end(begin(ours(repo, *LOCK_FREE)))[0] == 0
    assert contents(str(repo)).lost(after, after) == []
    assert not list(LocalStorage(repo).list(FileKind.LOCK))
    whole(repo)
