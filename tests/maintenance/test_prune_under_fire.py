"""A prune that ends in the middle, by whatever cause, loses nothing, and the next one finishes its work."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from restic_format.errors import ResticFormatError
from restic_format.maintenance import prune
from restic_format.repository import Repository
from restic_format.repository.indexwriter import IndexChange, rewrite_index
from restic_format.storage import LocalStorage, MemoryStorage, Storage
from restic_format.storage.faulty import Call, Fail, Fault, FaultyStorage, Lose, Truncate
from restic_spec.layout import FileKind
from tests.maintenance.kit import add_snapshot, contents, generate, open_repo
from tests.restore.kit import PASSWORD, Maker, ours, ours_command, restic
from tests.restore.kit import environment as environment_of
from tests.safety import kit as safety

EVERYTHING = prune.PruneOptions(max_unused=prune.MaxUnused(bytes=0))
MARK = prune.PruneOptions(max_unused=prune.MaxUnused(bytes=0), lock_free=True, keep_delete=0)
BOTH = pytest.mark.parametrize("options", [EVERYTHING, MARK], ids=["exclusive", "lock-free"])


def run(storage: Storage | Path, options: prune.PruneOptions = EVERYTHING) -> prune.PruneResult:
    repo = Repository.open(storage if isinstance(storage, Storage) else LocalStorage(str(storage)), PASSWORD)
    with repo.lock(exclusive=not options.lock_free):
        return prune.execute(prune.plan(repo, options))


def is_clean(storage: Storage | Path) -> bool:
    """Whether there is nothing to do, but to make small packs larger."""
    plan = prune.plan(open_repo(storage), prune.PruneOptions(max_unused=prune.MaxUnused(bytes=0), small_pack=1))
    return not plan.changes and plan.statistics.size.unused_after == 0


def agrees(program: Path, folder: Path) -> Callable[[], None]:
    """Restic finds no errors; of unindexed files and duplicates it may tell."""

    def check() -> None:
        done = restic(program, folder, "check", "--read-data")
        assert done.returncode == 0 and b"no errors were found" in done.stdout, done

    return check


# A storage that fails, or lies


def copy_of(storage: MemoryStorage) -> MemoryStorage:
    copy = MemoryStorage()
    copy.files = dict(storage.files)
    return copy


def faults(calls: list[Call]) -> Iterator[tuple[int, Fault]]:
    """Every call fails; what is stored is lost, or only half of it is kept."""
    for number, call in enumerate(calls):
        yield number, Fail()
        if call.operation == "save" and call.kind is not FileKind.LOCK:
            yield number, Lose()
            yield number, Truncate(40)


def at(number: int, fault: Fault, storage: FaultyStorage, call: Call) -> Fault | None:
    """*fault* at the call with that number."""
    del call
    return fault if len(storage.calls) == number + 1 else None


@pytest.mark.clause("ORDER-3", "ORDER-4", "RUSTIC-9")
@BOTH
def test_every_call_of_the_storage_fails_in_turn(options: prune.PruneOptions) -> None:
    """Nothing that is needed is lost, whichever call fails or pretends to have worked, and the next run finishes."""
    whole = MemoryStorage()
    generate(whole, 5, rounds=4, large=3000)
    if options.lock_free:
        run(whole, options)
        repo = open_repo(whole)
        repo.remove(FileKind.SNAPSHOT, min(snapshot for snapshot, _ in repo.list(FileKind.SNAPSHOT)))
    before = contents(whole)
    watched = FaultyStorage(copy_of(whole), lambda call: None)
    run(watched, options)
    stopped = 0
    for number, fault in faults(watched.calls):
        storage = copy_of(whole)
        faulty = FaultyStorage(storage, lambda call: None)
        faulty.plan = partial(at, number, fault, faulty)
        try:
            run(faulty, options)
        except ResticFormatError:
            stopped += 1
        storage.files = {key: data for key, data in storage.files.items() if key[0] is not FileKind.LOCK}
        if isinstance(fault, Truncate) and watched.calls[number].kind is FileKind.INDEX:
            with pytest.raises(prune.PruneRefused, match="run repair index"):
                run(storage, options)
            storage.files = {key: data for key, data in storage.files.items() if key[0] is not FileKind.LOCK}
            rewrite_index(Repository.open(storage, PASSWORD), IndexChange(), damaged=lambda index, error: None)
        assert contents(storage) == before, (fault, watched.calls[number])
        run(storage, options)
        run(storage)
        assert contents(storage) == before and is_clean(storage), (fault, watched.calls[number])
    assert stopped > len(watched.calls) // 3


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    assert os.geteuid() == 0, "mounting a small file system needs root"
    place = tmp_path / "disk"
    place.mkdir()
    safety.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)])
    yield place
    safety.run(["umount", str(place)])


def test_a_full_disk(small_disk: Path, peer: Callable[[str], Path]) -> None:
    """There is no room to repack: nothing is lost; without repacking, or with the index removed first, it gets room."""
    folder = small_disk / "repo"
    made = generate(folder, 21, rounds=6, large=60_000)
    before = contents(folder)
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes(os.statvfs(small_disk).f_bavail * 4096 - 40_000))
    done = ours(folder, "prune", "--max-unused", "0")
    assert done.returncode == 1 and b"no space left on device" in done.stderr, done
    assert contents(folder) == before
    filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096 + filler.stat().st_size - 40_000))
    identity = open_repo(folder).id
    done = ours(folder, "prune", "--unsafe-recover-no-free-space", identity)
    assert done.returncode == 0 and b"deleting index files" in done.stdout, done
    filler.unlink()
    assert contents(folder) == before and set(before) == set(made.snapshots)
    agrees(peer("restic-0.19"), folder)()
    assert ours(folder, "prune", "--max-unused", "0").returncode == 0
    assert contents(folder) == before and is_clean(folder)
    agrees(peer("restic-0.19"), folder)()


# At the same time


def begin(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment_of(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(folder: Path) -> None:
    """Until somebody has a lock."""
    until = time.monotonic() + 60
    while not list((folder / "locks").iterdir()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_prune_waits_for_a_backup_by_restic(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    made = generate(tmp_path / "repo", 31)
    before = contents(made.folder)
    source = safety.grow_source(tmp_path / "src", files=1, size=100_000)
    words = ["--no-cache", "-r", str(made.folder), "--limit-upload", "400", "backup", "-q", str(source)]
    backup = begin([str(peer("restic-0.19")), *words])
    wait_for(made.folder)
    refused = ours(made.folder, "prune")
    assert refused.returncode == 11 and b"already locked" in refused.stderr
    done = ours(made.folder, "prune", "--retry-lock", "2m", "--max-unused", "0")
    assert done.returncode == 0, done
    assert backup.wait(60) == 0
    after = contents(made.folder)
    assert len(after) == len(before) + 1 and before.items() <= after.items()
    agrees(peer("restic-0.19"), made.folder)()


def test_a_backup_by_restic_while_a_lock_free_prune_runs(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    """Neither waits. What the backup relies on is unmarked by the next run at the latest."""
    source = safety.grow_source(tmp_path / "src", files=1, size=100_000)
    folder = tmp_path / "repo"
    program = str(peer("restic-0.19"))
    made = generate(folder, 32)
    safety.run([program, "--no-cache", "-r", str(folder), "backup", "-q", str(source)], env=environment_of())
    forgotten = set(contents(folder)) - set(made.snapshots)
    open_repo(folder).remove(FileKind.SNAPSHOT, *forgotten)
    before = contents(folder)
    (source / "new").write_bytes(random.Random(1).randbytes(400_000))
    backup = begin([program, "--no-cache", "-r", str(folder), "--limit-upload", "300", "backup", "-q", str(source)])
    wait_for(folder)
    time.sleep(0.5)  # restic has read the index
    marked = ours(folder, "prune", "--lock-free")
    assert marked.returncode == 0 and b"marked" in marked.stdout, marked
    assert backup.wait(60) == 0, backup.communicate()
    again = ours(folder, "prune", "--lock-free", "--keep-delete", "0s")
    assert again.returncode == 0, again
    after = contents(folder)
    assert len(after) == len(before) + 1 and before.items() <= after.items()
    agrees(peer("restic-0.19"), folder)()


def test_two_prunes_at_once(tmp_path: Path, peer: Callable[[str], Path]) -> None:
    for words in (["--max-unused", "0", "--retry-lock", "1m"], ["--max-unused", "0", "--lock-free", "--keep-delete", "0s"]):
        made = generate(tmp_path / words[2], 33)
        before = contents(made.folder)
        both = [begin(ours_command(made.folder, "prune", *words)) for _ in range(2)]
        ends = [(prune_process.wait(60), *prune_process.communicate()) for prune_process in both]
        assert 0 in [end[0] for end in ends], ends
        assert contents(made.folder) == before
        if "--lock-free" in words:
            run(made.folder, MARK)
        else:
            assert [end[0] for end in ends] == [0, 0], ends
        run(made.folder)
        assert contents(made.folder) == before and is_clean(made.folder)
        agrees(peer("restic-0.19"), made.folder)()


def test_a_backup_between_plan_and_act() -> None:
    """A plan that was made before is not carried out: what it would remove may be needed by now."""
    storage = MemoryStorage()
    generate(storage, 34)
    repo = open_repo(storage)
    plan = prune.plan(repo, EVERYTHING)
    added = add_snapshot(Maker(open_repo(storage)), {"new": b"n" * 99})
    with repo.lock(exclusive=True), pytest.raises(prune.PlanOutdated, match="make another plan"):
        prune.execute(plan)
    assert contents(storage)[added] == {"/b/new": b"n" * 99}
    run(storage)
    assert contents(storage)[added] == {"/b/new": b"n" * 99}
