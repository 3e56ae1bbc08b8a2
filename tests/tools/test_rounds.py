"""Commands on a storage far away wait for it no oftener than they must: what can be asked at the same time is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from restic_format.backup import BackupOptions, backup
from restic_format.repository import Repository, lock
from restic_format.snapshots import all_snapshots
from restic_format.storage import LocalStorage
from restic_spec.layout import FileKind
from restic_tools import access
from restic_tools.globaloptions import GlobalOptions
from tests.rounds import CONNECTIONS, FarStorage
from tests.tools.kit import PASSWORD, Runner, new_repository

SNAPSHOTS = 7
FOLDERS = 12

LOCKED = 5
"""Rounds of a command that only locks: config and keys; the key and the locks; the lock; the locks again; its removal."""
SLACK = 2
"""Rounds more than needed that do not matter: a thread may come late on a busy machine."""


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> list[FarStorage]:
    """Every storage that a command opens is far away; all of them, in order."""
    opened: list[FarStorage] = []

    def open_far(options: GlobalOptions, stopping: Callable[[], bool] = bool) -> FarStorage:
        del stopping
        opened.append(FarStorage(LocalStorage(options.repo)))
        return opened[-1]

    monkeypatch.setattr(access, "open_places", open_far)
    # A round takes longer here than it may elsewhere: so does the time until a lock is certain.
    monkeypatch.setattr(lock, "RECHECK_AFTER", 1.0)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    return opened


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with several snapshots of some folders, and packs of a few files each."""
    folder = tmp_path_factory.mktemp("written")
    new_repository(folder / "repo")
    source = folder / "source"
    for number in range(FOLDERS):
        (source / f"folder-{number}").mkdir(parents=True)
    for number in range(SNAPSHOTS):
        for name in range(FOLDERS):
            (source / f"folder-{name}" / f"{number}.bin").write_bytes(os.urandom(5000))
        repo = Repository.open(LocalStorage(folder / "repo"), PASSWORD)
        repo.load_index()
        with repo.lock():
            backup(repo, [str(source)], BackupOptions(hostname="host"))
    return folder


@pytest.fixture
def place(written: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(written / "repo", tmp_path / "repo")
    return tmp_path / "repo"


Commands = Callable[..., FarStorage]


@pytest.fixture
def command(run: Runner, far: list[FarStorage], place: Path) -> Commands:
    """Run a command on that copy; the storage it was given."""

    def call(*words: str) -> FarStorage:
        far.clear()
        done = run("-r", str(place), "-q", *words)
        assert done.code == 0, done.err
        [storage] = far
        return storage

    return call


def test_snapshots_are_listed_with_one_round_besides_those_of_the_lock(command: Commands) -> None:
    storage = command("snapshots")
    assert len(storage.calls("load", FileKind.SNAPSHOT)) == SNAPSHOTS
    assert storage.waits() <= LOCKED + 1 + SLACK
    again = command("snapshots")
    assert not again.calls("load", FileKind.SNAPSHOT)
    assert again.waits() <= LOCKED + 1 + SLACK


def test_nothing_is_asked_twice_on_the_way_into_a_repository(command: Commands) -> None:
    storage = command("cat", "config")
    asked = [(call.operation, call.kind) for calls in storage.rounds for call in calls]
    assert asked.count(("load", FileKind.CONFIG)) + asked.count(("exists", FileKind.CONFIG)) == 1
    assert asked.count(("list", FileKind.KEY)) == asked.count(("load", FileKind.KEY)) == 1
    assert asked.count(("list", FileKind.LOCK)) == 2, "once before the lock is written, once after"
    assert storage.waits() <= LOCKED + SLACK


def test_a_check_fetches_packs_with_trees_whole_and_lists_while_it_loads(command: Commands) -> None:
    storage = command("check")
    trees = SNAPSHOTS * FOLDERS
    assert len(storage.calls("load", FileKind.PACK)) <= SNAPSHOTS, f"there are {trees} trees, in a pack for each snapshot"
    assert storage.most("load") >= CONNECTIONS
    assert not storage.calls("size", FileKind.PACK), "sizes are listed"
    assert storage.waits() <= LOCKED + 4 + SLACK


def test_packs_are_read_as_many_at_a_time_as_the_storage_answers(command: Commands, tmp_path: Path) -> None:
    assert command("check", "--read-data").most("load") >= CONNECTIONS
    assert command("restore", "latest", "--target", str(tmp_path / "restored")).most("load") >= CONNECTIONS


def test_what_a_restore_needs_first_is_in_the_cache_when_its_lock_is_certain(command: Commands, tmp_path: Path) -> None:
    storage = command("restore", "latest", "--target", str(tmp_path / "restored"))
    for kind in (FileKind.SNAPSHOT, FileKind.INDEX):
        names = storage.calls("load", kind)
        assert len(names) == len(set(names)) == SNAPSHOTS, "each once, and read ahead"
    again = command("restore", "latest", "--target", str(tmp_path / "again"))
    # Snapshots and index are listed together; the content of 7 packs is read five packs at a time.
    assert again.waits() <= LOCKED + 1 + 2 + SLACK


def test_a_backup_of_what_has_not_changed_needs_no_tree_from_the_storage(command: Commands, written: Path) -> None:
    command("backup", "--host", "host", str(written / "source"))
    storage = command("backup", "--host", "host", str(written / "source"))
    assert not storage.calls("load", FileKind.PACK)
    assert storage.waits() <= LOCKED + 2 + SLACK


def test_a_prune_repacks_verifies_and_removes_several_files_at_a_time(command: Commands, place: Path) -> None:
    storage = command("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    assert storage.most("remove") >= CONNECTIONS
    assert any(sum((c.operation, c.kind) == ("remove", FileKind.INDEX) for c in calls) > 1 for calls in storage.rounds)
    assert storage.waits() <= LOCKED + 18 + SLACK, "of which fewer than one for each file that goes"
    repo = Repository.open(LocalStorage(place), PASSWORD)
    assert len(list(all_snapshots(repo))) == 1


def test_without_a_cache_packs_with_trees_are_fetched_whole_too(command: Commands, written: Path) -> None:
    source = written / "source"
    storage = command("--no-cache", "ls", "latest")
    trees = FOLDERS + len(source.parts)
    assert len(storage.calls("load", FileKind.PACK)) < trees


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_check_has_a_cache_of_its_own_which_is_gone_afterwards(
    run: Runner, far: list[FarStorage], place: Path, temporary: Path
) -> None:
    done = run("-r", str(place), "check")
    assert done.code == 0
    assert f"using temporary cache in {temporary}/restic-check-cache-".encode() in done.out
    assert list(temporary.iterdir()) == []
    done = run("-r", str(place), "--no-cache", "check")
    assert (done.code, b"temporary" in done.out) == (0, False)
    assert len(far) == 2


def test_damage_to_a_pack_with_trees_is_found_and_the_cache_is_gone_all_the_same(
    run: Runner, far: list[FarStorage], place: Path, temporary: Path
) -> None:
    repo = Repository.open(LocalStorage(place), PASSWORD)
    repo.load_index()
    pack = next(pack.id.hex() for pack in repo.index.packs() if pack.holds_trees())
    path = place / "data" / pack[:2] / pack
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    done = run("-r", str(place), "check")
    assert done.code == 1
    assert b"ciphertext verification failed" in done.out + done.err
    assert list(temporary.iterdir()) == []
    assert len(far) == 1
